// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// How the rows of a source's table become rows of a destination's: column by column, by name.
struct TableMapping: Equatable, Sendable {
    struct Column: Equatable, Sendable {
        /// Its place in the source's tuples.
        var index: Int
        /// What it is at the destination.
        var target: TableColumn

        var name: String { target.name }
        var type: String { target.type }
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

    var source: TableName
    var target: TableName
    var columns: [Column]
    var identity: Identity
    /// The destination has unique indexes or exclusion constraints besides the key, so a value may
    /// wander from row to row: a later version of a row must not be written before other rows'
    /// earlier ones.
    var keepsOrder: Bool

    /// Throws ``SchemaMismatch`` when the destination cannot take the source's rows.
    init(
        _ relation: PgoutputMessage.Relation, into table: TableShape
    ) throws(SchemaMismatch) {
        source = TableName(
            schema: relation.schema.isEmpty ? "pg_catalog" : relation.schema, name: relation.name)
        target = table.table
        func mismatch(_ problem: String) -> SchemaMismatch {
            SchemaMismatch(source: "\(relation.schema).\(relation.name)", problem: problem)
        }
        var columns: [Column] = []
        for (index, column) in relation.columns.enumerated() {
            guard let found = table.column(column.name) else {
                throw mismatch(
                    "its column \"\(column.name)\" is missing in \(table.table): add it there")
            }
            if found.isGenerated {
                throw mismatch(
                    "its column \"\(column.name)\" is a generated column in \(table.table): "
                        + "make it an ordinary one there, or generate it at the source too")
            }
            columns.append(Column(index: index, target: found))
        }
        guard !columns.isEmpty else { throw mismatch("it has no columns") }
        self.columns = columns
        identity = try Self.identity(relation, table, mismatch)
        if case .key = identity {
            keepsOrder = table.uniqueIndexes > 1
        } else {
            keepsOrder = table.uniqueIndexes > 0
        }
    }

    private static func identity(
        _ relation: PgoutputMessage.Relation, _ table: TableShape,
        _ mismatch: (String) -> SchemaMismatch
    ) throws(SchemaMismatch) -> Identity {
        let names = relation.columns.map(\.name)
        if relation.identity == .full {
            // Every column is marked then; a key of the destination is better, when there is one.
            // NULL is no key: rows with one are not found again.
            let keys = table.keys.filter {
                !$0.isNullable && $0.columns.allSatisfy(names.contains)
            }
            guard let key = keys.first(where: \.isPrimary) ?? keys.first else { return .wholeRow }
            return .key(key.columns.map { names.firstIndex(of: $0)! })
        }
        let marked = relation.columns.indices.filter { relation.columns[$0].isKey }
        if marked.isEmpty { return .none }
        let key = Set(marked.map { names[$0] })
        guard table.isUnique(on: Array(key)) else {
            let list = marked.map { quotedIdentifier(names[$0]) }.joined(separator: ", ")
            throw mismatch(
                "\(table.table) has no unique index on its key (\(list)): "
                    + "CREATE UNIQUE INDEX ON \(table.table.quoted) (\(list))")
        }
        return .key(marked)
    }
}

/// A destination's table is not made for the rows of the source. Waiting does not help.
struct SchemaMismatch: Error, Equatable, CustomStringConvertible {
    /// The source's table.
    let source: String
    let problem: String

    var description: String { "\(source) cannot be replicated: \(problem)" }
}
