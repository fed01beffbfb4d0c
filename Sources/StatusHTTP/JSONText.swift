// SPDX-License-Identifier: Apache-2.0

/// Writes JSON, without spaces. Commas come by themselves.
///
/// Invariant: what is written is a prefix of a valid text as long as keys and values take turns in
/// objects.
package struct JSONText {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false

    package init() {}

    package mutating func object(_ body: (inout JSONText) -> Void) { enclose(0x7B, 0x7D, body) }

    package mutating func array(_ body: (inout JSONText) -> Void) { enclose(0x5B, 0x5D, body) }

    package mutating func key(_ name: String) {
        string(name)
        bytes.append(0x3A)
        needsComma = false
    }

    package mutating func string(_ text: String) { string(utf8: text.utf8) }

    /// Bytes that are no UTF-8 become U+FFFD.
    package mutating func string(bytes text: ArraySlice<UInt8>) {
        if text.allSatisfy({ $0 < 0x80 }) {
            string(utf8: text)
        } else {
            string(utf8: String(decoding: text, as: UTF8.self).utf8)
        }
    }

    package mutating func string(_ text: String?) {
        if let text { string(text) } else { null() }
    }

    package mutating func integer(_ value: Int) { literal("\(value)") }

    package mutating func integer(_ value: Int?) {
        if let value { integer(value) } else { null() }
    }

    package mutating func number(_ value: Double) { literal(value.isFinite ? "\(value)" : "null") }

    package mutating func boolean(_ value: Bool) { literal(value ? "true" : "false") }

    package mutating func null() { literal("null") }

    /// A whole value that somebody else has written: digits, or the bytes of another text.
    package mutating func written(_ text: ArraySlice<UInt8>) {
        separate()
        bytes.append(contentsOf: text)
    }

    // MARK: Bytes

    private mutating func separate() {
        if needsComma { bytes.append(0x2C) }
        needsComma = true
    }

    private mutating func enclose(
        _ opening: UInt8, _ closing: UInt8, _ body: (inout JSONText) -> Void
    ) {
        separate()
        bytes.append(opening)
        needsComma = false
        body(&self)
        bytes.append(closing)
        needsComma = true
    }

    private mutating func literal(_ text: String) {
        separate()
        bytes.append(contentsOf: text.utf8)
    }

    private mutating func string(utf8 text: some Sequence<UInt8>) {
        separate()
        bytes.append(0x22)
        for byte in text {
            switch byte {
            case 0x22, 0x5C:
                bytes.append(0x5C)
                bytes.append(byte)
            case 0..<0x20, 0x7F:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(Self.hexadecimal[Int(byte >> 4)])
                bytes.append(Self.hexadecimal[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(0x22)
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)
}
