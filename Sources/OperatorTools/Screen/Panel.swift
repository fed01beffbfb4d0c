// SPDX-License-Identifier: Apache-2.0

/// The tables of the screen, in the order in which they stand and Tab goes through them.
package enum Panel: Int, CaseIterable, Sendable {
    case pools, groups, leases, waiters, locks

    var name: String {
        switch self {
        case .pools: "pools"
        case .groups: "groups"
        case .leases: "leases"
        case .waiters: "waiters"
        case .locks: "locks"
        }
    }

    var question: Question {
        switch self {
        case .pools: .pools
        case .groups: .groups
        case .leases: .leases
        case .waiters: .waiters
        case .locks: .locks
        }
    }

    func next(by step: Int) -> Panel {
        let count = Self.allCases.count
        return Panel(rawValue: (rawValue + step + count) % count)!
    }
}

/// One row of a panel.
package struct PanelRow: Equatable, Sendable {
    /// What stays the same from reading to reading.
    package let identity: String
    package let record: ConsoleRecord
    /// Of pools only.
    let pool: PoolFigures?

    init(identity: String, record: ConsoleRecord, pool: PoolFigures? = nil) {
        self.identity = identity
        self.record = record
        self.pool = pool
    }

    /// Of `pid`, `client_pid` and their like: what somebody may have in mind when looking for a row.
    func matches(_ filter: String) -> Bool {
        if filter.isEmpty { return true }
        let wanted = filter.lowercased()
        return record.values.contains { $0?.lowercased().contains(wanted) == true }
            || pool?.name.lowercased().contains(wanted) == true
    }
}

/// What the rows are sorted by; the raw value is the key to press.
package enum SortOrder: Character, CaseIterable, Sendable {
    case age = "a"
    case waited = "w"
    case idle = "i"
    case group = "g"
    case process = "p"

    var name: String {
        switch self {
        case .age: "age"
        case .waited: "waited"
        case .idle: "idle"
        case .group: "group"
        case .process: "pid"
        }
    }

    /// What comes first: the longest time, or the smallest name and number.
    var startsWithLargest: Bool { self == .age || self == .waited || self == .idle }
}

extension Panel {
    func rows(of reading: BrokerReading) -> [PanelRow] {
        if self == .pools {
            return reading.pools.map { PanelRow(identity: $0.name, record: $0.record, pool: $0) }
        }
        return reading.records(question).map { PanelRow(identity: identity($0), record: $0) }
    }

    private func identity(_ record: ConsoleRecord) -> String {
        func text(_ names: String...) -> String {
            names.map { record.text($0) ?? "" }.joined(separator: " ")
        }
        return switch self {
        case .pools: text("database", "user")
        case .groups: text("group")
        // A lease without a number is known by its server connection.
        case .leases: text("lease_id", "server_pid")
        case .waiters: text("client_id")
        case .locks: text("lock_id", "link")
        }
    }

    /// Sorted and filtered; what is equal keeps the console's order.
    func arranged(_ rows: [PanelRow], by order: SortOrder, reversed: Bool, filter: String)
        -> [PanelRow]
    {
        let wanted = rows.filter { $0.matches(filter) }
        let largestFirst = order.startsWithLargest != reversed
        let keyed = wanted.enumerated().map { (place: $0, row: $1, key: sortKey($1, order)) }
        let sorted = keyed.sorted { left, right in
            if left.key == right.key { return left.place < right.place }
            return largestFirst ? right.key < left.key : left.key < right.key
        }
        return sorted.map(\.row)
    }

    private func sortKey(_ row: PanelRow, _ order: SortOrder) -> SortKey {
        let record = row.record
        func number(_ names: String...) -> SortKey {
            .number(names.lazy.compactMap { record.integer($0) }.first ?? -1)
        }
        return switch (self, order) {
        case (.pools, .age), (.pools, .waited): .number(row.pool?.oldestWait ?? 0)
        case (.pools, .idle): .number(row.pool?.idle ?? 0)
        case (.pools, _): .text(row.identity)
        case (.groups, .age): number("leases")
        case (.groups, .waited): number("maxwait_us", "waiting")
        case (.groups, _): .text(record.text("group") ?? "")
        // A cycle is read link by link.
        case (.locks, _): .number(0)
        case (.waiters, .age), (.waiters, .waited), (.waiters, .idle): number("waited_us")
        case (.leases, .age): number("age_us")
        case (.leases, .waited): number("waited_us")
        case (.leases, .idle): number("idle_us")
        case (_, .group): .text(record.text("group") ?? "")
        case (_, .process): number("client_pid")
        }
    }
}

extension Panel {
    /// Whose row asks for attention.
    func style(of row: PanelRow) -> Style {
        switch self {
        case .pools: row.pool.map { $0.waiting > 0 } == true ? .warning : .plain
        case .groups: (row.record.integer("waiting") ?? 0) > 0 ? .warning : .plain
        case .leases: row.record.text("warned") == "yes" ? .warning : .plain
        case .waiters: .plain
        case .locks: row.record.text("grade") == "certain" ? .alarm : .warning
        }
    }
}

private enum SortKey: Equatable, Comparable {
    case number(Int)
    case text(String)
}
