// SPDX-License-Identifier: Apache-2.0

/// A column as the catalog has it.
struct TableColumn: Equatable, Sendable {
    var name: String
    /// In SQL, without a length: `bigint`, `bpchar`, `"my type"`.
    var type: String
    /// `pg_type.typcategory`: `N` for numbers, `S` for texts.
    var category: String
    var isNotNull: Bool
    /// The server computes it: it cannot be written.
    var isGenerated: Bool
    /// GENERATED ALWAYS AS IDENTITY: can be inserted, not changed.
    var isIdentityAlways: Bool

    var quotedName: String { Workers.quotedName(name) }
    var isText: Bool { category == "S" }

    /// The type in which a value is compared with this column: a number may be larger or finer than
    /// the column's own type holds.
    func comparisonType(of text: String) -> String {
        guard category == "N" else { return type }
        switch type {
        case "smallint", "integer", "bigint": return Int64(text) == nil ? "numeric" : "bigint"
        default: return type
        }
    }
}

/// A unique index over columns alone, without a condition.
struct TableKey: Equatable, Sendable {
    var columns: [String]
    var isPrimary: Bool
    /// A column of it may be NULL.
    var isNullable: Bool
}

/// What the catalog says of a table.
struct TableShape: Equatable, Sendable {
    var table: TableName
    var columns: [TableColumn]
    var keys: [TableKey]
    /// All unique indexes and exclusion constraints, also those that are no ``keys``.
    var uniqueIndexes: Int

    func column(_ name: String) -> TableColumn? { columns.first { $0.name == name } }

    /// What can be copied.
    var storedColumns: [TableColumn] { columns.filter { !$0.isGenerated } }

    /// The columns that order the table and name each row: the primary key, else the unique index
    /// with the fewest columns. Nil when there is none.
    var orderingKey: TableKey? {
        keys.filter { !$0.isNullable && !hasGenerated($0) }.min { first, second in
            if first.isPrimary != second.isPrimary { return first.isPrimary }
            if first.columns.count != second.columns.count {
                return first.columns.count < second.columns.count
            }
            return first.columns.lexicographicallyPrecedes(second.columns)
        }
    }

    /// Whether a unique index makes sure that there is one row for these columns.
    func isUnique(on names: [String]) -> Bool {
        keys.contains { Set($0.columns) == Set(names) }
    }

    private func hasGenerated(_ key: TableKey) -> Bool {
        key.columns.contains { column($0)?.isGenerated ?? true }
    }
}
