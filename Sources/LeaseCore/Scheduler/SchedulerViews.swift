// SPDX-License-Identifier: Apache-2.0

/// A pool as the console shows it.
package struct PoolSummary: Equatable, Sendable {
    package var pool: PoolID
    package var phase: PoolPhase
    package var counts: ServerCounts
    package var waiting: Int
    /// Since when the one waits that has waited longest.
    package var oldestWaiter: Instant?
    /// Failed attempts to connect in a row, the last reason, and when the next one is.
    package var connectFailures: Int
    package var lastFailure: ConnectFailure?
    package var nextAttempt: Instant?
    package var size: Int
    package var reserveSize: Int
    package var isHeldBack: Bool
    /// PostgreSQL has refused a connection for want of room: no more than there are.
    package var isFenced: Bool
    /// All it had broke, and one attempt at a time finds out why.
    package var isUnproven = false
    /// Connections that serve only the process that they were handed to.
    package var confined: Int { counts.confined }
    /// Until when none is handed out, after one was closed because its process was another; nil: it
    /// hands out. May be past.
    package var handsOutAgainAt: Instant?
}

/// A server connection as the console shows it.
package struct ServerSummary: Equatable, Sendable {
    package var server: ServerID
    package var pool: PoolID
    package var state: ServerState
    /// Since when it is in this state.
    package var since: Instant
    /// When it was opened; while it is connecting, when that began.
    package var connectedAt: Instant
    package var profile: ProfileID
    package var openedProfile: ProfileID
    /// The client process that it was handed to, and serves alone since; nil: it serves any.
    package var confinedTo: PeerID?
    /// It is closed when it comes free, or is being closed.
    package var isToBeClosed: Bool
    package var lease: LeaseSummary?
}

/// Who holds a server connection. The lease began at the server's `since`.
package struct LeaseSummary: Equatable, Sendable {
    package var lease: LeaseID
    package var client: ClientID
    package var owner: OwnerKey
    package var group: GroupID
}

/// A waiter as the console shows it.
package struct WaiterSummary: Equatable, Sendable {
    package var client: ClientID
    package var pool: PoolID
    package var group: GroupID
    package var owner: OwnerKey
    package var profile: ProfileID
    package var since: Instant
    package var deadline: Instant
    /// 1 is next.
    package var place: Int
}

/// A group as the console shows it, over all pools.
package struct GroupSummary: Equatable, Sendable {
    package var group: GroupID
    package var policy: GroupPolicy
    package var leases: Int
    package var waiting: Int
    /// Since when the one waits that has waited longest.
    package var oldestWaiter: Instant?
}

/// A lock of a pool, or of a group at its cap, as the console shows it.
package struct LockSummary: Equatable, Sendable {
    package var lock: PoolLock
    package var since: Instant
    /// What was done about it so far.
    package var lent: Int
    package var rejected: Int
    /// How many connections may be lent.
    package var reserve: Int
}

/// Read-only views. They allocate, and are for the console, not for the hot path.
extension Scheduler {
    /// Server connections of the whole broker, closing ones included.
    package var serverCount: Int { bounds.broker.total }
    package var waitingCount: Int { waiters.count }

    /// nil: no such pool (any more).
    package func summary(of pool: PoolID) -> PoolSummary? {
        guard let index = pools.knownIndex(of: pool) else { return nil }
        let pool = pools[index]
        let pauses = !pool.backoff.isQuiet || outage(of: index) != nil
        return PoolSummary(
            pool: pool.id, phase: pool.phase, counts: pool.counts, waiting: pool.queue.count,
            oldestWaiter: oldestWaiter(index), connectFailures: pool.backoff.attempts,
            lastFailure: pool.backoff.failure, nextAttempt: pauses ? nextAttempt(index) : nil,
            size: pool.limits.size, reserveSize: pool.limits.policy.reserveSize,
            isHeldBack: pool.isHeldBack, isFenced: isFenced(index), isUnproven: isUnproven(index),
            handsOutAgainAt: pool.contention.until)
    }

    package var poolSummaries: [PoolSummary] {
        let ids = pools.live.map { pools[$0].id }.sorted { $0.rawValue < $1.rawValue }
        var summaries: [PoolSummary] = []
        for id in ids {
            if let summary = summary(of: id) { summaries.append(summary) }
        }
        return summaries
    }

    private func oldestWaiter(_ pool: Int) -> Instant? {
        var oldest: Instant?
        for queue in pools[pool].queue.queues where queue.head >= 0 {
            let since = waiters.slots[Int(queue.head)].since
            oldest = min(oldest ?? since, since)
        }
        return oldest
    }

    /// nil: the connection is gone.
    package func summary(of server: ServerID) -> ServerSummary? {
        servers.index(of: server).flatMap { serverSummary($0) }
    }

    package var serverSummaries: [ServerSummary] {
        servers.slots.indices.compactMap { serverSummary($0) }
    }

    private func serverSummary(_ index: Int) -> ServerSummary? {
        let slot = servers.slots[index]
        guard let state = slot.state else { return nil }
        let pool = pools[slot.pool]
        let lease = slot.lease.map { lease in
            LeaseSummary(
                lease: lease.id, client: lease.client, owner: lease.owner,
                group: GroupID(UInt32(pool.queue.queues[lease.queue].group)))
        }
        return ServerSummary(
            server: servers.id(index), pool: pool.id, state: state, since: slot.since,
            connectedAt: slot.connectedAt, profile: slot.profile,
            openedProfile: slot.openedProfile, confinedTo: slot.confinedTo,
            isToBeClosed: slot.closeWhenFree != nil || state == .closing, lease: lease)
    }

    /// The waiters of a pool, next one first.
    package func waiters(of pool: PoolID) -> [WaiterSummary] {
        guard let index = pools.knownIndex(of: pool) else { return [] }
        let pool = pools[index]
        var summaries: [WaiterSummary] = []
        for (queueIndex, queue) in pool.queue.queues.enumerated() {
            var candidate = queue.head
            var position = 0
            while candidate >= 0 {
                let waiter = waiters.slots[Int(candidate)]
                summaries.append(
                    WaiterSummary(
                        client: waiter.client, pool: pool.id, group: GroupID(UInt32(queue.group)),
                        owner: waiter.owner, profile: waiter.need.profile, since: waiter.since,
                        deadline: waiter.deadline,
                        place: pool.queue.place(position: position, queue: queueIndex)))
                candidate = waiter.next
                position += 1
            }
        }
        return summaries.sorted { $0.place < $1.place }
    }

    /// A client's place among the waiters of its pool, 1 is next; nil: it does not wait.
    package mutating func place(of client: ClientID) -> Int? {
        guard let waiter = waiters.index(of: client) else { return nil }
        let pool = waiters.slots[waiter].pool
        return pools[pool].queue.place(of: waiter, in: &waiters.slots)
    }

    /// How many waiters were passed to find places in the queues.
    package var placeSteps: UInt64 {
        pools.live.reduce(0) { $0 &+ pools[$1].queue.steps }
    }

    package var groupSummaries: [GroupSummary] {
        var oldest: [Int: Instant] = [:]
        for pool in pools.live {
            for queue in pools[pool].queue.queues where queue.head >= 0 {
                let since = waiters.slots[Int(queue.head)].since
                oldest[queue.group] = min(oldest[queue.group] ?? since, since)
            }
        }
        return groups.accounts.indices.compactMap { index in
            groups.accounts[index].map { account in
                GroupSummary(
                    group: GroupID(UInt32(index)), policy: account.policy,
                    leases: account.leases, waiting: account.waiting, oldestWaiter: oldest[index])
            }
        }
    }

    /// Over all pools.
    package func leases(of group: GroupID) -> Int {
        groups.contains(group) ? groups[Int(group.rawValue)].leases : 0
    }

    /// How many of them may be pinned; nil: all.
    func maxPins(of group: GroupID) -> Int? {
        groups.contains(group) ? groups[Int(group.rawValue)].policy.maxPins : nil
    }

    // MARK: Locks

    /// Pools whose leases wait for each other, until their relief is over, and groups at their cap whose
    /// leases do so now.
    package func locks(_ now: Instant) -> [LockSummary] {
        lockedPools + lockedGroups(now)
    }

    private var lockedPools: [LockSummary] {
        pools.live.compactMap { index in
            let pool = pools[index]
            guard let since = pool.lock.since else { return nil }
            return LockSummary(
                lock: describeLock(
                    LockScope(pool: index, group: pool.lock.group), pool.lock.grade),
                since: since, lent: pool.lock.lent,
                rejected: pool.lock.rejected, reserve: pool.limits.lockReserve)
        }
    }

    private func lockedGroups(_ now: Instant) -> [LockSummary] {
        let mayBe = groups.accounts.all.contains { account in
            account.map { $0.waiting > 0 && $0.leases > 0 && $0.isAtCap() } ?? false
        }
        guard mayBe else { return [] }
        let survey = survey(.certain, now)
        return survey.groups.indices.compactMap { group in
            // Those that are being relieved are among the pools' locks.
            guard survey.groups[group],
                !pools.live.contains(where: {
                    pools[$0].lock.since != nil && pools[$0].lock.group == group
                }),
                let pool = pools.live.first(where: { waits(group, inPool: $0) })
            else { return nil }
            let lock = describeLock(LockScope(pool: pool, group: group), .certain)
            // It closed when the last of them asked.
            let asked = lock.links.compactMap { $0.waitsAs.flatMap(waiters.index) }
                .map { waiters.slots[$0].since }
            return LockSummary(
                lock: lock, since: asked.max() ?? now, lent: 0, rejected: 0, reserve: 0)
        }
    }

    private func waits(_ group: Int, inPool pool: Int) -> Bool {
        pools[pool].queue.queues.contains { $0.group == group && $0.count > 0 }
    }
}
