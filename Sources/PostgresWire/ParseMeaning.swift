// SPDX-License-Identifier: Apache-2.0

/// What bears on the meaning of a text at the moment in which the server parses it, and what does not.
///
/// Literals are read by their types' input functions when a statement is parsed, names are looked up, and
/// the lexer itself obeys settings. So nearly every setting counts; those that do not are listed.
package enum ParseMeaning {
    /// Whether the setting (its name in lower case) bears on no meaning. What is not known here counts.
    ///
    /// Settings of a class (`app.tenant`) are read by functions when a statement runs, never when PostgreSQL
    /// parses it.
    package static func isHarmless(setting name: some StringProtocol) -> Bool {
        if name.utf8.contains(UInt8(ascii: ".")) { return true }
        if name.hasPrefix("log_") || name.hasPrefix("tcp_") || name.hasPrefix("track_") {
            return true
        }
        switch name {
        case "application_name", "client_connection_check_interval", "client_min_messages",
            "commit_delay", "commit_siblings", "deadlock_timeout",
            "idle_in_transaction_session_timeout",
            "idle_session_timeout", "lock_timeout", "statement_timeout", "synchronous_commit",
            "transaction_timeout":
            return true
        default: return false
        }
    }

    /// Whether a literal of the text may be the time of its Parse (`'now'`, `'today 12:00'`): then its
    /// meaning is that of one Parse only. A backslash may spell any of these words.
    package static func dependsOnTime(_ sql: UnsafeRawBufferPointer) -> Bool {
        var mayQuote = false
        var hasWord = false
        var index = 0
        while index < sql.count {
            switch sql[index] {
            case UInt8(ascii: "n"), UInt8(ascii: "N"):
                hasWord = hasWord || (isWord(sql, index, "now") && !isCalled(sql, index + 3))
            case UInt8(ascii: "t"), UInt8(ascii: "T"):
                hasWord = hasWord || isWord(sql, index, "today") || isWord(sql, index, "tomorrow")
            case UInt8(ascii: "y"), UInt8(ascii: "Y"):
                hasWord = hasWord || isWord(sql, index, "yesterday")
            case UInt8(ascii: "'"), UInt8(ascii: "$"): mayQuote = true
            case UInt8(ascii: "\\"): return true
            case UInt8(ascii: "&"):
                // U&'…' may spell them, too.
                if index + 1 < sql.count, sql[index + 1] == UInt8(ascii: "'") { return true }
            default: break
            }
            index += 1
        }
        return hasWord && mayQuote
    }

    /// The word (in lower case) with no letter or '_' on either side: digits may touch it in a time.
    private static func isWord(
        _ sql: UnsafeRawBufferPointer, _ start: Int, _ word: StaticString
    ) -> Bool {
        let end = start + word.utf8CodeUnitCount
        guard end <= sql.count else { return false }
        for offset in 0..<word.utf8CodeUnitCount
        where lowercased(sql[start + offset]) != word.utf8Start[offset] {
            return false
        }
        return !isLetter(sql, start - 1) && !isLetter(sql, end)
    }

    private static func isLetter(_ sql: UnsafeRawBufferPointer, _ index: Int) -> Bool {
        guard index >= 0, index < sql.count else { return false }
        let byte = sql[index]
        return (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    /// `now()`
    private static func isCalled(_ sql: UnsafeRawBufferPointer, _ end: Int) -> Bool {
        var index = end
        while index < sql.count, isSpace(sql[index]) { index += 1 }
        return index < sql.count && sql[index] == UInt8(ascii: "(")
    }
}

/// How far a statement reaches that is a SET and nothing else.
///
/// Public and inlinable as `SessionTaint` is: the generic functions of `SetAlgebra` go through a witness table.
@frozen public struct SetScope: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable public static var nothing: SetScope { SetScope(rawValue: 0) }
    /// It ends with the transaction.
    @inlinable public static var local: SetScope { SetScope(rawValue: 1) }
    /// It bears on the meaning of no text (`ParseMeaning`).
    @inlinable public static var harmless: SetScope { SetScope(rawValue: 2) }

    /// The lease knows by name all that it sets.
    @inlinable public static var named: SetScope { SetScope(rawValue: 4) }

    @inlinable public var isEmpty: Bool { rawValue == 0 }
    @inlinable public var isNamed: Bool { rawValue & 4 != 0 }
    @inlinable public var isLocal: Bool { rawValue & 1 != 0 }
    @inlinable public var isHarmless: Bool { rawValue & 2 != 0 }

    @inlinable
    public mutating func formUnion(_ other: SetScope) {
        self = SetScope(rawValue: rawValue | other.rawValue)
    }

    /// The scope of a text that is one SET LOCAL, SET TRANSACTION or SET CONSTRAINTS, or one SET of a
    /// harmless name; nothing of all else.
    package static func of(_ sql: UnsafeRawBufferPointer) -> SetScope {
        var cursor = SQLCursor(sql)
        guard cursor.skipSpace(), lowercased(cursor.byte) == UInt8(ascii: "s"), cursor.take("set")
        else { return .nothing }
        let scope: SetScope = SessionTaint.isTransactionLocalSet(sql) ? .local : .nothing
        guard cursor.skipSpace() else { return scope }
        if scope.isLocal, !cursor.take("local") { return SetScope(rawValue: 3) }
        if scope.isEmpty, cursor.take("session") {}
        guard cursor.skipSpace(), let name = takeName(&cursor),
            ParseMeaning.isHarmless(setting: name)
        else { return scope }
        if scope.isEmpty {
            // One statement only.
            while !cursor.isAtEnd, cursor.byte != UInt8(ascii: ";") { cursor.advance() }
            while isSpace(cursor.byte) || cursor.byte == UInt8(ascii: ";") { cursor.advance() }
            guard cursor.isAtEnd else { return .nothing }
        }
        return SetScope(rawValue: scope.rawValue | SetScope.harmless.rawValue)
    }

    private static func takeName(_ cursor: inout SQLCursor) -> String? {
        guard var name = cursor.takeIdentifier() else { return nil }
        while cursor.byte == UInt8(ascii: ".") {
            cursor.advance()
            guard let part = cursor.takeIdentifier() else { return nil }
            name += [UInt8(ascii: ".")] + part
        }
        return String(decoding: name, as: UTF8.self).lowercased()
    }
}
