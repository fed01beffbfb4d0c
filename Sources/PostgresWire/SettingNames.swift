// SPDX-License-Identifier: Apache-2.0

/// What a text may set in its session, as far as it says so by name.
///
/// A server lists the settings of its session, but not those of classes that no library has declared (`app.tenant`):
/// these it must be asked for by name. And where all that a text sets is named, asking for these few costs a
/// tenth of the list.
package struct SettingNames: Equatable, Sendable {
    /// In lower case, each once.
    package private(set) var names: [String] = []
    /// How many statements of it are answered with the tag SET.
    package private(set) var sets = 0
    /// It sets nothing besides. False also where the names are only those that it might mean.
    package private(set) var isComplete = true

    package static let none = SettingNames()

    /// More are not kept apart.
    package static let limit = 64

    package init() {}

    package mutating func formUnion(_ other: SettingNames) {
        for name in other.names { add(name) }
        sets += other.sets
        isComplete = isComplete && other.isComplete
    }

    package mutating func add(_ name: String) {
        if names.contains(name) { return }
        guard names.count < Self.limit else {
            isComplete = false
            return
        }
        names.append(name)
    }

    /// Something is set that is not known.
    package mutating func leaveOpen() { isComplete = false }

    // MARK: In a text

    /// What the text sets for its session by SET and `set_config`. Where it may do so in another way (DO, CALL,
    /// EXECUTE, an update of `pg_settings`), whatever in it looks like the name of a class's setting.
    package static func inText(_ sql: UnsafeRawBufferPointer) -> SettingNames {
        var found = SettingNames()
        var cursor = SQLCursor(sql)
        while true {
            guard cursor.skipSpace() else {
                found.isComplete = false
                break
            }
            if cursor.isAtEnd { break }
            if cursor.byte == UInt8(ascii: ";") || cursor.byte == UInt8(ascii: "(") {
                cursor.advance()
                continue
            }
            found.takeStatement(&cursor)
            guard cursor.skipStatement() else {
                found.isComplete = false
                break
            }
        }
        if sql.count > 0 { found.addCalls(in: sql) }
        if !found.isComplete { found.addClassNames(in: sql) }
        return found
    }

    private mutating func takeStatement(_ cursor: inout SQLCursor) {
        switch lowercased(cursor.byte) {
        case UInt8(ascii: "s"):
            if cursor.take("set") {
                sets += 1
                takeSet(&cursor)
            }
        case UInt8(ascii: "r"):
            if cursor.take("reset") { isComplete = false }
        case UInt8(ascii: "d"):
            if cursor.take("do") || cursor.take("discard") { isComplete = false }
        case UInt8(ascii: "c"):
            if cursor.take("call") { isComplete = false }
        case UInt8(ascii: "e"):
            if cursor.take("execute") || cursor.take("explain") { isComplete = false }
        case UInt8(ascii: "p"):
            if cursor.take("prepare") { isComplete = false }
        default:
            break
        }
    }

    /// Behind SET.
    private mutating func takeSet(_ cursor: inout SQLCursor) {
        guard cursor.skipSpace() else { return leaveOpen() }
        var start = cursor
        if cursor.take("local") || cursor.take("transaction") || cursor.take("constraints") {
            // None of the three is reserved: `SET local.x = 1` sets a variable of the session.
            guard cursor.skipSpace() else { return leaveOpen() }
            if cursor.byte != UInt8(ascii: "."), cursor.byte != UInt8(ascii: "=") {
                // The session knows the name of a class's setting from then on.
                if let name = SessionSetting.takeName(&cursor), name.contains(".") { add(name) }
                return
            }
            cursor = start
        } else if cursor.take("session") {
            guard cursor.skipSpace() else { return leaveOpen() }
            if cursor.byte == UInt8(ascii: ".") || cursor.byte == UInt8(ascii: "=") {
                cursor = start
            } else if cursor.take("characteristics") {
                for name in ["isolation", "read_only", "deferrable"] {
                    add("default_transaction_\(name)")
                }
                return
            } else if cursor.take("authorization") {
                // Who the session is, is always asked.
                return
            } else {
                start = cursor
            }
        }
        if cursor.take("time") {
            guard cursor.skipSpace() else { return leaveOpen() }
            if cursor.take("zone") { return takeValue(of: "timezone", &cursor) }
            cursor = start
        } else if cursor.take("xml") {
            guard cursor.skipSpace() else { return leaveOpen() }
            if cursor.take("option") { return add("xmloption") }
            cursor = start
        } else if cursor.take("names") {
            guard cursor.skipSpace() else { return leaveOpen() }
            if cursor.byte != UInt8(ascii: "."), cursor.byte != UInt8(ascii: "=") {
                return takeValue(of: "client_encoding", &cursor)
            }
            cursor = start
        } else if cursor.take("schema") {
            guard cursor.skipSpace() else { return leaveOpen() }
            if cursor.byte == UInt8(ascii: "'") || cursor.byte | 0x20 == UInt8(ascii: "u") {
                return add("search_path")
            }
            cursor = start
        } else if cursor.take("role") {
            return
        }
        guard let name = SessionSetting.takeName(&cursor) else { return leaveOpen() }
        if name != "role", name != "session_authorization", !name.hasPrefix("transaction_") {
            takeValue(of: name, &cursor)
        }
    }

    /// Behind the name. DEFAULT, LOCAL and nothing at all put it back: to what, is not the server's to say.
    private mutating func takeValue(of name: String, _ cursor: inout SQLCursor) {
        add(name)
        guard cursor.skipSpace() else { return leaveOpen() }
        if cursor.byte == UInt8(ascii: "=") {
            cursor.advance()
        } else {
            _ = cursor.take("to")
        }
        guard cursor.skipSpace() else { return leaveOpen() }
        if cursor.isAtEnd || cursor.byte == UInt8(ascii: ";") || cursor.take("default")
            || (name == "timezone" && cursor.take("local"))
        {
            leaveOpen()
        }
    }

    /// Calls of `set_config` anywhere in the text, and what sets without naming it.
    private mutating func addCalls(in sql: UnsafeRawBufferPointer) {
        var index = 0
        while let underscore = sql.nextUnderscore(from: index) {
            index = underscore + 1
            if isWord("set_config", sql, at: underscore - 3) {
                var end = underscore + 7
                if end < sql.count, sql[end] == UInt8(ascii: "\"") { end += 1 }
                var cursor = SQLCursor(UnsafeRawBufferPointer(rebasing: sql[end...]))
                guard let name = SessionSetting.takeFirstLiteral(&cursor) else {
                    isComplete = false
                    continue
                }
                add(name)
            } else if isWord("pg_settings", sql, at: underscore - 2) {
                isComplete = false
            }
        }
    }

    // MARK: Names of classes

    /// Everything in these bytes that might be the name of a setting of a class: names that points join.
    package mutating func addClassNames(in bytes: UnsafeRawBufferPointer) {
        var index = 0
        while index < bytes.count {
            guard Self.beginsName(bytes[index]) else {
                index += 1
                continue
            }
            let start = index
            var points = 0
            while index < bytes.count {
                if isIdentifierByte(bytes[index]) {
                    index += 1
                } else if bytes[index] == UInt8(ascii: "."), index + 1 < bytes.count,
                    Self.beginsName(bytes[index + 1])
                {
                    points += 1
                    index += 1
                } else {
                    break
                }
            }
            guard points > 0, index - start < 64 * (points + 1), names.count < Self.limit,
                bytes[start..<index].allSatisfy({ $0 < 0x80 })
            else { continue }
            let name = String(decoding: bytes[start..<index].map(lowercased), as: UTF8.self)
            if !name.hasPrefix("pg_catalog.") { add(name) }
        }
    }

    private static func beginsName(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte == UInt8(ascii: "_")
    }

    /// Whether the word (in lower case) stands at `start` by itself.
    private func isWord(
        _ word: StaticString, _ sql: UnsafeRawBufferPointer, at start: Int
    ) -> Bool {
        let end = start + word.utf8CodeUnitCount
        guard start >= 0, end <= sql.count else { return false }
        for offset in 0..<word.utf8CodeUnitCount
        where lowercased(sql[start + offset]) != word.utf8Start[offset] {
            return false
        }
        return (start == 0 || !isIdentifierByte(sql[start - 1]))
            && (end == sql.count || !isIdentifierByte(sql[end]))
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func nextUnderscore(from start: Int) -> Int? {
        var index = start
        while index < count {
            if self[index] == UInt8(ascii: "_") { return index }
            index += 1
        }
        return nil
    }
}
