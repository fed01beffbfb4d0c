// SPDX-License-Identifier: Apache-2.0

/// A NotificationResponse ('A'): who notified, on which channel, with which payload.
package struct NotificationMessage {
    package let processID: Int32
    /// In the body that was read.
    package let channel: UnsafeRawBufferPointer
    /// Channel and payload with their NULs, as they came.
    package let words: UnsafeRawBufferPointer

    /// Of this much of a body the channel can be read: its names are shorter than 64 bytes.
    package static let prefix = 4 + 64

    /// Reads a body, or its beginning; nil where the channel's name has no end.
    package init?(body: UnsafeRawBufferPointer) {
        guard body.count >= 4, let name = cString(in: body, from: 4) else { return nil }
        processID = Int32(bigEndian: body.loadUnaligned(as: Int32.self))
        channel = UnsafeRawBufferPointer(rebasing: body[name])
        words = UnsafeRawBufferPointer(rebasing: body[4...])
    }
}

extension [UInt8] {
    /// NotificationResponse ('A'), with channel and payload as another one had them.
    package mutating func appendNotification(
        processID: Int32, words: UnsafeRawBufferPointer
    ) {
        appendMessage(kind: BackendKind.notificationResponse.rawValue) {
            $0.appendInteger(processID)
            $0.append(contentsOf: words)
        }
    }

    /// NotificationResponse ('A').
    package mutating func appendNotification(
        processID: Int32, channel: String, payload: String
    ) {
        appendMessage(kind: BackendKind.notificationResponse.rawValue) {
            $0.appendInteger(processID)
            $0.appendCString(channel)
            $0.appendCString(payload)
        }
    }
}
