// SPDX-License-Identifier: Apache-2.0

/// A place in SQL text, moved forward over white space, comments and words, as the server's lexer
/// reads them.
///
/// The text ends at the buffer's end or at its first NUL, whichever comes first: the body of a
/// Query may be passed with its terminator or without.
struct SQLCursor {
    private let bytes: UnsafeRawBufferPointer
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The byte under the cursor, 0 at the end.
    @inline(__always)
    var byte: UInt8 { offset < bytes.count ? bytes[offset] : 0 }

    /// The byte at an offset of the text, 0 at and behind the end.
    func at(_ offset: Int) -> UInt8 { offset < bytes.count ? bytes[offset] : 0 }

    @inline(__always)
    func peek(_ distance: Int) -> UInt8 {
        offset + distance < bytes.count ? bytes[offset + distance] : 0
    }

    var isAtEnd: Bool { byte == 0 }

    mutating func advance() { offset += 1 }

    /// Skips white space and comments, nested ones too; false, and at its beginning, when a comment
    /// does not end.
    mutating func skipSpace() -> Bool {
        while true {
            let current = byte
            if isSpace(current) {
                offset += 1
            } else if current == UInt8(ascii: "-"), peek(1) == UInt8(ascii: "-") {
                offset += 2
                while byte != 0, byte != 10, byte != 13 { offset += 1 }
            } else if current == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                guard skipBlockComment() else { return false }
            } else {
                return true
            }
        }
    }

    private mutating func skipBlockComment() -> Bool {
        let start = offset
        var depth = 0
        while byte != 0 {
            if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                depth += 1
                offset += 2
            } else if byte == UInt8(ascii: "*"), peek(1) == UInt8(ascii: "/") {
                depth -= 1
                offset += 2
                if depth == 0 { return true }
            } else {
                offset += 1
            }
        }
        offset = start
        return false
    }

    /// Takes the keyword (given in lower case) if it stands here as a whole word, whatever its
    /// case.
    mutating func take(_ keyword: StaticString) -> Bool {
        let length = keyword.utf8CodeUnitCount
        for index in 0..<length where lowercased(peek(index)) != keyword.utf8Start[index] {
            return false
        }
        guard !isIdentifierByte(peek(length)) else { return false }
        offset += length
        return true
    }

    /// Takes an unquoted name in lower case, or a quoted one as it is; nil when neither stands
    /// here.
    mutating func takeIdentifier() -> [UInt8]? {
        if byte == UInt8(ascii: "\"") { return takeQuotedIdentifier() }
        guard isIdentifierByte(byte), !isDigit(byte), byte != UInt8(ascii: "$") else { return nil }
        var name: [UInt8] = []
        while isIdentifierByte(byte) {
            name.append(lowercased(byte))
            offset += 1
        }
        // U&"…" is a quoted name with escapes: another spelling that is not read here.
        return byte == UInt8(ascii: "&") || byte == UInt8(ascii: "\"") ? nil : name
    }

    /// Skips what is left of a statement, up to its semicolon or the text's end; false where that cannot be
    /// told: something has no end, or a backslash in front of a quote means what a setting says.
    mutating func skipStatement() -> Bool {
        while true {
            guard skipSpace() else { return false }
            if byte == 0 || byte == UInt8(ascii: ";") { return true }
            guard skipToken() else { return false }
        }
    }

    /// Skips the string, the name, the word or the sign that stands here; false where `skipStatement` says so.
    mutating func skipToken() -> Bool {
        switch byte {
        case UInt8(ascii: "'"):
            return skipString(escapes: nil)
        case UInt8(ascii: "\""):
            return takeQuotedIdentifier() != nil
        case UInt8(ascii: "$"):
            return skipDollarQuote()
        case let first where isIdentifierByte(first):
            let start = offset
            while isIdentifierByte(byte) { offset += 1 }
            let isEscape = offset == start + 1 && first | 0x20 == UInt8(ascii: "e")
            return isEscape && byte == UInt8(ascii: "'") ? skipString(escapes: true) : true
        default:
            offset += 1
            return true
        }
    }

    /// Skips a string; `escapes` is nil where it depends on a setting whether a backslash escapes.
    private mutating func skipString(escapes: Bool?) -> Bool {
        offset += 1
        while byte != 0 {
            let current = byte
            offset += 1
            if current == UInt8(ascii: "'") {
                // A doubled one begins the rest of the same string.
                guard byte == UInt8(ascii: "'") else { return true }
                offset += 1
            } else if current == UInt8(ascii: "\\") {
                if escapes == true {
                    if byte != 0 { offset += 1 }
                } else if byte == UInt8(ascii: "'") {
                    return false
                }
            }
        }
        return false
    }

    /// Skips `$tag$ … $tag$`, or the `$` of a parameter.
    private mutating func skipDollarQuote() -> Bool {
        let start = offset
        offset += 1
        if isDigit(byte) { return true }
        while isIdentifierByte(byte), byte != UInt8(ascii: "$") { offset += 1 }
        guard byte == UInt8(ascii: "$") else { return true }
        offset += 1
        let length = offset - start
        while byte != 0 {
            if byte == UInt8(ascii: "$"), (0..<length).allSatisfy({ peek($0) == bytes[start + $0] })
            {
                offset += length
                return true
            }
            offset += 1
        }
        return false
    }

    private mutating func takeQuotedIdentifier() -> [UInt8]? {
        var name: [UInt8] = []
        offset += 1
        while byte != 0 {
            if byte == UInt8(ascii: "\"") {
                offset += 1
                guard byte == UInt8(ascii: "\"") else { return name.isEmpty ? nil : name }
            }
            name.append(byte)
            offset += 1
        }
        return nil
    }
}

@inline(__always)
func lowercased(_ byte: UInt8) -> UInt8 {
    byte &- UInt8(ascii: "A") < 26 ? byte | 0x20 : byte
}

@inline(__always)
package func isSpace(_ byte: UInt8) -> Bool {
    byte == 32 || byte &- 9 < 5
}

@inline(__always)
package func isDigit(_ byte: UInt8) -> Bool {
    byte &- UInt8(ascii: "0") < 10
}

/// Whether the byte continues a name in the server's lexer: letters, digits, '_', '$', and all of a
/// multibyte character.
@inline(__always)
func isIdentifierByte(_ byte: UInt8) -> Bool {
    (byte | 0x20) &- UInt8(ascii: "a") < 26 || isDigit(byte) || byte == UInt8(ascii: "_")
        || byte == UInt8(ascii: "$") || byte >= 0x80
}
