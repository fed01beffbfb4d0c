import Foundation
import LibPQ
import Testing

@testable import LeaseClient

/// A PostgreSQL of the tests' own that can decode its log, in a folder of its own. Superuser
/// `tester`, trusted; `plain` may not replicate; `sealed`, a superuser with the password `right`.
///
/// It outlives the test process by two seconds at most: a watchdog stops it and removes the folder.
final class PipelineCluster: Sendable {
    /// The sources and the config databases.
    static let source = Result { try PipelineCluster() }
    static let destination = Result { try PipelineCluster() }

    let folder: String
    let port: Int

    private static let programs =
        ProcessInfo.processInfo.environment["PGLEASE_POSTGRES_BIN"]
        ?? "/usr/lib/postgresql/15/bin"

    init() throws {
        folder = try PipelineFolder.make()
        port = try PipelineFolder.freePort()
        try PipelineFolder.shell(
            """
            set -e
            cd \(folder)
            if [ "$(id -u)" = 0 ]; then chown postgres \(folder); fi
            chmod 755 \(folder)
            \(user)\(Self.programs)/initdb -D \(folder)/data -U tester -A trust -N \
                -E UTF8 --locale=C
            cat >> \(folder)/data/postgresql.conf <<'END'
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = '\(folder)'
            max_connections = 200
            wal_level = logical
            max_wal_senders = 40
            max_replication_slots = 60
            fsync = off
            END
            sed -i '1i local all sealed scram-sha-256' \(folder)/data/pg_hba.conf
            """)
        try start()
        try PipelineFolder.shell(
            """
            setsid sh -c 'while kill -0 \(getpid()); do sleep 1; done
                \(user)\(Self.programs)/pg_ctl -D \(folder)/data -m immediate stop
                rm -rf \(folder)' </dev/null >/dev/null 2>&1 &
            """)
        try sql(
            "postgres",
            "CREATE ROLE plain LOGIN; CREATE ROLE sealed SUPERUSER LOGIN PASSWORD 'right'")
    }

    /// PostgreSQL refuses to run as root.
    private var user: String { geteuid() == 0 ? "runuser -u postgres -- " : "" }

    func start() throws {
        try PipelineFolder.shell(
            "cd / && \(user)\(Self.programs)/pg_ctl -D \(folder)/data -l \(folder)/log -w start")
    }

    /// `fast` or `immediate`.
    func stop(_ mode: String = "fast") throws {
        try PipelineFolder.shell(
            "cd / && \(user)\(Self.programs)/pg_ctl -D \(folder)/data -m \(mode) -w stop")
    }

    /// Runs statements over a connection of their own; each call answers its rows as texts.
    @discardableResult
    func run<Answer>(
        _ database: String, _ body: ((String) throws -> [[String?]]) throws -> Answer
    ) throws -> Answer {
        try LibPQConnection.run(folder: folder, port: port, database: database, body)
    }

    @discardableResult
    func sql(_ database: String, _ text: String) throws -> [[String?]] {
        try run(database) { try $0(text) }
    }
}

/// Folders, ports, commands and waiting.
enum PipelineFolder {
    /// Short, because a socket's path has a limit.
    static func make() throws -> String {
        var template = Array("/tmp/pgle-pl-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        return String(cString: try #require(made))
    }

    /// A port that nobody listens on.
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

    /// Runs a script; fails with its output.
    static func shell(_ script: String) throws {
        let output = try #require(popen("( \(script)\n) 2>&1", "re"))
        var text = ""
        var line = [CChar](repeating: 0, count: 1024)
        while fgets(&line, 1024, output) != nil {
            text += line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        }
        let status = pclose(output)
        try #require(status == 0, "\(text)")
    }

    /// Looks again and again whether something has become true; a failure after `seconds`.
    static func eventually(
        _ what: String, within seconds: Double = 40,
        _ state: () -> String = { "" }, _ condition: () throws -> Bool
    ) throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
        while try !condition() {
            try #require(ContinuousClock.now < deadline, "\(what) did not come true\n\(state())")
            usleep(20_000)
        }
    }
}

/// A connection without a lease, to a server or a console.
enum LibPQConnection {
    static func run<Answer>(
        folder: String, port: Int, database: String,
        _ body: ((String) throws -> [[String?]]) throws -> Answer
    ) throws -> Answer {
        let wakeup = Wakeup()
        let session = try Session.connect(
            [
                ("host", folder), ("port", "\(port)"), ("dbname", database), ("user", "tester"),
                ("client_encoding", "UTF8"),
            ], wakeup: wakeup, patience: Patience(until: .now.advanced(by: .seconds(20))),
            grace: .seconds(5))
        defer { session.connection.close() }
        return try body { sql in
            try session.runScript(sql, Interruption(waking: wakeup)).map { row in
                try (0..<row.count).map { try row.decode(String?.self, at: $0) }
            }
        }
    }

    static func rows(
        folder: String, port: Int, database: String, _ sql: String
    ) throws -> [[String?]] {
        try run(folder: folder, port: port, database: database) { try $0(sql) }
    }
}
