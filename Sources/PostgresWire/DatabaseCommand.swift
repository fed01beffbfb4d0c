// SPDX-License-Identifier: Apache-2.0

/// A text that wants a database for itself: PostgreSQL refuses it while anybody else is connected to that.
package enum DatabaseCommand {
    /// Which database; nil: it is no such text. `DROP DATABASE x`, `ALTER DATABASE x RENAME` (or `SET TABLESPACE`) and
    /// `CREATE DATABASE y … TEMPLATE x`, alone in their text, as PostgreSQL wants them.
    package static func database(wantedBy sql: UnsafeRawBufferPointer) -> String? {
        var cursor = SQLCursor(sql)
        guard cursor.skipSpace() else { return nil }
        switch lowercased(cursor.byte) {
        case UInt8(ascii: "d"):
            guard cursor.take("drop"), takeDatabase(&cursor) else { return nil }
            if cursor.take("if") {
                guard cursor.skipSpace(), cursor.take("exists"), cursor.skipSpace() else {
                    return nil
                }
            }
            return takeName(&cursor)
        case UInt8(ascii: "a"):
            guard cursor.take("alter"), takeDatabase(&cursor), let name = takeName(&cursor),
                cursor.skipSpace()
            else { return nil }
            if cursor.take("rename") { return name }
            guard cursor.take("set"), cursor.skipSpace(), cursor.take("tablespace") else {
                return nil
            }
            return name
        case UInt8(ascii: "c"):
            guard cursor.take("create"), takeDatabase(&cursor), takeName(&cursor) != nil else {
                return nil
            }
            return takeTemplate(&cursor)
        default: return nil
        }
    }

    private static func takeDatabase(_ cursor: inout SQLCursor) -> Bool {
        cursor.skipSpace() && cursor.take("database") && cursor.skipSpace()
    }

    private static func takeTemplate(_ cursor: inout SQLCursor) -> String? {
        while cursor.skipSpace(), !cursor.isAtEnd {
            guard cursor.take("template") else {
                guard cursor.skipToken() else { return nil }
                continue
            }
            guard cursor.skipSpace() else { return nil }
            if cursor.byte == UInt8(ascii: "=") {
                cursor.advance()
                guard cursor.skipSpace() else { return nil }
            }
            return takeName(&cursor)
        }
        return nil
    }

    private static func takeName(_ cursor: inout SQLCursor) -> String? {
        if cursor.byte == UInt8(ascii: "'") {
            // CREATE DATABASE takes a string as well.
            var name: [UInt8] = []
            cursor.advance()
            while !cursor.isAtEnd, cursor.byte != UInt8(ascii: "'") {
                name.append(cursor.byte)
                cursor.advance()
            }
            return String(validating: name, as: UTF8.self)
        }
        // PostgreSQL cuts longer names.
        return cursor.takeIdentifier().flatMap { String(validating: $0.prefix(63), as: UTF8.self) }
    }
}
