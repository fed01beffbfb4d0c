// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// The table that a job reads, and how: in the order of a key, batch by batch, or as a whole.
///
/// Who reads holds nothing that another lease is waited for: a lease on a source is the last that a
/// batch takes, so it always comes back.
struct SourceTable: Sendable {
    let client: LeaseClient
    let shape: TableShape
    /// What is copied, in this order.
    let columns: [TableColumn]
    /// Empty when no columns order the table.
    let key: [TableColumn]
    let filter: FilterExpression?

    /// Looks the table up and checks the filter against it. Throws ``MissingTable``,
    /// ``FilterError``, ``LeaseError``.
    init(_ job: BackfillJob, _ client: LeaseClient) async throws {
        let table = TableName(job.tableName)
        let filter = try FilterExpression(filterSQL: job.filterSQL)
        shape = try await client.withLease(for: "backfill.sourceTable") { connection in
            try await TableShape.read(table, connection)
        }
        self.client = client
        self.filter = filter
        let shape = self.shape
        columns = shape.storedColumns
        key = (shape.orderingKey?.columns ?? []).compactMap { shape.column($0) }
        var values = StatementValues()
        _ = try filter?.condition(on: shape.columns, &values)
        if columns.isEmpty {
            throw BackfillFault(description: "the table \(table) has no column to copy")
        }
    }

    /// The key that a job is stored with, for tables with one of one column.
    var simpleKey: String? { key.count == 1 ? key[0].name : nil }

    func countRows() async throws -> Int {
        var values = StatementValues()
        let rows = try rowsClause(after: nil, &values)
        let bound = values
        return try await client.withLease(for: "backfill.countRows") { connection in
            try await connection.withTransaction(readOnly: true) { transaction in
                try await bound.send(transaction)
                return try await transaction.query(SQL("SELECT count(*) \(raw: rows)")).one(
                    Int.self)
            }
        }
    }

    /// The next rows in the order of the key, at most `limit`, and fewer when they have `bytes`.
    /// In a transaction of `connection`, or a savepoint when it has one open.
    nonisolated(nonsending) func readBatch(
        after last: [String]?, limit: Int, bytes: Int, _ connection: AsyncLeaseConnection
    ) async throws -> RowBatch {
        var values = StatementValues()
        let rows = try rowsClause(after: last, &values)
        let order = key.map(\.quotedName).joined(separator: ", ")
        let copy = SQL(
            """
            COPY (SELECT \(raw: columnList) \(raw: rows)
                ORDER BY \(raw: order) LIMIT \(raw: String(limit))) TO STDOUT
            """
        )
        let places = key.map { part in columns.firstIndex { $0.name == part.name }! }
        let bound = values
        do {
            return try await connection.withTransaction { transaction in
                try await bound.send(transaction)
                var batch = RowBatch()
                for try await chunk in try await transaction.copyOut(copy) {
                    batch.append(chunk, keyPlaces: places)
                    // What follows is not wanted: leaving the transaction cancels it.
                    if batch.bytes >= bytes { throw BatchIsFull(batch: batch) }
                }
                batch.isLast = batch.rows < limit
                return batch
            }
        } catch let full as BatchIsFull {
            return full.batch
        }
    }

    /// All rows, in one statement and so as they are at one moment, into a file. Returns their
    /// number.
    func readAll(into spool: RowSpool) async throws -> Int {
        var values = StatementValues()
        let rows = try rowsClause(after: nil, &values)
        let copy = SQL("COPY (SELECT \(raw: columnList) \(raw: rows)) TO STDOUT")
        let bound = values
        return try await client.withLease(for: "backfill.readTable") { connection in
            try await connection.withTransaction(readOnly: true) { transaction in
                try spool.clear()
                try await bound.send(transaction)
                var count = 0
                for try await chunk in try await transaction.copyOut(copy) {
                    count += CopyTextRow.count(in: chunk)
                    try spool.append(chunk)
                }
                return count
            }
        }
    }

    private var columnList: String { columns.map(\.quotedName).joined(separator: ", ") }

    /// `FROM table WHERE …`
    private func rowsClause(
        after last: [String]?, _ values: inout StatementValues
    ) throws -> String {
        var conditions: [String] = []
        if let filter {
            conditions.append("(\(try filter.condition(on: shape.columns, &values)))")
        }
        if let last {
            precondition(last.count == key.count, "a checkpoint of another key")
            let names = key.map(\.quotedName).joined(separator: ", ")
            var bounds: [String] = []
            for (column, value) in zip(key, last) {
                bounds.append(values.add(value, of: column))
            }
            conditions.append("(\(names)) > (\(bounds.joined(separator: ", ")))")
        }
        let condition = conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND ")
        return "FROM \(shape.table.quoted)\(condition)"
    }
}

/// Rows between source and destination, as COPY's text.
struct RowBatch: Sendable {
    private(set) var chunks: [[UInt8]] = []
    private(set) var rows = 0
    private(set) var bytes = 0
    /// Of the last row; COPY's text of each column of the key.
    private(set) var lastKey: [String] = []
    /// No row follows.
    var isLast = false

    mutating func append(_ chunk: [UInt8], keyPlaces: [Int]) {
        chunks.append(chunk)
        bytes += chunk.count
        rows += CopyTextRow.count(in: chunk)
        let last = CopyTextRow.last(in: chunk)
        lastKey = keyPlaces.map { place in
            guard let value = last[place] else {
                preconditionFailure("NULL in a column that is NOT NULL")
            }
            return value
        }
    }
}

private struct BatchIsFull: Error {
    let batch: RowBatch
}
