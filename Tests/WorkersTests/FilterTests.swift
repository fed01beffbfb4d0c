// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Workers

/// What `filter_sql` may say, in both forms, and that nothing of it becomes SQL.
@Suite("Filters")
struct FilterTests {
    private let columns = [
        TableColumn.plain("id", "bigint", "N"), .plain("name", "text", "S"),
        .plain("Big Name", "text", "S"), .plain("amount", "numeric", "N"),
        .plain("small", "integer", "N"), .plain("made", "timestamp with time zone", "D"),
        .plain("active", "boolean", "B"),
    ]

    private func render(_ filter: String?) throws -> (String, [String])? {
        guard let expression = try FilterExpression(filterSQL: filter) else { return nil }
        var values = StatementValues()
        let text = try expression.condition(on: columns, &values)
        // Short names for the values, and names without their quotes.
        var shown = text
        for number in (1...max(1, values.texts.count)).reversed() {
            shown = shown.replacing("current_setting('pglease.value\(number)')", with: "$\(number)")
        }
        return (shown.replacing("\"", with: ""), values.texts)
    }

    @Test(
        "The text form",
        arguments: [
            ("id > 5", "id > $1::bigint", ["5"]),
            (
                "id>=-5 ;  name = 'it''s'", "(id >= $1::bigint) AND (name = $2::text)",
                ["-5", "it's"]
            ),
            ("small <> 3000000000", "small <> $1::bigint", ["3000000000"]),
            ("small < 1.5", "small < $1::numeric", ["1.5"]),
            ("\"Big Name\" like '%a_'", "Big Name LIKE $1", ["%a_"]),
            ("id NOT LIKE '1%'", "id::text NOT LIKE $1", ["1%"]),
            ("NAME ilike 'x'", "name ILIKE $1", ["x"]),
            ("id in (1, 2,3)", "id IN ($1::bigint, $2::bigint, $3::bigint)", ["1", "2", "3"]),
            (
                "made between '2026-01-01' and '2026-02-01'::date",
                "made BETWEEN $1::timestamp with time zone AND $2::date",
                ["2026-01-01", "2026-02-01"]
            ),
            ("made >= DATE '2026-01-01'", "made >= $1::date", ["2026-01-01"]),
            ("name is not null", "name IS NOT NULL", []),
            ("active = true", "active = $1::boolean", ["true"]),
            ("amount > id", "amount > id", []),
            (
                "id = 1 or name = 'b' and not (small = 2)",
                "(id = $1::bigint) OR ((name = $2::text) AND (NOT (small = $3::bigint)))",
                ["1", "b", "2"]
            ),
        ])
    func text(_ filter: String, _ condition: String, _ values: [String]) throws {
        let rendered = try #require(try render(filter))
        #expect(rendered.0 == condition)
        #expect(rendered.1 == values)
    }

    @Test("No filter", arguments: [nil, "", "  ", ";", #"{"version":2,"groups":[]}"#])
    func none(_ filter: String?) throws {
        #expect(try render(filter) == nil)
    }

    @Test(
        "The JSON form",
        arguments: [
            (
                #"{"version":2,"groups":[{"conditions":[{"column":"id","operator":"=","value":"7"}]}]}"#,
                "id = $1::bigint", ["7"]
            ),
            (
                #"""
                {"version":2,"groups":[
                  {"intraLogic":"OR","conditions":[
                    {"column":"name","operator":"LIKE","value":"a'b"},
                    {"column":"id","operator":"IN","value":"1, '2',3"},
                    {"column":"amount","operator":">","value":""}]},
                  {"conditions":[{"column":"id","operator":"BETWEEN","value":1,"value2":9}]},
                  {"conditions":[{"column":"made","operator":"is null"}]}],
                 "interLogic":["AND","OR"]}
                """#,
                "(((name LIKE $1) OR (id IN ($2::bigint, $3::bigint, $4::bigint)))"
                    + " AND (id BETWEEN $5::bigint AND $6::bigint)) OR (made IS NULL)",
                ["%a'b%", "1", "2", "3", "1", "9"]
            ),
            (
                #"{"groups":[{"conditions":[{"column":"active","operator":"!=","value":true}]}]}"#,
                "active <> $1::boolean", ["true"]
            ),
        ])
    func json(_ filter: String, _ condition: String, _ values: [String]) throws {
        let rendered = try #require(try render(filter))
        #expect(rendered.0 == condition)
        #expect(rendered.1 == values)
    }

    @Test(
        "What is no filter is an error",
        arguments: [
            "id = 1; DROP TABLE orders", "id = 1) OR (1 = 1", "1 = 1", "id = (SELECT 1)",
            "pg_sleep(10) = 1", "id = pg_sleep(10)", "id = 1 -- x", "id = 1 /* x */",
            "id = 'unclosed", "id = $1", "secret = 1", "id = E'\\''", "id IS 5", "id IN ()",
            "id = 1 UNION SELECT 1", "id = 1::regclass", "name = 'a' || 'b'", "id = \u{0}",
            "id BETWEEN 1", "id =", "{\"version\":2", #"{"version":3,"groups":[]}"#,
            #"{"groups":[{"conditions":[{"column":"id; DROP TABLE x","operator":"=","value":1}]}]}"#,
            #"{"groups":[{"conditions":[{"column":"id","operator":"= 1 OR 1 =","value":1}]}]}"#,
            #"{"groups":[{"intraLogic":"OR 1=1 OR","conditions":[{"column":"id","operator":"=","value":1}]}]}"#,
            #"{"groups":[{"conditions":[{"column":"id","operator":"BETWEEN","value":1}]}]}"#,
        ])
    func refused(_ filter: String) {
        #expect(throws: FilterError.self) { _ = try render(filter) }
    }

    @Test("Brackets without end do no harm", arguments: ["(", "NOT "])
    func depth(_ opening: String) {
        let filter = String(repeating: opening, count: 100_000) + "id = 1"
        #expect(throws: FilterError.self) { _ = try render(filter) }
    }

    @Test("Names are the catalog's, quoted")
    func names() throws {
        var values = StatementValues()
        let expression = try #require(try FilterExpression(filterSQL: "\"a\"\"; b\" = 1"))
        let odd = [TableColumn.plain("a\"; b", "bigint", "N")]
        #expect(
            try expression.condition(on: odd, &values)
                == "\"a\"\"; b\" = current_setting('pglease.value1')::bigint")
    }

    @Test("Whatever the values say, the SQL is the same")
    func valuesStayValues() throws {
        for value in ["'); DROP TABLE x; --", "\\", "$1", "%", "\u{1F600}", "a\nb"] {
            let quoted = value.replacing("'", with: "''")
            let rendered = try #require(try render("name = '\(quoted)'"))
            #expect(rendered.0 == "name = $1::text")
            #expect(rendered.1 == [value])
        }
    }
}

extension TableColumn {
    static func plain(_ name: String, _ type: String, _ category: String) -> TableColumn {
        TableColumn(
            name: name, type: type, category: category, isNotNull: false, isGenerated: false,
            isIdentityAlways: false)
    }
}
