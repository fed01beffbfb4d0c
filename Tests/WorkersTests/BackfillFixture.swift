// SPDX-License-Identifier: Apache-2.0

import Foundation
import PostgresFixture
import Testing

extension PostgresServer {
    /// For tests of the backfill that do not stop it.
    static let shared = Result { try PostgresServer() }
}

/// A broker in front of a PostgreSQL.
final class BackfillBroker: @unchecked Sendable {
    /// In front of the shared PostgreSQL, for tests that neither stop it nor count on its limits.
    /// Each test has databases, and so pools, of its own.
    static let shared = Task {
        let broker = try BackfillBroker(
            PostgresServer.shared.get(),
            [
                "max_client_conn": "2000", "max_server_connections": "150",
                "server_idle_timeout": "2",
            ])
        try await broker.start()
        return broker
    }

    let folder: String
    let port: Int
    private var process: ChildProcess?

    init(_ postgres: PostgresServer, _ settings: [String: String] = [:]) throws {
        folder = try Fixture.folder()
        port = try Fixture.freePort()
        var all = [
            "listen_port": "\(port)", "unix_socket_dir": folder, "pool_mode": "transaction",
            "auth_type": "trust", "auth_file": "\(folder)/users", "admin_users": "tester",
            "log_format": "json", "default_pool_size": "10", "shutdown_grace": "1",
            "server_tls_sslmode": "disable", "server_login_retry": "1",
        ]
        all.merge(settings) { _, wanted in wanted }
        let lines = all.sorted { $0.key < $1.key }.map { "\($0.key) = \($0.value)" }
        try """
        [databases]
        * = host=\(postgres.folder) port=\(postgres.port)
        [pglease]
        \(lines.joined(separator: "\n"))

        """.write(toFile: "\(folder)/pglease.ini", atomically: true, encoding: .utf8)
        try "\"tester\" \"\"\n".write(
            toFile: "\(folder)/users", atomically: true, encoding: .utf8)
        try Fixture.atTheEnd("rm -rf \(folder)")
    }

    deinit { kill() }

    func start() async throws {
        let process = try ChildProcess(
            Fixture.program("pglease", "PGLEASE_BIN"),
            ["serve", "--config", "\(folder)/pglease.ini"],
            environment: ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""],
            output: .file("\(folder)/log"))
        self.process = process
        try process.killAtTheEnd()
        try await Fixture.eventually("the broker's answer") {
            try #require(process.isRunning, "the broker has ended: see \(folder)/log")
            return (try? console("SHOW VERSION")) != nil
        }
    }

    /// SIGKILL.
    func kill() { process?.kill() }

    func console(_ command: String) throws -> String {
        try PostgresServer.psql("-h \(folder) -p \(port) -d pglease", command)
    }

    func address(_ database: String) -> String {
        "host=\(folder) port=\(port) dbname=\(database) user=tester"
    }
}
