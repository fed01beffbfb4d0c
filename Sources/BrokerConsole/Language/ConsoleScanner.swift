// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// A piece of a console statement.
enum ConsoleToken: Equatable {
    /// A bare word, as it was written.
    case word(String)
    /// A name in double quotes.
    case quoted(String)
    /// A text in single quotes.
    case string(String)
    case number(String)
    /// `$1`.
    case parameter
    /// Any other byte.
    case symbol(UInt8)
}

/// Why a statement is not carried out; it becomes an ErrorResponse, and the session goes on.
package struct ConsoleRefusal: Error, Equatable {
    package let error: PgError

    package init(_ error: PgError) { self.error = error }

    package init(
        _ sqlState: SQLState, _ message: String, detail: String? = nil, hint: String? = nil
    ) {
        error = .error(sqlState, message, detail: detail, hint: hint)
    }

    static func unterminated(_ what: String) -> ConsoleRefusal {
        ConsoleRefusal(.protocolViolation, "unterminated \(what)")
    }
}

/// Text of a Query or Parse message, taken apart: one list of tokens for each statement between semicolons.
/// Statements without a token are left out.
struct ConsoleScanner {
    private let bytes: [UInt8]
    private var offset = 0

    static func statements(_ text: [UInt8]) throws(ConsoleRefusal) -> [[ConsoleToken]] {
        var scanner = ConsoleScanner(bytes: text)
        var statements: [[ConsoleToken]] = []
        var tokens: [ConsoleToken] = []
        while let token = try scanner.next() {
            if token == .symbol(UInt8(ascii: ";")) {
                if !tokens.isEmpty { statements.append(tokens) }
                tokens = []
            } else {
                tokens.append(token)
            }
        }
        if !tokens.isEmpty { statements.append(tokens) }
        return statements
    }

    private init(bytes: [UInt8]) { self.bytes = bytes }

    private func byte(_ distance: Int = 0) -> UInt8 {
        offset + distance < bytes.count ? bytes[offset + distance] : 0
    }

    private mutating func next() throws(ConsoleRefusal) -> ConsoleToken? {
        try skipSpace()
        guard offset < bytes.count else { return nil }
        let first = byte()
        switch first {
        case UInt8(ascii: "'"): return .string(try enclosed(by: first, "quoted string"))
        case UInt8(ascii: "\""): return .quoted(try enclosed(by: first, "quoted identifier"))
        case UInt8(ascii: "$") where Self.isDigit(byte(1)):
            offset += 1
            _ = run(while: Self.isDigit)
            return .parameter
        case _ where Self.isDigit(first):
            return .number(run { Self.isDigit($0) || $0 == UInt8(ascii: ".") })
        case _ where Self.isWord(first):
            return .word(run(while: Self.isWord))
        default:
            offset += 1
            return .symbol(first)
        }
    }

    private mutating func run(while belongs: (UInt8) -> Bool) -> String {
        let start = offset
        while offset < bytes.count, belongs(bytes[offset]) { offset += 1 }
        return String(decoding: bytes[start..<offset], as: Unicode.UTF8.self)
    }

    private mutating func enclosed(
        by quote: UInt8, _ what: String
    ) throws(ConsoleRefusal) -> String {
        var content: [UInt8] = []
        offset += 1
        while offset < bytes.count {
            if byte() == quote {
                offset += 1
                guard byte() == quote else {
                    return String(decoding: content, as: Unicode.UTF8.self)
                }
            }
            content.append(byte())
            offset += 1
        }
        throw .unterminated(what)
    }

    private mutating func skipSpace() throws(ConsoleRefusal) {
        while offset < bytes.count {
            if byte() == 32 || (9...13).contains(byte()) {
                offset += 1
            } else if byte() == UInt8(ascii: "-"), byte(1) == UInt8(ascii: "-") {
                while offset < bytes.count, byte() != 10, byte() != 13 { offset += 1 }
            } else if byte() == UInt8(ascii: "/"), byte(1) == UInt8(ascii: "*") {
                try skipComment()
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(ConsoleRefusal) {
        var depth = 0
        while offset < bytes.count {
            if byte() == UInt8(ascii: "/"), byte(1) == UInt8(ascii: "*") {
                depth += 1
                offset += 2
            } else if byte() == UInt8(ascii: "*"), byte(1) == UInt8(ascii: "/") {
                depth -= 1
                offset += 2
                if depth == 0 { return }
            } else {
                offset += 1
            }
        }
        throw .unterminated("comment")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte | 0x20) || isDigit(byte) || byte == UInt8(ascii: "_")
            || byte >= 0x80
    }
}
