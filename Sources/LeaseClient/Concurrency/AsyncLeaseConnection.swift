// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// A leased connection for async code. Calls suspend the task; libpq's blocking work happens on a
/// thread of the lease's own.
///
/// For the time of `withLease`'s closure: afterwards every call throws ``LeaseError/Code/closed``. Child
/// tasks may share it; their statements then run one after the other, and a new statement ends a
/// stream that is not read to its end.
///
/// Calls throw ``LeaseError``, and `CancellationError` when the task is cancelled: the statement that
/// runs is cancelled at the server first. Reading values throws ``DecodeError``.
public final class AsyncLeaseConnection: Sendable {
    let host: SessionHost
    /// What the broker granted; nil only when there is no broker behind it.
    public let grant: LeaseGrant?

    init(_ host: SessionHost, grant: LeaseGrant?) {
        self.host = host
        self.grant = grant
    }

    /// The statements' timeout from here on; nil is for ever.
    public nonisolated(nonsending) func setStatementTimeout(_ timeout: Duration?) async throws {
        try await host.run { session, _ in session.statementTimeout = timeout }
    }

    // MARK: Statements

    /// One statement, all of its rows in memory. See ``SQL`` for how values go along.
    @discardableResult
    public nonisolated(nonsending) func query(
        _ statement: SQL, _ parameters: [(any PostgresEncodable)?] = [],
        format: ResultFormat = .text
    ) async throws -> Rows {
        let statement = statement.with(parameters)
        return try await host.run { try $0.run(statement, format, $1) }
    }

    /// One statement; returns how many rows it inserted, changed, deleted or returned.
    @discardableResult
    public nonisolated(nonsending) func execute(
        _ statement: SQL, _ parameters: [(any PostgresEncodable)?] = []
    ) async throws -> Int {
        try await query(statement, parameters).affectedRows
    }

    /// Several statements in one text, without values; one implicit transaction unless the text has
    /// its own. Returns what the last one answered.
    @discardableResult
    public nonisolated(nonsending) func executeScript(_ sql: String) async throws -> Rows {
        try await host.run { try $0.runScript(sql, $1) }
    }

    /// A statement that is parsed once, for this lease.
    public nonisolated(nonsending) func prepare(_ sql: String) async throws -> PreparedStatement {
        PreparedStatement(name: try await host.run { try $0.prepare(sql, $1) }, sql: sql)
    }

    @discardableResult
    public nonisolated(nonsending) func query(
        _ statement: PreparedStatement, _ parameters: [(any PostgresEncodable)?] = [],
        format: ResultFormat = .text
    ) async throws -> Rows {
        try await host.run { try $0.run(prepared: statement.name, parameters, format, $1) }
    }

    @discardableResult
    public nonisolated(nonsending) func execute(
        _ statement: PreparedStatement, _ parameters: [(any PostgresEncodable)?] = []
    ) async throws -> Int {
        try await query(statement, parameters).affectedRows
    }

    /// Sends all statements at once and reads their answers in order: one round trip. Outside of a
    /// transaction they are one implicit transaction. When one fails, the rest does not run and has
    /// ``LeaseError/Code/pipelineAborted``. Throws only when the connection is lost or the task
    /// cancelled.
    public nonisolated(nonsending) func pipeline(
        _ statements: [SQL], format: ResultFormat = .text
    ) async throws -> [Result<Rows, LeaseError>] {
        let outcomes = try await host.run { try $0.pipeline(statements, format, $1) }
        let isCancelled = outcomes.contains { outcome in
            if case .failure(.cancelled) = outcome { true } else { false }
        }
        if isCancelled { try Task.checkCancellation() }
        return outcomes
    }

    /// The rows as they come, with a bounded number in memory (single-row mode). The statement is
    /// sent before this returns. A stream that is not read to its end is cancelled by the next
    /// statement or the end of the lease, which in a transaction fails the transaction.
    public nonisolated(nonsending) func stream(
        _ statement: SQL, _ parameters: [(any PostgresEncodable)?] = [],
        format: ResultFormat = .text
    ) async throws -> RowStream {
        let statement = statement.with(parameters)
        let number = try await host.run { try $0.startStream(statement, format, $1) }
        return RowStream(host: host, number: number)
    }

    // MARK: Transactions

    /// Commits when `body` returns, rolls back when it throws or the task was cancelled. Inside
    /// another one it is a savepoint.
    public nonisolated(nonsending) func withTransaction<Result>(
        _ options: TransactionOptions,
        _ body: nonisolated(nonsending) (AsyncLeaseConnection) async throws -> Result
    ) async throws -> Result {
        let level = try await host.run { try $0.begin(options, $1) }
        do {
            let result = try await body(self)
            try await host.run { try $0.commit(to: level, $1) }
            return result
        } catch {
            try? await host.runUncancelled { session, _ in session.rollBack(to: level) }
            throw error
        }
    }

    public nonisolated(nonsending) func withTransaction<Result>(
        isolation: TransactionOptions.Isolation? = nil, readOnly: Bool = false,
        _ body: nonisolated(nonsending) (AsyncLeaseConnection) async throws -> Result
    ) async throws -> Result {
        try await withTransaction(
            TransactionOptions(isolation: isolation, isReadOnly: readOnly), body)
    }

    // MARK: Notifications

    /// LISTEN, for this lease.
    public nonisolated(nonsending) func listen(_ channel: String) async throws {
        try await execute("LISTEN \(identifier: channel)")
    }

    /// NOTIFY.
    public nonisolated(nonsending) func notify(
        _ channel: String, _ payload: String = ""
    ) async throws {
        try await execute("SELECT pg_notify(\(channel), \(payload))")
    }

    /// The next notification, one that came with an earlier answer included; nil when none came in
    /// that time. Without a time it waits for ever.
    public nonisolated(nonsending) func waitForNotification(
        within time: Duration?
    ) async throws -> LeaseNotification? {
        let deadline = time.map { ContinuousClock.now.advanced(by: $0) }
        return try await host.run { try $0.waitForNotification(until: deadline, $1) }
    }
}

/// The rows of a statement, as they come. Iterate it once.
public struct RowStream: AsyncSequence, Sendable {
    public typealias Element = Row
    /// How many rows are fetched at once at most, that not every row costs a change of threads.
    static let batch = 128

    let host: SessionHost
    let number: Int

    public func makeAsyncIterator() -> Iterator { Iterator(host: host, number: number) }

    /// Throws ``LeaseError`` or, when the task is cancelled, `CancellationError`; then the statement is
    /// over, and the connection goes on.
    public struct Iterator: AsyncIteratorProtocol {
        let host: SessionHost
        let number: Int
        var rows: ArraySlice<Row> = []
        var isAtEnd = false

        /// Nil at the end.
        public mutating func next(
            isolation actor: isolated (any Actor)? = #isolation
        ) async throws -> Row? {
            if let row = rows.popFirst() { return row }
            if isAtEnd { return nil }
            let number = self.number
            rows = try await host.run(isolation: actor) {
                try $0.nextRows(of: number, limit: RowStream.batch, $1)
            }[...]
            isAtEnd = rows.isEmpty
            return rows.popFirst()
        }
    }
}
