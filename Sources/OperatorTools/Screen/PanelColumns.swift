// SPDX-License-Identifier: Apache-2.0

/// A column of a panel, and how its text is made of a row.
package struct PanelColumn: Sendable {
    let column: TextColumn
    let text: @Sendable (PanelRow) -> String

    init(
        _ title: String, _ alignment: DisplayText.Alignment = .left, minimum: Int? = nil,
        most: Int = 40, usual: Int = 0, importance: Int = 5,
        _ text: @escaping @Sendable (PanelRow) -> String
    ) {
        column = TextColumn(
            title, alignment, minimum: minimum, most: most, usual: usual, importance: importance)
        self.text = text
    }

    /// The value as the console says it.
    static func plain(
        _ title: String, _ name: String, minimum: Int? = nil, most: Int = 40, importance: Int = 5
    ) -> PanelColumn {
        PanelColumn(title, minimum: minimum, most: most, importance: importance) {
            // A dash, for those who count words: an empty text is none.
            $0.record.text(name).flatMap { $0.isEmpty ? nil : $0 } ?? "-"
        }
    }

    static func number(_ title: String, _ name: String, usual: Int = 0, importance: Int = 5)
        -> PanelColumn
    {
        PanelColumn(title, .right, usual: usual, importance: importance) {
            $0.record.text(name) ?? "-"
        }
    }

    static func duration(_ title: String, _ name: String, importance: Int = 5) -> PanelColumn {
        PanelColumn(title, .right, usual: 6, importance: importance) {
            $0.record.integer(name).map { Quantity.duration(microseconds: $0) } ?? "-"
        }
    }
}

extension Panel {
    package var columns: [PanelColumn] {
        switch self {
        case .pools: Self.poolColumns
        case .groups: Self.groupColumns
        case .leases: Self.leaseColumns
        case .waiters: Self.waiterColumns
        case .locks: Self.lockColumns
        }
    }

    /// The rows as a table, for a screen or for paper.
    package func table(_ rows: some Sequence<PanelRow>, glyphs: Glyphs) -> TextTable {
        let columns = columns
        return TextTable(
            columns: columns.map(\.column),
            rows: rows.map { row in columns.map { glyphs.clean($0.text(row)) } }, glyphs: glyphs)
    }

    private static let poolColumns: [PanelColumn] = [
        PanelColumn("POOL", minimum: 10, usual: 16, importance: 9) { $0.pool?.name ?? "-" },
        PanelColumn("SIZE", .right, importance: 8) { $0.pool?.size.map { "\($0)" } ?? "-" },
        count("LEASED", 9) { $0.leased },
        count("IDLE", 6) { $0.idle },
        // With a client that keeps it between two uses; whoever waits has it.
        PanelColumn("PARKED", .right, importance: 4) { positive($0, "parked") },
        // Being connected, checked or cleaned.
        count("OTHER", 3) { $0.changing },
        count("CLIENTS", 5) { $0.clients },
        count("WAITING", 8) { $0.waiting },
        PanelColumn("OLDEST", .right, usual: 6, importance: 7) {
            guard let pool = $0.pool, pool.waiting > 0 else { return "-" }
            return Quantity.duration(microseconds: pool.oldestWait)
        },
        PanelColumn("MODE", usual: 11, importance: 2) {
            guard let pool = $0.pool else { return "-" }
            return pool.isPaused ? "\(pool.mode), paused" : pool.mode
        },
    ]

    private static func count(
        _ title: String, _ importance: Int, _ count: @escaping @Sendable (PoolFigures) -> Int
    ) -> PanelColumn {
        PanelColumn(title, .right, importance: importance) {
            $0.pool.map { "\(count($0))" } ?? "-"
        }
    }

    private static let groupColumns: [PanelColumn] = [
        PanelColumn("GROUP", minimum: 10, usual: 16, importance: 9) {
            // The group of those who gave no name.
            let name = $0.record.text("group") ?? ""
            return name.isEmpty ? "(no name)" : name
        },
        .number("LEASES", "leases", importance: 8),
        PanelColumn("MIN", .right, importance: 4) { positive($0, "min_leases") },
        PanelColumn("MAX", .right, importance: 4) { positive($0, "max_leases") },
        PanelColumn("PINNED", .right, importance: 3) { positive($0, "pinned") },
        PanelColumn("PARKED", .right, importance: 3) { positive($0, "parked") },
        .number("WEIGHT", "weight", importance: 2),
        .number("CLIENTS", "clients", importance: 3),
        .number("WAITING", "waiting", importance: 7),
        PanelColumn("OLDEST", .right, usual: 6, importance: 6) {
            guard let time = $0.record.integer("maxwait_us"), time > 0 else { return "-" }
            return Quantity.duration(microseconds: time)
        },
    ]

    private static func positive(_ row: PanelRow, _ name: String) -> String {
        guard let value = row.record.integer(name), value > 0 else { return "-" }
        return "\(value)"
    }

    private static let leaseColumns: [PanelColumn] = [
        // Held for longer than lease_warn_after.
        PanelColumn("!", importance: 11) { $0.record.text("warned") == "yes" ? "!" : "" },
        .number("LEASE", "lease_id", importance: 10),
        .duration("AGE", "age_us", importance: 10),
        .number("PID", "client_pid", importance: 9),
        .plain("PROGRAM", "program", minimum: 8, importance: 4),
        .plain("APPLICATION", "application_name", minimum: 12, importance: 5),
        .plain("PURPOSE", "purpose", minimum: 12, most: 60, importance: 6),
        PanelColumn("STATE", minimum: 12, usual: 12, importance: 7) {
            // As PostgreSQL abbreviates it in its own names: the whole word takes the purpose's room.
            switch $0.record.text("state") {
            case "idle in transaction": "idle in xact"
            case "idle in failed transaction": "failed xact"
            case "pinned": "pinned: \($0.record.text("pin") ?? "-")"
            case let state: state ?? "-"
            }
        },
        .duration("IDLE", "idle_us", importance: 3),
        PanelColumn("POOL", minimum: 8, importance: 2) { pool($0) },
        .plain("KIND", "kind", importance: 1),
    ]

    private static let waiterColumns: [PanelColumn] = [
        .number("WAITER", "place", importance: 10),
        .duration("WAITED", "waited_us", importance: 10),
        .duration("LEFT", "deadline_us", importance: 5),
        .number("PID", "client_pid", importance: 9),
        .plain("PROGRAM", "program", minimum: 8, importance: 4),
        .plain("APPLICATION", "application_name", minimum: 12, importance: 6),
        .plain("PURPOSE", "purpose", minimum: 12, most: 60, importance: 7),
        PanelColumn("POOL", minimum: 8, importance: 3) { pool($0) },
        .plain("GROUP", "group", minimum: 8, importance: 2),
    ]

    private static let lockColumns: [PanelColumn] = [
        .number("LOCK", "lock_id", importance: 10),
        .number("LINK", "link", importance: 8),
        .plain("GRADE", "grade", importance: 9),
        .duration("HELD", "held_us", importance: 6),
        .number("LEASE", "lease_id", importance: 7),
        .number("PID", "client_pid", importance: 8),
        .plain("THREAD", "thread", minimum: 6, importance: 3),
        .plain("APPLICATION", "application_name", minimum: 8, importance: 4),
        .plain("PURPOSE", "purpose", minimum: 8, importance: 5),
        .plain("WAITS FOR", "waits_for", minimum: 8, importance: 6),
        .duration("WAITED", "waited_us", importance: 2),
        PanelColumn("POOL", minimum: 8, importance: 6) { pool($0) },
    ]

    private static func pool(_ row: PanelRow) -> String {
        "\(row.record.text("database") ?? "-")/\(row.record.text("user") ?? "-")"
    }
}
