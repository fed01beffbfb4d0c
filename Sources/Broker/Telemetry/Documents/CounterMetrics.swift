// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import StatusHTTP

/// What happened over the life of the broker, and why.
extension MetricsDocument {
    func addCounters(to text: inout MetricsText) {
        text.tally(
            "revocations", "limit", "Leases that were taken away, and clients ended, by limit.",
            counters.revocationsByLimit)
        text.tally(
            "rejections", "cause", "Waiters that had an error instead of a lease.",
            counters.rejectionsByCause)
        text.tally(
            "parked_reclaims", "cause", "Parked leases that were taken.", counters.reclaims)
        text.tally("refusals", "cause", "Clients that were not let in.", counters.refusals)
        text.tally(
            "connect_failures", "cause", "Attempts to reach PostgreSQL that failed.",
            counters.connectFailures)
        text.tally(
            "servers_lost", "cause", "Server connections that PostgreSQL or the network ended.",
            counters.serversLost)
        text.tally(
            "failovers", "cause", "Moves of a line in [databases] from one server to another.",
            counters.failovers)
        text.tally(
            "pool_locks", "grade", "Pool locks that were noticed.", counters.poolLocksByGrade)
        text.tally(
            "lease_pins", "reason",
            "Leases that their clients kept for what they had in the session.", counters.pins)
        addLocks(to: &text)
        for (name, help, value) in [
            ("reserve_lent", "Reserve connections lent to end pool locks.", counters.reserveLent),
            ("leak_warnings", "Leases held longer than lease_warn_after.", counters.leakWarnings),
            ("clients_accepted", "Connections of clients.", counters.accepted),
            (
                "tls_clients_accepted", "Those of them that set up TLS.",
                counters.encryptedClients
            ),
            ("login_failures", "Logins that failed.", counters.loginFailures),
            ("protocol_errors", "Messages that no client should send.", counters.protocolErrors),
            ("server_connects", "Connections to PostgreSQL.", counters.serverConnects),
            (
                "retried_requests", "Requests sent again to another server.",
                counters.retriedRequests
            ),
            ("cancels", "Cancel requests to PostgreSQL.", counters.cancels),
            ("explicit_leases", "Leases by LEASE.", counters.explicitLeases),
            ("direct_leases", "Those of them that were direct.", counters.directLeases),
            (
                "parkable_leases", "Those of them that their clients might park.",
                counters.parkableLeases
            ),
        ] {
            text.counter("pglease_" + name, help, value)
        }
    }

    private func addLocks(to text: inout MetricsText) {
        var active: [PoolLockGrade: Int] = [:]
        for lock in snapshot.locks {
            active[PoolLockGrade(lock.summary.lock.grade), default: 0] += 1
        }
        text.begin("pglease_active_pool_locks", .gauge, "Pool locks that last.")
        for grade in PoolLockGrade.allCases {
            text.sample(MetricLabels(["grade": grade.rawValue]), active[grade] ?? 0)
        }
    }
}

extension MetricsText {
    fileprivate mutating func tally<Cause: CountedCause>(
        _ name: String, _ label: String, _ help: String, _ tally: Tally<Cause>
    ) {
        begin("pglease_" + name, .counter, help)
        for (cause, count) in tally.byName {
            var labels = MetricLabels()
            labels.add(label, cause)
            sample(labels, count)
        }
    }
}
