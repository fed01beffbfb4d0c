// SPDX-License-Identifier: Apache-2.0

/// Where messages begin and end in bytes that pass as they are, however they are cut.
package struct MessageFrames: Sendable {
    /// Of the message that is on its way.
    private var bytesLeft = 0
    /// The header of the next one, as far as it has come.
    private var kind: UInt8 = 0
    private var length: UInt32 = 0
    private var headerCount = 0
    /// A length that cannot be: where messages begin is not known any more.
    package private(set) var isBroken = false

    package init() {}

    /// Nothing is half passed.
    package var isBetweenMessages: Bool { bytesLeft == 0 && headerCount == 0 && !isBroken }

    /// Takes these bytes, from `offset` to the next message whose header is complete. Returns its kind; nil once
    /// all are taken.
    package mutating func next(
        in bytes: UnsafeRawBufferPointer, from offset: inout Int
    ) -> UInt8? {
        while offset < bytes.count, !isBroken {
            if bytesLeft > 0 {
                let count = min(bytesLeft, bytes.count - offset)
                bytesLeft -= count
                offset += count
                continue
            }
            if headerCount == 0 {
                kind = bytes[offset]
                length = 0
            } else {
                length = length << 8 | UInt32(bytes[offset])
            }
            headerCount += 1
            offset += 1
            guard headerCount == MessageHeader.size else { continue }
            headerCount = 0
            let body = Int(Int32(bitPattern: length)) - 4
            guard body >= 0 else {
                isBroken = true
                break
            }
            bytesLeft = body
            return kind
        }
        offset = bytes.count
        return nil
    }
}
