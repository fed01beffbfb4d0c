// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import BrokerConsole

@Suite struct ConsoleParserTests {
    private func parse(_ text: String) throws -> [ConsoleStatement] {
        try ConsoleParser.statements(Array(text.utf8), .known)
    }

    private func refusal(_ text: String) -> PgError? {
        do throws(ConsoleRefusal) {
            _ = try ConsoleParser.statements(Array(text.utf8), .known)
            return nil
        } catch {
            return error.error
        }
    }

    @Test(arguments: [
        "SHOW POOLS", "show pools;", "  Show\n\tPools ; ", "SELECT pools",
        "/* a */ show -- b\n pools",
        "show \"pools\"",
    ])
    func spellings(_ text: String) throws {
        #expect(try parse(text) == [.show(.pools)])
    }

    @Test(arguments: ShowCommand.allCases)
    func everyShowIsUnderstood(_ command: ShowCommand) throws {
        #expect(try parse("SHOW \(command.rawValue.uppercased())") == [.show(command)])
        let names = command.columns.map(\.name)
        #expect(Set(names).count == names.count)
    }

    @Test func severalStatements() throws {
        #expect(
            try parse("begin; show stats ;; rollback;") == [
                .begin, .show(.stats), .end(tag: "ROLLBACK"),
            ])
        #expect(try parse(" ; -- nothing") == [])
        #expect(try parse("show help") == [.help])
    }

    @Test func commands() throws {
        #expect(try parse("RELOAD") == [.command(.reload)])
        #expect(try parse("SHUTDOWN") == [.command(.shutDown(.immediate))])
        #expect(
            try parse("shutdown wait_for_servers") == [.command(.shutDown(.waitForServers))])
        #expect(
            try parse("SHUTDOWN WAIT_FOR_CLIENTS;") == [.command(.shutDown(.waitForClients))])
        #expect(refusal("SHUTDOWN now")?.sqlState == .protocolViolation)
        #expect(refusal("RELOAD everything")?.sqlState == .protocolViolation)
    }

    @Test(arguments: [
        ("SHOW client_encoding", "client_encoding", "UTF8"),
        ("SHOW standard_conforming_strings", "standard_conforming_strings", "on"),
        ("show TimeZone", "TimeZone", "UTC"),
        ("SHOW TIME ZONE", "TimeZone", "UTC"),
        ("SHOW DateStyle", "DateStyle", "ISO, MDY"),
        ("SHOW transaction_read_only", "transaction_read_only", "off"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "transaction_isolation", "read committed"),
        ("select current_setting('client_encoding') AS e", "e", "UTF8"),
        ("SELECT 'hello'", "?column?", "hello"),
        ("SELECT current_schema()", "current_schema", "public"),
    ])
    func questionsOfDrivers(_ text: String, _ column: String, _ value: String) throws {
        #expect(try parse(text) == [.value(ConsoleColumn(column, .text), .fixed(value))])
    }

    @Test func selects() throws {
        #expect(try parse("SELECT 1") == [.value(ConsoleColumn("?column?", .int4), .fixed("1"))])
        #expect(
            try parse("select pg_catalog.version()").first?.columns?.map(\.name) == ["version"])
        #expect(
            try parse("SELECT pg_backend_pid()")
                == [.value(ConsoleColumn("pg_backend_pid", .int4), .processID)])
        #expect(
            try parse("SELECT pg_is_in_recovery()")
                == [.value(ConsoleColumn("pg_is_in_recovery", .bool), .fixed("f"))])
        #expect(refusal("SELECT 99999999999")?.sqlState == .protocolViolation)
        #expect(refusal("SELECT now()")?.sqlState == .protocolViolation)
        #expect(refusal("SELECT * FROM pg_class")?.sqlState == .protocolViolation)
    }

    @Test(arguments: [
        "SET extra_float_digits = 3", "set client_encoding to 'UTF8'", "SET DateStyle='ISO'",
        "SET SESSION statement_timeout = 0", "SET LOCAL lock_timeout = '1s'", "SET TIME ZONE 'UTC'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET search_path = a, b",
    ])
    func whatDriversSet(_ text: String) throws {
        #expect(try parse(text) == [.accepted(tag: "SET")])
    }

    @Test func settingsAreSetByAdministrators() throws {
        #expect(try parse("SET application_name = 'x'") == [.setApplicationName("x")])
        #expect(
            try parse("SET default_pool_size = 5")
                == [.command(.set(name: "default_pool_size", value: "5"))])
        #expect(refusal("SET defualt_pool_size = 5")?.sqlState == .protocolViolation)
        #expect(refusal("SET default_pool_size")?.sqlState == .protocolViolation)
    }

    @Test(arguments: [
        ("PAUSE", ConsoleCommand.pause(nil)), ("pause app;", .pause("app")),
        ("RESUME \"A b\"", .resume("A b")), ("SUSPEND", .suspend), ("RECONNECT", .reconnect(nil)),
        ("WAIT_CLOSE app", .waitClose("app")), ("DISABLE app", .disable("app")),
        ("ENABLE app", .enable("app")), ("KILL", .kill(nil)), ("KILL app", .kill("app")),
        ("KILL lease 17", .killLease(17)), ("KILL_CLIENT 1048576", .killClient(1_048_576)),
    ])
    func orders(_ text: String, _ command: ConsoleCommand) throws {
        #expect(try parse(text) == [.command(command)])
    }

    @Test(arguments: [
        "DISABLE", "ENABLE", "KILL LEASE", "KILL LEASE -1", "KILL_CLIENT x", "PAUSE a b",
        "SUSPEND app",
    ])
    func ordersThatAreNone(_ text: String) {
        #expect(refusal(text)?.sqlState == .protocolViolation)
    }

    @Test func theResetOfAsyncpg() throws {
        let text = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"
        #expect(try parse(text).count == 4)
        #expect(try parse("DISCARD ALL") == [.discardAll])
        #expect(try parse("DEALLOCATE ALL") == [.deallocate(nil)])
        #expect(try parse("DEALLOCATE PREPARE _pg3_0") == [.deallocate("_pg3_0")])
        #expect(try parse("DEALLOCATE \"A b\"") == [.deallocate("A b")])
    }

    @Test func refusals() {
        let unknown = refusal("SELEKT pools")
        #expect(unknown?.sqlState == .protocolViolation)
        #expect(unknown?.message == "invalid command 'SELEKT pools', use SHOW HELP;")
        #expect(refusal("SHOW pool")?.hint == "Did you mean SHOW POOLS?")
        #expect(refusal("SHOW pools now")?.sqlState == .protocolViolation)
        #expect(refusal("SHOW")?.sqlState == .protocolViolation)
        #expect(refusal("SHOW stats WHERE a = $1")?.sqlState == .protocolViolation)
        #expect(refusal("SHOW 'pools")?.message == "unterminated quoted string")
        #expect(refusal("SHOW /* pools")?.message == "unterminated comment")
        #expect(refusal("SHOW \"pools")?.message == "unterminated quoted identifier")
    }

    @Test func noTextTakesItDown() {
        var generator = CountingGenerator()
        let pieces = [
            "show", "set", "select", ";", "'", "\"", "$1", "(", ")", "=", "*", "--", "/*", "\u{0}é",
            "pools", "1", ".",
        ]
        for _ in 0..<2_000 {
            let count = Int.random(in: 0..<8, using: &generator)
            let text = (0..<count).map { _ in pieces.randomElement(using: &generator)! }
                .joined(separator: Bool.random(using: &generator) ? " " : "")
            _ = refusal(text)
        }
    }
}

/// The same numbers on every run: an LCG with Knuth's constants.
private struct CountingGenerator: RandomNumberGenerator {
    private var state: UInt64 = 1

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 29
    }
}
