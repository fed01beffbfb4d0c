// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// A leased connection for code that blocks. Every call waits on the calling thread until PostgreSQL
/// answers, the statement's timeout passes, ``canceller`` is used, or the connection is lost.
///
/// For one thread, and for the time of `withLease`'s closure: afterwards every call throws
/// ``LeaseError/Code/closed``. Calls throw ``LeaseError``; reading values throws ``DecodeError``.
public final class LeaseConnection {
    /// Nil once the lease is over.
    var session: Session?

    init(_ session: Session) { self.session = session }

    /// What the broker granted; nil only when there is no broker behind it.
    public var grant: LeaseGrant? { session?.grant }

    /// Cancels this connection's statements from other threads.
    public var canceller: StatementCanceller { session?.canceller ?? StatementCanceller() }

    /// The statements' timeout from here on; nil is for ever.
    public var statementTimeout: Duration? {
        get { session?.statementTimeout }
        set { session?.statementTimeout = newValue }
    }

    func use() throws(LeaseError) -> (Session, Interruption) {
        guard let session else { throw .closed }
        return (session, Interruption(waking: session.connection.wakeup))
    }

    // MARK: Statements

    /// One statement, all of its rows in memory. See ``SQL`` for how values go along.
    @discardableResult
    public func query(
        _ statement: SQL, _ parameters: [(any PostgresEncodable)?] = [],
        format: ResultFormat = .text
    ) throws -> Rows {
        let (session, interruption) = try use()
        return try session.run(statement.with(parameters), format, interruption)
    }

    /// One statement; returns how many rows it inserted, changed, deleted or returned.
    @discardableResult
    public func execute(
        _ statement: SQL, _ parameters: [(any PostgresEncodable)?] = []
    ) throws -> Int {
        try query(statement, parameters).affectedRows
    }

    /// Several statements in one text, without values; one implicit transaction unless the text has
    /// its own. Returns what the last one answered.
    @discardableResult
    public func executeScript(_ sql: String) throws -> Rows {
        let (session, interruption) = try use()
        return try session.runScript(sql, interruption)
    }

    /// The rows one after the other, with a bounded number in memory (single-row mode). An error
    /// thrown by `body` ends the statement by a cancel, which in a transaction fails the transaction.
    /// Other statements on this connection inside `body` end it too. Returns the number of rows.
    @discardableResult
    public func forEachRow(
        _ statement: SQL, _ parameters: [(any PostgresEncodable)?] = [],
        format: ResultFormat = .text, _ body: (Row) throws -> Void
    ) throws -> Int {
        let (session, interruption) = try use()
        let stream = try session.startStream(statement.with(parameters), format, interruption)
        var count = 0
        do {
            while true {
                let (session, interruption) = try use()
                let rows = try session.nextRows(of: stream, limit: 64, interruption)
                if rows.isEmpty { return count }
                for row in rows {
                    try body(row)
                    count += 1
                }
            }
        } catch {
            try? session.endUnfinished()
            throw error
        }
    }

    /// A statement that is parsed once, for this lease.
    public func prepare(_ sql: String) throws -> PreparedStatement {
        let (session, interruption) = try use()
        return PreparedStatement(name: try session.prepare(sql, interruption), sql: sql)
    }

    @discardableResult
    public func query(
        _ statement: PreparedStatement, _ parameters: [(any PostgresEncodable)?] = [],
        format: ResultFormat = .text
    ) throws -> Rows {
        let (session, interruption) = try use()
        return try session.run(prepared: statement.name, parameters, format, interruption)
    }

    @discardableResult
    public func execute(
        _ statement: PreparedStatement, _ parameters: [(any PostgresEncodable)?] = []
    ) throws -> Int {
        try query(statement, parameters).affectedRows
    }

    /// Sends all statements at once and reads their answers in order: one round trip. Outside of a
    /// transaction they are one implicit transaction. When one fails, the rest does not run and has
    /// ``LeaseError/Code/pipelineAborted``. Throws only when the connection is lost.
    public func pipeline(
        _ statements: [SQL], format: ResultFormat = .text
    ) throws -> [Result<Rows, LeaseError>] {
        let (session, interruption) = try use()
        return try session.pipeline(statements, format, interruption)
    }

    // MARK: Transactions

    /// Commits when `body` returns, rolls back when it throws. Inside another one it is a savepoint.
    public func withTransaction<Result>(
        _ options: TransactionOptions, _ body: (LeaseConnection) throws -> Result
    ) throws -> Result {
        let (session, interruption) = try use()
        let level = try session.begin(options, interruption)
        do {
            let result = try body(self)
            try session.commit(to: level, use().1)
            return result
        } catch {
            session.rollBack(to: level)
            throw error
        }
    }

    public func withTransaction<Result>(
        isolation: TransactionOptions.Isolation? = nil, readOnly: Bool = false,
        _ body: (LeaseConnection) throws -> Result
    ) throws -> Result {
        try withTransaction(
            TransactionOptions(isolation: isolation, isReadOnly: readOnly), body)
    }

    // MARK: Notifications

    /// LISTEN, for this lease.
    public func listen(_ channel: String) throws {
        try execute("LISTEN \(identifier: channel)")
    }

    /// NOTIFY.
    public func notify(_ channel: String, _ payload: String = "") throws {
        try execute("SELECT pg_notify(\(channel), \(payload))")
    }

    /// The next notification, one that came with an earlier answer included; nil when none came in
    /// that time. Without a time it waits for ever.
    public func waitForNotification(within time: Duration?) throws -> LeaseNotification? {
        let (session, interruption) = try use()
        return try session.waitForNotification(
            until: time.map { ContinuousClock.now.advanced(by: $0) }, interruption)
    }
}

/// A statement that the server has parsed, for the lease that prepared it.
public struct PreparedStatement: Sendable {
    let name: String
    public let sql: String
}
