// SPDX-License-Identifier: Apache-2.0

import Foundation
import LibPQ
import PostgresFixture
import Testing

@testable import LeaseClient

@Suite("A broker that hangs or lies", .timeLimit(.minutes(5)))
struct BrokenBrokerTests {
    @Test("A broker that is stopped: an error by the deadline, never a hang")
    func stopped() async throws {
        let broker = try Broker()
        let client = try broker.client {
            $0.grace = .milliseconds(200)
            $0.connectTimeout = .milliseconds(200)
            $0.retry = .once
        }
        defer { client.close() }
        try await client.withLease { _ in }
        broker.signal(SIGSTOP)
        defer { broker.signal(SIGCONT) }
        // On the connection that it has, then on a new one.
        for _ in 0..<2 {
            let error = await leaseError {
                try await client.withLease(wait: .milliseconds(50)) { _ in }
            }
            guard case LeaseError.Code.brokerAway = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        // Without a deadline, a cancelled task is the way out.
        let task = Task { try await client.withLease { _ in } }
        task.cancel()
        await thrown(CancellationError.self) { try await task.value }
    }

    @Test("A broker that is stopped within a lease", arguments: Route.leased)
    func stoppedWithin(_ route: Route) async throws {
        let broker = try Broker()
        let client = try broker.client(route) {
            $0.grace = .milliseconds(200)
            $0.retry = .once
        }
        defer { client.close() }
        try await client.withLease { connection in
            broker.signal(SIGSTOP)
            try await connection.setStatementTimeout(.milliseconds(50))
            if route == .direct {
                // The server does not hear of it.
                #expect(try await connection.query("SELECT 1").one(Int.self) == 1)
                return
            }
            guard
                case LeaseError.Code.timedOut = await leaseError({
                    try await connection.query("SELECT 1")
                })
            else {
                Issue.record("a stopped broker answered")
                return
            }
            guard
                case LeaseError.Code.brokerAway = await leaseError({
                    try await connection.query("SELECT 1")
                })
            else {
                Issue.record("a connection was used that is not to be trusted")
                return
            }
        }
        broker.signal(SIGCONT)
        #expect(try await client.withLease { try await $0.query("SELECT 1").one(Int.self) } == 1)
        try await until("the lost lease is back") { try broker.leases().isEmpty }
    }

    @Test("A direct lease whose descriptor did not come goes through the relay")
    func lostDescriptor() async throws {
        let fake = try FakeBroker()
        let client = try LeaseClient("host=\(fake.folder) port=6432 dbname=x user=x")
        defer { client.close() }
        try await onThread {
            try client.withLease(for: "why") { connection in
                #expect(connection.grant?.kind == .relay)
                #expect(connection.grant?.waited == .microseconds(7))
            }
        }
        let heard = fake.heard
        #expect(heard.count == 4)
        #expect(heard.first?.hasPrefix("LEASE DIRECT FOR 'why' THREAD '") == true)
        #expect(heard.dropFirst().first == "LEASE RETURN")
        #expect(heard.dropFirst(2).first?.hasPrefix("LEASE FOR 'why'") == true)
        #expect(heard.last == "LEASE RETURN")
    }
}

/// A broker that grants direct leases without a descriptor, in an answer that comes in two parts
/// with a ParameterStatus first. Serves one connection.
private final class FakeBroker: @unchecked Sendable {
    let folder: String
    private let lock = NSLock()
    private var statements: [String] = []

    init() throws {
        folder = try Fixture.folder()
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = "\(folder)/.s.PGSQL.6432"
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(status == 0 && listen(listener, 5) == 0)
        Thread.detachNewThread { [self] in
            let client = accept(listener, nil, nil)
            serve(client)
            close(client)
            close(listener)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    var heard: [String] { lock.withLock { statements } }

    private func serve(_ client: Int32) {
        // The startup packet has no kind.
        guard let length = number(client), read(client, length - 4) != nil else { return }
        send(client, message("R", [0, 0, 0, 0]))
        send(client, message("S", text("client_encoding") + text("UTF8")))
        send(client, message("K", [0, 0, 0, 1, 0, 0, 0, 2]))
        send(client, message("Z", [UInt8(ascii: "I")]))
        while let kind = read(client, 1), let length = number(client),
            let body = read(client, length - 4)
        {
            if kind != [UInt8(ascii: "Q")] { return }
            let statement = String(decoding: body.dropLast(), as: UTF8.self)
            lock.withLock { statements.append(statement) }
            if statement == "LEASE RETURN" {
                send(client, message("C", text("LEASE RETURN")))
            } else {
                send(client, message("S", text("TimeZone") + text("UTC")))
                let isDirect = statement.hasPrefix("LEASE DIRECT")
                send(client, rows(kind: isDirect ? "direct" : "relay"))
                send(client, message("C", text("LEASE")))
            }
            send(client, message("Z", [UInt8(ascii: "I")]))
        }
    }

    private func rows(kind: String) -> [UInt8] {
        let columns: [(String, UInt32, String)] = [
            ("lease_id", 20, "1"), ("server_pid", 23, "2"), ("kind", 25, kind),
            ("waited_us", 20, "7"),
        ]
        var description: [UInt8] = [0, 4]
        var data: [UInt8] = [0, 4]
        for (name, type, value) in columns {
            description += text(name) + [0, 0, 0, 0, 0, 0] + type.bigEndianBytes
            description += [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0]
            data += UInt32(value.utf8.count).bigEndianBytes + Array(value.utf8)
        }
        return message("T", description) + message("D", data)
    }

    private func text(_ text: String) -> [UInt8] { Array(text.utf8) + [0] }

    private func message(_ kind: Unicode.Scalar, _ body: [UInt8]) -> [UInt8] {
        [UInt8(ascii: kind)] + UInt32(body.count + 4).bigEndianBytes + body
    }

    private func send(_ client: Int32, _ bytes: [UInt8]) {
        _ = Foundation.send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    private func number(_ client: Int32) -> Int? {
        read(client, 4).map { $0.reduce(0) { $0 << 8 | Int($1) } }
    }

    private func read(_ client: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let more = bytes.withUnsafeMutableBytes {
                recv(client, $0.baseAddress! + got, count - got, 0)
            }
            if more <= 0 { return nil }
            got += more
        }
        return bytes
    }
}
