import LeaseClient

extension TableShape {
    /// Looks a table up. Throws ``MissingTable``, ``LeaseError``.
    nonisolated(nonsending) static func read(
        _ table: TableName, _ connection: AsyncLeaseConnection
    ) async throws -> TableShape {
        let found = try await connection.query(
            """
            SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = \(table.schema) AND c.relname = \(table.name)
                AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            """
        ).decode(Int.self)
        guard let oid = found.first else { throw MissingTable(table: table) }
        return TableShape(
            table: table, columns: try await columns(oid, connection),
            keys: try await keys(oid, connection))
    }

    private nonisolated(nonsending) static func columns(
        _ oid: Int, _ connection: AsyncLeaseConnection
    ) async throws -> [TableColumn] {
        // With -1 for the length, as NULL would make `character` of bpchar, which is one character.
        try await connection.query(
            """
            SELECT a.attname::text, format_type(a.atttypid, -1), t.typcategory::text, a.attnotnull,
                a.attgenerated <> '', a.attidentity = 'a'
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = \(oid)::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum
            """
        ).decode((String, String, String, Bool, Bool, Bool).self).map { row in
            TableColumn(
                name: row.0, type: row.1, category: row.2, isNotNull: row.3, isGenerated: row.4,
                isIdentityAlways: row.5)
        }
    }

    private nonisolated(nonsending) static func keys(
        _ oid: Int, _ connection: AsyncLeaseConnection
    ) async throws -> [TableKey] {
        try await connection.query(
            """
            SELECT array_agg(a.attname::text ORDER BY place.n), i.indisprimary,
                bool_or(NOT a.attnotnull)
            FROM pg_index i
            CROSS JOIN LATERAL generate_series(0, i.indnkeyatts - 1) AS place (n)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[place.n]
            WHERE i.indrelid = \(oid)::bigint::oid AND i.indisunique AND i.indisvalid
                AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
            GROUP BY i.indexrelid, i.indisprimary
            ORDER BY i.indexrelid
            """
        ).decode(([String], Bool, Bool).self).map { row in
            TableKey(columns: row.0, isPrimary: row.1, isNullable: row.2)
        }
    }
}

/// There is no such table, view or foreign table.
struct MissingTable: Error, CustomStringConvertible {
    var table: TableName
    var description: String { "there is no table \(table)" }
}
