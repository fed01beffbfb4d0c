// SPDX-License-Identifier: Apache-2.0

/// What one statement puts back to the session's defaults.
package enum SettingsReset: Equatable, Sendable {
    /// The setting of this name, in lower case.
    case one(String)
    case all
    /// Not known: one, or all.
    case unknown
    /// Sets the setting of this name: what put it back in front does not count.
    case sets(String)
    /// Something was set behind those in front, it is not known what: a reported value may be that.
    case overridden
    /// Something may be, in a function or a DO block: a value that is reported as the server's own may be that.
    case hidden

    /// Whether the setting, its name in lower case, went back for certain.
    package func covers(_ name: String) -> Bool {
        switch self {
        case .one(let one): one == name || Self.comeAlong[one]?.contains(name) == true
        case .all: !Self.identity.contains(name)
        case .unknown, .overridden, .hidden, .sets: false
        }
    }

    /// RESET ALL leaves these alone; DISCARD ALL is a RESET SESSION AUTHORIZATION besides.
    private static let identity = ["role", "session_authorization", "is_superuser"]

    /// What else goes back with the session's user, and with its role.
    private static let comeAlong = [
        "session_authorization": ["role", "is_superuser"], "role": ["is_superuser"],
    ]

    /// Whether the last of these that are about the setting, its name in lower case, puts it back.
    package static func putsBack(
        _ name: String, in resets: some BidirectionalCollection<SettingsReset>
    ) -> Bool {
        for reset in resets.reversed() {
            if reset == .sets(name) { return false }
            if reset.covers(name) { return true }
        }
        return false
    }

    /// For each statement of the text that is answered with the tag SET or RESET, in their order, what it
    /// puts back; nil for one that sets. Empty where nothing is put back, nil where the text cannot be
    /// taken apart. Costs little for a text that is one statement and begins with neither word.
    package static func statements(of sql: UnsafeRawBufferPointer) -> [SettingsReset?]? {
        guard mayReset(sql) else { return [] }
        var statements: [SettingsReset?] = []
        var cursor = SQLCursor(sql)
        while true {
            guard cursor.skipSpace() else { return nil }
            switch lowercased(cursor.byte) {
            case 0:
                return statements.contains(where: isReset) ? statements : []
            case UInt8(ascii: ";"):
                cursor.advance()
                continue
            case UInt8(ascii: "r"):
                if cursor.take("reset") { statements.append(afterReset(&cursor)) }
            case UInt8(ascii: "s"):
                if cursor.take("set") { statements.append(afterSet(cursor)) }
            default:
                break
            }
            guard cursor.skipStatement() else { return nil }
        }
    }

    private static func afterReset(_ cursor: inout SQLCursor) -> SettingsReset {
        switch SessionSetting.takeReset(&cursor) {
        case .resetAll: .all
        case .reset(let name): .one(name)
        case .set, nil: .unknown
        }
    }

    private static func isReset(_ statement: SettingsReset?) -> Bool {
        switch statement {
        case .one?, .all?, .unknown?: true
        case .sets?, .overridden?, .hidden?, nil: false
        }
    }

    /// `SET x TO DEFAULT` is a reset with another tag.
    private static func afterSet(_ cursor: SQLCursor) -> SettingsReset? {
        var ahead = cursor
        switch SessionSetting.takeSet(&ahead) {
        case .reset(let name)?: return .one(name)
        case .set(let name, _)?: return .sets(name)
        case .resetAll?, nil: return afterSetOfTransaction(cursor)
        }
    }

    /// What is the transaction's is never reported.
    private static func afterSetOfTransaction(_ cursor: SQLCursor) -> SettingsReset? {
        var cursor = cursor
        return cursor.skipSpace()
            && cursor.takeIdentifier()?.starts(with: "transaction".utf8) == true
            ? .sets("transaction") : nil
    }

    /// DISCARD ALL, which has a tag of its own, and is the only statement of its text.
    package static func isDiscardAll(_ sql: UnsafeRawBufferPointer) -> Bool {
        var cursor = SQLCursor(sql)
        return cursor.skipSpace() && cursor.take("discard") && cursor.skipSpace()
            && cursor.take("all")
    }

    /// What the text puts back that is one statement: more are none in the extended protocol.
    package static func statement(_ sql: UnsafeRawBufferPointer) -> SettingsReset? {
        if isDiscardAll(sql) { return .all }
        guard mayBegin(sql, at: firstByte(of: sql)) else { return nil }
        return statements(of: sql)?.first ?? nil
    }

    private static func firstByte(of sql: UnsafeRawBufferPointer) -> Int {
        var index = 0
        while index < sql.count, isSpace(sql[index]) { index += 1 }
        return index
    }

    /// Whether a statement of the text may begin with one of the two words: the first one does, or there
    /// is another behind it.
    private static func mayReset(_ sql: UnsafeRawBufferPointer) -> Bool {
        let first = firstByte(of: sql)
        return mayBegin(sql, at: first) || hasSeveralStatements(sql, from: first)
    }

    private static func mayBegin(_ sql: UnsafeRawBufferPointer, at index: Int) -> Bool {
        guard index < sql.count else { return false }
        switch lowercased(sql[index]) {
        case UInt8(ascii: "r"), UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: ";"):
            return true
        case UInt8(ascii: "s"):
            // Not SELECT.
            return index + 2 < sql.count && lowercased(sql[index + 2]) == UInt8(ascii: "t")
        default:
            return false
        }
    }

    /// Whether something besides white space stands behind a semicolon, wherever that is.
    private static func hasSeveralStatements(
        _ sql: UnsafeRawBufferPointer, from start: Int
    ) -> Bool {
        var index = start
        // Eight bytes at once: the high bit of each that is a semicolon.
        let sought: UInt64 = 0x3b3b_3b3b_3b3b_3b3b
        while index + 8 <= sql.count {
            let word = sql.loadUnaligned(fromByteOffset: index, as: UInt64.self) ^ sought
            if (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 != 0 { break }
            index += 8
        }
        while index < sql.count, sql[index] != UInt8(ascii: ";") { index += 1 }
        while index < sql.count,
            isSpace(sql[index]) || sql[index] == UInt8(ascii: ";") || sql[index] == 0
        {
            index += 1
        }
        return index < sql.count
    }
}
