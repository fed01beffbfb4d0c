import Glibc
import LibPQ
import Testing

/// A private PostgreSQL in a folder of its own, with TLS and three kinds of user:
/// `tester` (superuser, trusted), `secret` (password `right`, SCRAM) and `reader` (read-only sessions).
///
/// It outlives the test process by two seconds at most: a watchdog stops it and removes the folder,
/// however the process ended.
struct TemporaryPostgres: Sendable {
    let folder: String
    let port: String

    static let shared = Result { try TemporaryPostgres() }

    private static let programs = "/usr/lib/postgresql/15/bin"

    init() throws {
        var template = Array("/tmp/pglease-postgres-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        folder = String(cString: try #require(made))
        port = String(try TemporaryPostgres.freePort())
        // PostgreSQL refuses to run as root.
        let user = geteuid() == 0 ? "runuser -u postgres -- " : ""
        let data = "\(folder)/data"
        try TemporaryPostgres.shell(
            """
            set -e
            cd \(folder)
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt
            chmod 600 server.key
            if [ "$(id -u)" = 0 ]; then chown -R postgres \(folder); fi
            chmod 755 \(folder)
            \(user)\(TemporaryPostgres.programs)/initdb -D \(data) -U tester -A trust -N
            cat > \(data)/pg_hba.conf <<'END'
            local all all trust
            host all secret 127.0.0.1/32 scram-sha-256
            host all all 127.0.0.1/32 trust
            END
            cat >> \(data)/postgresql.conf <<'END'
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = '\(folder)'
            max_connections = 30
            fsync = off
            ssl = on
            ssl_cert_file = '\(folder)/server.crt'
            ssl_key_file = '\(folder)/server.key'
            END
            \(user)\(TemporaryPostgres.programs)/pg_ctl -D \(data) -l \(folder)/log -w start
            setsid sh -c 'while kill -0 \(getpid()); do sleep 1; done
                \(user)\(TemporaryPostgres.programs)/pg_ctl -D \(data) -m immediate stop
                rm -rf \(folder)' </dev/null >/dev/null 2>&1 &
            \(TemporaryPostgres.programs)/psql -h \(folder) -p \(port) -U tester -d postgres \
                -c "CREATE ROLE secret LOGIN PASSWORD 'right'" \
                -c "CREATE ROLE reader LOGIN" \
                -c "ALTER ROLE reader SET default_transaction_read_only = on"
            """)
    }

    /// What a connection over TCP takes.
    func parameters(_ more: ConnectionParameters = []) -> ConnectionParameters {
        [
            ("host", "localhost"), ("hostaddr", "127.0.0.1"), ("port", port), ("user", "tester"),
            ("dbname", "postgres"), ("sslmode", "disable"), ("passfile", "/nonexistent"),
        ] + more
    }

    /// A port that nobody listens on.
    static func freePort() throws -> UInt16 {
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
        return UInt16(bigEndian: address.sin_port)
    }

    private static func shell(_ script: String) throws {
        let output = try #require(popen("( \(script)\n) 2>&1", "r"))
        var text = ""
        var line = [CChar](repeating: 0, count: 1024)
        while fgets(&line, 1024, output) != nil {
            text += line.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        }
        let status = pclose(output)
        try #require(status == 0, "\(text)")
    }
}
