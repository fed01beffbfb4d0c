// SPDX-License-Identifier: Apache-2.0

import LibPQ
import Testing

@testable import LeaseClient

@Suite("The async form", .timeLimit(.minutes(5)))
struct AsyncTests {
    struct Failure: Error {}

    @Test("Statements, transactions, COPY, pipelines, notifications", arguments: Route.allCases)
    func everything(_ route: Route) async throws {
        try await route.runAsync { connection in
            try await connection.execute("CREATE TEMP TABLE a (id int8, name text)")
            let count = try await connection.copyIn(
                into: "a", columns: ["id", "name"], format: .binary
            ) { writer in
                for id in 1...1000 { try await writer.row(id, "name \(id)") }
            }
            #expect(count == 1000)
            try await connection.withTransaction(isolation: .repeatableRead) { transaction in
                try await transaction.execute("DELETE FROM a WHERE id > \(500)")
                await thrown(Failure.self) {
                    try await transaction.withTransaction { inner in
                        try await inner.execute("DELETE FROM a")
                        throw Failure()
                    }
                }
            }
            #expect(try await connection.query("SELECT count(*) FROM a").one(Int.self) == 500)
            let find = try await connection.prepare("SELECT name FROM a WHERE id = $1")
            #expect(try await connection.query(find, [7]).one(String.self) == "name 7")
            let outcomes = try await connection.pipeline(["SELECT 1", "SELECT 2"])
            #expect(try outcomes.map { try $0.get().one(Int.self) as Int } == [1, 2])
            try await connection.listen("async \(route.rawValue)")
            try await connection.notify("async \(route.rawValue)", "hello")
            let news = try await connection.waitForNotification(within: .seconds(20))
            #expect(news?.payload == "hello")
        }
    }

    @Test("A stream of rows, to the end, given up, and failing", arguments: Route.allCases)
    func streams(_ route: Route) async throws {
        try await route.runAsync { connection in
            var sum = 0
            let all = try await connection.stream(
                "SELECT n FROM generate_series(1, \(20_000)) n")
            for try await row in all { sum += try row.decode(Int.self, at: 0) }
            #expect(sum == 20_000 * 20_001 / 2)
            let endless = try await connection.stream(
                "SELECT generate_series(1, 100000000)")
            var seen = 0
            for try await _ in endless {
                seen += 1
                if seen == 1000 { break }
            }
            #expect(try await connection.query("SELECT 5").one(Int.self) == 5)
            let ended = await leaseError {
                for try await _ in endless {}
            }
            guard case LeaseError.Code.usage = ended else {
                Issue.record("\(String(describing: ended))")
                return
            }
            var before = 0
            let failing = try await connection.stream(
                "SELECT 1 / (3 - n) FROM generate_series(1, 5) n")
            let error = await leaseError {
                for try await _ in failing { before += 1 }
            }
            #expect(error?.postgresError?.sqlState == "22012")
            #expect(before == 2)
        }
    }

    @Test(
        "A cancelled task's statement is cancelled, and its lease comes back",
        arguments: Route.leased)
    func cancellation(_ route: Route) async throws {
        let broker = try Broker.shared.get()
        let client = try broker.client(route)
        defer { client.close() }
        let purpose = "cancellation \(route.rawValue)"
        let task = Task {
            try await client.withLease(for: purpose) { connection in
                let process = connection.grant?.serverProcessID
                #expect(process != nil)
                try await connection.query("SELECT pg_sleep(600)")
            }
        }
        try await until("the statement runs") { try broker.runningSleeps(purpose) == 1 }
        task.cancel()
        await thrown(CancellationError.self) { try await task.value }
        #expect(try !broker.leases().contains(purpose))
        // The connection is as good as before.
        let answer = try await client.withLease { try await $0.query("SELECT 1").one(Int.self) }
        #expect(answer == 1)
    }

    @Test("A task that is cancelled while it waits stops waiting", arguments: Route.leased)
    func cancelledWait(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client(route)
        defer { client.close() }
        try await client.withLease(for: "holder") { connection in
            let task = Task {
                try await client.withLease(for: "waiter") { _ in }
            }
            try await until("it waits") { try broker.console("SHOW WAITERS").count == 1 }
            task.cancel()
            await thrown(CancellationError.self) { try await task.value }
            #expect(try broker.console("SHOW WAITERS").isEmpty)
            #expect(try await connection.query("SELECT 1").one(Int.self) == 1)
        }
    }

    @Test("A cancelled transaction is rolled back", arguments: Route.leased)
    func cancelledTransaction(_ route: Route) async throws {
        let table = "cancelled_\(route.rawValue)"
        _ = try Route.plain.run { try $0.execute("CREATE TABLE \(identifier: table) (a int)") }
        let task = Task {
            try await route.runAsync { connection in
                try await connection.withTransaction { transaction in
                    try await transaction.execute("INSERT INTO \(identifier: table) VALUES (1)")
                    withUnsafeCurrentTask { $0?.cancel() }
                }
            }
        }
        await thrown(CancellationError.self) { try await task.value }
        let count = try Route.plain.run {
            try $0.query("SELECT count(*) FROM \(identifier: table)").one(Int.self)
        }
        #expect(count == 0)
    }

    @Test("The body runs in its caller's isolation, with what is not Sendable")
    @MainActor
    func isolation() async throws {
        final class Counter { var value = 0 }
        let counter = Counter()
        let client = try Broker.shared.get().client()
        defer { client.close() }
        let same = try await client.withLease { connection in
            MainActor.preconditionIsolated()
            counter.value += try await connection.query("SELECT 41").one(Int.self)
            MainActor.preconditionIsolated()
            return counter
        }
        same.value += 1
        #expect(counter.value == 42)
    }

    @Test(
        "Fifty tasks on a pool of five: everyone gets through, five at a time",
        arguments: Route.leased)
    func crowd(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "5"])
        let client = try broker.client(route) { $0.maximumConnections = 20 }
        defer { client.close() }
        let sum = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<50 {
                group.addTask {
                    try await client.withLease(for: "crowd", wait: .seconds(60)) { connection in
                        try await connection.withTransaction { transaction in
                            try await transaction.query("SELECT \(number)").one(Int.self)
                        }
                    }
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(sum == 49 * 50 / 2)
        try await until("all leases are back") { try broker.leases().isEmpty }
        #expect(try broker.serverConnections() <= 5)
    }
}
