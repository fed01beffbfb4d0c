import Foundation
import Testing

/// What the tests of the backfill need of the machine.
enum BackfillFixture {
    static let postgresPrograms =
        ProcessInfo.processInfo.environment["PGLEASE_POSTGRES_BIN"]
        ?? "/usr/lib/postgresql/15/bin"

    static func built(_ name: String, _ variable: String) -> String {
        ProcessInfo.processInfo.environment[variable]
            ?? URL(fileURLWithPath: #filePath)
            .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent(".build/debug/\(name)").path
    }

    /// Short, because a socket's path has a limit.
    static func folder() throws -> String {
        var template = Array("/tmp/pgle-bf-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        return String(cString: try #require(made))
    }

    static func freePort() throws -> Int {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(probe) }
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(probe, $0, length) | getsockname(probe, $0, &length)
            }
        }
        try #require(status == 0)
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Runs a script; fails with its output. Returns the output.
    @discardableResult
    static func shell(_ script: String) throws -> String {
        let output = try #require(popen("( \(script)\n) 2>&1", "re"))
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = fread(&buffer, 1, buffer.count, output)
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let status = pclose(output)
        if status != 0 { throw ScriptFailure(description: text) }
        return text
    }

    struct ScriptFailure: Error, CustomStringConvertible {
        var description: String
    }

    /// However this process ends, the script runs.
    static func atTheEnd(_ script: String) throws {
        try shell(
            """
            setsid sh -c 'while kill -0 \(getpid()); do sleep 1; done
            \(script)' </dev/null >/dev/null 2>&1 &
            """)
    }

    /// Looks every few milliseconds whether something has become true; a failure after `seconds`.
    static func eventually(
        _ what: String, within seconds: Double = 60, _ condition: () throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
        while try !condition() {
            try #require(ContinuousClock.now < deadline, "\(what) did not come true")
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

/// A private PostgreSQL in a folder of its own. Superuser `tester`, trusted.
final class BackfillPostgres: Sendable {
    /// For tests that do not stop it.
    static let shared = Result { try BackfillPostgres() }

    let folder: String
    let port: Int
    private let asUser: String

    init() throws {
        folder = try BackfillFixture.folder()
        port = try BackfillFixture.freePort()
        // PostgreSQL refuses to run as root.
        asUser = geteuid() == 0 ? "runuser -u postgres -- " : ""
        let programs = BackfillFixture.postgresPrograms
        try BackfillFixture.shell(
            """
            set -e
            cd \(folder)
            if [ "$(id -u)" = 0 ]; then chown postgres \(folder); fi
            chmod 755 \(folder)
            \(asUser)\(programs)/initdb -D \(folder)/data -U tester -A trust -N -E UTF8 --locale=C
            cat >> \(folder)/data/postgresql.conf <<'END'
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = '\(folder)'
            max_connections = 200
            fsync = off
            END
            """)
        try start()
        try BackfillFixture.atTheEnd(
            """
            \(asUser)\(programs)/pg_ctl -D \(folder)/data -m immediate stop; rm -rf \(folder)
            """)
    }

    func start() throws { try control("-w start") }
    func stop() throws { try control("-m immediate -w stop") }

    private func control(_ order: String) throws {
        try BackfillFixture.shell(
            """
            cd \(folder)
            \(asUser)\(BackfillFixture.postgresPrograms)/pg_ctl -D \(folder)/data \
                -l \(folder)/log \(order) </dev/null >\(folder)/control 2>&1 || \
                { cat \(folder)/control \(folder)/log; exit 1; }
            """)
    }

    /// The answer of statements, one row a line, values with `|` in between.
    @discardableResult
    func sql(_ database: String, _ statements: String) throws -> String {
        try BackfillPostgres.psql("-h \(folder) -p \(port) -d \(database)", statements)
    }

    static func psql(_ address: String, _ statements: String) throws -> String {
        let text = try BackfillFixture.shell(
            """
            \(BackfillFixture.postgresPrograms)/psql -X -q -A -t -v ON_ERROR_STOP=1 \
                -U tester \(address) <<'PGLEASE_END'
            \(statements)
            PGLEASE_END
            """)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}

/// A broker in front of a PostgreSQL.
final class BackfillBroker: @unchecked Sendable {
    /// In front of the shared PostgreSQL, for tests that neither stop it nor count on its limits.
    /// Each test has databases, and so pools, of its own.
    static let shared = Task {
        let broker = try BackfillBroker(
            BackfillPostgres.shared.get(),
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

    init(_ postgres: BackfillPostgres, _ settings: [String: String] = [:]) throws {
        folder = try BackfillFixture.folder()
        port = try BackfillFixture.freePort()
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
        try BackfillFixture.atTheEnd("rm -rf \(folder)")
    }

    deinit { kill() }

    func start() async throws {
        let process = Process()
        process.executableURL = URL(
            fileURLWithPath: BackfillFixture.built("pglease", "PGLEASE_BIN"))
        process.arguments = ["serve", "--config", "\(folder)/pglease.ini"]
        process.environment = ["PATH": ProcessInfo.processInfo.environment["PATH"] ?? ""]
        let log = try BackfillFixture.appending("\(folder)/log")
        process.standardOutput = log
        process.standardError = log
        process.standardInput = FileHandle.nullDevice
        try process.run()
        self.process = process
        try BackfillFixture.atTheEnd("kill -9 \(process.processIdentifier)")
        try await BackfillFixture.eventually("the broker's answer") {
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
        try BackfillPostgres.psql("-h \(folder) -p \(port) -d pglease", command)
    }

    func address(_ database: String) -> String {
        "host=\(folder) port=\(port) dbname=\(database) user=tester"
    }
}

extension BackfillFixture {
    static func appending(_ path: String) throws -> FileHandle {
        if !FileManager.default.fileExists(atPath: path) {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
        }
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seekToEnd()
        return handle
    }
}
