import LeaseClient
import PostgresWire

/// One table that is replicated by asking the source again and again: rows whose polling column
/// went beyond where the last look ended.
///
/// Invariant: the place is kept at the destination, in the same transaction as the rows. Deletes
/// are not seen, nor rows whose polling column is NULL.
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
    private let isTime: Bool
    /// The values of `order` at the last row; nil before the first look.
    private var place: [String?]?

    /// Looks the table up on both sides. Throws ``PipelineFailure`` when it cannot be polled.
    init(
        _ table: PipelineDefinition.Table, _ destination: PipelineDefinition.Destination,
        source: LeaseClient, target: LeaseClient
    ) throws {
        self.table = table
        self.destination = destination
        func load(_ name: QualifiedName, _ client: LeaseClient) throws -> ReplicaTable {
            let found = try client.withLease(for: "pipeline.prepare") {
                try ReplicaTable.load(name, $0)
            }
            guard let found else {
                throw PipelineFailure("there is no table \(name)", isPassing: false)
            }
            return found
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
        order = [column] + key.filter { $0 != column }
        isTime = read.columns[column].type.hasPrefix("timestamp")
        statement = RowStatement(mapping)
    }

    /// The one that is configured, else a timestamp of a name that says enough, else the key, which
    /// shows new rows only.
    private static func column(
        _ table: PipelineDefinition.Table, _ read: ReplicaTable, _ key: [Int],
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

    private func read(
        _ client: LeaseClient, isFirst: Bool, _ stop: StopSignal
    ) throws -> [[String?]] {
        let mapping = statement.mapping
        let from =
            quotedIdentifier(mapping.source.schema) + "." + quotedIdentifier(mapping.source.name)
        // Qualified: ORDER BY would else take the text of the output column of that name.
        let names = order.map { "t." + quotedIdentifier(mapping.columns[$0].name) }
        let list = names.joined(separator: ", ")
        var text =
            "SELECT "
            + mapping.columns.map { "\(quotedIdentifier($0.name))::text" }.joined(separator: ", ")
            + " FROM \(from) AS t WHERE \(names[0]) IS NOT NULL"
        var values: [(any PostgresEncodable)?] = []
        if let place, !place.isEmpty {
            // A parameter compared with a column takes the column's type.
            let marks = place.indices.map { "$\($0 + 1)" }.joined(separator: ", ")
            text += " AND ((\(list)) > (\(marks))"
            if isFirst, isTime {
                text +=
                    " OR (\(names[0]) > $1 - interval '\(Self.overlapSeconds) s'"
                    + " AND now() < $1 + interval '\(2 * Self.overlapSeconds) s')"
            }
            text += ")"
            values = place.map { $0 }
        }
        text += " ORDER BY \(list) LIMIT \(Self.pageSize)"
        return try client.withLease(for: "pipeline.poll") { connection in
            return try stop.reacting(with: .cancel(connection.canceller)) {
                try connection.withTransaction(readOnly: true) { transaction in
                    try transaction.executeScript(
                        "SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; "
                            + "SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'")
                    return try transaction.query(SQL(text, values)).map { row in
                        try (0..<row.count).map { try row.decode(String?.self, at: $0) }
                    }
                }
            }
        }
    }

    private func write(
        _ page: [[String?]], _ client: LeaseClient, _ stop: StopSignal
    ) throws -> Int {
        var columns = statement.mapping.columns.map { _ in [String?]() }
        for row in page {
            for (column, value) in row.enumerated() { columns[column].append(value) }
        }
        let next = order.map { page[page.count - 1][$0] }
        try client.withLease(for: "pipeline.apply") { connection in
            try stop.reacting(with: .cancel(connection.canceller)) {
                try connection.withTransaction { transaction in
                    let answers = try transaction.pipeline([
                        "SELECT set_config('DateStyle', 'ISO', true)",
                        MergeLock.shared(schema: table.target.schema, table: table.target.name),
                        statement.upsert(columns),
                        advance(to: next),
                    ])
                    for answer in answers { _ = try answer.get() }
                }
            }
        }
        place = next
        return page.count
    }

    // MARK: The place

    private var progress: String {
        quotedIdentifier(destination.schema) + "." + quotedIdentifier(Self.progressName)
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
