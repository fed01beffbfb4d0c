// SPDX-License-Identifier: Apache-2.0

/// A statement that ends a transaction: outside of one PostgreSQL answers it with a warning and its tag,
/// and nothing has changed.
package enum TransactionEnd: String, Equatable, Sendable {
    /// COMMIT and END.
    case commit = "COMMIT"
    /// ROLLBACK and ABORT.
    case rollback = "ROLLBACK"

    /// The tag of its answer.
    package var commandTag: String { rawValue }

    /// A text longer than this is none: it need not be looked at whole.
    package static let lengthLimit = 256

    /// What PostgreSQL says of it outside a transaction.
    package static let warning = PgError(
        severity: .warning, sqlState: .noActiveSqlTransaction,
        message: "there is no transaction in progress")

    /// The statement that this text consists of. nil also for those that are errors outside a transaction
    /// (AND CHAIN, TO a savepoint) or do something (PREPARED).
    package static func read(_ text: UnsafeRawBufferPointer) -> TransactionEnd? {
        guard text.count <= lengthLimit else { return nil }
        var cursor = SQLCursor(text)
        guard cursor.skipSpace() else { return nil }
        let end: TransactionEnd
        if cursor.take("commit") || cursor.take("end") {
            end = .commit
        } else if cursor.take("rollback") || cursor.take("abort") {
            end = .rollback
        } else {
            return nil
        }
        guard cursor.skipSpace() else { return nil }
        if cursor.take("work") || cursor.take("transaction") {
            guard cursor.skipSpace() else { return nil }
        }
        if cursor.take("and") {
            guard cursor.skipSpace(), cursor.take("no"), cursor.skipSpace(), cursor.take("chain"),
                cursor.skipSpace()
            else { return nil }
        }
        while cursor.byte == UInt8(ascii: ";") {
            cursor.advance()
            guard cursor.skipSpace() else { return nil }
        }
        return cursor.isAtEnd ? end : nil
    }
}
