// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LeaseClient

@Suite("Statements and values", .timeLimit(.minutes(5)))
struct QueryTests {
    @Test("Values go and come back as they were", arguments: Route.allCases)
    func values(_ route: Route) throws {
        try route.run { connection in
            let bytes = [UInt8](0...255)
            let row = try connection.query(
                """
                SELECT \(7) AS small, \(Int64.max) AS large, \(-1.5) AS double, \(true) AS bool,
                    \("it's \\ \u{1F980} \n")::text AS text, \(bytes) AS bytes,
                    \(nil as Int?) AS nothing, \([1, 2, -3]) AS numbers,
                    \(["a\"b", "c,d", "", "NULL"])::text[] AS texts,
                    \(Duration.milliseconds(90_061_500)) AS time
                """
            ).one()
            #expect(try row.decode(Int.self, "small") == 7)
            #expect(try row.decode(Int64.self, "large") == .max)
            #expect(try row.decode(Double.self, "double") == -1.5)
            #expect(try row["bool", as: Bool.self])
            #expect(try row["text", as: String.self] == "it's \\ \u{1F980} \n")
            #expect(try row.decode([UInt8].self, "bytes") == bytes)
            #expect(try row.decode(Int?.self, "nothing") == nil)
            #expect(try row.decode([Int].self, "numbers") == [1, 2, -3])
            #expect(try row.decode([String].self, "texts") == ["a\"b", "c,d", "", "NULL"])
            #expect(try row.decode(Duration.self, "time") == .milliseconds(90_061_500))
        }
    }

    @Test("Numbers at the edges of their types, as text and binary", arguments: Route.allCases)
    func edges(_ route: Route) throws {
        try route.run { connection in
            for format in [ResultFormat.text, .binary] {
                let row = try connection.query(
                    """
                    SELECT (-32768)::int2, 2147483647::int4, (-9223372036854775808)::int8,
                        'Infinity'::float8, 1.5::float4, true, '\\x00ff'::bytea, 'text'
                    """, format: format
                ).one()
                let values = try row.decode(
                    (Int16, Int32, Int, Double, Float, Bool, [UInt8], String).self)
                #expect(values.0 == .min)
                #expect(values.1 == .max)
                #expect(values.2 == .min)
                #expect(values.3 == .infinity)
                #expect(values.4 == 1.5)
                #expect(values.5)
                #expect(values.6 == [0, 255])
                #expect(values.7 == "text")
                #expect(row[0].isBinary == (format == .binary))
            }
        }
    }

    @Test("Doubles come back to the bit")
    func doubles() throws {
        try Route.plain.run { connection in
            for value in [0.1, 1e308, .leastNonzeroMagnitude, -0.0, .pi] {
                let back = try connection.query("SELECT \(value)").one(Double.self)
                #expect(back.bitPattern == value.bitPattern)
            }
            #expect(try connection.query("SELECT \(Double.nan)").one(Double.self).isNaN)
            #expect(try connection.query("SELECT 12.5::numeric").one(Double.self) == 12.5)
        }
    }

    @Test("A list of values, tuples, and what a statement concerned", arguments: Route.allCases)
    func lists(_ route: Route) throws {
        try route.run { connection in
            try connection.execute("CREATE TEMP TABLE list (id int PRIMARY KEY, name text)")
            let inserted = try connection.execute(
                "INSERT INTO list VALUES ($1, $2), ($3, $4)", [1, "one", 2, nil])
            #expect(inserted == 2)
            let rows = try connection.query("SELECT id, name FROM list ORDER BY id")
            #expect(rows.count == 2)
            #expect(rows.columns.map(\.name) == ["id", "name"])
            #expect(rows.columns.map(\.type) == [.int4, .text])
            let decoded = try rows.decode((Int, String?).self)
            #expect(decoded.map(\.0) == [1, 2])
            #expect(decoded.map(\.1) == ["one", nil])
            #expect(
                try connection.query("SELECT count(*) FROM list WHERE id = ANY(\([1, 2]))")
                    .one(Int.self) == 2)
            #expect(try connection.execute("UPDATE list SET name = 'x'") == 2)
            #expect(try connection.execute("DELETE FROM list WHERE id = \(1)") == 1)
        }
    }

    @Test("A value is never text of the statement")
    func injection() throws {
        try Route.plain.run { connection in
            let hostile = "'; DROP TABLE x; --"
            #expect(try connection.query("SELECT \(hostile)::text").one(String.self) == hostile)
            let name = "odd \"name\""
            try connection.execute("CREATE TEMP TABLE \(identifier: name) (a int)")
            #expect(try connection.query("SELECT * FROM \(identifier: name)").isEmpty)
        }
    }

    @Test("What cannot be read says where, and what was wanted")
    func decodeErrors() throws {
        try Route.plain.run { connection in
            let row = try connection.query("SELECT 'x' AS word, NULL AS gone, 300 AS big").one()
            let word = thrown(DecodeError.self) { try row.decode(Int.self, "word") }
            #expect(word?.column == "word")
            #expect(word?.type == .text)
            #expect(word?.wanted == "Int")
            #expect(word?.problem == .unreadable(.text(bytes: 1)))
            #expect(word.map { "\($0)" }?.contains("column \"word\"") == true)
            let gone = thrown(DecodeError.self) { try row.decode(String.self, "gone") }
            #expect(gone?.problem == .null)
            let big = thrown(DecodeError.self) { try row.decode(Int8.self, "big") }
            #expect(big?.wanted == "Int8")
            let none = thrown(DecodeError.self) { try row.decode(Int.self, "other") }
            #expect(none?.problem == .noSuchColumn(["word", "gone", "big"]))
            let width = thrown(DecodeError.self) { try row.decode((Int, Int).self) }
            #expect(width?.problem == .width(wanted: 2, columns: 3))
            let count = thrown(DecodeError.self) {
                try connection.query("SELECT generate_series(1, 2)").one()
            }
            #expect(count?.problem == .rowCount(2))
        }
    }

    @Test("A server's error comes with all of its fields", arguments: Route.allCases)
    func serverErrors(_ route: Route) throws {
        try route.run { connection in
            try connection.execute(
                "CREATE TEMP TABLE people (id int CONSTRAINT people_key PRIMARY KEY)")
            try connection.execute("INSERT INTO people VALUES (1)")
            let error = sqlError { try connection.execute("INSERT INTO people VALUES (\(1))") }
            #expect(error?.sqlState == "23505")
            #expect(error?.constraintName == "people_key")
            #expect(error?.tableName == "people")
            #expect(error?.detail?.contains("(id)=(1)") == true)
            let syntax = sqlError { try connection.query("SELECT wrong FROM people") }
            #expect(syntax?.sqlState == "42703")
            #expect(syntax?.position == 8)
            // The lease goes on.
            #expect(try connection.query("SELECT count(*) FROM people").one(Int.self) == 1)
        }
    }

    @Test("Several statements in one text", arguments: Route.allCases)
    func scripts(_ route: Route) throws {
        try route.run { connection in
            let last = try connection.executeScript(
                "CREATE TEMP TABLE s (a int); INSERT INTO s VALUES (1), (2); SELECT sum(a) FROM s")
            #expect(try last.one(Int.self) == 3)
            let error = sqlError { try connection.executeScript("SELECT 1; SELECT wrong") }
            #expect(error?.sqlState == "42703")
            #expect(try connection.executeScript("").isEmpty)
        }
    }

    @Test("Prepared statements live as long as the lease", arguments: Route.allCases)
    func prepared(_ route: Route) throws {
        try route.run { connection in
            let add = try connection.prepare("SELECT $1::int + $2::int")
            for value in 1...3 {
                #expect(try connection.query(add, [value, 10]).one(Int.self) == value + 10)
            }
            let bytes = try connection.prepare("SELECT length($1::bytea), $2::text[]")
            let row = try connection.query(bytes, [[1, 2, 3] as [UInt8], ["a"]]).one()
            #expect(try row.decode(Int.self, at: 0) == 3)
            #expect(try row.decode([String].self, at: 1) == ["a"])
        }
    }

    @Test("A large result row by row, and one that is given up", arguments: Route.allCases)
    func rowByRow(_ route: Route) throws {
        struct Enough: Error {}
        try route.run { connection in
            var sum = 0
            let count = try connection.forEachRow(
                "SELECT n, repeat('x', 200) FROM generate_series(1, \(50_000)) n"
            ) { row in
                sum += try row.decode(Int.self, "n")
            }
            #expect(count == 50_000)
            #expect(sum == 50_000 * 50_001 / 2)
            thrown(Enough.self) {
                try connection.forEachRow("SELECT generate_series(1, 10000000) AS n") { row in
                    if try row.decode(Int.self, "n") == 1000 { throw Enough() }
                }
            }
            #expect(try connection.query("SELECT 1").one(Int.self) == 1)
            let error = sqlError {
                try connection.forEachRow("SELECT 1 / (3 - n) FROM generate_series(1, 5) n") { _ in
                }
            }
            #expect(error?.sqlState == "22012")
            #expect(try connection.query("SELECT 2").one(Int.self) == 2)
        }
    }

    @Test("COPY in a query is refused, and the connection goes on", arguments: Route.allCases)
    func copyInQuery(_ route: Route) throws {
        try route.run { connection in
            try connection.execute("CREATE TEMP TABLE c (a int)")
            for text in ["COPY c FROM STDIN", "COPY c TO STDOUT"] {
                let error = leaseError { try connection.query(SQL(text)) }
                guard case LeaseError.Code.usage = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
            }
            #expect(try connection.query("SELECT 1").one(Int.self) == 1)
        }
    }
}
