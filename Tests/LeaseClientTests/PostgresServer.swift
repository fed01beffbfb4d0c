import Foundation
import Testing

/// A private PostgreSQL in a folder of its own, for all tests of this module. Superuser `tester`,
/// trusted; 250 connections.
///
/// It outlives the test process by two seconds at most: a watchdog stops it and removes the folder,
/// however the process ended.
struct PostgresServer: Sendable {
    let folder: String
    let port: Int

    static let shared = Result { try PostgresServer() }

    private static let programs = "/usr/lib/postgresql/15/bin"

    init() throws {
        folder = try temporaryFolder()
        port = try freePort()
        // PostgreSQL refuses to run as root.
        let user = geteuid() == 0 ? "runuser -u postgres -- " : ""
        let data = "\(folder)/data"
        try shell(
            """
            set -e
            cd \(folder)
            if [ "$(id -u)" = 0 ]; then chown postgres \(folder); fi
            chmod 755 \(folder)
            \(user)\(PostgresServer.programs)/initdb -D \(data) -U tester -A trust -N -E UTF8
            cat >> \(data)/postgresql.conf <<'END'
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = '\(folder)'
            max_connections = 250
            fsync = off
            END
            \(user)\(PostgresServer.programs)/pg_ctl -D \(data) -l \(folder)/log -w start
            setsid sh -c 'while kill -0 \(getpid()); do sleep 1; done
                \(user)\(PostgresServer.programs)/pg_ctl -D \(data) -m immediate stop
                rm -rf \(folder)' </dev/null >/dev/null 2>&1 &
            """)
    }

    var address: String { "host=\(folder) port=\(port) dbname=postgres user=tester" }
}

/// Short, because a socket's path has a limit.
func temporaryFolder() throws -> String {
    var template = Array("/tmp/pgle-lc-XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
    return String(cString: try #require(made))
}

/// A port that nobody listens on.
func freePort() throws -> Int {
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
func shell(_ script: String) throws -> String {
    let output = try #require(popen("( \(script)\n) 2>&1", "re"))
    var text = ""
    var line = [CChar](repeating: 0, count: 1024)
    while fgets(&line, 1024, output) != nil {
        text += line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }
    let status = pclose(output)
    try #require(status == 0, "\(text)")
    return text
}
