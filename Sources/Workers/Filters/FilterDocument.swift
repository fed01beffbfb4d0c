// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials

/// A filter in its JSON form: groups of conditions.
///
///     {"version": 2, "interLogic": ["OR"], "groups": [{"intraLogic": "AND", "conditions":
///         [{"column": "id", "operator": "BETWEEN", "value": 1, "value2": "9"}]}]}
///
/// `interLogic` stands between the groups and binds as in SQL: AND before OR. A condition with an
/// empty value is one that the form was not filled in for, and is dropped.
struct FilterDocument: Decodable {
    struct Group: Decodable {
        var conditions: [Condition]?
        var intraLogic: String?
    }

    struct Condition: Decodable {
        var column: String?
        var `operator`: String?
        var value: Scalar?
        var value2: Scalar?
    }

    /// A value as the form sends it: mostly a text, also a number, a boolean, or a list.
    struct Scalar: Decodable {
        var texts: [String]

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                texts = []
            } else if let text = try? container.decode(String.self) {
                texts = [text]
            } else if let flag = try? container.decode(Bool.self) {
                texts = [String(flag)]
            } else if let number = try? container.decode(Int64.self) {
                texts = [String(number)]
            } else if let number = try? container.decode(Double.self) {
                texts = [String(number)]
            } else {
                texts = try container.decode([Scalar].self).flatMap(\.texts)
            }
        }

        var isEmpty: Bool { texts.allSatisfy { $0.trimmingWhitespace.isEmpty } }
    }

    var version: Int?
    var groups: [Group]?
    var interLogic: [String]?

    static func expression(json: String) throws(FilterError) -> FilterExpression? {
        let document: FilterDocument
        do {
            document = try JSONDecoder().decode(FilterDocument.self, from: Data(json.utf8))
        } catch {
            throw FilterError("it begins like JSON and cannot be read as a filter")
        }
        if let version = document.version, version != 2 {
            throw FilterError("version \(version) is not known")
        }
        return try document.expression()
    }

    private func expression() throws(FilterError) -> FilterExpression? {
        // A sum of products: each OR begins the next product.
        var products: [[FilterExpression]] = [[]]
        for (index, group) in (groups ?? []).enumerated() {
            guard let part = try group.expression() else { continue }
            let logic = index == 0 ? nil : interLogic?.dropFirst(index - 1).first
            let isOr = try FilterDocument.isOr(logic)
            if isOr, products.last?.isEmpty == false { products.append([]) }
            products[products.count - 1].append(part)
        }
        let parts = products.filter { !$0.isEmpty }.map { $0.count == 1 ? $0[0] : .all($0) }
        if parts.isEmpty { return nil }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    static func isOr(_ logic: String?) throws(FilterError) -> Bool {
        switch logic?.uppercased() {
        case nil, "", "AND": return false
        case "OR": return true
        default: throw FilterError("conditions are joined by AND or OR, not \"\(logic ?? "")\"")
        }
    }
}

extension FilterDocument.Group {
    fileprivate func expression() throws(FilterError) -> FilterExpression? {
        var parts: [FilterExpression] = []
        for condition in conditions ?? [] {
            if let part = try condition.expression() { parts.append(part) }
        }
        let isOr = try FilterDocument.isOr(intraLogic)
        if parts.isEmpty { return nil }
        if parts.count == 1 { return parts[0] }
        return isOr ? .any(parts) : .all(parts)
    }
}

extension FilterDocument.Condition {
    fileprivate func expression() throws(FilterError) -> FilterExpression? {
        guard let column, !column.isEmpty else { throw FilterError("a condition has no column") }
        let words = (self.operator ?? "").uppercased().split { $0.isWhitespace }
        let isNegated = words.first == "NOT"
        switch words.joined(separator: " ") {
        case "IS NULL": return .isNull(column: column, isNegated: false)
        case "IS NOT NULL": return .isNull(column: column, isNegated: true)
        case "IN", "NOT IN":
            let values = list
            if values.isEmpty { return nil }
            return .among(column: column, values, isNegated: isNegated)
        case "BETWEEN", "NOT BETWEEN":
            guard let low = single(value) else { return nil }
            guard let high = single(value2) else {
                throw FilterError("BETWEEN on \"\(column)\" has no second value")
            }
            return .between(
                column: column, FilterValue(low), FilterValue(high), isNegated: isNegated)
        case "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE":
            guard let text = single(value) else { return nil }
            return .like(
                column: column, pattern: "%\(text)%", ignoresCase: words.last == "ILIKE",
                isNegated: isNegated)
        case let text:
            guard let comparison = FilterOperator(sql: text) else {
                throw FilterError("the operator \"\(self.operator ?? "")\" is not known")
            }
            guard let text = single(value) else { return nil }
            return .comparison(column: column, comparison, FilterValue(text))
        }
    }

    private func single(_ value: FilterDocument.Scalar?) -> String? {
        guard let value, !value.isEmpty else { return nil }
        return value.texts.joined(separator: ",")
    }

    /// A list, or a text with commas in it, whose parts may stand between quotes.
    private var list: [FilterValue] {
        let texts = value?.texts ?? []
        let parts =
            texts.count > 1 ? texts : (texts.first ?? "").split(separator: ",").map(String.init)
        return parts.map { part in
            var text = part.trimmingWhitespace
            if text.count >= 2, text.hasPrefix("'"), text.hasSuffix("'") {
                text = text.dropFirst().dropLast()
            }
            return FilterValue(String(text))
        }.filter { !$0.text.isEmpty }
    }
}
