// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// A table that a job writes to, and how a batch gets into it so that a repeated one does no harm.
///
/// The rows go by COPY into a temporary table, and from there into the table in the same
/// transaction: a batch is there as a whole or not at all.
struct DestinationTable: Sendable {
    /// How rows that are there already are replaced.
    enum Replacement: Equatable, Sendable {
        /// A unique index decides: INSERT … ON CONFLICT.
        case upsert(key: [String])
        /// By columns that name a row at the source, without an index that says so here.
        case deleteThenInsert(key: [String])
        /// Nothing names a row.
        case none
    }

    private let staging = "pg_temp.pglease_batch"
    private static let finished = "pglease_backfill_finished"

    let target: BackfillTarget
    let replacement: Replacement
    private let client: LeaseClient
    private let shape: TableShape
    private let columns: [String]
    /// As they are in the temporary table.
    private let staged: [TableColumn]
    private let filter: FilterExpression?

    /// Looks the table up and checks that it takes all that the source has. Throws
    /// ``BackfillFault``, ``MissingTable``, ``FilterError``, ``LeaseError``.
    init(_ target: BackfillTarget, of source: SourceTable, _ client: LeaseClient) async throws {
        let shape = try await client.withLease(for: "backfill.destinationTable") { connection in
            try await TableShape.read(target.table, connection)
        }
        columns = source.columns.map(\.name)
        let missing = columns.filter { shape.column($0) == nil }
        if !missing.isEmpty {
            throw BackfillFault(
                description: "destination \"\(target.name)\": the table \(target.table) has no "
                    + "column \(missing.joined(separator: ", "))")
        }
        if let computed = columns.first(where: { shape.column($0)?.isGenerated == true }) {
            throw BackfillFault(
                description: "destination \"\(target.name)\": the column \(computed) of "
                    + "\(target.table) is generated there")
        }
        filter = try FilterExpression(filterSQL: target.filterSQL)
        var values = StatementValues()
        staged = columns.compactMap { shape.column($0) }
        _ = try filter?.condition(on: staged, &values)
        replacement = DestinationTable.replacement(source, shape)
        self.target = target
        self.client = client
        self.shape = shape
    }

    private static func replacement(_ source: SourceTable, _ shape: TableShape) -> Replacement {
        let names = source.columns.map(\.name)
        let key =
            source.key.isEmpty
            ? shape.orderingKey?.columns.filter { names.contains($0) } ?? []
            : source.key.map(\.name)
        if key.isEmpty { return .none }
        // A column GENERATED ALWAYS AS IDENTITY can be inserted, never changed.
        let isChangeable = !names.contains {
            !key.contains($0) && shape.column($0)?.isIdentityAlways == true
        }
        if shape.isUnique(on: key), isChangeable { return .upsert(key: key) }
        return source.key.isEmpty ? .none : .deleteThenInsert(key: key)
    }

    // MARK: Writing

    /// Runs `body` in a transaction of the destination that no change of a pipeline can come into:
    /// what `body` reads at the source and writes here is not older than what is here already.
    ///
    /// `wait` is for who holds another lease already: it bounds the wait, and there is no retry.
    func withMergeLock<Result: Sendable>(
        wait: Duration?,
        _ body: nonisolated(nonsending) (AsyncLeaseConnection) async throws -> Result
    ) async throws -> Result {
        try await client.withLease(
            for: "backfill.writeBatch", wait: wait, retry: wait == nil ? nil : RetryPolicy.once
        ) { connection in
            try await connection.withTransaction { transaction in
                try await transaction.query(
                    MergeLock.exclusive(schema: target.table.schema, table: target.table.name))
                return try await body(transaction)
            }
        }
    }

    /// One batch, in the transaction. Returns how many rows the table has taken: all, except those
    /// that the destination's own filter leaves out.
    nonisolated(nonsending) func write(
        _ batch: RowBatch, _ transaction: AsyncLeaseConnection
    ) async throws -> Int {
        if batch.rows == 0 { return 0 }
        let count = try await stage(transaction) { writer in
            for chunk in batch.chunks { try await writer.write(chunk) }
        }
        guard count == batch.rows else {
            throw fault("took \(count) of \(batch.rows) rows of a COPY")
        }
        return try await merge(transaction)
    }

    /// A whole table in one transaction, which also notes that it was done: after a lost answer or a
    /// killed process the same job finds the note and writes nothing again. Returns the rows written
    /// by this job.
    func writeAll(_ spool: RowSpool, job: BackfillJob) async throws -> Int {
        let note = "\(job.globalName)/\(target.tableSyncID)"
        return try await client.withLease(for: "backfill.writeTable") { connection in
            try await connection.withTransaction { transaction in
                try await self.makeNotes(transaction)
                let done = try await transaction.query(
                    SQL("SELECT rows FROM \(self.notes) WHERE job = $1", [note])
                ).decode(Int.self).first
                if let done { return done }
                try spool.rewind()
                _ = try await self.stage(transaction) { writer in
                    while let chunk = try spool.next() { try await writer.write(chunk) }
                }
                let rows = try await self.merge(transaction)
                try await transaction.execute(
                    SQL("INSERT INTO \(self.notes) (job, rows) VALUES ($1, $2)", [note, rows]))
                return rows
            }
        }
    }

    /// The job is over, nobody will ask for its note.
    func forget(_ job: BackfillJob) async throws {
        let note = "\(job.globalName)/\(target.tableSyncID)"
        try await client.withLease(for: "backfill.forget") { connection in
            _ = try await connection.execute(
                SQL("DELETE FROM \(self.notes) WHERE job = $1", [note]))
        }
    }

    private var notes: String {
        TableName(schema: target.table.schema, name: DestinationTable.finished).quoted
    }

    /// Two jobs that make it at the same time take turns.
    private nonisolated(nonsending) func makeNotes(
        _ transaction: AsyncLeaseConnection
    ) async throws {
        let isThere = SQL("SELECT to_regclass($1) IS NOT NULL", [notes])
        if try await transaction.query(isThere).one(Bool.self) { return }
        try await transaction.query(
            "SELECT pg_advisory_xact_lock(hashtext(\(DestinationTable.finished)))")
        try await transaction.execute(
            SQL(
                """
                CREATE TABLE IF NOT EXISTS \(raw: notes) (job text PRIMARY KEY, rows bigint NOT NULL,
                    finished_at timestamptz NOT NULL DEFAULT now())
                """))
    }

    private nonisolated(nonsending) func stage(
        _ transaction: AsyncLeaseConnection,
        _ body: nonisolated(nonsending) (AsyncCopyWriter) async throws -> Void
    ) async throws -> Int {
        var values = StatementValues()
        if let filter { _ = try filter.condition(on: self.staged, &values) }
        try await values.send(transaction)
        try await transaction.execute(
            SQL(
                """
                CREATE TEMPORARY TABLE pglease_batch ON COMMIT DROP AS
                SELECT \(raw: columnList) FROM \(raw: shape.table.quoted) WITH NO DATA
                """))
        return try await transaction.copyIn(
            SQL("COPY \(raw: staging) (\(raw: columnList)) FROM STDIN"), body)
    }

    /// From the temporary table into the real one.
    private nonisolated(nonsending) func merge(
        _ transaction: AsyncLeaseConnection
    ) async throws -> Int {
        if let filter {
            var values = StatementValues()
            let condition = try filter.condition(on: self.staged, &values)
            // Those of which it is not true, so also where it is NULL.
            try await transaction.execute(
                SQL(
                    "DELETE FROM \(raw: staging) WHERE (\(raw: condition)) IS NOT TRUE"
                ))
        }
        let wanted = try await transaction.query(
            SQL("SELECT count(*) FROM \(raw: staging)")
        ).one(Int.self)
        if case .deleteThenInsert(let key) = replacement {
            let match = key.map(quotedName)
                .map { "old.\($0) = new.\($0)" }.joined(separator: " AND ")
            try await transaction.execute(
                SQL(
                    """
                    DELETE FROM \(raw: shape.table.quoted) old USING \(raw: staging) new
                    WHERE \(raw: match)
                    """))
        }
        let written = try await transaction.execute(
            SQL(
                """
                INSERT INTO \(raw: shape.table.quoted) (\(raw: columnList)) OVERRIDING SYSTEM VALUE
                SELECT \(raw: columnList) FROM \(raw: staging) \(raw: conflictClause)
                """))
        // A trigger or a rule that swallows rows is a loss, even if nobody calls it an error.
        guard written == wanted || (keepsExisting && written <= wanted) else {
            throw fault("kept \(written) of \(wanted) rows: a trigger or a rule takes the others")
        }
        return wanted
    }

    private var conflictClause: String {
        guard case .upsert(let key) = replacement else { return "" }
        let target = key.map(quotedName).joined(separator: ", ")
        let others = columns.filter { !key.contains($0) }.map(quotedName)
        if others.isEmpty { return "ON CONFLICT (\(target)) DO NOTHING" }
        let changes = others.map { "\($0) = EXCLUDED.\($0)" }.joined(separator: ", ")
        return "ON CONFLICT (\(target)) DO UPDATE SET \(changes)"
    }

    /// A table that is all key has nothing to change in a row that is there.
    private var keepsExisting: Bool {
        guard case .upsert(let key) = replacement else { return false }
        return Set(key) == Set(columns)
    }

    private var columnList: String { columns.map(quotedName).joined(separator: ", ") }

    private func fault(_ what: String) -> BackfillFault {
        BackfillFault(description: "destination \"\(target.name)\": \(target.table) \(what)")
    }
}
