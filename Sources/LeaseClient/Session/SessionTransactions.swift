// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// BEGIN, COMMIT and savepoints.
extension Session {
    /// Opens a transaction, or a savepoint in the one that is open. Returns the level outside of it.
    func begin(_ options: TransactionOptions, _ interruption: Interruption) throws -> Int {
        try checkUsable()
        if transactionDepth > 0 {
            guard options == TransactionOptions() else {
                throw LeaseError.usage(
                    "a transaction inside a transaction is a savepoint: it has no isolation of its "
                        + "own")
            }
            _ = try runScript("SAVEPOINT lease_\(transactionDepth)", interruption)
        } else {
            if connection.transaction != .idle {
                throw LeaseError.usage("a transaction is open already, begun by a statement")
            }
            _ = try runScript(options.statement, interruption)
        }
        defer { transactionDepth += 1 }
        return transactionDepth
    }

    /// When it throws, `rollBack` is still due.
    func commit(to level: Int, _ interruption: Interruption) throws {
        if level > 0 {
            _ = try runScript("RELEASE SAVEPOINT lease_\(level)", interruption)
            transactionDepth = level
            return
        }
        let answer = try runScript("COMMIT", interruption)
        transactionDepth = level
        // PostgreSQL's way to say that nothing was committed, because a statement had failed.
        if answer.commandTag == "ROLLBACK" {
            throw LeaseError.sql(
                PostgresError(
                    sqlState: "25P02",
                    message: "the transaction was rolled back instead of committed",
                    detail: "A statement in it had failed, and its error was not passed on.",
                    hint: "Let the error leave the transaction's closure, or use a nested one."))
        }
    }

    /// Never throws: a connection that cannot roll back has a fault, and the server rolls back.
    func rollBack(to level: Int) {
        guard transactionDepth > level else { return }
        transactionDepth = level
        guard connection.processID == currentProcessID(), fault == nil, connection.isOpen else {
            return
        }
        try? endUnfinished()
        // A COMMIT that failed has ended it.
        if connection.transaction == .idle { return }
        let sql =
            level > 0
            ? "ROLLBACK TO SAVEPOINT lease_\(level); RELEASE SAVEPOINT lease_\(level)" : "ROLLBACK"
        let timeout = statementTimeout
        statementTimeout = grace
        defer { statementTimeout = timeout }
        do {
            _ = try runScript(sql, Interruption(waking: connection.wakeup))
        } catch {
            // The end of the lease sees a transaction that is open still, and deals with it.
        }
    }
}

/// How a transaction sees others.
public struct TransactionOptions: Equatable, Sendable {
    public enum Isolation: String, Sendable {
        case readCommitted = "READ COMMITTED"
        case repeatableRead = "REPEATABLE READ"
        case serializable = "SERIALIZABLE"
    }

    /// Nil is the session's default.
    public var isolation: Isolation?
    public var isReadOnly = false
    /// For a serializable read-only transaction: waits for a snapshot that cannot fail.
    public var isDeferrable = false

    public init(
        isolation: Isolation? = nil, isReadOnly: Bool = false, isDeferrable: Bool = false
    ) {
        self.isolation = isolation
        self.isReadOnly = isReadOnly
        self.isDeferrable = isDeferrable
    }

    var statement: String {
        var text = "BEGIN"
        if let isolation { text += " ISOLATION LEVEL \(isolation.rawValue)" }
        if isReadOnly { text += " READ ONLY" }
        if isDeferrable { text += " DEFERRABLE" }
        return text
    }
}
