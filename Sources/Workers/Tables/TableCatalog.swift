// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// What is asked of a server's catalog about a table, for both ways of asking.
private enum TableCatalog {
    static func relation(_ table: TableName) -> SQL {
        """
        SELECT c.oid::bigint, (
            SELECT count(*) FROM pg_index i
            WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisexclusion))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = \(table.schema) AND c.relname = \(table.name)
            AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        """
    }

    static func columns(_ oid: Int) -> SQL {
        // With -1 for the length, as NULL would make `character` of bpchar, which is one character.
        """
        SELECT a.attname::text, format_type(a.atttypid, -1), t.typcategory::text, a.attnotnull,
            a.attgenerated <> '', a.attidentity = 'a'
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = \(oid)::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """
    }

    static func keys(_ oid: Int) -> SQL {
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
    }

    static func shape(
        _ table: TableName, uniqueIndexes: Int, columns: Rows, keys: Rows
    ) throws -> TableShape {
        TableShape(
            table: table,
            columns: try columns.decode((String, String, String, Bool, Bool, Bool).self).map {
                TableColumn(
                    name: $0.0, type: $0.1, category: $0.2, isNotNull: $0.3, isGenerated: $0.4,
                    isIdentityAlways: $0.5)
            },
            keys: try keys.decode(([String], Bool, Bool).self).map {
                TableKey(columns: $0.0, isPrimary: $0.1, isNullable: $0.2)
            }, uniqueIndexes: uniqueIndexes)
    }
}

extension TableShape {
    /// Looks a table up. Throws ``MissingTable``, ``LeaseError``.
    nonisolated(nonsending) static func read(
        _ table: TableName, _ connection: AsyncLeaseConnection
    ) async throws -> TableShape {
        let found = try await connection.query(TableCatalog.relation(table))
            .decode((Int, Int).self)
        guard let (oid, uniqueIndexes) = found.first else { throw MissingTable(table: table) }
        let columns = try await connection.query(TableCatalog.columns(oid))
        let keys = try await connection.query(TableCatalog.keys(oid))
        return try TableCatalog.shape(
            table, uniqueIndexes: uniqueIndexes, columns: columns, keys: keys)
    }

    /// The same on a thread that may block.
    static func read(_ table: TableName, _ connection: LeaseConnection) throws -> TableShape {
        let found = try connection.query(TableCatalog.relation(table)).decode((Int, Int).self)
        guard let (oid, uniqueIndexes) = found.first else { throw MissingTable(table: table) }
        return try TableCatalog.shape(
            table, uniqueIndexes: uniqueIndexes,
            columns: connection.query(TableCatalog.columns(oid)),
            keys: connection.query(TableCatalog.keys(oid)))
    }
}

/// There is no such table, view or foreign table.
struct MissingTable: Error, CustomStringConvertible {
    var table: TableName
    var description: String { "there is no table \(table)" }
}
