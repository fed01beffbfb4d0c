// SPDX-License-Identifier: Apache-2.0

import LibPQ
import PostgresFixture
import Testing

@testable import LeaseClient

@Suite("COPY", .timeLimit(.minutes(5)))
struct CopyTests {
    struct Failure: Error {}

    @Test("Bytes in, bytes out", arguments: Route.allCases)
    func bytes(_ route: Route) throws {
        try route.run { connection in
            try connection.execute("CREATE TEMP TABLE b (id int, name text)")
            let lines = (1...40_000).map { "\($0)\tname of \($0)\n" }
            let count = try connection.copyIn("COPY b FROM STDIN") { writer in
                for line in lines { try writer.write(line.utf8) }
            }
            #expect(count == 40_000)
            var back: [UInt8] = []
            var pieces = 0
            let size = try connection.copyOut("COPY (SELECT * FROM b ORDER BY id) TO STDOUT") {
                #expect($0.last == UInt8(ascii: "\n"))
                back += $0
                pieces += 1
            }
            #expect(back == Array(lines.joined().utf8))
            #expect(size == back.count)
            #expect(pieces < 200)
        }
    }

    @Test("Rows as text and as binary", arguments: Route.allCases)
    func rows(_ route: Route) throws {
        try route.run { connection in
            for format in [CopyFormat.text, .binary] {
                try connection.executeScript(
                    """
                    DROP TABLE IF EXISTS "odd table";
                    CREATE TEMP TABLE "odd table"
                        (id int8, "a name" text, d float8, f bool, b bytea, t interval);
                    """)
                let text = "tab\t line\n back\\slash \\N \r end"
                let count = try connection.copyIn(
                    into: "odd table", columns: ["id", "a name", "d", "f", "b", "t"],
                    format: format
                ) { writer in
                    try writer.row(
                        1, text, 1.5, true, [0, 1, 255] as [UInt8], Duration.seconds(90))
                    try writer.row([2, nil, nil, nil, nil, nil])
                    try writer.row(3, "", nil as Double?, false, [] as [UInt8], Duration.zero)
                }
                #expect(count == 3)
                let rows = try connection.query("SELECT * FROM \"odd table\" ORDER BY id")
                let first = try rows[0].decode(
                    (Int, String, Double, Bool, [UInt8], Duration).self)
                #expect(first.1 == text)
                #expect(first.2 == 1.5)
                #expect(first.3)
                #expect(first.4 == [0, 1, 255])
                #expect(first.5 == .seconds(90))
                #expect(try rows[1].decode(String?.self, "a name") == nil)
                #expect(try rows[2].decode(String.self, "a name") == "")
                var out: [[String?]] = []
                try connection.copyOut(
                    "COPY (SELECT id, \"a name\" FROM \"odd table\" ORDER BY id) TO STDOUT"
                ) { out += CopyTextRows.parse($0) }
                #expect(out == [["1", text], ["2", nil], ["3", ""]])
            }
            // No row at all is a COPY as well.
            #expect(
                try connection.copyIn(into: "odd table", columns: [], format: .binary) { _ in }
                    == 0)
        }
    }

    @Test("Lines of one column, empty ones too")
    func lines() {
        #expect(CopyTextRows.parse(Array("a\n\n\\N\n".utf8)) == [["a"], [""], [nil]])
        #expect(CopyTextRows.parse([]) == [])
    }

    @Test(
        "What fails on either side leaves nothing, and the connection goes on",
        arguments: Route.allCases)
    func failures(_ route: Route) throws {
        try route.run { connection in
            try connection.execute("CREATE TEMP TABLE f (a int)")
            thrown(Failure.self) {
                try connection.copyIn("COPY f FROM STDIN") { writer in
                    try writer.write("1\n2\n".utf8)
                    throw Failure()
                }
            }
            let error = sqlError {
                try connection.copyIn("COPY f FROM STDIN") { writer in
                    for _ in 0..<20_000 { try writer.write("1\nwrong\n".utf8) }
                }
            }
            #expect(error?.sqlState == "22P02")
            #expect(error?.context?.contains("line 2") == true)
            let missing = sqlError { try connection.copyIn("COPY nowhere FROM STDIN") { _ in } }
            #expect(missing?.sqlState == "42P01")
            thrown(Failure.self) {
                try connection.copyOut(
                    "COPY (SELECT generate_series(1, 10000000)) TO STDOUT"
                ) { _ in throw Failure() }
            }
            for wrong in ["COPY f TO STDOUT", "SELECT 1"] {
                guard
                    case LeaseError.Code.usage = leaseError({
                        try connection.copyIn(SQL(wrong)) { _ in }
                    })
                else {
                    Issue.record("\(wrong) as a COPY in")
                    continue
                }
            }
            guard
                case LeaseError.Code.usage = leaseError({
                    try connection.copyOut("COPY f FROM STDIN") { _ in }
                })
            else {
                Issue.record("COPY FROM as a COPY out")
                return
            }
            #expect(try connection.query("SELECT count(*) FROM f").one(Int.self) == 0)
        }
    }

    @Test("From one connection to another", arguments: Route.leased)
    func through(_ route: Route) async throws {
        try await route.runAsync { source in
            try await route.runAsync { destination in
                try await destination.execute("CREATE TEMP TABLE d (a int, b text)")
                let stream = try await source.copyOut(
                    "COPY (SELECT n, repeat('x', 50) FROM generate_series(1, 30000) n) TO STDOUT")
                let count = try await destination.copyIn("COPY d FROM STDIN") { writer in
                    for try await chunk in stream { try await writer.write(chunk) }
                }
                #expect(count == 30_000)
                let sum = try await destination.query("SELECT sum(a) FROM d").one(Int.self)
                #expect(sum == 30_000 * 30_001 / 2)
            }
        }
    }
}

@Suite("A COPY that is given up", .timeLimit(.minutes(5)))
struct AbandonedCopyTests {
    @Test(
        "A COPY whose server does not read on ends when its task is cancelled",
        arguments: Route.leased)
    func stuck(_ route: Route) async throws {
        let table = "stuck_\(route.rawValue)"
        let session = try plainSession(PostgresServer.shared.get().address)
        defer { session.connection.close() }
        let locker = LeaseConnection(session)
        try locker.executeScript("CREATE TABLE \(table) (a int PRIMARY KEY, b text)")
        // The COPY's first row waits for the end of this transaction.
        try locker.executeScript("BEGIN; INSERT INTO \(table) VALUES (1, 'first')")
        let broker = try Broker.shared.get()
        let client = try broker.client(route)
        defer { client.close() }
        let task = Task {
            try await client.withLease(for: table) { connection in
                try await connection.copyIn(into: table, columns: ["a", "b"]) { writer in
                    let text = String(repeating: "x", count: 9999)
                    for id in 1... { try await writer.row(id, text) }
                }
            }
        }
        try await until("the COPY waits") {
            // Not by the locker: a transaction sees the activity of its beginning.
            try Route.plain.run { other in
                try other.query(
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE wait_event_type = 'Lock' AND query LIKE \("COPY \"\(table)\"%")
                    """
                ).one(Int.self) == 1
            }
        }
        task.cancel()
        await thrown(CancellationError.self) { try await task.value }
        _ = try locker.executeScript("ROLLBACK")
        try await until("its lease is back") { try !broker.leases().contains(table) }
        #expect(try locker.query("SELECT count(*) FROM \(identifier: table)").one(Int.self) == 0)
    }

    @Test("A COPY out and a stream are cancelled with their task", arguments: Route.leased)
    func out(_ route: Route) async throws {
        let broker = try Broker.shared.get()
        let client = try broker.client(route)
        defer { client.close() }
        await thrown(CancellationError.self) {
            try await Task {
                try await client.withLease { connection in
                    let stream = try await connection.copyOut(
                        "COPY (SELECT generate_series(1, 1000000000)) TO STDOUT")
                    for try await _ in stream { withUnsafeCurrentTask { $0?.cancel() } }
                }
            }.value
        }
        await thrown(CancellationError.self) {
            try await Task {
                try await client.withLease { connection in
                    withUnsafeCurrentTask { $0?.cancel() }
                    for try await _ in try await connection.stream("SELECT 1") {}
                }
            }.value
        }
    }
}
