extension SessionTaint {
    /// What the text of a statement shows and no command tag does: calls of `set_config`,
    /// session-level advisory locks, rows of `pg_settings` (whose update sets), temporary objects,
    /// connections of dblink.
    ///
    /// One pass that stops only at '_', 'm' and '&'. What looks like code inside a string or a
    /// comment counts.
    package static func inText(_ sql: UnsafeRawBufferPointer) -> SessionTaint {
        var taint: SessionTaint = []
        let count = sql.count
        var index = 0
        while index < count {
            let byte = sql[index]
            if byte == UInt8(ascii: "_") {
                taint.formUnion(aroundUnderscore(sql, index))
            } else if byte | 0x20 == UInt8(ascii: "m") {
                if isTemporary(sql, index) { taint.formUnion(.temporaryObjects) }
            } else if byte == UInt8(ascii: "&"), isEscapedIdentifier(sql, index) {
                taint.formUnion(.other)
            }
            index += 1
        }
        return taint
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
            return callsHarmlessly(sql, from: index + 7) ? .harmlessSettings : .settings
        }
        if matches(sql, at: index - 6, "dblink_connect") { return .other }
        guard startsWord(sql, at: index - 2), matches(sql, at: index - 2, "pg_") else { return [] }
        if matches(sql, at: index + 1, "temp") { return .temporaryObjects }
        if matches(sql, at: index + 1, "settings") { return .settings }
        // pg_advisory_xact_… ends with the transaction and pg_advisory_unlock… only gives back.
        if matches(sql, at: index + 1, "advisory_lock")
            || matches(sql, at: index + 1, "try_advisory_lock")
        {
            return .advisoryLocks
        }
        return []
    }

    /// Whether the first argument behind `set_config` is the literal name of a harmless setting.
    private static func callsHarmlessly(_ sql: UnsafeRawBufferPointer, from end: Int) -> Bool {
        var index = end
        func skipSpace() { while index < sql.count, isSpace(sql[index]) { index += 1 } }
        skipSpace()
        guard index < sql.count, sql[index] == UInt8(ascii: "(") else { return false }
        index += 1
        skipSpace()
        guard index < sql.count, sql[index] == UInt8(ascii: "'") else { return false }
        index += 1
        let start = index
        while index < sql.count, isIdentifierByte(sql[index]) || sql[index] == UInt8(ascii: ".") {
            index += 1
        }
        guard index > start, index < sql.count, sql[index] == UInt8(ascii: "'") else {
            return false
        }
        let nameEnd = index
        index += 1
        skipSpace()
        guard index < sql.count, sql[index] == UInt8(ascii: ",") else { return false }
        let name = String(decoding: sql[start..<nameEnd], as: UTF8.self)
        return ParseMeaning.isHarmless(setting: name.lowercased())
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
