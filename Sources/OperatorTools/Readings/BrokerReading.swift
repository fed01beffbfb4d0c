// SPDX-License-Identifier: Apache-2.0

/// What the tools ask the console. The raw value is the word behind SHOW.
package enum Question: String, CaseIterable, Sendable {
    case version
    case state
    case lists
    case config
    case pools
    case databases
    case groups
    case shares
    case leases
    case waiters
    case locks
    case events
    case stats

    package var command: String { "SHOW \(rawValue.uppercased())" }

    /// Without these there is nothing to show; the others may be missing in an older broker.
    package var isRequired: Bool { self == .pools || self == .leases }
}

/// All answers of one visit to the console.
package struct BrokerReading: Equatable, Sendable {
    package var tables: [Question: ConsoleTable]
    /// Microseconds since 1970.
    package var takenAt: Int64

    package init(tables: [Question: ConsoleTable], takenAt: Int64) {
        self.tables = tables
        self.takenAt = takenAt
    }

    package func records(_ question: Question) -> [ConsoleRecord] {
        tables[question]?.records ?? []
    }

    /// The broker as a whole.
    package var version: String {
        records(.version).first?.text("version") ?? "pglease"
    }

    /// `active`, `paused`, or `draining`: it serves those that are connected until they leave.
    package var phase: String {
        let states = Dictionary(
            records(.state).compactMap { row in
                row.text("key").map { ($0, row.text("value") ?? "") }
            }, uniquingKeysWith: { first, _ in first })
        if states["paused"] == "yes" { return "paused" }
        if states["suspended"] == "yes" { return "suspended" }
        if states["active"] == "no" { return "draining" }
        return "active"
    }

    /// How long it has been running, as far as its events go back.
    package var uptime: Int? {
        records(.events).last { $0.text("kind") == "started" }?.integer("age_us")
    }

    package var clients: Int? { item("used_clients") }
    package var clientLimit: Int? { limit("max_client_conn") }

    /// Connections to PostgreSQL, whatever their state.
    package var servers: Int { pools.reduce(0) { $0 + $1.servers } }

    /// nil: each pool has its own bound, and there is no other.
    package var serverLimit: Int? { limit("max_server_connections") }

    /// What `leased` can grow to: the bound of the whole broker, or the sum of the pools' sizes.
    package var capacity: Int? {
        let sizes = pools.compactMap(\.size)
        guard !sizes.isEmpty else { return serverLimit }
        let sum = sizes.reduce(0, +)
        return serverLimit.map { min($0, sum) } ?? sum
    }

    package var leased: Int { pools.reduce(0) { $0 + $1.leased } }
    package var waiting: Int { pools.reduce(0) { $0 + $1.waiting } }
    package var oldestWait: Int { pools.reduce(0) { max($0, $1.oldestWait) } }
    package var warned: Int {
        records(.leases).reduce(0) { $0 + ($1.text("warned") == "yes" ? 1 : 0) }
    }

    /// How many cycles there are; SHOW LOCKS has a row for each link.
    package var locks: Int { Set(records(.locks).map { $0.text("lock_id") }).count }

    private func item(_ name: String) -> Int? {
        records(.lists).first { $0.text("list") == name }?.integer("items")
    }

    private func limit(_ name: String) -> Int? {
        let value = records(.config).first { $0.text("key") == name }?.integer("value")
        return value.flatMap { $0 > 0 ? $0 : nil }
    }
}
