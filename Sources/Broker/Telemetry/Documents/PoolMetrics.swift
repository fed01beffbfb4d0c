// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import PostgresWire
import StatusHTTP

/// What is measured by pool and by group. Never by client: how many series there are must not depend on how
/// many clients come.
extension MetricsDocument {
    // MARK: Pools

    func addPools(to text: inout MetricsText) {
        let measured = measuredPools
        for family in Self.poolGauges {
            text.begin(family.name, .gauge, family.help)
            for pool in measured {
                if let value = family.value(pool) { text.sample(pool.labels, value) }
            }
        }
        text.begin("pglease_pool_servers", .gauge, "Server connections by state.")
        for pool in measured {
            for state in ServerState.allCases {
                text.sample(pool.labels.adding("state", "\(state)"), pool.counts[state])
            }
        }
        text.begin(
            "pglease_replication_connections", .gauge,
            "Server connections of replication clients, outside of every pool's size.")
        let kinds = Dictionary(grouping: snapshot.replications) { $0.replication }
        for kind in ReplicationKind.allCases {
            let leased = (kinds[kind] ?? []).reduce(0) { $0 + $1.summary.counts.leased }
            text.sample(MetricLabels(["kind": kind.rawValue]), leased)
        }
        text.begin(
            "pglease_pool_pinned_leases", .gauge, "Leases that are pinned, by each of the reasons.")
        for pool in measured {
            for cause in PinCause.allCases {
                text.sample(
                    pool.labels.adding("reason", cause.rawValue), pool.pinned[cause] ?? 0)
            }
        }
        for family in Self.poolHistograms {
            text.begin(family.name, .histogram, family.help)
            for pool in measured {
                text.histogram(pool.labels, pool.times[keyPath: family.times])
            }
        }
    }

    /// The pools that have been there longest by name, the others as one.
    private var measuredPools: [MeasuredPool] {
        var measured: [MeasuredPool] = []
        var rest: MeasuredPool?
        for pool in snapshot.pools.sorted(by: {
            $0.summary.pool.rawValue < $1.summary.pool.rawValue
        }) {
            var one = MeasuredPool(pool, snapshot.now)
            if measured.count < ConsoleMetrics.rowsKept, one.labels != MeasuredPool.other {
                measured.append(one)
            } else if rest == nil {
                one.labels = MeasuredPool.other
                rest = one
            } else {
                rest?.add(one)
            }
        }
        return measured + (rest.map { [$0] } ?? [])
    }

    private struct PoolGauge: Sendable {
        var name: String
        var help: String
        /// nil: there is none.
        var value: @Sendable (MeasuredPool) -> Double?

        init(
            _ name: String, _ help: String, _ value: @escaping @Sendable (MeasuredPool) -> Double?
        ) {
            self.name = "pglease_pool_" + name
            self.help = help
            self.value = value
        }
    }

    private static let poolGauges = [
        PoolGauge("size", "pool_size; none where it is unbounded.") { $0.size.map(Double.init) },
        PoolGauge("reserve_size", "reserve_pool_size.") { Double($0.reserveSize) },
        PoolGauge("utilization_ratio", "Leased connections per pool_size; above 1 with a reserve.")
        {
            pool in pool.size.map { $0 > 0 ? Double(pool.leases) / Double($0) : 0 }
        },
        PoolGauge("leases", "Leases that are out.") { Double($0.leases) },
        PoolGauge("parked_leases", "Leases that lie parked: nobody uses them.") {
            Double($0.parked)
        },
        PoolGauge("waiters", "Clients that wait for a lease.") { Double($0.waiting) },
        PoolGauge("oldest_waiter_seconds", "How long the oldest waiter has waited.") {
            $0.oldestWaiter.inSeconds
        },
        PoolGauge("oldest_lease_seconds", "How long the oldest lease has been held.") {
            $0.oldestLease.inSeconds
        },
        PoolGauge("warned_leases", "Leases that are held for longer than lease_warn_after.") {
            Double($0.warned)
        },
        PoolGauge("up", "0 where nothing is connected and the last attempt failed.") {
            $0.isDown ? 0 : 1
        },
        PoolGauge("connect_failures_in_a_row", "Failed attempts to connect since one succeeded.") {
            Double($0.failures)
        },
    ]

    private struct PoolHistogram {
        var name: String
        var times: any KeyPath<PoolTimes, DurationHistogram> & Sendable
        var help: String
    }

    private static let poolHistograms = [
        PoolHistogram(
            name: "pglease_lease_wait_seconds", times: \.wait,
            help: "From the request to the lease, of those that got one."),
        PoolHistogram(
            name: "pglease_lease_hold_seconds", times: \.hold,
            help: "From the lease to its return."),
        PoolHistogram(
            name: "pglease_server_connect_seconds", times: \.connect,
            help: "Until a new server connection is fit for use."),
        PoolHistogram(
            name: "pglease_query_seconds", times: \.query,
            help: "From a request to its whole answer; not of direct leases."),
        PoolHistogram(
            name: "pglease_transaction_seconds", times: \.transaction,
            help: "Transactions; not of direct leases."),
    ]

    // MARK: Groups

    func addGroups(to text: inout MetricsText) {
        let times = snapshot.groupTimes
        let labels = times.map { MetricLabels(["group": $0.group]) }
        var figures: [String: [Int?]] = [:]
        for group in snapshot.groups {
            let own = [
                group.members, group.summary.leases - group.parked, group.summary.waiting,
                group.policy.minLeases, group.policy.maxLeases, group.policy.maxPins,
                group.pinned,
            ]
            let name = group.timesName
            if figures[name] == nil || name != GroupTimesTable.otherName {
                figures[name] = own
            } else {
                for index in [0, 1, 2, 6] { figures[name]![index]! += own[index]! }
            }
        }
        for (index, family) in Self.groupGauges.enumerated() {
            text.begin("pglease_group_" + family.name, .gauge, family.help)
            for (place, one) in times.enumerated() {
                guard let value = figures[one.group]?[index] else { continue }
                text.sample(labels[place], value)
            }
        }
        text.begin(
            "pglease_group_wait_seconds", .histogram,
            "From the request to the lease, of those that got one.")
        for (place, one) in times.enumerated() { text.histogram(labels[place], one.wait) }
        text.begin("pglease_group_hold_seconds", .histogram, "From the lease to its return.")
        for (place, one) in times.enumerated() { text.histogram(labels[place], one.hold) }
    }

    private static let groupGauges: [(name: String, help: String)] = [
        ("clients", "Clients of the group."), ("leases", "Leases that the group holds."),
        ("waiters", "Clients of the group that wait."),
        ("min_leases", "Connections that are kept for the group."),
        ("max_leases", "Leases that the group may hold; none without a cap."),
        ("max_pins", "Leases of the group that may be pinned; none without a bound."),
        ("pinned_leases", "Leases of the group that are pinned."),
    ]
}

/// The figures of one pool, or of several that share a name.
private struct MeasuredPool {
    static let other = MetricLabels([
        "database": ConsoleMetrics.other, "user": ConsoleMetrics.other,
    ])

    var labels: MetricLabels
    /// nil: unbounded.
    var size: Int?
    var reserveSize: Int
    var counts: ServerCounts
    var waiting: Int
    var oldestWaiter: Duration
    var oldestLease: Duration
    var warned: Int
    var parked: Int
    var pinned: [PinCause: Int] = [:]
    var isDown: Bool
    var failures: Int
    var times: PoolTimes

    /// Those in use.
    var leases: Int { counts.leased - parked }

    init(_ pool: PoolFacts, _ now: Instant) {
        labels = MetricLabels(["database": pool.database, "user": pool.user])
        size = pool.size
        reserveSize = pool.summary.reserveSize
        counts = pool.summary.counts
        waiting = pool.waiting
        oldestWaiter = pool.oldestWaiter.map { now - $0 } ?? .zero
        oldestLease = pool.oldestLease.map { now - $0 } ?? .zero
        warned = pool.warned
        parked = pool.parked
        for reasons in pool.pinReasons {
            for cause in PinCause.of(reasons) { pinned[cause, default: 0] += 1 }
        }
        isDown = pool.isDown
        failures = pool.summary.connectFailures
        times = pool.times
    }

    mutating func add(_ next: MeasuredPool) {
        size = size.flatMap { own in next.size.map { own + $0 } }
        reserveSize += next.reserveSize
        for state in ServerState.allCases { counts[state] += next.counts[state] }
        waiting += next.waiting
        oldestWaiter = max(oldestWaiter, next.oldestWaiter)
        oldestLease = max(oldestLease, next.oldestLease)
        warned += next.warned
        parked += next.parked
        pinned.merge(next.pinned, uniquingKeysWith: +)
        isDown = isDown || next.isDown
        failures = max(failures, next.failures)
        times += next.times
    }
}

extension MetricsText {
    fileprivate mutating func histogram(_ labels: MetricLabels, _ histogram: DurationHistogram) {
        self.histogram(
            labels, bounds: DurationHistogram.boundTexts, cumulative: histogram.cumulative,
            count: histogram.count, sum: Double(histogram.nanoseconds) / 1e9)
    }
}

extension DurationHistogram {
    /// In seconds.
    static let boundTexts = (0..<boundCount).map { "\(Double(bound($0)) / 1e9)" }
}

extension Duration {
    fileprivate var inSeconds: Double { Double(wholeNanoseconds) / 1e9 }
}
