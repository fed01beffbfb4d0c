// SPDX-License-Identifier: Apache-2.0

@testable import OperatorTools

/// Readings as a console would answer them.
enum Fixture {
    static let hostileNames = [
        "日本語の仕事", "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}", "\u{1B}[31mred\u{1B}[0m",
        "\u{202E}evil\u{202C}", "👩‍👩‍👧‍👦 family", "tab\tand\nline", "\u{9B}2J", "quote\"s\\",
        "", String(repeating: "x", count: 10_000), "ก็ไทย", "한글", "🇩🇪", "\u{301}first",
    ]

    static func table(_ columns: [String], numbers: Set<String> = [], _ rows: [[String?]])
        -> ConsoleTable
    {
        ConsoleTable(
            columns: columns.map { .init($0, isNumber: numbers.contains($0)) }, rows: rows)
    }

    static func leases(_ count: Int) -> ConsoleTable {
        table(
            [
                "lease_id", "server_pid", "kind", "database", "user", "group", "application_name",
                "client_id", "client_pid", "purpose", "state", "age_us", "waited_us", "idle_us",
                "warned",
            ], numbers: ["lease_id", "age_us"],
            (0..<count).map { index in
                let name = hostileNames[index % hostileNames.count]
                return [
                    "\(index + 1)", "\(9000 + index)", "explicit", "app", "app",
                    "group\(index % 3)", name, "\(index)", "\(500 - index % 7)", name,
                    "idle in transaction", "\((count - index) * 1_000_000)", "\(index * 1000)",
                    index % 2 == 0 ? nil : "\(index * 5000)", index == 0 ? "yes" : "no",
                ]
            })
    }

    static func reading(leases count: Int, waiters: Int = 0, locks: Int = 0) -> BrokerReading {
        var tables: [Question: ConsoleTable] = [:]
        tables[.version] = table(["version"], [["pglease 0.1.0"]])
        tables[.state] = table(
            ["key", "value"], [["active", "yes"], ["paused", "no"], ["suspended", "no"]])
        tables[.lists] = table(["list", "items"], [["used_clients", "17"]])
        tables[.config] = table(
            ["key", "value"], [["max_client_conn", "500"], ["max_server_connections", "0"]])
        tables[.databases] = table(["name", "pool_size", "paused"], [["app", "10", "0"]])
        tables[.pools] = table(
            [
                "database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used",
                "sv_tested", "sv_login", "maxwait", "maxwait_us", "pool_mode",
            ],
            [
                [
                    "app", "app", "7", "\(waiters)", "\(count)", "1", "1", "0", "1",
                    waiters > 0 ? "4" : "0", waiters > 0 ? "200000" : "0", "transaction",
                ],
                [
                    "pgbouncer", "pgbouncer", "1", "0", "0", "0", "0", "0", "0", "0", "0",
                    "statement",
                ],
            ])
        tables[.groups] = table(
            ["group", "weight", "min_leases", "max_leases", "clients", "leases", "waiting"],
            [["backfill", "1", "2", nil, "3", "2", "0"], ["", "1", nil, "9", "4", "5", "1"]])
        tables[.leases] = leases(count)
        tables[.waiters] = table(
            [
                "place", "client_id", "client_pid", "database", "user", "application_name",
                "waited_us",
            ],
            (0..<waiters).map {
                ["\($0 + 1)", "\($0)", "77", "app", "app", hostileNames[$0 % 14], "\($0 * 90_000)"]
            })
        tables[.locks] = table(
            ["lock_id", "grade", "link", "lease_id", "client_pid", "held_us", "waits_for"],
            (0..<locks).map { ["1", "certain", "\($0 + 1)", "\($0)", "77", "5000000", "next"] })
        return BrokerReading(tables: tables, takenAt: 1_700_000_000_000_042)
    }

    static func model(leases: Int, waiters: Int = 0, locks: Int = 0) -> TopModel {
        var model = TopModel(address: "/run/pglease/.s.PGSQL.6432", interval: .seconds(1))
        model.received(
            reading(leases: leases, waiters: waiters, locks: locks), at: .seconds(100))
        return model
    }

    static func draw(_ model: TopModel, _ width: Int, _ height: Int, _ glyphs: Glyphs = .unicode)
        -> [Line]
    {
        TopDrawing(model, width: width, height: height, now: .seconds(103), glyphs: glyphs).lines()
    }
}
