import PostgresWire

/// How the rows of a source's table become rows of a destination's: column by column, by name.
struct TableMapping: Equatable, Sendable {
    struct Column: Equatable, Sendable {
        /// Its place in the source's tuples.
        var index: Int
        var name: String
        var type: String
    }

    /// How an existing row is found.
    enum Identity: Equatable, Sendable {
        /// By these columns (places in ``columns``), over which the destination has a unique index.
        case key([Int])
        /// By all its values: the source names the whole old row and there is no key.
        case wholeRow
        /// Not at all: rows are only inserted.
        case none
    }

    var source: QualifiedName
    var target: QualifiedName
    var columns: [Column]
    var identity: Identity

    /// Throws ``SchemaMismatch`` when the destination cannot take the source's rows.
    init(
        _ relation: PgoutputMessage.Relation, into table: ReplicaTable
    ) throws(SchemaMismatch) {
        source = QualifiedName(
            schema: relation.schema.isEmpty ? "pg_catalog" : relation.schema, name: relation.name)
        target = table.name
        func mismatch(_ problem: String) -> SchemaMismatch {
            SchemaMismatch(source: "\(relation.schema).\(relation.name)", problem: problem)
        }
        var columns: [Column] = []
        for (index, column) in relation.columns.enumerated() {
            guard let found = table.columns.first(where: { $0.name == column.name }) else {
                throw mismatch(
                    "its column \"\(column.name)\" is missing in \(table.name): add it there")
            }
            if found.isGenerated {
                throw mismatch(
                    "its column \"\(column.name)\" is a generated column in \(table.name): "
                        + "make it an ordinary one there, or generate it at the source too")
            }
            columns.append(Column(index: index, name: column.name, type: found.type))
        }
        guard !columns.isEmpty else { throw mismatch("it has no columns") }
        self.columns = columns
        identity = try Self.identity(relation, table, mismatch)
    }

    private static func identity(
        _ relation: PgoutputMessage.Relation, _ table: ReplicaTable,
        _ mismatch: (String) -> SchemaMismatch
    ) throws(SchemaMismatch) -> Identity {
        let names = relation.columns.map(\.name)
        if relation.identity == .full {
            // Every column is marked then; a key of the destination is better, when there is one.
            guard let key = table.uniqueKeys.first(where: { $0.allSatisfy(names.contains) }) else {
                return .wholeRow
            }
            return .key(key.map { names.firstIndex(of: $0)! })
        }
        let marked = relation.columns.indices.filter { relation.columns[$0].isKey }
        if marked.isEmpty { return .none }
        let key = Set(marked.map { names[$0] })
        guard table.uniqueKeys.contains(where: { Set($0) == key }) else {
            let list = marked.map { quotedIdentifier(names[$0]) }.joined(separator: ", ")
            throw mismatch(
                "\(table.name) has no unique index on its key (\(list)): "
                    + "CREATE UNIQUE INDEX ON \(quoted(table.name)) (\(list))")
        }
        return .key(marked)
    }

    private static func quoted(_ name: QualifiedName) -> String {
        quotedIdentifier(name.schema) + "." + quotedIdentifier(name.name)
    }
}

/// A destination's table is not made for the rows of the source. Waiting does not help.
struct SchemaMismatch: Error, Equatable, CustomStringConvertible {
    /// The source's table.
    let source: String
    let problem: String

    var description: String { "\(source) cannot be replicated: \(problem)" }
}
