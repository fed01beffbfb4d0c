// SPDX-License-Identifier: Apache-2.0

/// A text that is one DEALLOCATE and nothing else. The broker keeps clients' prepared statements
/// under names of its own, so a server would not know the name in it.
package enum DeallocateText: Equatable, Sendable {
    case all
    /// As PostgreSQL would look it up: lower case unless it was quoted.
    case name([UInt8])

    /// `DEALLOCATE [PREPARE] { name | ALL } [;]`, comments and white space allowed; nil for all
    /// else.
    package static func parse(_ sql: UnsafeRawBufferPointer) -> DeallocateText? {
        var cursor = SQLCursor(sql)
        guard cursor.skipSpace(), lowercased(cursor.byte) == UInt8(ascii: "d"),
            cursor.take("deallocate"), cursor.skipSpace()
        else { return nil }
        let target: DeallocateText
        if cursor.take("prepare") {
            guard cursor.skipSpace() else { return nil }
            // PREPARE is no reserved word: alone it is the statement's name.
            let isName = cursor.isAtEnd || cursor.byte == UInt8(ascii: ";")
            guard let named = isName ? .name(Array("prepare".utf8)) : takeTarget(&cursor) else {
                return nil
            }
            target = named
        } else {
            guard let named = takeTarget(&cursor) else { return nil }
            target = named
        }
        guard cursor.skipSpace() else { return nil }
        while cursor.byte == UInt8(ascii: ";") {
            cursor.advance()
            guard cursor.skipSpace() else { return nil }
        }
        return cursor.isAtEnd ? target : nil
    }

    private static func takeTarget(_ cursor: inout SQLCursor) -> DeallocateText? {
        if cursor.take("all") { return .all }
        return cursor.takeIdentifier().map { .name($0) }
    }
}
