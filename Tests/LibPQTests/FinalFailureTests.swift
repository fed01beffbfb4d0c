// SPDX-License-Identifier: Apache-2.0

import LibPQ
import LibUV
import PostgresFixture
import Testing

/// Which of libpq's own failures trying again cannot help.
@Suite(.timeLimit(.minutes(2)))
struct FinalFailureTests {
    let server: TemporaryPostgres

    init() throws { server = try TemporaryPostgres.shared.get() }

    private func failure(_ changes: [(keyword: String, value: String)]) throws -> ConnectionFailure?
    {
        var found: ConnectionFailure?
        try withLoop { loop in
            found = #expect(throws: ConnectionFailure.self) {
                try loop.connect(server.parameters(changes))
            }
        }
        return found
    }

    @Test func noPasswordForAServerThatAsksForOne() throws {
        let failure = try failure([("user", "secret"), ("passfile", "/nonexistent")])
        #expect(failure?.finalFailure == .noPassword)
        #expect(failure?.sqlState == nil)
        #expect(failure?.message.hasSuffix("fe_sendauth: no password supplied") == true)
    }

    @Test func aWrongPasswordIsTheServersOwnWord() throws {
        let failure = try failure([("user", "secret"), ("password", "wrong")])
        #expect(failure?.finalFailure == nil)
        #expect(failure?.sqlState == "28P01")
        #expect(failure?.routine == "auth_failed")
    }

    @Test func filesForTLSThatAreNotThere() throws {
        let root = try failure([("sslmode", "verify-full"), ("sslrootcert", "/nonexistent")])
        #expect(root?.finalFailure == .encryption)
        #expect(root?.message.contains("root certificate file") == true)
        #expect(root?.hint?.hasPrefix("Either provide the file") == true)
    }

    @Test func channelBindingThatCannotBe() throws {
        let failure = try failure([
            ("user", "secret"), ("password", "right"), ("channel_binding", "require"),
        ])
        #expect(failure?.finalFailure == .authenticationMethod)
    }

    @Test func somebodyElseBehindTheSocket() throws {
        try withLoop { loop in
            var parameters = server.parameters([("requirepeer", "nobody-of-this-name")])
            parameters.removeAll { $0.keyword.hasPrefix("host") }
            parameters.append(("host", server.folder))
            let failure = #expect(throws: ConnectionFailure.self) { try loop.connect(parameters) }
            #expect(failure?.finalFailure == .serverNotProven)
        }
    }

    @Test(arguments: [
        [("no_such_option", "1")], [("port", "99999999")], [("sslmode", "perhaps")],
        [("service", "nowhere")], [("target_session_attrs", "best")],
        [("host", "a,b"), ("hostaddr", "127.0.0.1")],
        [("host", "/" + String(repeating: "x", count: 200))],
    ]) func parametersThatCannotBeUsed(_ changes: [(String, String)]) throws {
        try withLoop { loop in
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect(changes.map { (keyword: $0.0, value: $0.1) })
            }
            #expect(failure?.finalFailure == .parameters, "\(failure?.raw ?? "")")
        }
    }

    @Test func aRefusedPortMayBeOpenLater() throws {
        let failure = try failure([("port", String(try Fixture.freePort()))])
        #expect(failure?.finalFailure == nil)
        #expect(failure?.sqlState == nil)
    }

    /// What libpq 15 says (fe-auth.c, fe-auth-scram.c, fe-connect.c, fe-secure-openssl.c) where no server here
    /// makes it say so.
    @Test(arguments: [
        ("authentication method 7 not supported", FinalFailure.authenticationMethod),
        ("Kerberos 5 authentication not supported", .authenticationMethod),
        (
            "none of the server's SASL authentication mechanisms are supported",
            .authenticationMethod
        ),
        ("incorrect server signature", .serverNotProven),
        ("invalid SCRAM response (nonce mismatch)", .serverNotProven),
        ("malformed SCRAM message (invalid iteration count)", .serverNotProven),
        ("server does not support SSL, but SSL was required", .encryption),
        ("SSL error: certificate verify failed", .encryption),
        ("SSL error: sslv3 alert handshake failure", .encryption),
        ("SSL error: tlsv1 alert unknown ca", .encryption),
        (
            "server certificate for \"localhost\" does not match host name \"other\"", .encryption
        ),
        (
            "private key file \"k\" has group or world access; file must have permissions",
            .encryption
        ),
        ("received invalid response to SSL negotiation: H", .encryption),
        ("syntax error in service file \"s\", line 3", .parameters),
    ]) func whatLibpqSays(text: String, cause: FinalFailure) {
        #expect(FinalFailure(message: text) == cause)
        let whole = "connection to server at \"db\" (10.0.0.1), port 5432 failed: \(text)"
        #expect(FinalFailure(message: whole) == cause)
        #expect(ConnectionFailure(raw: whole + "\n").finalFailure == cause)
    }

    @Test(arguments: [
        "server closed the connection unexpectedly", "Connection refused", "timeout expired",
        "could not translate host name \"db\" to address: Temporary failure in name resolution",
        "SSL SYSCALL error: EOF detected", "SSL error: unexpected eof while reading",
        "SSL error: tlsv1 alert internal error", "session is read-only",
        "server is in hot standby mode", "could not receive data from server: Connection reset",
        "out of memory",
    ]) func whatMayPass(text: String) {
        #expect(FinalFailure(message: text) == nil)
        let whole = "connection to server on socket \"/s/.s.PGSQL.5432\" failed: \(text)"
        #expect(FinalFailure(message: whole) == nil)
    }

    /// The last host of several decides: before it, libpq only goes on from what may pass.
    @Test func theLastOfSeveralHostsDecides() {
        let failure = ConnectionFailure(
            raw: """
                connection to server at "a" (10.0.0.1), port 5432 failed: Connection refused
                \tIs the server running on that host and accepting TCP/IP connections?
                connection to server at "b" (10.0.0.2), port 5432 failed: fe_sendauth: no password supplied

                """)
        #expect(failure.finalFailure == .noPassword)
    }
}
