// SPDX-License-Identifier: Apache-2.0

/// What a text will surely leave in its session that can go to no other connection.
///
/// Narrower than `SessionTaint.inText`, which is only an occasion to ask: a text that is held back on this word
/// must be one that pins. What it does not see is seen afterwards.
package struct PinningText: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let temporaryObjects = PinningText(rawValue: 1)
    package static let heldCursors = PinningText(rawValue: 2)
    package static let advisoryLocks = PinningText(rawValue: 4)
    package static let seed = PinningText(rawValue: 8)
    package static let libraries = PinningText(rawValue: 16)
    package static let links = PinningText(rawValue: 32)

    /// Of all statements of the text. Those behind something that cannot be read are not looked at.
    package static func inText(_ sql: UnsafeRawBufferPointer) -> PinningText {
        var found: PinningText = []
        let taint = SessionTaint.inText(sql)
        var cursor = SQLCursor(sql)
        guard cursor.skipSpace() else { return found }
        // The body of a function that is created calls nothing yet.
        if lowercased(cursor.byte) != UInt8(ascii: "c") {
            if taint.has(.advisoryLocks) { found.formUnion(.advisoryLocks) }
            if taint.has(.links) { found.formUnion(.links) }
        }
        while cursor.skipSpace(), !cursor.isAtEnd {
            let start = cursor.offset
            let first = lowercased(cursor.byte)
            switch first {
            case UInt8(ascii: "c"), UInt8(ascii: "s"), UInt8(ascii: "w"):
                found.formUnion(createdOrSet(cursor, taint))
            case UInt8(ascii: "d"):
                if cursor.take("declare") { found.formUnion(declared(cursor)) }
            case UInt8(ascii: "l"):
                if cursor.take("load") { found.formUnion(.libraries) }
            default: break
            }
            guard cursor.skipStatement() else { break }
            while cursor.byte == UInt8(ascii: ";") { cursor.advance() }
            if cursor.offset == start { break }
        }
        return found
    }

    private static func createdOrSet(
        _ statement: SQLCursor, _ taint: SessionTaint
    ) -> PinningText {
        var cursor = statement
        if cursor.take("set") {
            guard cursor.skipSpace() else { return [] }
            if cursor.take("session") { guard cursor.skipSpace() else { return [] } }
            // A setting of that name has a sign behind it: `SET seed = 0.5` is the same as SET SEED.
            return cursor.take("seed") ? .seed : []
        }
        guard taint.has(.temporaryObjects) else { return [] }
        if cursor.take("create") {
            guard cursor.skipSpace() else { return [] }
            if cursor.take("or") {
                guard cursor.skipSpace(), cursor.take("replace"), cursor.skipSpace() else {
                    return []
                }
            }
            return takeTemporary(&cursor) && !endsWithTransaction(&cursor) ? .temporaryObjects : []
        }
        // SELECT … INTO TEMP t
        return createsByInto(cursor) ? .temporaryObjects : []
    }

    /// `[LOCAL | GLOBAL] TEMP[ORARY]`
    private static func takeTemporary(_ cursor: inout SQLCursor) -> Bool {
        if cursor.take("local") || cursor.take("global") {
            guard cursor.skipSpace() else { return false }
        }
        return cursor.take("temp") || cursor.take("temporary")
    }

    /// ON COMMIT DROP in the rest of the statement.
    private static func endsWithTransaction(_ cursor: inout SQLCursor) -> Bool {
        anyWord(&cursor) {
            guard $0.take("on"), $0.skipSpace(), $0.take("commit"), $0.skipSpace() else {
                return false
            }
            return $0.take("drop")
        }
    }

    private static func createsByInto(_ statement: SQLCursor) -> Bool {
        var cursor = statement
        guard cursor.take("select") || cursor.take("with") else { return false }
        return anyWord(&cursor) {
            guard $0.take("into"), $0.skipSpace() else { return false }
            return takeTemporary(&$0)
        }
    }

    private static func declared(_ statement: SQLCursor) -> PinningText {
        var cursor = statement
        let isHeld = anyWord(&cursor) {
            guard $0.take("with"), $0.skipSpace() else { return false }
            return $0.take("hold")
        }
        return isHeld ? .heldCursors : []
    }

    /// Whether what `matches` takes stands at some word of the rest of the statement, outside of quotes.
    private static func anyWord(
        _ cursor: inout SQLCursor, _ matches: (inout SQLCursor) -> Bool
    ) -> Bool {
        while cursor.skipSpace() {
            if cursor.isAtEnd || cursor.byte == UInt8(ascii: ";") { return false }
            var here = cursor
            if matches(&here) { return true }
            guard cursor.skipToken() else { return false }
        }
        return false
    }
}
