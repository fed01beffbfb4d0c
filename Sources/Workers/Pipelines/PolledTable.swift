// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// One table that is replicated by asking the source again and again: rows whose polling column
/// went beyond where the last look ended.
///
/// Invariant: the place is kept at the destination, in the same transaction as the rows. Deletes
/// are not seen, nor rows whose polling column is NULL. What the destination's filter leaves out is
/// said by the source, in the same query: of such a row only the key is read, and deleted.
final class PolledTable {
    /// Timestamps are taken before a transaction commits, so rows may appear behind the place: for
    /// this long they are read again. Upserts make that harmless.
    private static let overlapSeconds = 60
    private static let pageSize = 1000
    static let progressName = "pglease_polling_progress"

    let table: PipelineDefinition.Table
    private let destination: PipelineDefinition.Destination
    private let statement: RowStatement
    /// The polling column, then the key: their places in the mapping.
    private let order: [Int]
    private let key: [Int]
    private let isTime: Bool
    /// The table at the source.
    private let read: TableShape
    /// The values of `order` at the last row; nil before the first look.
    private var place: [String?]?

    /// Looks the table up on both sides. Throws ``PipelineFailure`` when it cannot be polled.
    init(
        _ table: PipelineDefinition.Table, _ destination: PipelineDefinition.Destination,
        source: LeaseClient, target: LeaseClient
    ) throws {
        self.table = table
        self.destination = destination
        func load(_ name: TableName, _ client: LeaseClient) throws -> TableShape {
            try client.withLease(for: "pipeline.prepare") { try TableShape.read(name, $0) }
        }
        let read = try load(table.source, source)
        let mapping = try TableMapping(
            PgoutputMessage.Relation(
                id: 0, schema: table.source.schema, name: table.source.name, identity: .full,
                columns: read.columns.map {
                    .init(isKey: true, name: $0.name, type: 0, modifier: -1)
                }), into: try load(table.target, target))
        guard case .key(let key) = mapping.identity else {
            throw PipelineFailure(
                "\(table.target) has no unique index over columns of \(table.source), which "
                    + "polling needs: create one", isPassing: false)
        }
        let column = try Self.column(table, read, key, mapping)
        self.key = key
        self.read = read
        // Only what arrives at the destination can be asked for, as in a stream.
        _ = try table.rowFilter(on: mapping)
        order = [column] + key.filter { $0 != column }
        isTime = read.columns[column].type.hasPrefix("timestamp")
        statement = RowStatement(mapping)
    }

    /// The one that is configured, else a timestamp of a name that says enough, else the key, which
    /// shows new rows only.
    private static func column(
        _ table: PipelineDefinition.Table, _ read: TableShape, _ key: [Int],
        _ mapping: TableMapping
    ) throws -> Int {
        let names = mapping.columns.map(\.name)
        if let wanted = table.pollingColumn {
            guard let found = names.firstIndex(of: wanted) else {
                throw PipelineFailure(
                    "\(table.source) has no column \"\(wanted)\" (polling_column)",
                    isPassing: false)
            }
            return found
        }
        for name in ["updated_at", "modified_at", "last_modified", "last_updated"] {
            if let found = names.firstIndex(of: name),
                read.columns[found].type.hasPrefix("timestamp")
            {
                return found
            }
        }
        guard key.count == 1, ["smallint", "integer", "bigint"].contains(read.columns[key[0]].type)
        else {
            throw PipelineFailure(
                "\(table.source) cannot be polled: name a timestamp or growing key in "
                    + "polling_column", isPassing: false)
        }
        return key[0]
    }

    var description: String {
        "\(table.source) by \(statement.mapping.columns[order[0]].name)"
    }

    // MARK: Looking

    /// Brings all that is new to the destination; returns how many rows.
    func look(source: LeaseClient, target: LeaseClient, _ stop: StopSignal) throws -> Int {
        if place == nil { try prepare(target) }
        var count = 0
        var isFirst = true
        while true {
            try stop.check()
            let page = try read(source, isFirst: isFirst, stop)
            isFirst = false
            if page.isEmpty { return count }
            count += try write(page, target, stop)
            if page.count < Self.pageSize { return count }
        }
    }

    /// A row as it was read.
    private struct PolledRow {
        /// Of a row that is not wanted, those of ``order`` alone.
        var values: [String?]
        var isWanted: Bool
    }

    private func read(
        _ client: LeaseClient, isFirst: Bool, _ stop: StopSignal
    ) throws -> [PolledRow] {
        let statement = try question(isFirst: isFirst)
        return try client.withLease(for: "pipeline.poll") { connection in
            return try stop.reacting(with: .cancel(connection.canceller)) {
                try connection.withTransaction(readOnly: true) { transaction in
                    try transaction.executeScript(ReplicationText.settings)
                    return try transaction.query(statement).map { row in
                        PolledRow(
                            values: try (1..<row.count).map {
                                try row.decode(String?.self, at: $0)
                            }, isWanted: try row.decode(Bool.self, at: 0))
                    }
                }
            }
        }
    }

    /// For the next page.
    private func question(isFirst: Bool) throws -> SQL {
        let mapping = statement.mapping
        var values = ParameterValues()
        // Qualified: ORDER BY would else take the text of the output column of that name.
        let names = order.map { "t." + mapping.columns[$0].target.quotedName }
        let list = names.joined(separator: ", ")
        // A parameter compared with a column takes the column's type.
        let marks = (place ?? []).map {
            values.parameters.append($0)
            return "$\(values.parameters.count)"
        }
        let columns = mapping.columns.indices.map { column in
            let text = "t.\(mapping.columns[column].target.quotedName)::text"
            return order.contains(column) ? text : "CASE WHEN f.wanted THEN \(text) END"
        }
        let wanted =
            try table.filter.map { "(\(try $0.condition(on: read.columns, &values))) IS TRUE" }
            ?? "true"
        var text = """
            SELECT f.wanted, \(columns.joined(separator: ", "))
            FROM \(mapping.source.quoted) AS t CROSS JOIN LATERAL (SELECT \(wanted)) AS f (wanted)
            WHERE \(names[0]) IS NOT NULL
            """
        if let first = marks.first {
            text += " AND ((\(list)) > (\(marks.joined(separator: ", ")))"
            if isFirst, isTime {
                text +=
                    " OR (\(names[0]) > \(first) - interval '\(Self.overlapSeconds) s'"
                    + " AND now() < \(first) + interval '\(2 * Self.overlapSeconds) s')"
            }
            text += ")"
        }
        text += " ORDER BY \(list) LIMIT \(Self.pageSize)"
        return SQL(text, values.parameters)
    }

    /// Returns how many of them the destination takes.
    private func write(
        _ page: [PolledRow], _ client: LeaseClient, _ stop: StopSignal
    ) throws -> Int {
        let next = order.map { page[page.count - 1].values[$0] }
        let wanted = page.filter(\.isWanted)
        let unwanted = page.filter { !$0.isWanted }
        var statements: [SQL] = [
            "SELECT set_config('DateStyle', 'ISO', true)",
            MergeLock.shared(schema: table.target.schema, table: table.target.name),
        ]
        if !unwanted.isEmpty {
            statements.append(
                statement.delete(
                    key.map { column in unwanted.map { $0.values[column] } }, key: key))
        }
        if !wanted.isEmpty {
            statements.append(
                statement.upsert(
                    statement.mapping.columns.indices.map { column in
                        wanted.map { $0.values[column] }
                    }))
        }
        statements.append(advance(to: next))
        try client.withLease(for: "pipeline.apply") { connection in
            try stop.reacting(with: .cancel(connection.canceller)) {
                try connection.withTransaction { transaction in
                    for answer in try transaction.pipeline(statements) { _ = try answer.get() }
                }
            }
        }
        place = next
        return wanted.count
    }

    // MARK: The place

    private var progress: String {
        TableName(schema: destination.schema, name: Self.progressName).quoted
    }

    private var columnName: String { statement.mapping.columns[order[0]].name }

    private func prepare(_ client: LeaseClient) throws {
        place = try client.withLease(for: "pipeline.prepare") { connection in
            try connection.withTransaction { transaction in
                try transaction.query(
                    "SELECT pg_advisory_xact_lock(hashtextextended(\(Self.progressName), 0))")
                if try !transaction.query("SELECT to_regclass(\(progress)) IS NOT NULL")
                    .one(Bool.self)
                {
                    try transaction.execute(
                        SQL(
                            """
                            CREATE TABLE \(raw: progress) (
                                pipeline_destination_id integer NOT NULL,
                                table_name text NOT NULL,
                                polling_column text NOT NULL,
                                place text[] NOT NULL,
                                updated_at timestamptz NOT NULL DEFAULT now(),
                                PRIMARY KEY (pipeline_destination_id, table_name))
                            """))
                }
                let found = try transaction.query(
                    SQL(
                        """
                        SELECT place FROM \(progress) WHERE pipeline_destination_id = $1
                            AND table_name = $2 AND polling_column = $3
                        """, [destination.id, table.source.description, columnName]))
                return try found.first.map { try $0.decode([String?].self, at: 0) } ?? []
            }
        }
    }

    private func advance(to next: [String?]) -> SQL {
        SQL(
            """
            INSERT INTO \(progress)
                (pipeline_destination_id, table_name, polling_column, place)
            VALUES ($1, $2, $3, $4::text[])
            ON CONFLICT (pipeline_destination_id, table_name) DO UPDATE
            SET polling_column = EXCLUDED.polling_column, place = EXCLUDED.place, updated_at = now()
            """, [destination.id, table.source.description, columnName, next])
    }
}
