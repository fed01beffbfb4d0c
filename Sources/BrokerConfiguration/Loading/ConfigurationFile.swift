// SPDX-License-Identifier: Apache-2.0

/// Limits of the files that a configuration is read from, and the form of those that hold one value.
package enum ConfigurationFile {
    /// In bytes.
    package static let largestFile = 16 << 20
    static let longestLine = 65_536

    /// The text of a small file that holds one value: without its last line end.
    static func value(_ bytes: [UInt8]) -> String? {
        var end = bytes.endIndex
        if end > 0, bytes[end - 1] == UInt8(ascii: "\n") { end -= 1 }
        if end > 0, bytes[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        guard !bytes[..<end].contains(0) else { return nil }
        return String(validating: bytes[..<end], as: UTF8.self)
    }
}
