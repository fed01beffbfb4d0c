// SPDX-License-Identifier: Apache-2.0

/// One pool: its row of SHOW POOLS with its size, which SHOW DATABASES knows.
package struct PoolFigures: Equatable, Sendable {
    package let record: ConsoleRecord
    package let database: String
    package let user: String
    package let mode: String
    package let size: Int?
    package let leased: Int
    package let idle: Int
    /// Their clients keep them between two uses.
    package let parked: Int
    /// Being connected, checked or cleaned.
    package let changing: Int
    package let clients: Int
    package let waiting: Int
    /// Of the one who waits longest, in microseconds.
    package let oldestWait: Int
    package let isPaused: Bool

    package var name: String { "\(database)/\(user)" }
    package var servers: Int { leased + idle + parked + changing }

    init(_ record: ConsoleRecord, database described: ConsoleRecord?) {
        self.record = record
        func count(_ names: String...) -> Int {
            names.reduce(0) { $0 + (record.integer($1) ?? 0) }
        }
        database = record.text("database") ?? ""
        user = record.text("user") ?? ""
        mode = record.text("pool_mode") ?? ""
        size = record.integer("pool_size") ?? described?.integer("pool_size")
        leased = count("sv_active")
        idle = count("sv_idle", "sv_used")
        parked = count("parked")
        changing = count("sv_tested", "sv_login", "sv_being_canceled")
        waiting = count("cl_waiting")
        clients = count("cl_active", "cl_waiting")
        oldestWait = count("maxwait") * 1_000_000 + count("maxwait_us")
        isPaused = described?.integer("paused") == 1
    }
}

extension BrokerReading {
    /// The pools with servers; the console's own row is none of them.
    package var pools: [PoolFigures] {
        let databases = Dictionary(
            records(.databases).compactMap { row in row.text("name").map { ($0, row) } },
            uniquingKeysWith: { first, _ in first })
        return records(.pools).compactMap { row in
            let database = row.text("database") ?? ""
            if database == "pgbouncer", row.text("user") == "pgbouncer" { return nil }
            return PoolFigures(row, database: databases[database])
        }
    }
}
