import LeaseClient

/// Reads one pipeline with all that belongs to it.
extension PipelineDefinition {
    /// One lease, one transaction: what is read belongs together. Throws ``PipelineFailure`` when
    /// something is missing, and ``LeaseError``.
    static func load(_ id: Int, _ client: LeaseClient) throws -> PipelineDefinition {
        try client.withLease(for: "pipeline.load", wait: .seconds(2), retry: .once) {
            connection in
            try connection.withTransaction(isolation: .repeatableRead, readOnly: true) {
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
                s.pg_password, s.publication_name, s.replication_name, s.is_publication_enabled,
                s.is_replication_enabled
            FROM pipelines p JOIN sources s ON s.id = p.source_id WHERE p.id = \(id)
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
                slot: try row["replication_name", as: String.self],
                createsPublication: try row["is_publication_enabled", as: Bool?.self] ?? false,
                createsSlot: try row["is_replication_enabled", as: Bool?.self] ?? false),
            destinations: try destinations(id, connection))
        guard !definition.sourceTables.isEmpty else {
            throw PipelineFailure(
                "the pipeline has no tables: add some to its destinations "
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
            return Destination(
                id: pipelineDestination, name: name,
                address: DatabaseAddress(
                    host: host, port: port, database: database, user: user,
                    password: try row["password", as: String?.self]),
                schema: schema,
                tables: try tables(pipelineDestination, name, schema, connection))
        }
    }

    private static func tables(
        _ pipelineDestination: Int, _ destination: String, _ schema: String,
        _ connection: LeaseConnection
    ) throws -> [Table] {
        let rows = try connection.query(
            """
            SELECT id, table_name, coalesce(nullif(table_name_target, ''), table_name) AS target,
                nullif(btrim(filter_sql), '') IS NOT NULL AS is_filtered,
                nullif(btrim(custom_sql), '') IS NOT NULL AS is_custom,
                nullif(btrim(polling_column), '') AS polling_column
            FROM pipelines_destination_table_sync
            WHERE pipeline_destination_id = \(pipelineDestination) ORDER BY id
            """)
        var seen: Set<QualifiedName> = []
        return try rows.map { row in
            let name = try row["table_name", as: String.self]
            if try row["is_filtered", as: Bool.self] || row["is_custom", as: Bool.self] {
                // Rows that somebody wanted left out must not arrive.
                throw PipelineFailure(
                    "the table \(name) of destination \"\(destination)\" has a filter_sql or "
                        + "custom_sql, which pipelines do not apply: use the publication's own row "
                        + "filter (ALTER PUBLICATION … SET TABLE … WHERE …) and clear it",
                    isPassing: false)
            }
            let source = QualifiedName(name, defaultSchema: "public")
            guard seen.insert(source).inserted else {
                throw PipelineFailure(
                    "destination \"\(destination)\" has the table \(source) twice: one target "
                        + "for each table and destination", isPassing: false)
            }
            let target = try row["target", as: String.self]
            return Table(
                id: try row["id", as: Int.self], source: source,
                // A source's sales.orders goes to orders of the destination's schema.
                target: target == name
                    ? QualifiedName(schema: schema, name: source.name)
                    : QualifiedName(target, defaultSchema: schema),
                pollingColumn: try row["polling_column", as: String?.self])
        }
    }
}
