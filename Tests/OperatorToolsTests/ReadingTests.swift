// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import OperatorTools

@Suite("Readings")
struct ReadingTests {
    @Test("Figures of the broker as a whole")
    func figures() {
        let reading = Fixture.reading(leases: 6, waiters: 2, locks: 3)
        #expect(reading.phase == "active")
        #expect(reading.pools.map(\.name) == ["app/app"])
        #expect(reading.capacity == 10)
        #expect(reading.serverLimit == nil)
        #expect((reading.leased, reading.waiting, reading.servers) == (6, 2, 9))
        #expect(reading.oldestWait == 4_200_000)
        #expect((reading.clients, reading.clientLimit) == (17, 500))
        #expect(reading.locks == 1)
        #expect(reading.warned == 1)
        #expect(reading.uptime == nil)
    }

    @Test(
        "The phase is what SHOW STATE says",
        arguments: [
            (["yes", "no", "no"], "active"), (["no", "yes", "no"], "paused"),
            (["no", "no", "yes"], "suspended"), (["no", "no", "no"], "draining"),
        ] as [([String], String)])
    func phase(values: [String], expected: String) {
        var reading = Fixture.reading(leases: 0)
        let names = ["active", "paused", "suspended"]
        reading.tables[.state] = Fixture.table(
            ["key", "value"], zip(names, values).map { [$0, $1] })
        #expect(reading.phase == expected)
    }

    @Test("The broker's own bound counts where it is the smaller one")
    func bounds() {
        var reading = Fixture.reading(leases: 0)
        reading.tables[.config] = Fixture.table(
            ["key", "value"], [["max_server_connections", "4"]])
        #expect(reading.capacity == 4)
        reading.tables[.config] = Fixture.table(
            ["key", "value"], [["max_server_connections", "40"]])
        #expect(reading.capacity == 10)
    }

    @Test("The time since the last start is in the events")
    func uptime() {
        var reading = Fixture.reading(leases: 0)
        reading.tables[.events] = Fixture.table(
            ["kind", "age_us"], [["started", "9000000"], ["leak", "5"]])
        #expect(reading.uptime == 9_000_000)
    }

    @Test("A bar is the highest of its five seconds, and stays where it is drawn")
    func history() {
        var history = UtilisationHistory()
        for (second, leased) in [(100, 2), (101, 8), (104, 1), (105, 5), (118, 10)] {
            history.add(Fixture.reading(leases: leased), at: .seconds(second))
        }
        #expect(
            history.utilisation(columns: 5, now: .seconds(119)) == [nil, 0.8, 0.5, nil, 1])
        #expect(history.utilisation(columns: 2, now: .seconds(121)) == [1, nil])
        #expect(history.waiting(columns: 1, now: .seconds(118)) == [0])
        #expect(history.utilisation(columns: 0, now: .seconds(118)) == [])
    }

    @Test("Old samples go")
    func old() {
        var history = UtilisationHistory()
        for second in 0..<10_000 {
            history.add(Fixture.reading(leases: 1), at: .seconds(second))
        }
        #expect(
            history.utilisation(columns: 400, now: .seconds(9_999)).compactMap { $0 }.count <= 381)
    }

    @Test("Leases are filtered by database, group and process, and counted where cut off")
    func leases() {
        let reading = Fixture.reading(leases: 9)
        #expect(LeaseListing(reading, LeaseFilter(database: "app")).count == 9)
        #expect(LeaseListing(reading, LeaseFilter(database: "other")).count == 0)
        #expect(LeaseListing(reading, LeaseFilter(group: "group1")).count == 3)
        let one = LeaseListing(reading, LeaseFilter(group: "group1", process: 499))
        #expect(one.record(ofLease: "2") != nil && one.count == 1)
        let lines = LeaseListing(reading, LeaseFilter()).lines(
            width: 80, limit: 4, glyphs: .unicode)
        #expect(lines.count == 6)
        #expect(lines[5].text == "and 5 more: --all")
        #expect(lines[1].text.hasPrefix("!      1   9.0 s"))
        #expect(lines[1].spans.first?.style == .warning)
        let none = LeaseListing(reading, LeaseFilter(process: 1))
        #expect(none.lines(width: 80, limit: nil, glyphs: .unicode).map(\.text) == ["no leases"])
    }

    @Test("The holder is named by what is known")
    func holder() {
        let table = Fixture.table(
            ["client_pid", "program", "application_name", "purpose", "age_us"],
            [
                ["71", "python3", "backfill", "copy", "3000000"],
                ["71", "psql", "psql", "", nil], [nil, nil, nil, nil, nil],
            ])
        #expect(
            table.records.map(LeaseHolder.text) == [
                "pid 71 python3 (backfill) for 'copy' since 3.0 s", "pid 71 psql",
                "an unknown client",
            ])
    }

    @Test("stat has a line for each pool and group, and no line is too wide")
    func stat() {
        let reading = Fixture.reading(leases: 9, waiters: 14, locks: 2)
        for width in [20, 40, 80, 132] {
            let lines = StatReport(reading, address: "/run", width: width, glyphs: .unicode).lines()
            for line in lines { #expect(line.width <= width) }
        }
        let text = StatReport(reading, address: "/run", width: nil, glyphs: .unicode).lines()
            .map(\.text).joined(separator: "\n")
        for part in ["pglease 0.1.0  active  /run", "app/app", "backfill", "(no name)", "LOCKS 1"] {
            #expect(text.contains(part))
        }
    }
}
