// SPDX-License-Identifier: Apache-2.0

/// A text with a `PREPARE name [(types)] AS statement` in it.
package enum PrepareText {
    /// Where the statement stands that this text prepares under the name; nil: it has no such PREPARE, or cannot be
    /// read without doubt. Of several, the last: each other was deallocated before it.
    package static func body(of name: [UInt8], in sql: UnsafeRawBufferPointer) -> Range<Int>? {
        var cursor = SQLCursor(sql)
        var found: Range<Int>?
        while true {
            guard cursor.skipSpace() else { return nil }
            if cursor.isAtEnd { return found }
            if cursor.byte == UInt8(ascii: ";") {
                cursor.advance()
                continue
            }
            if cursor.take("prepare"), cursor.skipSpace(), let named = cursor.takeIdentifier(),
                truncated(named) == name, let start = behindAs(&cursor)
            {
                guard cursor.skipStatement() else { return nil }
                found = start..<cursor.offset
                continue
            }
            guard cursor.skipStatement() else { return nil }
        }
    }

    /// The types' parentheses and AS are taken; where the statement begins.
    private static func behindAs(_ cursor: inout SQLCursor) -> Int? {
        guard cursor.skipSpace() else { return nil }
        if cursor.byte == UInt8(ascii: "(") {
            var depth = 0
            while !cursor.isAtEnd {
                if cursor.byte == UInt8(ascii: "(") { depth += 1 }
                if cursor.byte == UInt8(ascii: ")") { depth -= 1 }
                if cursor.byte == UInt8(ascii: "\"") {
                    guard cursor.takeIdentifier() != nil else { return nil }
                    continue
                }
                cursor.advance()
                if depth == 0 { break }
                guard cursor.skipSpace() else { return nil }
            }
            guard cursor.skipSpace() else { return nil }
        }
        guard cursor.take("as"), cursor.skipSpace() else { return nil }
        return cursor.offset
    }

    /// As PostgreSQL cuts it.
    private static func truncated(_ name: [UInt8]) -> [UInt8] { Array(name.prefix(63)) }
}
