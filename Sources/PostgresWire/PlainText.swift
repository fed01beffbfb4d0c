// SPDX-License-Identifier: Apache-2.0

/// The first look at a text, which nearly always is the last.
package enum PlainText {
    /// Whether the text leaves nothing in the session and names nothing of it, as far as any text shows that: it is
    /// one statement, begins with a word that no other look at texts is for, and has none of the pairs of bytes
    /// that `SessionTaint.inText` stops at. False says nothing.
    ///
    /// True means: no taint in the text, no setting that it sets or puts back, no statement that it prepares,
    /// executes or deallocates.
    package static func isOneStatement(_ sql: UnsafeRawBufferPointer) -> Bool {
        var calls = false
        return isOneStatement(sql, calls: &calls)
    }

    /// The same; where it is true, `calls` becomes true if the text has a parenthesis.
    package static func isOneStatement(
        _ sql: UnsafeRawBufferPointer, calls: inout Bool
    ) -> Bool {
        guard sql.count > TextBlock.size, mayBeginPlainly(sql) else { return false }
        var index = 0
        let last = sql.count - TextBlock.size - 1
        while true {
            // Most blocks have nothing to be looked at.
            if TextBlock.isNotable(sql, at: index) {
                if TextBlock.mayLeaveSomething(sql, at: index) { return false }
                if TextBlock.distanceToParenthesis(sql, at: index) != nil { calls = true }
                if let distance = TextBlock.distanceToSemicolon(sql, at: index) {
                    return isEnd(sql, from: index + distance)
                }
            }
            if index == last { return true }
            // The last block overlaps the one before.
            index = min(index + TextBlock.size, last)
        }
    }

    /// Whether the text is BEGIN, COMMIT or END and no more, a semicolon perhaps. Of a client that listens a COMMIT is no
    /// plain text: it makes its LISTEN effective.
    package static func isBoundary(_ sql: UnsafeRawBufferPointer) -> Bool {
        var count = sql.count
        if count > 0, sql[count - 1] == UInt8(ascii: ";") { count -= 1 }
        guard count <= 6 else { return false }
        var word: UInt64 = 0
        for index in 0..<count { word = word << 8 | UInt64(sql[index] | 0x20) }
        switch word {
        case 0x62_6567_696e, 0x636f_6d6d_6974, 0x65_6e64: return true
        default: return false
        }
    }

    /// Whether nothing stands there any more that is part of a statement.
    private static func isEnd(_ sql: UnsafeRawBufferPointer, from start: Int) -> Bool {
        var index = start
        while index < sql.count,
            sql[index] == UInt8(ascii: ";") || sql[index] == 0 || isSpace(sql[index])
        {
            index += 1
        }
        return index == sql.count
    }

    /// A letter, and not the beginning of CREATE, DEALLOCATE, DECLARE, DISCARD, EXECUTE, EXPLAIN, LEASE, LISTEN, LOAD,
    /// PREPARE, RESET or SET.
    @inline(__always)
    private static func mayBeginPlainly(_ sql: UnsafeRawBufferPointer) -> Bool {
        let second = sql[1] | 0x20
        switch sql[0] | 0x20 {
        case UInt8(ascii: "s"):
            return second == UInt8(ascii: "e") && sql[2] | 0x20 == UInt8(ascii: "l")
        case UInt8(ascii: "u"): return second == UInt8(ascii: "p")
        case UInt8(ascii: "i"), UInt8(ascii: "w"), UInt8(ascii: "v"): return isLetter(second)
        case UInt8(ascii: "d"):
            return second == UInt8(ascii: "e") && sql[2] | 0x20 == UInt8(ascii: "l")
        default: return false
        }
    }

    @inline(__always)
    private static func isLetter(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "a") < 26 }
}
