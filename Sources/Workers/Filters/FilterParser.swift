// SPDX-License-Identifier: Apache-2.0

/// Reads a filter in its text form: conditions separated by `;`, all of which must hold. Each is an
/// expression of comparisons, LIKE, IN, BETWEEN and IS NULL with AND, OR, NOT and brackets.
struct FilterParser {
    /// Brackets inside brackets; more is no filter that a person wrote.
    private static let greatestDepth = 50

    private var tokens: ArraySlice<FilterLexer.Token>
    private var depth = 0

    /// Nil when there is no condition in it.
    static func parse(_ text: String) throws(FilterError) -> FilterExpression? {
        let tokens = try FilterLexer.tokens(of: text)
        var conditions: [FilterExpression] = []
        for part in tokens.split(separator: .semicolon) {
            var parser = FilterParser(tokens: part)
            conditions.append(try parser.disjunction())
            if let rest = parser.tokens.first {
                throw FilterError("\(name(rest)) was not expected after a condition")
            }
        }
        if conditions.isEmpty { return nil }
        return conditions.count == 1 ? conditions[0] : .all(conditions)
    }

    private init(tokens: ArraySlice<FilterLexer.Token>) { self.tokens = tokens }

    // MARK: AND, OR, NOT

    private mutating func disjunction() throws(FilterError) -> FilterExpression {
        var parts = [try conjunction()]
        while takeKeyword("OR") { parts.append(try conjunction()) }
        return parts.count == 1 ? parts[0] : .any(parts)
    }

    private mutating func conjunction() throws(FilterError) -> FilterExpression {
        var parts = [try negation()]
        while takeKeyword("AND") { parts.append(try negation()) }
        return parts.count == 1 ? parts[0] : .all(parts)
    }

    private mutating func negation() throws(FilterError) -> FilterExpression {
        depth += 1
        defer { depth -= 1 }
        if depth > FilterParser.greatestDepth { throw FilterError("too many brackets") }
        if takeKeyword("NOT") { return .not(try negation()) }
        if takeSymbol("(") {
            let inner = try disjunction()
            try expectSymbol(")")
            return inner
        }
        return try condition()
    }

    // MARK: One condition

    private mutating func condition() throws(FilterError) -> FilterExpression {
        let column = try column()
        if takeKeyword("IS") {
            let isNegated = takeKeyword("NOT")
            guard takeKeyword("NULL") else { throw FilterError("NULL must follow IS") }
            return .isNull(column: column, isNegated: isNegated)
        }
        let isNegated = takeKeyword("NOT")
        if takeKeyword("IN") { return try among(column, isNegated) }
        if takeKeyword("BETWEEN") {
            let low = try value()
            guard takeKeyword("AND") else { throw FilterError("AND must follow BETWEEN's value") }
            return .between(column: column, low, try value(), isNegated: isNegated)
        }
        for (keyword, ignoresCase) in [("LIKE", false), ("ILIKE", true)]
        where takeKeyword(keyword) {
            return .like(
                column: column, pattern: try value().text, ignoresCase: ignoresCase,
                isNegated: isNegated)
        }
        if isNegated { throw FilterError("IN, BETWEEN or LIKE must follow NOT") }
        return try comparison(column)
    }

    private mutating func comparison(_ column: String) throws(FilterError) -> FilterExpression {
        guard case .symbol(let text)? = tokens.first, let comparison = FilterOperator(sql: text)
        else {
            throw FilterError(
                "a comparison must follow the column \"\(column)\", not \(nextName)")
        }
        tokens.removeFirst()
        switch tokens.first {
        case .quoted?: return .columns(left: column, comparison, right: try self.column())
        case .word(let word)? where !FilterParser.startsValue(word):
            return .columns(left: column, comparison, right: try self.column())
        default: return .comparison(column: column, comparison, try value())
        }
    }

    private mutating func among(
        _ column: String, _ isNegated: Bool
    ) throws(FilterError) -> FilterExpression {
        try expectSymbol("(")
        var values = [try value()]
        while takeSymbol(",") { values.append(try value()) }
        try expectSymbol(")")
        return .among(column: column, values, isNegated: isNegated)
    }

    private mutating func column() throws(FilterError) -> String {
        switch tokens.first {
        case .quoted(let name)?:
            tokens.removeFirst()
            return name
        case .word(let name)? where !FilterParser.keywords.contains(name.uppercased()):
            tokens.removeFirst()
            if tokens.first == .symbol("(") {
                throw FilterError("functions are not possible in a filter: \(name)(…)")
            }
            return name
        default: throw FilterError("a column was expected, not \(nextName)")
        }
    }

    private mutating func value() throws(FilterError) -> FilterValue {
        var value: FilterValue
        switch tokens.popFirst() {
        case .string(let text)?: value = FilterValue(text)
        case .number(let text)?: value = FilterValue(text)
        case .word(let word)? where ["TRUE", "FALSE"].contains(word.uppercased()):
            value = FilterValue(word.lowercased())
        case .word(let word)? where FilterParser.startsValue(word):
            // DATE '2026-01-01'
            guard case .string(let text)? = tokens.popFirst() else {
                throw FilterError("a value between quotes must follow \(word)")
            }
            value = FilterValue(text, type: word.lowercased())
        case let other:
            throw FilterError(
                "a value was expected, not \(other.map(FilterParser.name) ?? "the end")")
        }
        if takeSymbol("::") { value.type = try typeName() }
        return value
    }

    private mutating func typeName() throws(FilterError) -> String {
        guard case .word(let word)? = tokens.popFirst() else {
            throw FilterError("a type must follow ::")
        }
        var name = word.lowercased()
        if name == "double", takeKeyword("PRECISION") { name = "double precision" }
        guard FilterValue.namedTypes.contains(name) else {
            throw FilterError("the type \"\(word)\" is not possible in a filter")
        }
        return name
    }

    // MARK: Tokens

    private static let keywords: Set<String> = [
        "AND", "OR", "NOT", "IS", "NULL", "IN", "BETWEEN", "LIKE", "ILIKE", "TRUE", "FALSE",
    ]

    /// TRUE, FALSE, and the types of `DATE '2026-01-01'`.
    private static func startsValue(_ word: String) -> Bool {
        ["TRUE", "FALSE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ", "INTERVAL"]
            .contains(word.uppercased())
    }

    private mutating func takeKeyword(_ keyword: String) -> Bool {
        guard case .word(let word)? = tokens.first, word.uppercased() == keyword else {
            return false
        }
        tokens.removeFirst()
        return true
    }

    private mutating func takeSymbol(_ symbol: String) -> Bool {
        guard tokens.first == .symbol(symbol) else { return false }
        tokens.removeFirst()
        return true
    }

    private mutating func expectSymbol(_ symbol: String) throws(FilterError) {
        if !takeSymbol(symbol) {
            throw FilterError("\"\(symbol)\" was expected, not \(nextName)")
        }
    }

    private var nextName: String { tokens.first.map(FilterParser.name) ?? "the end" }

    private static func name(_ token: FilterLexer.Token) -> String {
        switch token {
        case .word(let text), .quoted(let text), .symbol(let text): "\"\(text)\""
        // Values may be secret.
        case .string: "a text"
        case .number: "a number"
        case .semicolon: "\";\""
        }
    }
}
