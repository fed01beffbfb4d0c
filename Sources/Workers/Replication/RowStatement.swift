import LeaseClient
import PostgresWire

/// The statements that bring rows into a destination's table.
///
/// Values go as parameters, one array of texts for each column, and are cast to the destination's
/// types: the text of a statement is the same for any number of rows.
struct RowStatement: Sendable {
    let mapping: TableMapping
    private let target: String

    init(_ mapping: TableMapping) {
        self.mapping = mapping
        target =
            quotedIdentifier(mapping.target.schema) + "." + quotedIdentifier(mapping.target.name)
    }

    private func name(_ column: Int) -> String { quotedIdentifier(mapping.columns[column].name) }

    private func type(_ column: Int) -> String { mapping.columns[column].type }

    /// Inserts rows; those whose key is there take the new values. `columns` holds the values of
    /// each column of the mapping; no key twice.
    func upsert(_ columns: [[String?]]) -> SQL {
        let all = mapping.columns.indices
        let names = all.map(name).joined(separator: ", ")
        let casts = all.map { "r.c\($0)::\(type($0))" }.joined(separator: ", ")
        var text = """
            INSERT INTO \(target) (\(names)) OVERRIDING SYSTEM VALUE
            SELECT \(casts) FROM unnest(\(arrays(all.count))) AS r (\(aliases(all.count)))
            """
        if case .key(let key) = mapping.identity {
            let rest = all.filter { !key.contains($0) }
            text += " ON CONFLICT (\(key.map(name).joined(separator: ", "))) DO "
            text +=
                rest.isEmpty
                ? "NOTHING"
                : "UPDATE SET "
                    + rest.map { "\(name($0)) = EXCLUDED.\(name($0))" }.joined(separator: ", ")
        }
        return SQL(text, columns.map { $0 as any PostgresEncodable })
    }

    /// Deletes the rows with these keys. `columns` holds the values of each key column.
    func delete(_ columns: [[String?]], key: [Int]) -> SQL {
        let matches = key.enumerated().map { place, column in
            "t.\(name(column)) = r.c\(place)::\(type(column))"
        }
        return SQL(
            """
            DELETE FROM \(target) AS t
            USING unnest(\(arrays(key.count))) AS r (\(aliases(key.count)))
            WHERE \(matches.joined(separator: " AND "))
            """, columns.map { $0 as any PostgresEncodable })
    }

    /// Changes some columns of one row, found by its old key (`row` holds a value for each column
    /// of the mapping; `changed` are the columns that are known).
    func update(_ changed: [Int], of row: [String?], where key: [Int], oldKey: [String?]) -> SQL {
        var values: [(any PostgresEncodable)?] = changed.map { row[$0] }
        let sets = changed.enumerated().map { "\(name($1)) = $\($0 + 1)::text::\(type($1))" }
        let matches = key.enumerated().map { place, column in
            values.append(oldKey[place])
            return "\(name(column)) = $\(values.count)::text::\(type(column))"
        }
        return SQL(
            "UPDATE \(target) SET \(sets.joined(separator: ", ")) "
                + "WHERE \(matches.joined(separator: " AND "))", values)
    }

    /// Deletes one row that has all these values.
    func deleteWhole(_ row: [String?]) -> SQL {
        var values: [(any PostgresEncodable)?] = []
        return SQL("DELETE FROM \(target) WHERE \(isRow(row, &values))", values)
    }

    /// Changes one row that has all these values; `changed` are the columns that are known.
    func updateWhole(_ old: [String?], _ changed: [Int], to row: [String?]) -> SQL {
        var values: [(any PostgresEncodable)?] = changed.map { row[$0] }
        let sets = changed.enumerated().map { "\(name($1)) = $\($0 + 1)::text::\(type($1))" }
        let match = isRow(old, &values)
        return SQL(
            "UPDATE \(target) SET \(sets.joined(separator: ", ")) WHERE \(match)", values)
    }

    /// One of the rows with these values: there may be several that are the same.
    private func isRow(_ row: [String?], _ values: inout [(any PostgresEncodable)?]) -> String {
        var matches: [String] = []
        for column in mapping.columns.indices {
            values.append(row[column])
            // Without an equality of their own.
            let hasEquality = !Self.withoutEquality.contains(type(column))
            matches.append(
                hasEquality
                    ? "\(name(column)) IS NOT DISTINCT FROM $\(values.count)::text::\(type(column))"
                    : "\(name(column))::text IS NOT DISTINCT FROM "
                        + "$\(values.count)::text::\(type(column))::text")
        }
        let all = matches.joined(separator: " AND ")
        return "ctid = (SELECT ctid FROM \(target) WHERE \(all) LIMIT 1)"
    }

    private static let withoutEquality: Set<String> = [
        "json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle",
    ]

    private func arrays(_ count: Int) -> String {
        (1...count).map { "$\($0)::text[]" }.joined(separator: ", ")
    }

    private func aliases(_ count: Int) -> String {
        (0..<count).map { "c\($0)" }.joined(separator: ", ")
    }
}
