// SPDX-License-Identifier: Apache-2.0

import Glibc
import PostgresProbe
import PostgresWire
import Testing

/// A server of one connection: takes the startup packet, answers what it was given, and then what
/// it was given for each further packet; closes at the end of its script.
private final class ScriptedServer {
    let path: String
    private let listener: Int32
    private let answers: [[UInt8]]
    private var thread: pthread_t?
    private(set) var received: [UInt8] = []

    init(_ name: String, answers: [[UInt8]]) {
        // Cases of one test run at the same time.
        path = "@pglease-probe-\(getpid())-\(name)-\(UInt32.random(in: .min ... .max))"
        self.answers = answers
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        bytes[0] = 0
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(2 + bytes.count)
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) }
        }
        precondition(status == 0 && listen(listener, 1) == 0)
    }

    func start() {
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ScriptedServer>.fromOpaque(argument!).takeUnretainedValue().run()
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        precondition(status == 0)
        self.thread = thread
    }

    func finish() {
        if let thread { pthread_join(thread, nil) }
        thread = nil
    }

    deinit { close(listener) }

    private func run() {
        let connection = accept(listener, nil, nil)
        defer { close(connection) }
        var chunk = [UInt8](repeating: 0, count: 4096)
        for answer in answers {
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return }
            received += chunk[..<count]
            guard send(connection, answer, answer.count, Int32(MSG_NOSIGNAL)) == answer.count
            else { return }
        }
    }
}

@Suite("Probe")
struct ProbeTests {
    private static var greeting: [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendAuthenticationOk()
        bytes.appendParameterStatus(name: "server_version", value: "15")
        bytes.appendBackendKeyData(processID: 1, secretKey: 2)
        bytes.appendReadyForQuery(.idle)
        return bytes
    }

    /// Logs in and out, or says what kept it from that.
    private func logIn(to server: ScriptedServer) -> ProbeError? {
        server.start()
        defer { server.finish() }
        do throws(ProbeError) {
            var connection = try ProbeConnection(
                to: .unix(path: server.path), deadline: .now + .seconds(20))
            try connection.logIn(user: "a", database: "pglease", applicationName: "ping")
            connection.logOut()
            return nil
        } catch {
            return error
        }
    }

    @Test("ready: the startup packet names who asks")
    func ready() {
        let server = ScriptedServer("ready", answers: [Self.greeting])
        #expect(logIn(to: server) == nil)
        let sent = String(decoding: server.received, as: UTF8.self)
        #expect(sent.contains("user\0a\0database\0pglease\0application_name\0ping\0"))
    }

    @Test("an error is handed over as it came")
    func refused() {
        let error = PgError.fatal(.cannotConnectNow, "starting up", detail: "d", hint: "h")
        var answer: [UInt8] = []
        answer.appendErrorResponse(error)
        let server = ScriptedServer("refused", answers: [answer])
        #expect(logIn(to: server) == .refused(error))
    }

    @Test("a password is asked for")
    func password() {
        var answer: [UInt8] = []
        answer.appendAuthenticationSASL(mechanisms: ["SCRAM-SHA-256"])
        #expect(logIn(to: ScriptedServer("password", answers: [answer])) == .passwordRequested)
    }

    @Test("what is not PostgreSQL is told apart from what does not answer")
    func foreign() {
        let web = ScriptedServer("web", answers: [Array("HTTP/1.1 400 Bad Request\r\n\r\n".utf8)])
        guard case .notPostgres = logIn(to: web) else {
            Issue.record("a web server was taken for PostgreSQL")
            return
        }
        let closing = ScriptedServer("closing", answers: [[]])
        #expect(logIn(to: closing) == .noAnswer(reason: "the connection was closed"))
    }

    @Test("nobody listens; somebody listens and is silent until the deadline")
    func silence() {
        func connect(_ path: String) -> ProbeError? {
            do throws(ProbeError) {
                var connection = try ProbeConnection(to: .unix(path: path), deadline: .now)
                try connection.logIn(user: "a", database: "b", applicationName: "c")
                return nil
            } catch {
                return error
            }
        }
        let silent = ScriptedServer("silent", answers: [])
        #expect(connect(silent.path) == .noAnswer(reason: "no answer in time"))
        #expect(
            connect("@pglease-nobody-\(getpid())") == .noAnswer(reason: "Connection refused"))
        #expect(
            connect("/nowhere/.s.PGSQL.6432") == .noAnswer(reason: "No such file or directory"))
        #expect(
            connect("/" + String(repeating: "x", count: 200))
                == .noAnswer(reason: "a Unix socket's name has 1 to 107 bytes"))
    }

    /// What a ping of this server comes to.
    private func ping(_ name: String, _ answer: [UInt8]) -> Result<BrokerPing.Answer, ProbeError> {
        let server = ScriptedServer(name, answers: [answer])
        server.start()
        defer { server.finish() }
        do throws(ProbeError) {
            var connection = try ProbeConnection(
                to: .unix(path: server.path), deadline: .now + .seconds(20))
            return .success(try connection.ping(user: "a"))
        } catch {
            return .failure(error)
        }
    }

    @Test("a broker's answer to a ping, ready or not", arguments: [nil, "paused: by a; RESUME"])
    func pinged(reason: String?) {
        let answer = BrokerPing.Answer(version: "0.1.0", reasonNotReady: reason)
        var bytes: [UInt8] = []
        BrokerPing.append(answer, to: &bytes)
        #expect(ping("pinged", bytes) == .success(answer))
    }

    @Test(
        "a ping is answered by others: PostgreSQL, one that asks for a password, one that refuses")
    func pingedOthers() {
        var postgres: [UInt8] = []
        postgres.appendNegotiateProtocolVersion(minor: 0, unrecognized: ["_pq_.pglease_ping"])
        postgres += Self.greeting
        var guarded: [UInt8] = []
        guarded.appendAuthenticationSASL(mechanisms: ["SCRAM-SHA-256"])
        var strict: [UInt8] = []
        strict.appendErrorResponse(.fatal(.protocolViolation, "unsupported startup parameter"))
        for (name, answer) in [
            ("postgres", postgres), ("guarded", guarded), ("strict", strict),
            ("greeting", Self.greeting),
        ] {
            guard case .failure(.notBroker) = ping(name, answer) else {
                Issue.record("\(name) was taken for a broker")
                continue
            }
        }
        let full = PgError.fatal(.tooManyConnections, "the broker has no file descriptor left")
        var refused: [UInt8] = []
        refused.appendErrorResponse(full)
        #expect(ping("full", refused) == .failure(.refused(full)))
    }

    @Test("rows and errors of a query")
    func query() throws {
        var rows: [UInt8] = []
        rows.appendRowDescription([
            ColumnDescription(name: "n", typeOID: 25, typeSize: -1, format: 0)
        ])
        rows.appendDataRow(texts: ["one", "two"])
        rows.appendDataRow(texts: [nil])
        rows.appendCommandComplete("SELECT 2")
        rows.appendReadyForQuery(.idle)
        var failure: [UInt8] = []
        failure.appendErrorResponse(.error(.syntaxError, "no"))
        failure.appendReadyForQuery(.idle)
        let server = ScriptedServer("query", answers: [Self.greeting, rows, failure])
        server.start()
        defer { server.finish() }
        var connection = try ProbeConnection(
            to: .unix(path: server.path), deadline: .now + .seconds(20))
        try connection.logIn(user: "a", database: "b", applicationName: "c")
        let values = try connection.query("SELECT")
        #expect(values == ["one", ""])
        var refused: ProbeError?
        do throws(ProbeError) { _ = try connection.query("x") } catch { refused = error }
        #expect(refused == .refused(.error(.syntaxError, "no")))
    }
}
