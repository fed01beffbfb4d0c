// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Reads one pipeline with all that belongs to it.
extension PipelineDefinition {
    /// One lease, one transaction: what is read belongs together. Throws ``PipelineFailure`` when
    /// something is missing, and ``LeaseError``.
    static func load(_ id: Int, _ client: LeaseClient) throws -> PipelineDefinition {
        try client.withLease(for: "pipeline.load", wait: .seconds(2), retry: .once) {
            connection in
            try connection.withTransaction { transaction in
                for answer in try transaction.pipeline(PipelineSlots.assign(id)) {
                    _ = try answer.get()
                }
            }
            return try connection.withTransaction(isolation: .repeatableRead, readOnly: true) {
                try load(id, $0)
            }
        }
    }

    private static func load(
        _ id: Int, _ connection: LeaseConnection
    ) throws -> PipelineDefinition {
        let found = try connection.query(
            """
            SELECT p.name, s.id AS source_id, s.pg_host, s.pg_port, s.pg_database, s.pg_username,
                s.pg_password, s.publication_name, slot.slot_name, s.is_publication_enabled,
                s.is_replication_enabled
            FROM pipelines p JOIN sources s ON s.id = p.source_id
            JOIN pglease_pipeline_slot slot ON slot.pipeline_id = p.id AND slot.source_id = s.id
                AND slot.replication_name = s.replication_name
            WHERE p.id = \(id)
            """)
        guard let row = found.first else {
            throw PipelineFailure("there is no pipeline \(id)", isPassing: false)
        }
        let definition = PipelineDefinition(
            id: id, name: try row["name", as: String.self],
            source: Source(
                id: try row["source_id", as: Int.self],
                address: DatabaseAddress(
                    host: try row["pg_host", as: String.self],
                    port: try row["pg_port", as: Int.self],
                    database: try row["pg_database", as: String.self],
                    user: try row["pg_username", as: String.self],
                    password: try row["pg_password", as: String?.self]),
                publication: try row["publication_name", as: String.self],
                slot: try row["slot_name", as: String.self],
                createsPublication: try row["is_publication_enabled", as: Bool?.self] ?? false,
                createsSlot: try row["is_replication_enabled", as: Bool?.self] ?? false),
            destinations: try destinations(id, connection))
        guard !definition.sourceTables.isEmpty else {
            let refused = definition.destinations.flatMap(\.refused)
            throw PipelineFailure(
                refused.first.map { "the pipeline can replicate no table: \($0.reason)" }
                    ?? "the pipeline has no tables: add some to its destinations "
                    + "(pipelines_destination_table_sync)", isPassing: false)
        }
        return definition
    }

    private static func destinations(
        _ id: Int, _ connection: LeaseConnection
    ) throws -> [Destination] {
        let rows = try connection.query(
            """
            SELECT pd.id, d.name, upper(d.type) AS type, d.config ->> 'host' AS host,
                coalesce(d.config ->> 'port', '5432') AS port, d.config ->> 'database' AS database,
                d.config ->> 'user' AS user_name, d.config ->> 'password' AS password,
                coalesce(nullif(d.config ->> 'schema', ''), 'public') AS schema
            FROM pipelines_destination pd JOIN destinations d ON d.id = pd.destination_id
            WHERE pd.pipeline_id = \(id) ORDER BY pd.id
            """)
        return try rows.map { row in
            let name = try row["name", as: String.self]
            let type = try row["type", as: String.self]
            guard type == "POSTGRES" else {
                throw PipelineFailure(
                    "destination \"\(name)\" is \(type): this worker writes to POSTGRES only",
                    isPassing: false)
            }
            guard let host = try row["host", as: String?.self],
                let port = Int(try row["port", as: String.self]),
                let database = try row["database", as: String?.self],
                let user = try row["user_name", as: String?.self]
            else {
                throw PipelineFailure(
                    "destination \"\(name)\": its config needs host, port, database and user",
                    isPassing: false)
            }
            let schema = try row["schema", as: String.self]
            let pipelineDestination = try row["id", as: Int.self]
            var destination = Destination(
                id: pipelineDestination, name: name,
                address: DatabaseAddress(
                    host: host, port: port, database: database, user: user,
                    password: try row["password", as: String?.self]),
                schema: schema, tables: [])
            try addTables(to: &destination, connection)
            return destination
        }
    }

    private static func addTables(
        to destination: inout Destination, _ connection: LeaseConnection
    ) throws {
        let rows = try connection.query(
            """
            SELECT id, table_name, coalesce(nullif(table_name_target, ''), table_name) AS target,
                filter_sql, nullif(btrim(custom_sql), '') IS NOT NULL AS is_custom,
                nullif(btrim(polling_column), '') AS polling_column
            FROM pipelines_destination_table_sync
            WHERE pipeline_destination_id = \(destination.id) ORDER BY id
            """)
        for row in rows {
            let name = try row["table_name", as: String.self]
            if try row["is_custom", as: Bool.self] {
                destination.refused.append(
                    RefusedTable(
                        id: try row["id", as: Int.self], name: name,
                        reason: "the table \(name) of destination \"\(destination.name)\" has a "
                            + "custom_sql, which this worker does not run: clear it, then backfill "
                            + "the table"))
                continue
            }
            let table = try table(row, name, destination)
            guard !destination.tables.contains(where: { $0.source == table.source }) else {
                throw PipelineFailure(
                    "destination \"\(destination.name)\" has the table \(table.source) twice: one "
                        + "target for each table and destination", isPassing: false)
            }
            destination.tables.append(table)
        }
    }

    private static func table(
        _ row: Row, _ name: String, _ destination: Destination
    ) throws -> Table {
        let filter: FilterExpression?
        do {
            filter = try FilterExpression(filterSQL: try row["filter_sql", as: String?.self])
        } catch let error as FilterError {
            // Rows that somebody wanted left out must not arrive, and none may be lost.
            throw PipelineFailure(
                "the table \(name) of destination \"\(destination.name)\": \(error)",
                isPassing: false)
        }
        let source = TableName(name)
        let target = try row["target", as: String.self]
        return Table(
            id: try row["id", as: Int.self], source: source,
            // A source's sales.orders goes to orders of the destination's schema.
            target: target == name
                ? TableName(schema: destination.schema, name: source.name)
                : TableName(target, defaultSchema: destination.schema),
            filter: filter, pollingColumn: try row["polling_column", as: String?.self])
    }
}
