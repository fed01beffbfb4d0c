// SPDX-License-Identifier: Apache-2.0

import Foundation
import LibPQ
import PostgresFixture
import Testing

@testable import LeaseClient

/// A pglease of the tests' own in front of the private PostgreSQL: the binary that PGLEASE_BIN names,
/// else the one of this build.
final class Broker: @unchecked Sendable {
    static let binary = Fixture.program("pglease", "PGLEASE_BIN")

    /// For tests that need no broker of their own. Its pool is so large that no test waits for
    /// another: tests that block share the few threads of Swift's pool with those they would wait
    /// for.
    static let shared = Result { try Broker(["default_pool_size": "60"]) }

    let folder: String
    let port: Int
    private let server: PostgresServer
    private var process: ChildProcess?

    init(_ settings: [String: String] = [:]) throws {
        server = try PostgresServer.shared.get()
        folder = try Fixture.folder()
        port = try Fixture.freePort()
        var all = [
            "listen_port": "\(port)", "unix_socket_dir": folder, "listen_addr": "127.0.0.1",
            "pool_mode": "transaction", "auth_type": "trust", "auth_file": "\(folder)/users",
            "admin_users": "tester", "log_format": "json", "default_pool_size": "10",
            "reserve_pool_size": "0",
            "shutdown_grace": "5", "server_tls_sslmode": "disable",
        ]
        all.merge(settings) { _, wanted in wanted }
        let lines = all.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }
        let text = """
            [databases]
            * = host=\(server.folder) port=\(server.port)
            [pglease]
            \(lines.joined(separator: "\n"))

            """
        try text.write(toFile: "\(folder)/pglease.ini", atomically: true, encoding: .utf8)
        try "\"tester\" \"\"\n".write(
            toFile: "\(folder)/users", atomically: true, encoding: .utf8)
        try start()
    }

    deinit {
        kill()
        try? FileManager.default.removeItem(atPath: folder)
    }

    func start() throws {
        let process = try ChildProcess(
            Broker.binary, ["serve", "--config", "\(folder)/pglease.ini"],
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""],
            output: .file("\(folder)/log"))
        self.process = process
        try process.killAtTheEnd("rm -rf \(folder)")
        try eventually("the broker's socket") {
            try #require(process.isRunning, "\(self.log)")
            return (try? console("SHOW VERSION")) != nil
        }
    }

    var log: String { (try? String(contentsOfFile: "\(folder)/log", encoding: .utf8)) ?? "" }

    /// SIGKILL, and waits until it is gone.
    func kill() { process?.kill() }

    func signal(_ number: Int32) { process?.signal(number) }

    func address(_ route: Route = .direct, user: String = "tester") -> String {
        switch route {
        case .direct, .relay:
            "host=\(folder) port=\(port) dbname=postgres user=\(user)"
        case .tcp: "host=127.0.0.1 port=\(port) dbname=postgres user=\(user) sslmode=disable"
        case .plain: server.address
        }
    }

    func client(
        _ route: Route = .direct, _ change: (inout LeaseConfiguration) -> Void = { _ in }
    ) throws -> LeaseClient {
        var configuration = try LeaseConfiguration()
        configuration.direct = route == .relay ? .never : .whenPossible
        change(&configuration)
        return try LeaseClient(address(route), configuration: configuration)
    }

    /// The answer of the broker's console.
    func console(_ command: String) throws -> Rows {
        let session = try plainSession(
            "host=\(folder) port=\(port) dbname=pglease user=tester")
        defer { session.connection.close() }
        return try session.runScript(command, Interruption(waking: session.connection.wakeup))
    }

    /// The leases of clients that are held now, by their purposes.
    func leases() throws -> [String] {
        try console("SHOW LEASES").map { try $0.decode(String?.self, "purpose") ?? "" }
    }
}

/// The ways to a server connection, which a caller must not be able to tell apart.
enum Route: String, CaseIterable, Sendable {
    /// PostgreSQL itself, without a lease: the query layer alone.
    case plain
    /// The server's socket in place of the broker's.
    case direct
    /// Through the broker, over its Unix socket.
    case relay
    case tcp

    static let leased: [Route] = [.direct, .relay, .tcp]

    /// Runs the body with a connection of this kind.
    func run<Result>(_ body: (LeaseConnection) throws -> Result) throws -> Result {
        if self == .plain {
            let session = try plainSession(PostgresServer.shared.get().address)
            defer { session.connection.close() }
            return try body(LeaseConnection(session))
        }
        let client = try Broker.shared.get().client(self)
        defer { client.close() }
        return try client.withLease(for: "test") { connection in
            #expect(connection.grant?.kind == (self == .direct ? .direct : .relay))
            return try body(connection)
        }
    }

    func runAsync<Result>(
        _ body: nonisolated(nonsending) (AsyncLeaseConnection) async throws -> Result
    ) async throws -> Result {
        if self == .plain {
            let session = try plainSession(PostgresServer.shared.get().address)
            let thread = try #require(ThreadExecutor())
            defer { thread.stop() }
            let host = SessionHost(on: thread, wakeup: session.connection.wakeup)
            await host.adopt(session)
            return try await body(AsyncLeaseConnection(host, grant: nil))
        }
        let client = try Broker.shared.get().client(self)
        defer { client.close() }
        return try await client.withLease(for: "test") { connection in
            #expect(connection.grant?.kind == (self == .direct ? .direct : .relay))
            return try await body(connection)
        }
    }
}

/// A connection without a lease.
func plainSession(_ address: String) throws -> Session {
    let wakeup = ThreadWakeup()
    return try Session.connect(
        ConnectionString.parse(address) + [("client_encoding", "UTF8")], wakeup: wakeup,
        patience: Patience(until: .now.advanced(by: .seconds(20))), grace: .seconds(5))
}

extension Broker {
    /// The server connections that it holds now.
    func serverConnections() throws -> Int { try console("SHOW SERVERS").count }

    /// How many `pg_sleep` run in leases of a purpose.
    func runningSleeps(_ purpose: String) throws -> Int {
        let processes = try console("SHOW LEASES")
            .filter { try $0.decode(String?.self, "purpose") == purpose }
            .map { try $0.decode(Int.self, "server_pid") }
        return try Route.plain.run { connection in
            try connection.query(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE pid = ANY(\(processes)) AND state = 'active' AND query LIKE '%pg_sleep%'
                """
            ).one(Int.self)
        }
    }
}
