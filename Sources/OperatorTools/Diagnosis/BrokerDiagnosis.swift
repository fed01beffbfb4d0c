// SPDX-License-Identifier: Apache-2.0

/// What a running broker's console shows of trouble.
package struct BrokerDiagnosis: Sendable {
    /// A setting as the configuration has it now.
    package struct Setting: Equatable, Sendable {
        package let name: String
        package let value: String
        package let isChangeable: Bool

        package init(name: String, value: String, isChangeable: Bool) {
            self.name = name
            self.value = value
            self.isChangeable = isChangeable
        }
    }

    private let reading: BrokerReading
    private let settings: [Setting]

    /// `settings`: empty where it is not known what the broker should have read.
    package init(_ reading: BrokerReading, settings: [Setting]) {
        self.reading = reading
        self.settings = settings
    }

    package var findings: [Finding] {
        [phase] + differences + [waiters, leases] + locks + failures
    }

    private var phase: Finding {
        switch reading.phase {
        case "active": .ok("broker", "it serves clients")
        case "paused":
            .wrong("broker", "it is paused: every client waits", do: "RESUME on the console")
        case "suspended":
            .wrong("broker", "it is suspended: every client waits", do: "RESUME on the console")
        default:
            .warning(
                "broker", "it drains: new clients are refused",
                do: "wait until it has ended, and start it again")
        }
    }

    /// Names only: a value may be a secret.
    private var differences: [Finding] {
        let inForce = Dictionary(
            reading.records(.config).compactMap { row in
                row.text("key").map { ($0, row.text("value") ?? "") }
            }, uniquingKeysWith: { first, _ in first })
        guard !settings.isEmpty, !inForce.isEmpty else { return [] }
        let changed = settings.filter { setting in
            inForce[setting.name].map { $0 != setting.value } == true
        }
        guard !changed.isEmpty else {
            return [.ok("settings", "those of the configuration are in force")]
        }
        func finding(_ changed: [Setting], _ remedy: String) -> Finding? {
            guard !changed.isEmpty else { return nil }
            let names = changed.map(\.name).joined(separator: ", ")
            return .warning(
                "settings", "not in force as the configuration has them: \(names)", do: remedy)
        }
        return [
            finding(changed.filter(\.isChangeable), "RELOAD on the console, or SIGHUP"),
            finding(
                changed.filter { !$0.isChangeable }, "pglease serve --replace, or a restart"),
        ].compactMap { $0 }
    }

    private var waiters: Finding {
        let waiting = reading.waiting
        guard waiting > 0 else { return .ok("waiters", "nobody waits for a connection") }
        let oldest = Quantity.duration(microseconds: reading.oldestWait)
        let text = "\(waiting) wait for a connection, the first for \(oldest)"
        guard reading.oldestWait >= Self.longWait else { return .ok("waiters", text) }
        return .warning(
            "waiters", text,
            do: "pglease leases shows who holds them: shorten that work, or raise pool_size")
    }

    private var leases: Finding {
        let rows = reading.records(.leases)
        let idle = rows.filter {
            $0.text("transaction_state") == "open" && ($0.integer("idle_us") ?? 0) >= Self.longIdle
        }
        if let worst = idle.max(by: { $0.integer("idle_us") ?? 0 < $1.integer("idle_us") ?? 0 }) {
            let time = Quantity.duration(microseconds: worst.integer("idle_us") ?? 0)
            return .warning(
                "leases",
                "\(idle.count) idle in an open transaction: for \(time) \(Self.name(worst))",
                do: "end the transaction there; pglease leases --kill, or idle_transaction_timeout")
        }
        let old = rows.filter { $0.text("warned") == "yes" }
        if let worst = old.max(by: { $0.integer("age_us") ?? 0 < $1.integer("age_us") ?? 0 }) {
            return .warning(
                "leases",
                "\(old.count) held for longer than lease_warn_after, the longest \(Self.name(worst))",
                do: "pglease leases shows what it does; pglease leases --kill ends it")
        }
        let capacity = reading.capacity.map { " of \($0)" } ?? ""
        return .ok("leases", "\(reading.leased)\(capacity) in use, none looks stuck")
    }

    private var locks: [Finding] {
        guard reading.locks > 0 else { return [] }
        let certain = reading.records(.locks).contains { $0.text("grade") == "certain" }
        let text = "\(reading.locks) cycles of leases that wait for each other"
        let remedy = "SHOW LOCKS names them: end one by pglease leases --kill; docs/sizing.md"
        return [
            certain
                ? .wrong("locks", text, do: remedy)
                : .warning("locks", "\(text), as it seems", do: remedy)
        ]
    }

    /// Of the last minutes, each kind once, unless it is over.
    private var failures: [Finding] {
        let wanted = [
            ("connect_failed", "connect_recovered"), ("share_lost", "share_recovered"),
            ("listen_lost", "listen_recovered"), ("reload_failed", "reload"), ("exhausted", ""),
        ]
        return wanted.compactMap { kind, end in
            guard let last = lastEvent(kind), let age = last.integer("age_us"), age < Self.recent,
                lastEvent(end)?.integer("age_us").map({ $0 < age }) != true
            else { return nil }
            return .warning(
                "events",
                "\(kind), \(Quantity.duration(microseconds: age)) ago: \(last.text("message") ?? "")",
                do: "SHOW EVENTS has the others; docs/events.md says what to do")
        }
    }

    private func lastEvent(_ kind: String) -> ConsoleRecord? {
        reading.records(.events).last { $0.text("kind") == kind }
    }

    private static func name(_ row: ConsoleRecord) -> String {
        "lease \(row.text("lease_id") ?? "?") (\(LeaseHolder.text(row)))"
    }

    static let longWait = 1_000_000
    static let longIdle = 60_000_000
    static let recent = 300_000_000
}
