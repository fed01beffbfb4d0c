// SPDX-License-Identifier: Apache-2.0

/// Which rows a job copies: conditions on columns, joined by AND, OR and NOT.
///
/// What a filter may say ends here on purpose. It comes from a web form, so it is read, never
/// pasted: a text that is no such expression (a function, a subquery, a second statement) is an error.
indirect enum FilterExpression: Equatable, Sendable {
    case comparison(column: String, FilterOperator, FilterValue)
    case columns(left: String, FilterOperator, right: String)
    case like(column: String, pattern: String, ignoresCase: Bool, isNegated: Bool)
    case among(column: String, [FilterValue], isNegated: Bool)
    case between(column: String, FilterValue, FilterValue, isNegated: Bool)
    case isNull(column: String, isNegated: Bool)
    case all([FilterExpression])
    case any([FilterExpression])
    case not(FilterExpression)

    /// Reads `filter_sql` in either of its forms; nil when it leaves all rows.
    init?(filterSQL text: String?) throws(FilterError) {
        let trimmed = (text ?? "").trimmingWhitespace
        if trimmed.isEmpty { return nil }
        let expression =
            trimmed.hasPrefix("{")
            ? try FilterDocument.expression(json: String(trimmed))
            : try FilterParser.parse(String(trimmed))
        guard let expression else { return nil }
        self = expression
    }
}

/// A comparison of PostgreSQL that every ordered type has.
enum FilterOperator: String, Sendable {
    case equal = "="
    case notEqual = "<>"
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="

    init?(sql: some StringProtocol) {
        switch sql {
        case "!=": self = .notEqual
        case "==": self = .equal
        default: self.init(rawValue: String(sql))
        }
    }
}

/// A value in a filter, as its text.
struct FilterValue: Equatable, Sendable {
    var text: String
    /// The type that the filter gives it (`'2026-01-01'::date`), one of `namedTypes`.
    var type: String?

    init(_ text: String, type: String? = nil) {
        self.text = text
        self.type = type
    }

    /// The types that a filter may name.
    static let namedTypes: Set<String> = [
        "bigint", "boolean", "date", "double precision", "int", "int2", "int4", "int8", "integer",
        "interval", "numeric", "real", "smallint", "text", "time", "timestamp", "timestamptz",
        "uuid", "varchar",
    ]
}

/// Why a filter cannot be used. The job fails with it.
struct FilterError: Error, Equatable, CustomStringConvertible {
    var description: String

    init(_ reason: String) { description = "filter_sql: \(reason)" }
}

extension StringProtocol {
    var trimmingWhitespace: SubSequence {
        let start = self.drop { $0.isWhitespace }
        guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return start }
        return start[...last]
    }
}
