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
    private var process: Process?

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
        let process = Process()
        process.executableURL = URL(
            fileURLWithPath: Fixture.program("pglease", "PGLEASE_BIN"))
        process.arguments = ["serve", "--config", "\(folder)/pglease.ini"]
        process.environment = ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""]
        let log = try Fixture.appending("\(folder)/log")
        process.standardOutput = log
        process.standardError = log
        process.standardInput = FileHandle.nullDevice
        try process.run()
        self.process = process
        try Fixture.atTheEnd("kill -9 \(process.processIdentifier)")
        try await Fixture.eventually("the broker's answer") {
            try #require(process.isRunning, "the broker has ended: see \(folder)/log")
            return (try? console("SHOW VERSION")) != nil
        }
    }

    /// SIGKILL.
    func kill() {
        guard let process, process.isRunning else { return }
        Foundation.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func console(_ command: String) throws -> String {
        try PostgresServer.psql("-h \(folder) -p \(port) -d pglease", command)
    }

    func address(_ database: String) -> String {
        "host=\(folder) port=\(port) dbname=\(database) user=tester"
    }
}

extension Fixture {
    static func appending(_ path: String) throws -> FileHandle {
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seekToEnd()
        return handle
    }
}
