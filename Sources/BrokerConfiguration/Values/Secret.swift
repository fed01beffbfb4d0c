// SPDX-License-Identifier: Apache-2.0

/// A text that is never shown: however it is printed, dumped or interpolated, three stars appear.
package struct Secret: Equatable, Hashable, Sendable {
    /// The text itself, which need not be UTF-8. Only what hands it to libpq or to a verifier reads this.
    package let bytes: [UInt8]

    package init(_ value: String) { bytes = Array(value.utf8) }

    package init(bytes: [UInt8]) { self.bytes = bytes }

    /// The same as a string.
    package var value: String { String(decoding: bytes, as: UTF8.self) }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "***" }
    package var debugDescription: String { "***" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
