// SPDX-License-Identifier: Apache-2.0

/// A place in a text where SQL names a prepared statement: `EXECUTE name` or `DEALLOCATE name`. The broker
/// keeps clients' statements under names of its own, which take the place of this one.
package struct StatementReference: Equatable, Sendable {
    package enum Kind: Sendable {
        case execute, deallocate
        /// `PREPARE name`: taken, if the client has it.
        case prepare
        /// `DEALLOCATE ALL` and `DISCARD ALL`: they name none, and drop all.
        case deallocateAll
    }

    package var kind: Kind
    /// Where the name stands, its quotes included.
    package var range: Range<Int>
    /// As PostgreSQL would look it up.
    package var name: [UInt8]

    /// Whether the text can hold one: every text of a client with named statements is asked this.
    package static func mayOccur(in sql: UnsafeRawBufferPointer) -> Bool {
        if mayBegin(sql) { return true }
        var index = 0
        while index < sql.count, sql[index] != UInt8(ascii: ";") { index += 1 }
        return index + 1 < sql.count && sql[index + 1] != 0
    }

    /// Whether the text may be one statement with a reference: it begins with EX…, DEA…, DI…, CR…, PR… or a comment.
    package static func mayBegin(_ sql: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < sql.count, sql[index] <= UInt8(ascii: " ") { index += 1 }
        guard index + 2 < sql.count else { return false }
        let second = sql[index + 1] | 0x20
        switch sql[index] {
        case UInt8(ascii: "e"), UInt8(ascii: "E"): return second == UInt8(ascii: "x")
        case UInt8(ascii: "c"), UInt8(ascii: "C"), UInt8(ascii: "p"), UInt8(ascii: "P"):
            return second == UInt8(ascii: "r")
        case UInt8(ascii: "d"), UInt8(ascii: "D"):
            return second == UInt8(ascii: "i")
                || (second == UInt8(ascii: "e") && sql[index + 2] | 0x20 == UInt8(ascii: "a"))
        case UInt8(ascii: "-"), UInt8(ascii: "/"): return true
        default: return false
        }
    }

    /// All of them, in order: at the beginning of a statement, behind EXPLAIN, and in CREATE TABLE … AS
    /// EXECUTE. None, if the text cannot be read without doubt: with a backslash in a plain literal its
    /// end depends on a setting.
    package static func all(in sql: UnsafeRawBufferPointer) -> [StatementReference] {
        var scan = Scan(cursor: SQLCursor(sql))
        while scan.step() {}
        return scan.isDoubtful ? [] : scan.found
    }

    private struct Scan {
        var cursor: SQLCursor
        var found: [StatementReference] = []
        var isDoubtful = false
        private var isAtStart = true
        private var isExplained = false
        private var isBehindAs = false
        private var depth = 0

        init(cursor: SQLCursor) { self.cursor = cursor }

        /// Takes one word, sign or literal; false at the end.
        mutating func step() -> Bool {
            guard cursor.skipSpace(), !cursor.isAtEnd else { return false }
            let byte = cursor.byte
            switch byte {
            case UInt8(ascii: ";"):
                cursor.advance()
                (isAtStart, isExplained, isBehindAs, depth) = (true, false, false, 0)
                return true
            case UInt8(ascii: "'"):
                return takeLiteral(isEscaped: false) && word()
            case UInt8(ascii: "$"):
                return takeDollarQuote() && word()
            case UInt8(ascii: "("):
                depth += 1
                cursor.advance()
                return word()
            case UInt8(ascii: ")"):
                depth -= 1
                cursor.advance()
                return word()
            default: break
            }
            if byte | 0x20 == UInt8(ascii: "e"), cursor.peek(1) == UInt8(ascii: "'") {
                cursor.advance()
                return takeLiteral(isEscaped: true) && word()
            }
            let mayName = depth == 0 && (isAtStart || isExplained || isBehindAs)
            if mayName, cursor.take("execute") { return reference(.execute) }
            if isAtStart, cursor.take("prepare") {
                guard cursor.skipSpace() else { return false }
                // PREPARE TRANSACTION is about something else.
                var ahead = cursor
                if ahead.take("transaction"), ahead.skipSpace(), ahead.byte == UInt8(ascii: "'") {
                    return word()
                }
                return reference(.prepare)
            }
            if isAtStart, cursor.take("deallocate") {
                guard cursor.skipSpace() else { return false }
                if cursor.take("prepare") {
                    guard cursor.skipSpace() else { return false }
                    // PREPARE is no reserved word: alone it is the statement's name.
                    if cursor.isAtEnd || cursor.byte == UInt8(ascii: ";") { return word() }
                }
                let start = cursor.offset
                if cursor.take("all") {
                    dropsAll(start)
                    return word()
                }
                return reference(.deallocate)
            }
            if isAtStart, cursor.take("discard") {
                guard cursor.skipSpace() else { return false }
                let start = cursor.offset
                if cursor.take("all") { dropsAll(start) }
                return word()
            }
            if isAtStart, cursor.take("explain") {
                _ = word()
                isExplained = true
                return true
            }
            if cursor.take("as") {
                _ = word()
                isBehindAs = true
                return true
            }
            if isIdentifierByte(byte) {
                while isIdentifierByte(cursor.byte) { cursor.advance() }
            } else if byte == UInt8(ascii: "\"") {
                if cursor.takeIdentifier() == nil { return false }
            } else {
                cursor.advance()
            }
            return word()
        }

        /// Something that is no reference has been taken.
        private mutating func word() -> Bool {
            isAtStart = false
            isBehindAs = false
            return true
        }

        private mutating func dropsAll(_ start: Int) {
            found.append(
                StatementReference(kind: .deallocateAll, range: start..<cursor.offset, name: []))
        }

        private mutating func reference(_ kind: StatementReference.Kind) -> Bool {
            guard cursor.skipSpace() else { return false }
            let start = cursor.offset
            if let name = cursor.takeIdentifier() {
                found.append(
                    StatementReference(kind: kind, range: start..<cursor.offset, name: name))
            }
            isExplained = false
            return word()
        }

        private mutating func takeLiteral(isEscaped: Bool) -> Bool {
            cursor.advance()
            while !cursor.isAtEnd {
                if cursor.byte == UInt8(ascii: "\\") {
                    if !isEscaped { isDoubtful = true }
                    cursor.advance()
                } else if cursor.byte == UInt8(ascii: "'") {
                    cursor.advance()
                    if cursor.byte != UInt8(ascii: "'") { return true }
                }
                cursor.advance()
            }
            return false
        }

        /// `$tag$ … $tag$`, or a parameter.
        private mutating func takeDollarQuote() -> Bool {
            let start = cursor.offset
            cursor.advance()
            while isIdentifierByte(cursor.byte), cursor.byte != UInt8(ascii: "$") {
                cursor.advance()
            }
            guard cursor.byte == UInt8(ascii: "$"), !isDigit(cursor.at(start + 1)) else {
                return true
            }
            cursor.advance()
            let length = cursor.offset - start
            while !cursor.isAtEnd {
                if (0..<length).allSatisfy({ cursor.peek($0) == cursor.at(start + $0) }) {
                    for _ in 0..<length { cursor.advance() }
                    return true
                }
                cursor.advance()
            }
            return false
        }
    }
}
