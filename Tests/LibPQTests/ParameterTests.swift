// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibPQ
import LibUV
import Testing

@Suite
struct ParameterTests {
    private func sorted(_ parameters: ConnectionParameters) -> [String] {
        parameters.map { "\($0.keyword)=\($0.value)" }.sorted()
    }

    @Test func aConnectionStringOrAnAddress() throws {
        let plain = try ConnectionString.parse("host=a,b port=1,2 dbname='x y' user=u")
        #expect(sorted(plain) == ["dbname=x y", "host=a,b", "port=1,2", "user=u"])
        let address = try ConnectionString.parse(
            "postgresql://u:p%40ss@h:5433/d?target_session_attrs=read-write")
        #expect(
            sorted(address)
                == [
                    "dbname=d", "host=h", "password=p@ss", "port=5433",
                    "target_session_attrs=read-write", "user=u",
                ])
        #expect(try ConnectionString.parse("").isEmpty)
    }

    @Test func aStringThatLibpqRefuses() {
        let error = #expect(throws: ConnectionStringError.self) {
            try ConnectionString.parse("hots=a")
        }
        #expect(error?.message == "invalid connection option \"hots\"")
        #expect(throws: ConnectionStringError.self) { try ConnectionString.parse("host") }
        #expect(throws: ConnectionStringError.self) {
            try ConnectionString.parse("postgresql://[x")
        }
    }

    @Test func defaultsAreAdded() throws {
        let all = try ConnectionString.withDefaults([("host", "h"), ("user", "u")])
        #expect(all.value(of: "host") == "h")
        #expect(all.value(of: "gssencmode") == "disable")
        #expect(all.value(of: "sslmode") != nil)
        let error = #expect(throws: ConnectionStringError.self) {
            try ConnectionString.withDefaults([("sslmode", "perhaps")])
        }
        #expect(error?.message == "invalid sslmode value: \"perhaps\"")
    }

    /// The environment counts for the whole process, so these run in processes of their own.
    @Test func theEnvironmentAndTheServiceFileNameTheHosts() async {
        await #expect(processExitsWith: .success) {
            let file = "/tmp/pglease-service-\(getpid())"
            let descriptor = open(file, O_CREAT | O_WRONLY, 0o600)
            let text = Array("[far]\nhost=one.example,/run/x\nport=7001,7002\ndbname=d\n".utf8)
            write(descriptor, text, text.count)
            close(descriptor)
            setenv("PGSERVICEFILE", file, 1)
            defer { unlink(file) }
            let plan = try HostPlan(parameters: [("service", "far"), ("user", "u")])
            try #require(plan.lookups.map(\.host) == ["one.example"])
            try #require(plan.lookups.map(\.port) == ["7001"])
            try #require(plan.parameters.value(of: "dbname") == "d")

            setenv("PGHOST", "two.example", 1)
            let other = try HostPlan(parameters: [("user", "u")])
            try #require(other.lookups.map(\.host) == ["two.example"])
            try #require(other.lookups.map(\.port) == ["5432"])
        }
    }

    @Test func onlyNamesAreLookedUp() throws {
        let plan = try HostPlan(parameters: [
            ("host", "/run/pg,@abstract,10.0.0.1,::1,db.example,localhost"), ("user", "u"),
            ("port", "1,2,3,4,5,"),
        ])
        #expect(plan.lookups.map(\.host) == ["db.example", "localhost"])
        #expect(plan.lookups.map(\.index) == [4, 5])
        #expect(plan.lookups.map(\.port) == ["5", "5432"])
    }

    @Test func everyAddressBecomesAHost() throws {
        let plan = try HostPlan(parameters: [
            ("host", "a.example,/run/pg,b.example"), ("user", "u"), ("port", "1,2,3"),
        ])
        let all = plan.addresses(with: [["10.0.0.1", "::1"], ["10.0.0.2"]])
        #expect(all.map(\.host) == ["a.example", "a.example", "/run/pg", "b.example"])
        #expect(all.map(\.number) == ["10.0.0.1", "::1", "", "10.0.0.2"])
        #expect(all.map(\.port) == ["1", "1", "2", "3"])
        // A name without an address leaves the list.
        let fewer = plan.addresses(with: [[], ["10.0.0.2"]])
        #expect(fewer.map(\.host) == ["/run/pg", "b.example"])
        #expect(fewer.map(\.port) == ["2", "3"])
        let single = try HostPlan(parameters: [("host", "a.example"), ("user", "u")])
        #expect(single.addresses(with: [[]]).isEmpty)
    }

    @Test func addressesThatAreGivenNeedNoLookUp() throws {
        let plan = try HostPlan(parameters: [
            ("host", "a.example"), ("hostaddr", "10.0.0.1"), ("user", "u"),
        ])
        #expect(plan.lookups.isEmpty)
        let address = try #require(plan.addresses(with: []).first)
        let parameters = plan.parameters(for: address, attributes: nil)
        #expect(parameters.value(of: "hostaddr") == "10.0.0.1")
        #expect(parameters.value(of: "host") == "a.example")
    }

    @Test func anAttemptIsForOneAddress() throws {
        let plan = try HostPlan(parameters: [
            ("host", "a.example,10.0.0.7"), ("user", "u"), ("port", "1,2"),
            ("target_session_attrs", "primary"),
        ])
        let addresses = plan.addresses(with: [["10.0.0.1"]])
        let first = plan.parameters(for: addresses[0], attributes: "standby")
        #expect(first.value(of: "host") == "a.example")
        #expect(first.value(of: "hostaddr") == "10.0.0.1")
        #expect(first.value(of: "port") == "1")
        #expect(first.value(of: "target_session_attrs") == "standby")
        let second = plan.parameters(for: addresses[1], attributes: nil)
        #expect(second.value(of: "host") == "10.0.0.7")
        #expect(second.value(of: "hostaddr") == nil)
        #expect(second.value(of: "port") == "2")
        #expect(second.value(of: "target_session_attrs") == nil)
    }

    /// libpq has the words for what does not fit together.
    @Test func listsOfDifferentLengthsAreRefused() {
        let failure = #expect(throws: ConnectionStringError.self) {
            try HostPlan(parameters: [
                ("host", "10.0.0.1,10.0.0.2,10.0.0.3"), ("port", "1,2"), ("user", "u"),
            ])
        }
        #expect(failure?.message == "could not match 2 port numbers to 3 hosts")
    }

    @Test func whatAnAttemptIsGivenIsWhatLibpqTakes() throws {
        let server = try TemporaryPostgres.shared.get()
        try withLoop { loop in
            let plan = try HostPlan(parameters: [
                ("host", "localhost,\(server.folder)"), ("port", server.port), ("user", "tester"),
                ("dbname", "postgres"),
            ])
            var resolved: [String] = []
            for lookup in plan.lookups {
                try loop.resolve(host: lookup.host, port: lookup.port) { result in
                    resolved = ((try? result.get()) ?? []).map(\.host)
                }
            }
            loop.run()
            try #require(!resolved.isEmpty)
            let address = try #require(plan.addresses(with: [resolved]).first)
            let connection = try loop.connect(plan.parameters(for: address, attributes: nil))
            #expect(connection.host == "localhost")
            #expect(connection.port == server.port)
            connection.close(sendTerminate: true)
        }
    }

    @Test func failuresAreReadFromLibpqsText() {
        let text = """
            connection to server at "a" (10.0.0.1), port 5432 failed: Connection refused
            \tIs the server running on that host and accepting TCP/IP connections?
            connection to server at "b" (10.0.0.2), port 5432 failed: FATAL:  53300: sorry, too: many
            DETAIL:  All are taken.
            HINT:  Wait.
            LOCATION:  InitProcess, proc.c:363

            """
        let failure = ConnectionFailure(raw: text)
        #expect(failure.sqlState == "53300")
        #expect(failure.severity == "FATAL")
        #expect(failure.message == "sorry, too: many")
        #expect(failure.detail == "All are taken.")
        #expect(failure.hint == "Wait.")
        let foreign = ConnectionFailure(raw: "… fehlgeschlagen: SCHWERWIEGEND:  57P03: startet\n")
        #expect(foreign.sqlState == "57P03")
        #expect(foreign.severity == "SCHWERWIEGEND")
        #expect(ConnectionFailure(raw: "").sqlState == nil)
        #expect(!ConnectionFailure(raw: "").message.isEmpty)
        #expect(ConnectionFailure(raw: "a:  12345").sqlState == nil)
    }
}
