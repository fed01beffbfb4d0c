// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibPQ
import LibUV
import PostgresFixture
import Testing

@Suite(.timeLimit(.minutes(2)))
struct ConnectTests {
    let server: TemporaryPostgres

    init() throws { server = try TemporaryPostgres.shared.get() }

    @Test func connectsWithoutBlockingAndKnowsItsServer() throws {
        try withLoop { loop in
            let connection = try loop.connect(server.parameters([("application_name", "it's")]))
            #expect(connection.isOpen)
            #expect(connection.serverVersion / 10_000 == 15)
            #expect(connection.backendProcessID > 0)
            #expect(connection.host == "localhost")
            #expect(connection.hostAddress == "127.0.0.1")
            #expect(connection.port == server.port)
            #expect(!connection.usesTLS)
            #expect(connection.tlsDescription == nil)
            #expect(connection.parameterStatus("application_name") == "it's")
            #expect(connection.parameterStatus("no_such_parameter") == nil)
            // Each of them is reported, but for those of later versions.
            let missing = PostgresConnection.reportedParameters.filter {
                connection.parameterStatus($0) == nil
            }
            #expect(missing == ["scram_iterations", "search_path"])
            let backend = try connection.execute("SELECT pg_backend_pid(), NULL")
            #expect(backend.rows == [[String(connection.backendProcessID), nil]])
            connection.close(sendTerminate: true)
            connection.close(sendTerminate: true)
            #expect(connection.isClosed)
        }
    }

    @Test func connectsOverTheUnixSocket() throws {
        try withLoop { loop in
            let text = "postgresql://tester@/postgres?host=\(server.folder)&port=\(server.port)"
            let plan = try HostPlan(parameters: ConnectionString.parse(text))
            #expect(plan.lookups.isEmpty)
            let address = try #require(plan.addresses(with: []).first)
            let connection = try loop.connect(plan.parameters(for: address, attributes: nil))
            #expect(connection.host == server.folder)
            #expect(try connection.execute("SELECT 1 AS one").columns == ["one"])
            connection.close(sendTerminate: true)
        }
    }

    @Test func aWrongPassword() throws {
        try withLoop { loop in
            let right = try loop.connect(
                server.parameters([("user", "secret"), ("password", "right")]))
            right.close(sendTerminate: true)
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect(server.parameters([("user", "secret"), ("password", "wrong")]))
            }
            #expect(failure?.sqlState == "28P01")
            #expect(failure?.severity == "FATAL")
            #expect(failure?.message == "password authentication failed for user \"secret\"")
            #expect(failure?.raw.contains("wrong") == false)
        }
    }

    @Test func noSuchDatabase() throws {
        try withLoop { loop in
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect(server.parameters([("dbname", "absent")]))
            }
            #expect(failure?.sqlState == "3D000")
            #expect(failure?.message == "database \"absent\" does not exist")
        }
    }

    @Test func aDatabaseNameIsNeverReadAsAConnectionString() throws {
        try withLoop { loop in
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect(server.parameters([("dbname", "dbname=postgres user=tester")]))
            }
            #expect(failure?.sqlState == "3D000")
        }
    }

    @Test func aRefusedPort() throws {
        try withLoop { loop in
            let port = String(try Fixture.freePort())
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect(server.parameters([("port", port)]))
            }
            #expect(failure?.sqlState == nil)
            #expect(failure?.message.hasSuffix("failed: Connection refused") == true)
            #expect(failure?.hint?.hasPrefix("Is the server running on that host") == true)
        }
    }

    @Test func parametersThatLibpqRefuses() throws {
        try withLoop { loop in
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect([("no_such_option", "1")])
            }
            #expect(failure?.message == "invalid connection option \"no_such_option\"")
        }
    }

    @Test func theSecondOfTwoHosts() throws {
        try withLoop { loop in
            let dead = String(try Fixture.freePort())
            let connection = try loop.connect(
                server.parameters([
                    ("host", "first,second"), ("hostaddr", "127.0.0.1,127.0.0.1"),
                    ("port", "\(dead),\(server.port)"),
                ]))
            #expect(connection.host == "second")
            #expect(connection.port == server.port)
            connection.close(sendTerminate: true)
        }
    }

    @Test(arguments: [("tester", "read-write"), ("reader", "read-only"), ("tester", "primary")])
    func targetSessionAttributesThatFit(user: String, wanted: String) throws {
        try withLoop { loop in
            let connection = try loop.connect(
                server.parameters([("user", user), ("target_session_attrs", wanted)]))
            connection.close(sendTerminate: true)
        }
    }

    @Test func targetSessionAttributesThatNoHostHas() throws {
        try withLoop { loop in
            let failure = #expect(throws: ConnectionFailure.self) {
                try loop.connect(
                    server.parameters([("user", "reader"), ("target_session_attrs", "read-write")]))
            }
            #expect(failure?.sqlState == nil)
            #expect(failure?.message.hasSuffix("session is read-only") == true)
        }
    }

    @Test func terminateIsSentOnlyWhenAskedFor() throws {
        try withLoop { loop in
            let observer = try loop.connect(server.parameters())
            for polite in [true, false] {
                let connection = try loop.connect(server.parameters())
                let backend = connection.backendProcessID
                connection.close(sendTerminate: polite)
                let gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = \(backend)"
                while try observer.execute(gone).rows != [["0"]] {}
            }
            observer.close(sendTerminate: true)
        }
    }

    @Test func pings() throws {
        #expect(ServerPing.ping(server.parameters()) == .ok)
        let port = String(try Fixture.freePort())
        #expect(ServerPing.ping(server.parameters([("port", port)])) == .noResponse)
        #expect(ServerPing.ping([("no_such_option", "1")]) == .noAttempt)
    }

    @Test func serverErrorsOfAStatement() throws {
        try withLoop { loop in
            let connection = try loop.connect(server.parameters())
            let error = #expect(throws: QueryError.self) {
                try connection.execute("SELECT * FROM x")
            }
            #expect(error?.sqlState == "42P01")
            #expect(error?.message == "relation \"x\" does not exist")
            #expect(try connection.execute("CREATE TEMP TABLE x (a int)").command == "CREATE TABLE")
            connection.close(sendTerminate: true)
        }
    }

    @Test func callsAfterCloseTrap() async {
        await #expect(processExitsWith: .failure) {
            let connection = PostgresConnection.start(parameters: [("host", "/nonexistent")])
            connection.close(sendTerminate: false)
            _ = connection.poll()
        }
    }
}
