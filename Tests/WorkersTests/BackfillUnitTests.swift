// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Testing

@testable import Workers

/// The parts that need no server.
@Suite("Backfill: parts")
struct BackfillUnitTests {
    @Test("Progress: rate and remaining time")
    func progress() throws {
        let start = ContinuousClock.now
        var meter = ProgressMeter(count: 1000, total: 3000, now: start)
        #expect(meter.rate == nil)
        #expect(meter.remaining == nil)
        meter.wrote(500, now: start + .seconds(5))
        // Rows of an earlier start say nothing of the speed.
        #expect(meter.rate == 100)
        #expect(meter.remaining == .seconds(15))
        #expect(meter.percent == 50)
        meter.wrote(1000, now: start + .seconds(10))
        let rate = try #require(meter.rate)
        #expect(rate > 100 && rate < 200)
        // The table has grown meanwhile.
        meter.wrote(1000, now: start + .seconds(20))
        #expect(meter.remaining == .zero)
        #expect(meter.percent == 100)
        // A clock that stands still.
        meter.wrote(1, now: start + .seconds(20))
        #expect(meter.count == 3501)
        #expect(ProgressMeter(count: 0, total: 0, now: start).percent == 100)
    }

    @Test("Pauses between attempts double, up to a bound")
    func pauses() {
        var limits = RetryLimits()
        limits.firstPause = .milliseconds(100)
        limits.longestPause = .seconds(1)
        let pauses = (1...6).map { limits.pause(after: $0) }
        #expect(
            pauses == [
                .milliseconds(100), .milliseconds(200), .milliseconds(400), .milliseconds(800),
                .seconds(1), .seconds(1),
            ])
        #expect(limits.pause(after: 1_000_000) == .seconds(1))
    }

    @Test("What passes by itself is tried again, the rest is not")
    func retries() async throws {
        var limits = RetryLimits()
        limits.attempts = 3
        limits.firstPause = .zero
        func attempts(_ error: any Error) async -> Int {
            let count = Counter()
            let ignore: (any Error) -> Void = { _ in }
            _ = try? await limits.run(onFailure: ignore) {
                await count.add()
                throw error
            }
            return await count.value
        }
        #expect(await attempts(LeaseError.brokerAway(reason: "")) == 3)
        for state in ["40001", "40P01", "57P01", "08006"] {
            #expect(
                await attempts(LeaseError.sql(PostgresError(sqlState: state, message: ""))) == 3)
        }
        for state in ["23505", "42P01", "57014"] {
            #expect(
                await attempts(LeaseError.sql(PostgresError(sqlState: state, message: ""))) == 1)
        }
        #expect(await attempts(ClaimLost()) == 1)
        #expect(await attempts(BackfillFault(description: "")) == 1)
    }

    private actor Counter {
        private(set) var value = 0
        func add() { value += 1 }
    }

    @Test("Rows of COPY: their number, and the last one's values")
    func copyText() {
        let bytes = Array("1\ta\\nb\n2\t\\N\n3\t\\\\x\\ty\n".utf8)
        #expect(CopyTextRow.count(in: bytes) == 3)
        #expect(CopyTextRow.last(in: bytes) == ["3", "\\x\ty"])
        #expect(CopyTextRow.last(in: Array("\n".utf8)) == [""])
    }

    @Test("Addresses of a broker, and what it calls a row's database")
    func routes() throws {
        #expect(BrokerRoute("/run/pglease:6543") == BrokerRoute(host: "/run/pglease", port: 6543))
        #expect(BrokerRoute("@pglease:1") == BrokerRoute(host: "@pglease", port: 1))
        #expect(BrokerRoute("localhost") == BrokerRoute(host: "localhost", port: 6432))
        for text in ["", ":5", "host:", "host:port", "host:70000"] {
            #expect(BrokerRoute(text) == nil)
        }
        var route = try #require(BrokerRoute("/run/pglease"))
        route.databaseNames["db1:5432/app"] = "app_one"
        var row = DatabaseAddress(host: "db1", port: 5432, database: "app", user: "u")
        #expect(
            route.address(for: row)
                == DatabaseAddress(host: "/run/pglease", port: 6432, database: "app_one", user: "u")
        )
        row.host = "db2"
        #expect(route.address(for: row).database == "app")
    }

    @Test(
        "The key of a table: primary first, then short; never one that may be NULL or is computed")
    func keys() {
        var a = TableColumn.plain("a", "bigint", "N")
        a.isGenerated = true
        var shape = TableShape(
            table: TableName("sales.orders"),
            columns: [a, .plain("b", "bigint", "N"), .plain("c", "text", "S")],
            keys: [
                TableKey(columns: ["a"], isPrimary: true, isNullable: false),
                TableKey(columns: ["c"], isPrimary: false, isNullable: true),
                TableKey(columns: ["b", "c"], isPrimary: false, isNullable: false),
            ], uniqueIndexes: 3)
        #expect(shape.orderingKey?.columns == ["b", "c"])
        #expect(shape.isUnique(on: ["c", "b"]))
        shape.keys.append(TableKey(columns: ["c", "b"], isPrimary: true, isNullable: false))
        #expect(shape.orderingKey?.columns == ["c", "b"])
        #expect(shape.table == TableName(schema: "sales", name: "orders"))
        #expect(TableName("orders", defaultSchema: "x").quoted == #""x"."orders""#)
    }
}
