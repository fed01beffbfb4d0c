// SPDX-License-Identifier: Apache-2.0

package import LeaseCore
package import PostgresWire

/// One pool, and what its scheduler says of it.
package struct PoolFacts {
    package private(set) var summary: PoolSummary
    package var database = ""
    package var user = ""
    /// What its clients replicate; nil: they are sessions.
    package var replication: ReplicationKind?
    package var clients = 0
    /// When those came whose login waits for the pool's first server.
    package var learning: [Instant] = []
    /// Idle servers that are checked before they are granted.
    package var used = 0
    package var cancelsSent = 0
    package var cancelsWaiting = 0
    package var mode = RelayMode.Pooling.transaction
    package var loadBalancing: String?
    package var isPaused = false
    package var isDisabled = false
    /// The last attempt to connect has failed.
    package var hasFailed = false
    package var oldestLease: Instant?
    /// Leases that are held for longer than `lease_warn_after`.
    package var warned = 0
    /// Leases that lie parked: nobody uses them, and whoever waits has them.
    package var parked = 0
    /// For each lease that is pinned.
    package var pinReasons: [PinReasons] = []
    /// When those came who wait to pin their lease, without a server.
    package var awaitingPins: [Instant] = []
    /// With the part `times`.
    package var times = PoolTimes()

    package init(_ summary: PoolSummary) { self.summary = summary }

    /// As pgbouncer shows them: in the same row.
    mutating func add(replications: PoolFacts) {
        clients += replications.clients
        learning += replications.learning
        cancelsSent += replications.cancelsSent
        cancelsWaiting += replications.cancelsWaiting
        summary.waiting += replications.summary.waiting
        let oldest = [summary.oldestWaiter, replications.summary.oldestWaiter]
        summary.oldestWaiter = oldest.compactMap { $0 }.min()
        summary.counts.leased += replications.summary.counts.leased
        summary.counts.connecting += replications.summary.counts.connecting
        summary.counts.closing += replications.summary.counts.closing
    }

    package var waiting: Int { summary.waiting + learning.count + awaitingPins.count }

    package var oldestWaiter: Instant? {
        [summary.oldestWaiter, learning.min(), awaitingPins.min()].compactMap { $0 }.min()
    }

    /// Nothing is connected, and the last attempt failed.
    package var isDown: Bool { hasFailed && summary.counts.connected == 0 }

    /// nil: unbounded.
    package var size: Int? { summary.size < Int(Int32.max) ? summary.size : nil }
}

/// A database as clients call it.
package struct DatabaseFacts {
    package let name: String
    package var host: String?
    package var port = 0
    package var serverDatabase: String?
    package var forcedUser: String?
    package var poolSize = 0
    package var minPoolSize = 0
    package var reservePoolSize = 0
    /// Seconds; 0: no limit.
    package var serverLifetime: Int64 = 0
    package var poolMode = ""
    package var loadBalancing: String?
    /// 0: no limit, as for clients.
    package var maxServers = 0
    package var servers = 0
    package var maxClients = 0
    package var clients = 0
    package var isPaused = false
    package var isDisabled = false

    package init(_ name: String) { self.name = name }
}

/// A user, of the configuration or connected. nil: its entry says nothing.
package struct UserFacts {
    package let name: String
    package var poolSize: Int?
    package var reservePoolSize: Int?
    package var poolMode: String?
    /// 0: no limit, as for clients.
    package var maxServers = 0
    package var servers = 0
    package var maxClients = 0
    package var clients = 0

    package init(_ name: String) { self.name = name }
}

/// A group of clients.
package struct GroupFacts {
    package let name: String
    package let summary: GroupSummary
    /// As the configuration says it.
    package let policy: GroupPolicy
    package var members = 0
    package var pinned = 0
    /// Of `summary.leases`: they lie parked.
    package var parked = 0
    /// The name under which its times are counted: one for all beyond a bound.
    package var timesName = ""

    package init(_ name: String, _ summary: GroupSummary, _ policy: GroupPolicy) {
        self.name = name
        self.summary = summary
        self.policy = policy
    }
}

/// How long the leases of a group took.
package struct GroupTimesFacts {
    package let group: String
    package let wait: DurationHistogram
    package let hold: DurationHistogram

    package init(_ times: GroupTimes) {
        group = times.group
        wait = times.wait
        hold = times.hold
    }
}

/// A line of SHOW CONFIG.
package struct SettingFacts {
    package let key: String
    package let value: String?
    package let defaultValue: String?
    package let changeable: String

    package init(key: String, value: String?, defaultValue: String?, changeable: String) {
        self.key = key
        self.value = value
        self.defaultValue = defaultValue
        self.changeable = changeable
    }
}

/// What was counted by database, and how far averages go back.
package struct StatisticsFacts {
    package var byDatabase: [String: CountedStatistics] = [:]
    package var span = Duration.zero

    package init() {}
}

/// What was counted ever, and since averages go back.
package struct CountedStatistics {
    package var total = PoolStatistics()
    package var recent = PoolStatistics()

    package init() {}

    package mutating func add(_ total: PoolStatistics, _ recent: PoolStatistics) {
        self.total += total
        self.recent += recent
    }
}
