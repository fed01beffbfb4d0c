// SPDX-License-Identifier: Apache-2.0

extension SessionTaint {
    /// What the text of a statement shows and no command tag does: calls of `set_config`,
    /// session-level advisory locks, rows of `pg_settings` (whose update sets), temporary objects,
    /// connections of dblink.
    ///
    /// One pass, sixteen bytes at a time, that stops only at the pairs of bytes which each of these
    /// has: `g_`, `t_`, `k_`, `mp` and `&"`. What looks like code inside a string or a comment counts.
    package static func inText(_ sql: UnsafeRawBufferPointer) -> SessionTaint {
        var taint: SessionTaint = []
        let count = sql.count
        var index = 0
        // A pair begins at each of the sixteen bytes: one byte more is read.
        while count - index > TextBlock.size {
            if TextBlock.mayLeaveSomething(sql, at: index) {
                // The second byte of the last pair is the next block's first.
                for offset in index...index + TextBlock.size {
                    taint.formUnion(at: offset, of: sql)
                }
            }
            index += TextBlock.size
        }
        while index < count {
            taint.formUnion(at: index, of: sql)
            index += 1
        }
        return taint
    }

    /// Adds what the byte at `index` and those around it show.
    @inline(__always)
    private mutating func formUnion(at index: Int, of sql: UnsafeRawBufferPointer) {
        let byte = sql[index]
        if byte == UInt8(ascii: "_") {
            formUnion(Self.aroundUnderscore(sql, index))
        } else if byte | 0x20 == UInt8(ascii: "m") {
            if Self.isTemporary(sql, index) { formUnion(.temporaryObjects) }
        } else if byte == UInt8(ascii: "&"), Self.isEscapedIdentifier(sql, index) {
            formUnion(.other)
        }
    }

    /// Whether the text is one single SET LOCAL, SET TRANSACTION or SET CONSTRAINTS: the tag "SET"
    /// that answers it leaves nothing behind.
    package static func isTransactionLocalSet(_ sql: UnsafeRawBufferPointer) -> Bool {
        var cursor = SQLCursor(sql)
        guard cursor.skipSpace(), lowercased(cursor.byte) == UInt8(ascii: "s"), cursor.take("set"),
            cursor.skipSpace()
        else { return false }
        guard cursor.take("local") || cursor.take("transaction") || cursor.take("constraints")
        else {
            return false
        }
        // None of the three is reserved: `SET local.x = 1` sets a variable of the session.
        guard cursor.skipSpace(), cursor.byte != UInt8(ascii: "."), cursor.byte != UInt8(ascii: "=")
        else { return false }
        while !cursor.isAtEnd, cursor.byte != UInt8(ascii: ";") { cursor.advance() }
        while isSpace(cursor.byte) || cursor.byte == UInt8(ascii: ";") { cursor.advance() }
        return cursor.isAtEnd
    }

    /// The names that begin before and end after the '_' at `index`.
    @inline(never)
    private static func aroundUnderscore(
        _ sql: UnsafeRawBufferPointer, _ index: Int
    ) -> SessionTaint {
        if isWord(sql, from: index - 3, "set_config") {
            return effectOfCall(sql, from: index + 7)
        }
        if matches(sql, at: index - 6, "dblink_connect") { return .links }
        if matches(sql, at: index - 6, "dblink_disconnect") { return .removal }
        guard startsWord(sql, at: index - 2), matches(sql, at: index - 2, "pg_") else { return [] }
        if matches(sql, at: index + 1, "temp") { return .temporaryObjects }
        if matches(sql, at: index + 1, "settings") { return .settings }
        // pg_advisory_xact_… ends with the transaction.
        if matches(sql, at: index + 1, "advisory_lock")
            || matches(sql, at: index + 1, "try_advisory_lock")
        {
            return .advisoryLocks
        }
        if matches(sql, at: index + 1, "advisory_unlock") { return .removal }
        return []
    }

    /// What the call of `set_config` leaves whose name ends at `end`.
    private static func effectOfCall(_ sql: UnsafeRawBufferPointer, from end: Int) -> SessionTaint {
        var index = end
        func skipSpace() { while index < sql.count, isSpace(sql[index]) { index += 1 } }
        /// True if the sign stands there.
        func take(_ sign: Unicode.Scalar) -> Bool {
            skipSpace()
            guard index < sql.count, sql[index] == UInt8(ascii: sign) else { return false }
            index += 1
            skipSpace()
            return true
        }
        guard take("("), take("'") else { return .settings }
        let start = index
        while index < sql.count, isIdentifierByte(sql[index]) || sql[index] == UInt8(ascii: ".") {
            index += 1
        }
        let nameEnd = index
        guard index > start, take("'"), take(",") else { return .settings }
        let name = String(decoding: sql[start..<nameEnd], as: UTF8.self).lowercased()
        guard ParseMeaning.isHarmless(setting: name) else { return .settings }
        // The value: a parameter, or a literal without another quote in it.
        if index < sql.count, sql[index] == UInt8(ascii: "$") {
            index += 1
            while index < sql.count, isDigit(sql[index]) { index += 1 }
        } else if take("'") {
            while index < sql.count, sql[index] != UInt8(ascii: "'") { index += 1 }
            index += 1
        }
        guard take(","), matches(sql, at: index, "true") else { return .harmlessSettings }
        index += 4
        guard take(")") else { return .harmlessSettings }
        return name.utf8.contains(UInt8(ascii: ".")) ? .localNames : .nothing
    }

    /// Whether the 'm' at `index` is that of the word TEMP or TEMPORARY.
    @inline(__always)
    private static func isTemporary(_ sql: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        guard index + 1 < sql.count, sql[index + 1] | 0x20 == UInt8(ascii: "p") else {
            return false
        }
        return isWord(sql, from: index - 2, "temp") || isWord(sql, from: index - 2, "temporary")
    }

    /// Whether the '&' at `index` begins a name written with escapes (`U&"…"`), which may be any of
    /// the names above.
    private static func isEscapedIdentifier(_ sql: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        index > 0 && sql[index - 1] | 0x20 == UInt8(ascii: "u") && index + 1 < sql.count
            && sql[index + 1] == UInt8(ascii: "\"")
    }

    /// Whether `word` (in lower case) stands at `start` with no letter, digit or '_' before or
    /// after it.
    private static func isWord(
        _ sql: UnsafeRawBufferPointer, from start: Int, _ word: StaticString
    ) -> Bool {
        let end = start + word.utf8CodeUnitCount
        guard matches(sql, at: start, word), startsWord(sql, at: start) else { return false }
        return end == sql.count || isBoundary(sql[end])
    }

    private static func startsWord(_ sql: UnsafeRawBufferPointer, at start: Int) -> Bool {
        start == 0 || (start > 0 && isBoundary(sql[start - 1]))
    }

    private static func matches(
        _ sql: UnsafeRawBufferPointer, at start: Int, _ word: StaticString
    ) -> Bool {
        let length = word.utf8CodeUnitCount
        guard start >= 0, sql.count - start >= length else { return false }
        for offset in 0..<length where lowercased(sql[start + offset]) != word.utf8Start[offset] {
            return false
        }
        return true
    }

    /// '$' may be part of a name, but also the end of a dollar quote: here it ends a word.
    private static func isBoundary(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "$") || !isIdentifierByte(byte)
    }
}

/// Sixteen bytes of a text, each looked at with the byte behind it.
enum TextBlock {
    static let size = 16

    /// Whether a pair that `SessionTaint.inText` looks for begins in this block. Sometimes true where
    /// none does, never false where one does; 17 bytes must be there.
    @inline(__always)
    static func mayLeaveSomething(_ sql: UnsafeRawBufferPointer, at index: Int) -> Bool {
        isAny(pairs(sql, at: index))
    }

    /// Whether such a pair, a semicolon or an opening parenthesis is in this block.
    @inline(__always)
    static func isNotable(_ sql: UnsafeRawBufferPointer, at index: Int) -> Bool {
        let bytes = sql.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
        return isAny(pairs(sql, at: index) .| (bytes .== byte(";")) .| (bytes .== byte("(")))
    }

    @inline(__always)
    private static func isAny(_ found: SIMDMask<SIMD16<UInt8>.MaskStorage>) -> Bool {
        let words = unsafeBitCast(found, to: SIMD2<UInt64>.self)
        return words[0] | words[1] != 0
    }

    @inline(__always)
    private static func pairs(
        _ sql: UnsafeRawBufferPointer, at index: Int
    ) -> SIMDMask<SIMD16<UInt8>.MaskStorage> {
        let first = sql.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
        let second = sql.loadUnaligned(fromByteOffset: index + 1, as: SIMD16<UInt8>.self)
        let small = first | caseBit
        let begins = (small .== byte("g")) .| (small .== byte("t")) .| (small .== byte("k"))
        let underscore = (second .== byte("_")) .& begins
        let temporary = (small .== byte("m")) .& ((second | caseBit) .== byte("p"))
        let escape = (first .== byte("&")) .& (second .== byte("\""))
        return underscore .| temporary .| escape
    }

    /// Where the first semicolon of the block is, from its beginning; nil: it has none.
    @inline(__always)
    static func distanceToSemicolon(_ sql: UnsafeRawBufferPointer, at index: Int) -> Int? {
        distance(sql.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self) .== byte(";"))
    }

    /// The same of an opening parenthesis.
    @inline(__always)
    static func distanceToParenthesis(_ sql: UnsafeRawBufferPointer, at index: Int) -> Int? {
        distance(sql.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self) .== byte("("))
    }

    @inline(__always)
    private static func distance(_ found: SIMDMask<SIMD16<UInt8>.MaskStorage>) -> Int? {
        let words = unsafeBitCast(found, to: SIMD2<UInt64>.self)
        if words[0] | words[1] == 0 { return nil }
        if words[0] != 0 { return words[0].trailingZeroBitCount / 8 }
        return 8 + words[1].trailingZeroBitCount / 8
    }

    /// Whether these two letters (in lower case), one behind the other, begin in this block; 17 bytes must be there.
    @inline(__always)
    static func hasPair(
        _ one: Unicode.Scalar, _ two: Unicode.Scalar, _ sql: UnsafeRawBufferPointer, at index: Int
    ) -> Bool {
        let first = sql.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self) | caseBit
        let second = sql.loadUnaligned(fromByteOffset: index + 1, as: SIMD16<UInt8>.self) | caseBit
        let found = (first .== byte(one)) .& (second .== byte(two))
        let words = unsafeBitCast(found, to: SIMD2<UInt64>.self)
        return words[0] | words[1] != 0
    }

    private static var caseBit: SIMD16<UInt8> { SIMD16(repeating: 0x20) }

    @inline(__always)
    private static func byte(_ scalar: Unicode.Scalar) -> SIMD16<UInt8> {
        SIMD16(repeating: UInt8(ascii: scalar))
    }
}
