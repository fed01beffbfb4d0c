// SPDX-License-Identifier: Apache-2.0

import Foundation
import LibPQ
import PostgresFixture
import Testing

@testable import LeaseClient

@Suite("Parked leases", .timeLimit(.minutes(5)))
struct ParkingTests {
    private func parking(_ broker: Broker) throws -> LeaseClient {
        try broker.client(.direct) { $0.parking = .whenPossible }
    }

    private func backend(_ connection: LeaseConnection) throws -> Int {
        try connection.query("SELECT pg_backend_pid()").one(Int.self)
    }

    private func setting(_ connection: LeaseConnection) throws -> String? {
        try connection.query("SELECT nullif(current_setting('app.tenant', true), '')")
            .one(String?.self)
    }

    private func leave(_ client: LeaseClient) throws {
        try client.withLease { connection in
            _ = try connection.execute("SET app.tenant = 'mine'")
        }
    }

    private func found(
        _ client: LeaseClient, hold: Duration? = nil, direct: DirectUse? = nil
    ) throws -> String? {
        try client.withLease(hold: hold, direct: direct) { try setting($0) }
    }

    private func states(_ broker: Broker) throws -> [String] {
        try broker.console("SHOW LEASES").map { try $0.decode(String.self, "state") }
    }

    @Test("It goes from use to use without a word to the broker, as it was left")
    func goesOn() async throws {
        let broker = try Broker(["park_timeout": "600"])
        let client = try parking(broker)
        defer { client.close() }
        try await onThread {
            let first = try client.withLease { connection in
                try connection.execute("SET app.tenant = 'mine'")
                _ = try connection.prepare("SELECT 1")
                try connection.executeScript("BEGIN; CREATE TABLE never (a int)")
                return try backend(connection)
            }
            #expect(try states(broker) == ["parked"])
            broker.signal(SIGSTOP)
            do {
                defer { broker.signal(SIGCONT) }
                for _ in 0..<50 {
                    try client.withLease { connection in
                        let process = try backend(connection)
                        let tenant = try setting(connection)
                        #expect(process == first && tenant == "mine")
                        #expect(connection.grant?.serverProcessID == first)
                        // Its name is none of those that the session has.
                        _ = try connection.prepare("SELECT 2")
                    }
                }
                try client.withLease { connection in
                    let isGone = try connection.query("SELECT to_regclass('never') IS NULL")
                        .one(Bool.self)
                    #expect(isGone)
                }
            }
            let (names, found) = try client.withLease(for: "by name") { _ in
                (try broker.leases(), try states(broker))
            }
            #expect(names == ["by name"])
            #expect(found == ["direct"])
        }
        let same = try await client.withLease { connection in
            try await connection.query("SELECT current_setting('app.tenant')").one(String.self)
        }
        #expect(same == "mine")
        try await onThread {
            // A new lease of the same session is not the old one's by name.
            _ = try broker.console("RECONNECT")
            let renamed = try client.withLease(for: "renamed") { _ in try broker.leases() }
            #expect(renamed == ["renamed"])
        }
        client.close()
        try await until("nothing is left") { try broker.leases().isEmpty }
    }

    @Test("Whoever waits comes first, and what is had next is clean")
    func makesRoom() async throws {
        let broker = try Broker(["default_pool_size": "1", "park_timeout": "600"])
        let client = try parking(broker)
        let other = try broker.client(.relay)
        defer {
            client.close()
            other.close()
        }
        try await onThread {
            try leave(client)
            #expect(try states(broker) == ["parked"])
            #expect(try found(other) == nil)
            #expect(try found(client) == nil)
            // In use when it is wanted: it comes back at the end of that.
            var waiting: BackgroundWork?
            try client.withLease { connection in
                waiting = BackgroundWork.start {
                    _ = try? other.withLease { try $0.query("SELECT 1") }
                }
                try eventually("somebody waits") { try broker.console("SHOW WAITERS").count == 1 }
                let process = try backend(connection)
                #expect(process == connection.grant?.serverProcessID)
            }
            #expect(waiting?.wait(until: .now.advanced(by: .seconds(20))) == true)
        }
    }

    @Test("A lease with a limit, a relayed one and one of a client that does not park are new ones")
    func isAskedFor() async throws {
        let broker = try Broker(["default_pool_size": "1", "park_timeout": "600"])
        let client = try parking(broker)
        defer { client.close() }
        try await onThread {
            try leave(client)
            #expect(try found(client, hold: .seconds(60)) == nil)
            #expect(try broker.leases().isEmpty)
            try leave(client)
            #expect(try found(client, direct: .never) == nil)
            let plain = try broker.client(.direct)
            defer { plain.close() }
            try leave(plain)
            #expect(try broker.leases().isEmpty)
            #expect(try found(plain) == nil)
        }
    }

    @Test("A broker that was killed is noticed, and its connection let go")
    func noticesTheEnd() async throws {
        let broker = try Broker(["park_timeout": "600"])
        let client = try parking(broker)
        defer { client.close() }
        try await onThread {
            let first = try client.withLease { try backend($0) }
            broker.kill()
            // A second after the last look it looks again, when it parks.
            try eventually("it is let go") {
                (try? client.withLease { try backend($0) }) != first
            }
            try broker.start()
            let second = try client.withLease { try backend($0) }
            #expect(second != first)
        }
    }
}
