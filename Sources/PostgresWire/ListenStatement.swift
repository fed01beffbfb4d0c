// SPDX-License-Identifier: Apache-2.0

/// One statement of a text, as far as it concerns what its session listens to: LISTEN and UNLISTEN, and what decides
/// whether they take effect.
package enum ListenStatement: Equatable, Sendable {
    case listen([UInt8])
    case unlisten([UInt8])
    /// UNLISTEN *, and DISCARD ALL.
    case unlistenAll
    case savepoint([UInt8])
    case release([UInt8])
    case rollbackTo([UInt8])
    /// COMMIT or END.
    case commit
    /// ROLLBACK or ABORT of the whole transaction.
    case rollback
    case other

    package var isAboutChannels: Bool {
        switch self {
        case .listen, .unlisten, .unlistenAll: true
        case .savepoint, .release, .rollbackTo, .commit, .rollback, .other: false
        }
    }

    /// The channel that it listens to.
    package var channel: [UInt8]? {
        if case .listen(let name) = self { return name }
        return nil
    }

    /// Whether LISTEN or UNLISTEN may be in the text. False is certain.
    package static func mayOccur(in sql: UnsafeRawBufferPointer) -> Bool {
        guard sql.count >= 8 else { return false }
        var index = 0
        while sql.count - index > TextBlock.size {
            if TextBlock.hasPair("i", "s", sql, at: index) {
                for offset in index..<index + TextBlock.size where stands(sql, at: offset) {
                    return true
                }
            }
            index += TextBlock.size
        }
        while index < sql.count {
            if stands(sql, at: index) { return true }
            index += 1
        }
        return false
    }

    /// Whether the "is" of "listen" is at `index`.
    @inline(__always)
    private static func stands(_ sql: UnsafeRawBufferPointer, at index: Int) -> Bool {
        guard index > 0, index + 4 < sql.count, sql[index] | 0x20 == UInt8(ascii: "i") else {
            return false
        }
        let word: StaticString = "listen"
        for offset in 0..<6 where sql[index - 1 + offset] | 0x20 != word.utf8Start[offset] {
            return false
        }
        return true
    }

    /// The statements of the text in their order, as they will be answered; nil where they cannot be told apart.
    package static func statements(of sql: UnsafeRawBufferPointer) -> [ListenStatement]? {
        var cursor = SQLCursor(sql)
        var found: [ListenStatement] = []
        while true {
            guard cursor.skipSpace() else { return nil }
            if cursor.isAtEnd { return found }
            if cursor.byte == UInt8(ascii: ";") {
                cursor.advance()
                continue
            }
            guard let statement = take(&cursor) else { return nil }
            // A list of statements in a function's body (BEGIN ATOMIC) is one statement.
            guard cursor.skipStatement() else { return nil }
            found.append(statement)
        }
    }

    private static func take(_ cursor: inout SQLCursor) -> ListenStatement? {
        switch lowercased(cursor.byte) {
        case UInt8(ascii: "l"):
            guard cursor.take("listen") else { return .other }
            return name(&cursor).map { .listen($0) }
        case UInt8(ascii: "u"):
            guard cursor.take("unlisten") else { return .other }
            guard cursor.skipSpace() else { return nil }
            if cursor.byte == UInt8(ascii: "*") { return .unlistenAll }
            return name(&cursor).map { .unlisten($0) }
        case UInt8(ascii: "s"):
            return cursor.take("savepoint") ? name(&cursor).map { .savepoint($0) } : .other
        case UInt8(ascii: "r"):
            if cursor.take("release") {
                guard cursor.skipSpace() else { return nil }
                // SAVEPOINT is no reserved word: alone it is a name.
                if cursor.take("savepoint") {
                    guard cursor.skipSpace() else { return nil }
                    let isName = cursor.isAtEnd || cursor.byte == UInt8(ascii: ";")
                    if isName { return .release(Array("savepoint".utf8)) }
                }
                return name(&cursor).map { .release($0) }
            }
            return cursor.take("rollback") ? rollback(&cursor) : .other
        case UInt8(ascii: "a"):
            return cursor.take("abort") ? .rollback : .other
        case UInt8(ascii: "c"):
            return cursor.take("commit") ? .commit : .other
        case UInt8(ascii: "d"):
            guard cursor.take("discard"), cursor.skipSpace() else { return .other }
            return cursor.take("all") ? .unlistenAll : .other
        case UInt8(ascii: "e"):
            return cursor.take("end") ? .commit : .other
        default:
            return .other
        }
    }

    private static func rollback(_ cursor: inout SQLCursor) -> ListenStatement? {
        guard cursor.skipSpace() else { return nil }
        if cursor.take("work") || cursor.take("transaction") {
            guard cursor.skipSpace() else { return nil }
        }
        guard cursor.take("to"), cursor.skipSpace() else { return .rollback }
        if cursor.take("savepoint") {
            guard cursor.skipSpace() else { return nil }
            let isName = cursor.isAtEnd || cursor.byte == UInt8(ascii: ";")
            if isName { return .rollbackTo(Array("savepoint".utf8)) }
        }
        return name(&cursor).map { .rollbackTo($0) }
    }

    /// As PostgreSQL looks it up: lower case unless quoted, and cut to 63 bytes.
    private static func name(_ cursor: inout SQLCursor) -> [UInt8]? {
        guard cursor.skipSpace(), var name = cursor.takeIdentifier() else { return nil }
        if name.count > nameLimit {
            var end = nameLimit
            // Not in the middle of a character.
            while end > 0, name[end] & 0xC0 == 0x80 { end -= 1 }
            name.removeSubrange(end...)
        }
        return name
    }

    /// `NAMEDATALEN` without its NUL.
    private static let nameLimit = 63
}
