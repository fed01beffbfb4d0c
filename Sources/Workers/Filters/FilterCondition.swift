// SPDX-License-Identifier: Apache-2.0

/// Where the values of a filter go: into the parameters of a statement, or of what goes ahead of it.
protocol FilterValues: Sendable {
    /// An expression of type text with this value.
    mutating func add(_ text: String) -> String
}

extension FilterValues {
    /// An expression with this value, in a type that the column can be compared with.
    mutating func add(_ value: FilterValue, for column: TableColumn) -> String {
        "\(add(value.text))::\(value.type ?? column.comparisonType(of: value.text))"
    }
}

/// A filter as a condition of SQL on one table's columns.
///
/// Names are those of the catalog, quoted; every value goes into `values`. Nothing that the filter
/// says reaches the statement's text.
extension FilterExpression {
    func condition(
        on columns: [TableColumn], _ values: inout some FilterValues
    ) throws(FilterError) -> String {
        switch self {
        case .comparison(let name, let comparison, let value):
            let column = try find(name, columns)
            return "\(column.quotedName) \(comparison.rawValue) \(values.add(value, for: column))"
        case .columns(let left, let comparison, let right):
            let names = (try find(left, columns), try find(right, columns))
            return "\(names.0.quotedName) \(comparison.rawValue) \(names.1.quotedName)"
        case .like(let name, let pattern, let ignoresCase, let isNegated):
            let column = try find(name, columns)
            let text = column.isText ? column.quotedName : "\(column.quotedName)::text"
            let keyword = (isNegated ? "NOT " : "") + (ignoresCase ? "ILIKE" : "LIKE")
            return "\(text) \(keyword) \(values.add(pattern))"
        case .among(let name, let list, let isNegated):
            let column = try find(name, columns)
            var items: [String] = []
            for value in list { items.append(values.add(value, for: column)) }
            let keyword = isNegated ? "NOT IN" : "IN"
            return "\(column.quotedName) \(keyword) (\(items.joined(separator: ", ")))"
        case .between(let name, let low, let high, let isNegated):
            let column = try find(name, columns)
            let keyword = isNegated ? "NOT BETWEEN" : "BETWEEN"
            let bounds = (values.add(low, for: column), values.add(high, for: column))
            return "\(column.quotedName) \(keyword) \(bounds.0) AND \(bounds.1)"
        case .isNull(let name, let isNegated):
            return "\(try find(name, columns).quotedName) IS \(isNegated ? "NOT " : "")NULL"
        case .all(let parts): return try join(parts, "AND", columns, &values)
        case .any(let parts): return try join(parts, "OR", columns, &values)
        case .not(let part): return "NOT (\(try part.condition(on: columns, &values)))"
        }
    }

    private func join(
        _ parts: [FilterExpression], _ keyword: String, _ columns: [TableColumn],
        _ values: inout some FilterValues
    ) throws(FilterError) -> String {
        var texts: [String] = []
        for part in parts { texts.append("(\(try part.condition(on: columns, &values)))") }
        return texts.joined(separator: " \(keyword) ")
    }

    /// The columns that it looks at.
    func columns(of table: [TableColumn]) throws(FilterError) -> [TableColumn] {
        switch self {
        case .comparison(let name, _, _), .like(let name, _, _, _), .among(let name, _, _),
            .between(let name, _, _, _), .isNull(let name, _):
            return [try find(name, table)]
        case .columns(let left, _, let right):
            return [try find(left, table), try find(right, table)]
        case .all(let parts), .any(let parts):
            var found: [TableColumn] = []
            for part in parts { found += try part.columns(of: table) }
            return found
        case .not(let part): return try part.columns(of: table)
        }
    }

    /// As PostgreSQL does with a bare name, small letters will do.
    private func find(
        _ name: String, _ columns: [TableColumn]
    ) throws(FilterError) -> TableColumn {
        if let exact = columns.first(where: { $0.name == name }) { return exact }
        let folded = name.lowercased()
        if let found = columns.first(where: { $0.name == folded }) { return found }
        let known = columns.map(\.name).joined(separator: ", ")
        throw FilterError("the table has no column \"\(name)\"; it has \(known)")
    }
}
