// SPDX-License-Identifier: Apache-2.0

package import LeaseClient

/// Makes and completes the tables of the config database.
///
/// Runs as often as one likes, also by several processes at once: one transaction under an advisory
/// lock, which looks at what is there and runs only what is missing. So a start takes no lock on a
/// table that is complete, and waits for nobody's transaction. Tables that Rosetta's own migration
/// made get the columns that they lack; its Python workers never name those, and go on.
package struct Migration: Sendable {
    /// "pglease" in ASCII.
    private static let advisoryLock = 0x70_67_6c_65_61_73_65

    private let tables: [TableDefinition]

    package init() { tables = TableDefinition.all }

    /// Returns what it had to make, in order; nothing when all was there. Throws ``LeaseError``, and
    /// then nothing has changed.
    @discardableResult
    package func run(_ client: LeaseClient) async throws -> [String] {
        try await client.withLease(for: "workers.migrate") { connection in
            try await connection.withTransaction { transaction in
                try await transaction.query(
                    "SELECT pg_advisory_xact_lock(\(Migration.advisoryLock))")
                var made: [String] = []
                for table in tables { made += try await complete(table, transaction) }
                return made
            }
        }
    }

    private nonisolated(nonsending) func complete(
        _ table: TableDefinition, _ transaction: AsyncLeaseConnection
    ) async throws -> [String] {
        let name = table.name
        let isThere = try await transaction.query(
            "SELECT to_regclass(quote_ident(\(name))) IS NOT NULL"
        ).one(Bool.self)
        var made: [String] = []
        if !isThere {
            try await transaction.execute(
                SQL("CREATE TABLE \(raw: name) (\(raw: table.definition))"))
            made.append("table \(name)")
        }
        let columns = try await transaction.query(
            """
            SELECT attname::text FROM pg_attribute
            WHERE attrelid = to_regclass(quote_ident(\(name))) AND attnum > 0 AND NOT attisdropped
            """
        ).decode(String.self)
        for column in table.addedColumns where !columns.contains(column.name) {
            try await transaction.execute(
                SQL("ALTER TABLE \(raw: name) ADD COLUMN \(raw: column.name) \(raw: column.type)"))
            made.append("column \(name).\(column.name)")
        }
        let indexes = try await transaction.query(
            """
            SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
            WHERE i.indrelid = to_regclass(quote_ident(\(name)))
            """
        ).decode(String.self)
        for index in table.indexes where !indexes.contains(index.name) {
            try await transaction.execute(
                SQL("CREATE INDEX \(raw: index.name) ON \(raw: name) \(raw: index.definition)"))
            made.append("index \(index.name)")
        }
        return made
    }
}
