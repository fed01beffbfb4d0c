import LeaseClient

/// A table of a destination, as its catalog describes it.
struct ReplicaTable: Equatable, Sendable {
    struct Column: Equatable, Sendable {
        var name: String
        /// As a cast names it, without a length: a cast to `varchar(5)` would cut silently.
        var type: String
        /// Computed by the server, so that nothing may be written to it.
        var isGenerated: Bool
    }

    var name: QualifiedName
    var columns: [Column]
    /// The columns of each unique index that ON CONFLICT can name, the primary key's first.
    var uniqueKeys: [[String]]

    /// Nil when there is no such table.
    static func load(
        _ name: QualifiedName, _ connection: LeaseConnection
    ) throws -> ReplicaTable? {
        let identifier = try connection.query(
            """
            SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = \(name.schema) AND c.relname = \(name.name)
                AND c.relkind IN ('r', 'p', 'f')
            """
        ).decode(Int.self)
        guard let identifier = identifier.first else { return nil }
        let columns = try connection.query(
            """
            SELECT attname::text, format_type(atttypid, -1), attgenerated <> ''
            FROM pg_attribute
            WHERE attrelid = \(identifier)::bigint::oid AND attnum > 0 AND NOT attisdropped
            ORDER BY attnum
            """
        ).decode((String, String, Bool).self)
        let keys = try connection.query(
            """
            SELECT ARRAY(
                SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1]) AS k (number)
                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number)
            FROM pg_index i
            WHERE i.indrelid = \(identifier)::bigint::oid AND i.indisunique AND i.indisvalid
                AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
            ORDER BY i.indisprimary DESC, i.indexrelid
            """
        ).decode([String].self)
        return ReplicaTable(
            name: name,
            columns: columns.map { Column(name: $0.0, type: $0.1, isGenerated: $0.2) },
            uniqueKeys: keys)
    }
}
