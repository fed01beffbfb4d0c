// SPDX-License-Identifier: Apache-2.0

/// How many leases may be parked: the client of such a lease keeps its connection between uses, and only the broker's
/// look tells whether it lies there.
struct ParkingCounts: Equatable {
    /// Those that were asked back included.
    var allowed = 0
    var recalled = 0

    @inline(__always)
    var hasUnasked: Bool { allowed > recalled }
}

/// Whom parked leases are taken for. A parked lease is no lease in use: whoever waits comes first.
extension Scheduler {
    /// Whether this lease's client may park it: nobody waits whom its end would serve.
    package func mayPark(_ server: ServerID, now: Instant) -> Bool {
        guard let index = servers.index(of: server), let lease = servers.slots[index].lease,
            servers.slots[index].closeWhenFree == nil, servers.slots[index].expiresAt > now
        else { return false }
        let pool = servers.slots[index].pool
        if pools[pool].counts.staying > pools[pool].limits.size || isOverSharedBound(pool) {
            return false
        }
        let group = pools[pool].queue.queues[lease.queue].group
        return pools[pool].givesOut && pools[pool].queue.count == 0 && heldBackCount == 0
            && !(groups[group].waiting > 0 && groups[group].isAtCap())
    }

    mutating func leaseMayBeParked(_ server: ServerID) {
        guard let index = live(server) else { return }
        guard servers.slots[index].lease != nil else { illegal("leaseMayBeParked", index) }
        servers.slots[index].lease?.parking = .allowed
        servers.slots[index].lease?.owner.thread = nil
        parking.allowed += 1
        pools[servers.slots[index].pool].parking.allowed += 1
    }

    mutating func leaseRecalled(
        _ server: ServerID, _ lease: LeaseID, _ thread: UInt64?, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server), let held = servers.slots[index].lease, held.id == lease,
            held.parking == .allowed
        else { return }
        servers.slots[index].lease?.parking = .recalled
        servers.slots[index].lease?.owner.thread = thread
        parking.recalled += 1
        let pool = servers.slots[index].pool
        pools[pool].parking.recalled += 1
        // Whoever uses it may wait for another one.
        guard pools[pool].queue.count > 0, thread != nil else { return }
        let owner = servers.slots[index].lease!.owner
        var waiter: Int?
        for other in pools.live where pools[other].queue.count > 0 && waiter == nil {
            forEachWaiter(of: other) { candidate in
                if waiters.slots[candidate].owner.isSameThread(as: owner) { waiter = candidate }
            }
        }
        if let waiter { lookForLock(waiter, now, &effects) }
    }

    /// The lease on this server ends.
    mutating func parkingEnds(_ server: Int) {
        guard let lease = servers.slots[server].lease, lease.parking != .none else { return }
        let pool = servers.slots[server].pool
        parking.allowed -= 1
        pools[pool].parking.allowed -= 1
        guard lease.parking == .recalled else { return }
        parking.recalled -= 1
        pools[pool].parking.recalled -= 1
    }

    /// Every lease of the pool that may be parked is wanted back.
    mutating func recallAll(in pool: Int, _ effects: inout [SchedulerEffect]) {
        guard pools[pool].parking.hasUnasked else { return }
        for index in servers.slots.indices
        where servers.slots[index].pool == pool
            && servers.slots[index].lease?.parking == .allowed
        {
            effects.append(.recallLease(servers.id(index)))
        }
    }

    // MARK: Waiters

    /// The end of a pass over the pool's queue: whether parked leases are needed.
    mutating func askForParked(
        _ pool: Int, _ plan: ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        pools[pool].shortage = 0
        pools[pool].shortageDue = nil
        guard parking.allowed > 0, pools[pool].queue.count > 0, pools[pool].givesOut else { return }
        var short = -plan.planned
        var isCapped = false
        for queue in pools[pool].queue.queues where queue.count > 0 {
            if groups[queue.group].isAtCap() { isCapped = true } else { short += queue.count }
        }
        if short > 0 {
            let coming = comingFree(for: pool, now)
            pools[pool].shortage = max(0, short - coming)
            if coming > 0 { pools[pool].shortageDue = now.adding(Self.cleaningTime) }
        }
        guard parking.hasUnasked, pools[pool].shortage > 0 || isCapped,
            pools[pool].parking.hasUnasked || pools[pool].isHeldBack || isCapped,
            nextToReclaim(for: pools[pool].id, after: nil) != nil
        else { return }
        effects.append(.reclaimParked(pools[pool].id))
    }

    /// Ten milliseconds: one that takes longer to clean is not waited for.
    private static let cleaningTime: Int64 = 10_000_000

    /// Connections that are free in a moment.
    private func comingFree(for pool: Int, _ now: Instant) -> Int {
        var count = 0
        for index in servers.slots.indices {
            let slot = servers.slots[index]
            guard slot.state == .resetting, now.nanoseconds(since: slot.since) < Self.cleaningTime,
                slot.pool == pool || (pools[pool].isHeldBack && sharesBound(slot.pool, pool))
            else { continue }
            count += 1
        }
        return count
    }

    private func sharesBound(_ pool: Int, _ other: Int) -> Bool {
        let limits = pools[other].limits.policy
        return policy.maxServerConnections != nil || shareFence(pool, other)
            || (limits.maxDatabaseConnections != nil
                && pools[pool].databaseTally == pools[other].databaseTally)
            || (limits.maxUserConnections != nil
                && pools[pool].userTally == pools[other].userTally)
    }

    /// The next lease, in the order of their slots, that would serve a waiter of this pool if it lies parked, and that
    /// was not asked back yet; nil: there is none, or nobody needs one any more.
    package func nextToReclaim(for pool: PoolID, after last: ServerID?) -> ServerID? {
        guard parking.hasUnasked, let wanting = poolIndex(pool), pools[wanting].givesOut,
            pools[wanting].queue.count > 0
        else { return nil }
        let queues = pools[wanting].queue.queues
        let first = last.map { Int($0.slot) + 1 } ?? 0
        guard first < servers.slots.count else { return nil }
        for index in first..<servers.slots.count {
            guard let lease = servers.slots[index].lease, lease.parking == .allowed else {
                continue
            }
            let own = servers.slots[index].pool
            if pools[wanting].shortage > 0,
                own == wanting || (pools[wanting].isHeldBack && sharesBound(own, wanting))
            {
                return servers.id(index)
            }
            let group = pools[own].queue.queues[lease.queue].group
            if groups[group].isAtCap(),
                queues.contains(where: { $0.group == group && $0.count > 0 })
            {
                return servers.id(index)
            }
        }
        return nil
    }
}
