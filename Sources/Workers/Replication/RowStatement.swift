// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// The statements that bring rows into a destination's table.
///
/// Values go as parameters, one array of texts for each column, and are cast to the destination's
/// types: the text of a statement is the same for any number of rows.
struct RowStatement: Sendable {
    let mapping: TableMapping
    /// Nil: all rows are wanted.
    let filter: RowFilter?
    private let target: String

    init(_ mapping: TableMapping, filter: RowFilter? = nil) {
        self.mapping = mapping
        self.filter = filter
        target = mapping.target.quoted
    }

    private func name(_ column: Int) -> String { mapping.columns[column].target.quotedName }

    private func type(_ column: Int) -> String { mapping.columns[column].type }

    private func names(_ columns: some Sequence<Int>) -> String {
        columns.map(name).joined(separator: ", ")
    }

    // MARK: Many rows

    /// Inserts the rows that are wanted; those whose key is there take the new values. `columns`
    /// holds the values of each column of the mapping; no key twice.
    func upsert(_ columns: [[String?]]) -> SQL {
        let all = mapping.columns.indices
        var values = ParameterValues()
        var text = """
            INSERT INTO \(target) (\(names(all))) OVERRIDING SYSTEM VALUE
            SELECT \(names(all)) FROM \(rows(all, of: columns, &values))
            """
        if let filter { text += " WHERE \(filter.condition(&values))" }
        if case .key(let key) = mapping.identity {
            let rest = all.filter { !key.contains($0) }
            text += " ON CONFLICT (\(names(key))) DO "
            text +=
                rest.isEmpty
                ? "NOTHING"
                : "UPDATE SET "
                    + rest.map { "\(name($0)) = EXCLUDED.\(name($0))" }.joined(separator: ", ")
        }
        return SQL(text, values.parameters)
    }

    /// Deletes those of the rows, found by their key, which are not wanted as they are now. Nil
    /// without a filter.
    func deleteUnwanted(_ columns: [[String?]], key: [Int]) -> SQL? {
        guard let filter else { return nil }
        var values = ParameterValues()
        let needed = mapping.columns.indices.filter {
            key.contains($0) || filter.columns.contains($0)
        }
        let rows = rows(needed, of: columns, &values)
        return SQL(
            """
            DELETE FROM \(target) AS t
            USING (
                SELECT \(names(key)) FROM \(rows)
                WHERE (\(filter.condition(&values))) IS NOT TRUE) AS r
            WHERE \(key.map { "t.\(name($0)) = r.\(name($0))" }.joined(separator: " AND "))
            """, values.parameters)
    }

    /// Deletes the rows with these keys. `keys` holds the values of each key column.
    func delete(_ keys: [[String?]], key: [Int]) -> SQL {
        var values = ParameterValues()
        let columns = Dictionary(uniqueKeysWithValues: zip(key, keys))
        let rows = rows(key, of: columns, &values)
        return SQL(
            """
            DELETE FROM \(target) AS t USING \(rows)
            WHERE \(key.map { "t.\(name($0)) = r.\(name($0))" }.joined(separator: " AND "))
            """, values.parameters)
    }

    private func rows(
        _ places: some Sequence<Int>, of columns: [[String?]], _ values: inout ParameterValues
    ) -> String {
        rows(
            Array(places), of: Dictionary(uniqueKeysWithValues: columns.enumerated().map { $0 }),
            &values)
    }

    /// `r`: rows with these columns, under their names and in their types.
    private func rows(
        _ places: [Int], of columns: [Int: [String?]], _ values: inout ParameterValues
    ) -> String {
        let arrays = places.map { values.add(columns[$0], "text[]") }.joined(separator: ", ")
        let typed = places.map { "u.c\($0)::\(type($0)) AS \(name($0))" }.joined(separator: ", ")
        let aliases = places.map { "c\($0)" }.joined(separator: ", ")
        return "(SELECT \(typed) FROM unnest(\(arrays)) AS u (\(aliases))) AS r"
    }

    // MARK: One row by its key

    /// Changes some columns of one row, found by its old key (`row` holds a value for each column
    /// of the mapping; `changed` are the columns that are known).
    func update(_ changed: [Int], of row: [String?], where key: [Int], oldKey: [String?]) -> SQL {
        var values = ParameterValues()
        let sets = changed.map { "\(name($0)) = \(values.add(row[$0], type: type($0)))" }
        return SQL(
            "UPDATE \(target) SET \(sets.joined(separator: ", ")) "
                + "WHERE \(match(key, oldKey, &values))", values.parameters)
    }

    /// A row for the one with this key, when it is there.
    func find(_ keyValues: [String?], key: [Int]) -> SQL {
        var values = ParameterValues()
        return SQL(
            "SELECT FROM \(target) WHERE \(match(key, keyValues, &values))", values.parameters)
    }

    /// Deletes the row with this key when it is not wanted as it is stored now. Nil without a
    /// filter.
    func deleteUnwanted(_ keyValues: [String?], key: [Int]) -> SQL? {
        guard let filter else { return nil }
        var values = ParameterValues()
        let match = match(key, keyValues, &values)
        return SQL(
            "DELETE FROM \(target) WHERE \(match) "
                + "AND (\(filter.condition(&values))) IS NOT TRUE", values.parameters)
    }

    /// A row when one with these values is wanted. Nil without a filter, or when that hangs on
    /// columns that are not known.
    func isWanted(_ row: [String?], known: [Int]) -> SQL? {
        guard let filter, filter.columns.allSatisfy(known.contains) else { return nil }
        var values = ParameterValues()
        let typed = filter.columns.map {
            "\(values.add(row[$0], type: type($0))) AS \(name($0))"
        }.joined(separator: ", ")
        return SQL(
            "SELECT FROM (SELECT \(typed)) AS r WHERE \(filter.condition(&values))",
            values.parameters)
    }

    private func match(
        _ key: [Int], _ keyValues: [String?], _ values: inout ParameterValues
    ) -> String {
        zip(key, keyValues).map { "\(name($0)) = \(values.add($1, type: type($0)))" }
            .joined(separator: " AND ")
    }

    // MARK: One row by all its values

    /// Deletes one row that has all these values.
    func deleteWhole(_ row: [String?]) -> SQL {
        var values = ParameterValues()
        return SQL("DELETE FROM \(target) WHERE \(isRow(row, &values))", values.parameters)
    }

    /// The same when the row is not wanted as it is. Nil without a filter.
    func deleteWholeUnwanted(_ row: [String?]) -> SQL? {
        guard let filter else { return nil }
        var values = ParameterValues()
        let match = isRow(row, &values)
        return SQL(
            "DELETE FROM \(target) WHERE \(match) "
                + "AND (\(filter.condition(&values))) IS NOT TRUE", values.parameters)
    }

    /// Changes one row that has all these values; `changed` are the columns that are known.
    func updateWhole(_ old: [String?], _ changed: [Int], to row: [String?]) -> SQL {
        var values = ParameterValues()
        let sets = changed.map { "\(name($0)) = \(values.add(row[$0], type: type($0)))" }
        let match = isRow(old, &values)
        return SQL(
            "UPDATE \(target) SET \(sets.joined(separator: ", ")) WHERE \(match)",
            values.parameters)
    }

    /// One of the rows with these values: there may be several that are the same.
    private func isRow(_ row: [String?], _ values: inout ParameterValues) -> String {
        let matches = mapping.columns.indices.map { column in
            // Without an equality of their own.
            let hasEquality = !Self.withoutEquality.contains(type(column))
            let value = values.add(row[column], type: type(column))
            return hasEquality
                ? "\(name(column)) IS NOT DISTINCT FROM \(value)"
                : "\(name(column))::text IS NOT DISTINCT FROM \(value)::text"
        }
        let all = matches.joined(separator: " AND ")
        return "ctid = (SELECT ctid FROM \(target) WHERE \(all) LIMIT 1)"
    }

    private static let withoutEquality: Set<String> = [
        "json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle",
    ]
}

extension ParameterValues {
    /// A value as a text, in that type.
    fileprivate mutating func add(_ text: String?, type: String) -> String {
        "\(add(text as (any PostgresEncodable)?, "text"))::\(type)"
    }
}
