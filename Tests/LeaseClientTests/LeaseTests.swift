// SPDX-License-Identifier: Apache-2.0

import Foundation
import LibPQ
import PostgresFixture
import Testing

@testable import LeaseClient

@Suite("Leases", .timeLimit(.minutes(5)))
struct LeaseTests {
    struct Failure: Error {}

    @Test("The broker knows purpose and thread, and the lease comes back", arguments: Route.leased)
    func purpose(_ route: Route) async throws {
        let broker = try Broker()
        let client = try broker.client(route)
        defer { client.close() }
        try await onThread {
            try client.withLease(for: "it's a \"purpose\"") { connection in
                #expect(try broker.leases() == ["it's a \"purpose\""])
                let process = try connection.query("SELECT pg_backend_pid()").one(Int.self)
                #expect(connection.grant?.serverProcessID == process)
            }
            try eventually("the lease is back") { try broker.leases().isEmpty }
            try client.withLease { _ in
                let purposes = try broker.leases()
                #expect(purposes.first?.hasPrefix("LeaseClientTests/LeaseTests.swift:") == true)
            }
            thrown(Failure.self) { try client.withLease { _ in throw Failure() } }
            try eventually("the lease is back") { try broker.leases().isEmpty }
        }
        try await client.withLease(for: "async") { _ in
            let purposes = try broker.leases()
            #expect(purposes == ["async"])
        }
        try await until("the lease is back") { try broker.leases().isEmpty }
    }

    @Test("What a lease leaves behind is gone", arguments: Route.leased)
    func leftovers(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client(route)
        defer { client.close() }
        try await onThread {
            try client.withLease { connection in
                try connection.execute("CREATE TEMP TABLE mine (a int)")
                try connection.listen("something")
                try connection.execute("SET work_mem = '5MB'")
                try connection.execute("SELECT pg_advisory_lock(1)")
                _ = try connection.prepare("SELECT 1")
                try connection.executeScript("BEGIN; INSERT INTO mine VALUES (1)")
            }
            try client.withLease { connection in
                let row = try connection.query(
                    """
                    SELECT to_regclass('pg_temp.mine') IS NULL, current_setting('work_mem'),
                        (SELECT count(*) FROM pg_listening_channels()),
                        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
                            AND pid = pg_backend_pid()),
                        (SELECT count(*) FROM pg_prepared_statements)
                    """
                ).one()
                #expect(try row.decode(Bool.self, at: 0))
                #expect(try row.decode(String.self, at: 1) != "5MB")
                #expect(try row.decode(Int.self, at: 2) == 0)
                #expect(try row.decode(Int.self, at: 3) == 0)
                #expect(try row.decode(Int.self, at: 4) == 0)
            }
        }
    }

    @Test("Whatever is under way when the body ends, the lease comes back", arguments: Route.leased)
    func underWay(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client(route)
        defer { client.close() }
        try await client.withLease { connection in
            let stream = try await connection.stream("SELECT generate_series(1, 100000000)")
            for try await _ in stream { break }
        }
        try await client.withLease { connection in
            let stream = try await connection.copyOut(
                "COPY (SELECT generate_series(1, 10000000)) TO STDOUT")
            for try await _ in stream { break }
        }
        try await client.withLease { connection in
            try await connection.executeScript("BEGIN; SELECT 1 / 1")
            _ = await leaseError { try await connection.query("SELECT 1 / 0") }
        }
        let left = try await client.withLease { connection in connection }
        guard case LeaseError.Code.closed = await leaseError({ try await left.query("SELECT 1") })
        else {
            Issue.record("a connection was usable after its lease")
            return
        }
        try await until("the lease is back") { try broker.leases().isEmpty }
        #expect(try await client.withLease { try await $0.query("SELECT 1").one(Int.self) } == 1)
    }

    @Test("Exhaustion names the holders, after the attempts of the policy", arguments: Route.leased)
    func exhaustion(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client(route) {
            $0.retry = RetryPolicy(attempts: 2, delay: .milliseconds(1))
        }
        defer { client.close() }
        try await client.withLease(for: "the only one") { _ in
            let error = await leaseError {
                try await client.withLease(wait: .zero) { _ in }
            }
            guard let exhaustion = error?.exhaustion else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(exhaustion.attempts == 2)
            #expect(!exhaustion.isLocal)
            #expect(exhaustion.holders.count == 1)
            #expect(exhaustion.holders.first?.purpose == "the only one")
            if route != .tcp {
                #expect(exhaustion.holders.first?.processID == Int(getpid()))
            }
            #expect("\(error!)".contains("the only one"))
        }
    }

    @Test("Holders are read as the broker names them, whatever they are called")
    func hostileHolders() async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let hostile = "x\\\"), pid 1 \"y\" for 9.9 s (idle, for 'z'), and 3 more.\nHeld by: größer"
        let written = hostile.replacingOccurrences(of: "\\", with: "\\\\")
            .replacingOccurrences(of: "'", with: "\\'")
        let holding = try LeaseClient(
            broker.address(.direct) + " application_name='\(written)'",
            configuration: try LeaseConfiguration())
        let waiting = try broker.client { $0.retry = .once }
        defer {
            holding.close()
            waiting.close()
        }
        try await holding.withLease(for: hostile) { _ in
            let error = await leaseError {
                try await waiting.withLease(wait: .zero) { _ in }
            }
            guard let exhaustion = error?.exhaustion else {
                Issue.record("\(String(describing: error))")
                return
            }
            let shown = hostile.map { $0 == "\n" ? " " : String($0) }.joined()
            #expect(exhaustion.holders.map(\.program) == [shown])
            #expect(exhaustion.holders.map(\.purpose) == [shown])
            #expect("\(error!)".contains("no connection at once"))
            #expect("\(error!)".contains("was not to wait"))
        }
    }

    @Test("A socket that this user may not use is a refusal that names the settings")
    func forbiddenSocket() throws {
        let failure = ConnectionFailure(
            raw: "connection to server on socket \"/run/pglease/.s.PGSQL.6432\" failed: "
                + "Permission denied\n\tIs the server running locally and accepting connections?")
        guard LeaseError(connecting: failure).code == .refused,
            let error = LeaseError(connecting: failure).postgresError
        else {
            Issue.record("\(LeaseError(connecting: failure))")
            return
        }
        #expect(!LeaseError(connecting: failure).isWorthAnotherAttempt)
        #expect(error.hint?.contains("unix_socket_mode and unix_socket_group") == true)
        let absent = ConnectionFailure(
            raw: "connection to server on socket \"/x\" failed: No such file or directory")
        guard case LeaseError.Code.brokerAway = LeaseError(connecting: absent) else {
            Issue.record("\(LeaseError(connecting: absent))")
            return
        }
    }

    @Test("The client's own bound: in turn, and its holders are named")
    func localBound() async throws {
        let broker = try Broker.shared.get()
        let client = try broker.client {
            $0.maximumConnections = 1
            $0.retry = .once
        }
        defer { client.close() }
        try await client.withLease(for: "the local one") { _ in
            for error in [
                await leaseError { try await client.withLease(wait: .zero) { _ in } },
                try await onThread { leaseError { try client.withLease(wait: .zero) { _ in } } },
            ] {
                guard let exhaustion = error?.exhaustion else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect(exhaustion.isLocal)
                #expect(exhaustion.holders.map(\.purpose) == ["the local one"])
            }
            let cancelled = Task { try await client.withLease(wait: .seconds(60)) { _ in } }
            cancelled.cancel()
            await thrown(CancellationError.self) { try await cancelled.value }
        }
        // A waiter gets the slot when it comes back.
        let order = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<20 {
                group.addTask {
                    try await client.withLease(wait: .seconds(60)) { connection in
                        try await connection.query("SELECT \(number)").one(Int.self)
                    }
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(order.sorted() == Array(0..<20))
        let waiting = Task { try await client.withLease(wait: .seconds(60)) { _ in } }
        try await waiting.value
    }

    @Test("A lease that outlives its HOLD is revoked, and says so", arguments: Route.leased)
    func hold(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client(route)
        defer { client.close() }
        try await client.withLease(hold: .milliseconds(100)) { connection in
            try await until("the lease is revoked") { try broker.leases().isEmpty }
            let error = await leaseError { try await connection.query("SELECT 1") }
            guard error?.code == .revoked, let reason = error?.postgresError else {
                Issue.record("\(String(describing: error))")
                return
            }
            #expect(reason.sqlState == "57P05")
            // It stays so.
            guard
                case LeaseError.Code.revoked = await leaseError({
                    try await connection.query("SELECT 1")
                })
            else {
                Issue.record("a revoked lease was used")
                return
            }
        }
        // In the middle of a statement.
        let error = await leaseError {
            try await client.withLease(hold: .milliseconds(100)) { connection in
                try await connection.query("SELECT pg_sleep(600)")
            }
        }
        guard case LeaseError.Code.revoked = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(try await client.withLease { try await $0.query("SELECT 1").one(Int.self) } == 1)
    }

    @Test("A server connection that is killed", arguments: Route.leased)
    func serverKilled(_ route: Route) async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client(route)
        defer { client.close() }
        for isWithin in [false, true] {
            let error = await leaseError {
                try await client.withLease { connection in
                    let process = connection.grant!.serverProcessID
                    let statement: SQL =
                        isWithin ? "SELECT pg_terminate_backend(pg_backend_pid())" : "SELECT 1"
                    if !isWithin {
                        try Route.plain.run { other in
                            try other.execute("SELECT pg_terminate_backend(\(process))")
                            try eventually("the backend is gone") {
                                try other.query(
                                    "SELECT count(*) FROM pg_stat_activity WHERE pid = \(process)"
                                ).one(Int.self) == 0
                            }
                        }
                    }
                    try await connection.query(statement)
                }
            }
            guard case LeaseError.Code.serverLost = error else {
                Issue.record("\(isWithin): \(String(describing: error))")
                continue
            }
        }
        #expect(try await client.withLease { try await $0.query("SELECT 1").one(Int.self) } == 1)
        try await until("the leases are back") { try broker.leases().isEmpty }
    }

    @Test(
        "A broker that is killed: an error in the lease, and a retry before one",
        arguments: Route.leased)
    func brokerKilled(_ route: Route) async throws {
        let broker = try Broker()
        let client = try broker.client(route) {
            $0.retry = RetryPolicy(attempts: 200, delay: .milliseconds(50), factor: 1)
        }
        defer { client.close() }
        try await client.withLease { connection in
            broker.kill()
            guard route != .direct else {
                // The server connection is there until PostgreSQL notices that its owner is not.
                return
            }
            let error = await leaseError { try await connection.query("SELECT 1") }
            guard case LeaseError.Code.brokerAway = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        let away = await leaseError {
            try await client.withLease(retry: RetryPolicy(attempts: 2, delay: .zero)) { _ in }
        }
        guard case LeaseError.Code.brokerAway = away else {
            Issue.record("\(String(describing: away))")
            return
        }
        let waiting = Task {
            try await client.withLease { try await $0.query("SELECT 1").one(Int.self) }
        }
        let blocking = Task {
            try await onThread {
                try client.withLease { try $0.query("SELECT 2").one(Int.self) }
            }
        }
        try broker.start()
        #expect(try await waiting.value == 1)
        #expect(try await blocking.value == 2)
        // A connection that died at rest is replaced without an attempt.
        broker.kill()
        try broker.start()
        let once = try await client.withLease(retry: .once) {
            try await $0.query("SELECT 3").one(Int.self)
        }
        #expect(once == 3)
    }

    @Test("A statement's timeout cancels it, and the lease goes on", arguments: Route.leased)
    func timeout(_ route: Route) async throws {
        let client = try Broker.shared.get().client(route) {
            $0.statementTimeout = .milliseconds(50)
        }
        defer { client.close() }
        try await client.withLease { connection in
            let error = await leaseError { try await connection.query("SELECT pg_sleep(600)") }
            guard error?.code == .timedOut, error?.timeout == .milliseconds(50) else {
                Issue.record("\(String(describing: error))")
                return
            }
            try await connection.setStatementTimeout(nil)
            #expect(try await connection.query("SELECT 1").one(Int.self) == 1)
        }
    }

    @Test("A canceller cancels from another thread, and only what runs", arguments: Route.leased)
    func canceller(_ route: Route) async throws {
        let broker = try Broker.shared.get()
        let client = try broker.client(route)
        defer { client.close() }
        let purpose = "canceller \(route.rawValue)"
        try await onThread {
            try client.withLease(for: purpose) { connection in
                connection.canceller.cancel()
                let before = try connection.query("SELECT 1").one(Int.self)
                #expect(before == 1)
                let canceller = connection.canceller
                Thread.detachNewThread {
                    try? eventually("it sleeps") { try broker.runningSleeps(purpose) == 1 }
                    canceller.cancel()
                }
                let error = leaseError { try connection.query("SELECT pg_sleep(600)") }
                guard case LeaseError.Code.cancelled = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                let after = try connection.query("SELECT 2").one(Int.self)
                #expect(after == 2)
            }
        }
    }

    @Test("A client that is closed gives no lease, and those who wait hear of it")
    func closed() async throws {
        let broker = try Broker(["default_pool_size": "1"])
        let client = try broker.client { $0.maximumConnections = 1 }
        try await client.withLease { connection in
            let waiting = Task {
                await leaseError { try await client.withLease { _ in } }
            }
            client.close()
            guard case LeaseError.Code.closed = await waiting.value else {
                Issue.record("a waiter of a closed client went on")
                return
            }
            let answer = try await connection.query("SELECT 1").one(Int.self)
            #expect(answer == 1)
        }
        guard
            case LeaseError.Code.closed = await leaseError({ try await client.withLease { _ in } })
        else {
            Issue.record("a closed client gave a lease")
            return
        }
        try await until("its connections are closed") {
            try broker.console("SHOW CLIENTS").filter {
                try $0.decode(String.self, "database") == "postgres"
            }.isEmpty
        }
    }

    @Test("PostgreSQL itself is told apart from a broker, and a refusal from absence")
    func otherServers() async throws {
        let server = try PostgresServer.shared.get()
        var configuration = try LeaseConfiguration()
        configuration.retry = RetryPolicy(attempts: 2, delay: .zero)
        let plain = try LeaseClient(server.address, configuration: configuration)
        defer { plain.close() }
        guard
            case LeaseError.Code.notABroker = await leaseError({
                try await plain.withLease { _ in }
            })
        else {
            Issue.record("PostgreSQL was taken for a broker")
            return
        }
        let nobody = try LeaseClient(
            keywords: ["host": "/nonexistent", "dbname": "x"], configuration: configuration)
        guard
            case LeaseError.Code.brokerAway = await leaseError({
                try await nobody.withLease { _ in }
            })
        else {
            Issue.record("somebody answered")
            return
        }
        let stranger = try LeaseClient(
            Broker.shared.get().address(user: "stranger"), configuration: configuration)
        guard
            case LeaseError.Code.refused = await leaseError({
                try await stranger.withLease { _ in }
            })
        else {
            Issue.record("a stranger was let in")
            return
        }
    }

    @Test("Nothing is left at the end: no lease, no connection beyond the pool")
    func nothingLeft() async throws {
        let broker = try Broker(["default_pool_size": "3"])
        for route in Route.leased {
            let client = try broker.client(route)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask {
                        let task = Task {
                            try await client.withLease(wait: .seconds(60)) { connection in
                                try await connection.query("SELECT pg_sleep(0.001)")
                                if number % 3 == 0 { throw Failure() }
                            }
                        }
                        if number % 4 == 0 { task.cancel() }
                        _ = try? await task.value
                    }
                }
                try await group.waitForAll()
            }
            try await until("all leases are back") { try broker.leases().isEmpty }
            client.close()
        }
        #expect(try broker.serverConnections() <= 3)
        let seen = try Route.plain.run { connection in
            try connection.query(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'nothing%'"
            ).one(Int.self)
        }
        #expect(seen == 0)
        try await until("the broker has no client left but the console's") {
            try broker.console("SHOW CLIENTS").filter {
                try $0.decode(String.self, "database") == "postgres"
            }.isEmpty
        }
    }
}
