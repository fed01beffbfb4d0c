// SPDX-License-Identifier: Apache-2.0

/// When it is looked for locks: as soon as a thread waits that holds a lease, and again and again
/// while nothing moves.
extension Scheduler {
    /// A client has begun to wait. If whoever it is may hold a lease, this may close a cycle.
    mutating func lookForLock(
        _ waiter: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let owner = waiters.slots[waiter].owner
        var mayHold = false
        var holds = false
        for slot in servers.slots.all {
            guard slot.state == .leased, let lease = slot.lease,
                lease.owner.mayBeSameThread(as: owner)
            else { continue }
            mayHold = true
            if lease.owner.isSameThread(as: owner) { holds = true }
        }
        guard mayHold else { return }
        let token = DeadlineToken(.lock, pool)
        if !deadlines.contains(token) { deadlines.set(token, at: now.adding(lockDelay(pool))) }
        if holds || pools[pool].lock.isWatched { checkSoon(pool, now, &effects) }
    }

    /// At once, unless the last look was at many waiters and a moment ago.
    private mutating func checkSoon(
        _ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let next = pools[pool].lock.nextLook
        if next <= now {
            checkLock(pool, now, &effects)
        } else {
            lookAgain(pool, at: next)
        }
    }

    /// Once a lock was seen, who was helped last is soon seen to wait again.
    func lockDelay(_ pool: Int) -> Int64 {
        let delay = pools[pool].limits.lockDelay
        return pools[pool].lock.since == nil ? delay : max(1_000_000, delay / 10)
    }

    mutating func leaseBecameIdle(
        _ server: ServerID, _ lease: LeaseID, _ since: Instant, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server), holds(index, lease) else { return }
        restingLeases.begin(index, lease, since: since)
        let pool = servers.slots[index].pool
        guard pools[pool].lock.isWatched else { return }
        noteRest(servers.slots[index].lease!, in: pool, since)
        let due = since.adding(lockDelay(pool))
        if due <= now {
            checkSoon(pool, now, &effects)
        } else {
            lookAgain(pool, at: due)
        }
    }

    /// If that is earlier than it would be anyway.
    mutating func lookAgain(_ pool: Int, at due: Instant) {
        guard let present = deadlines.deadline(of: DeadlineToken(.lock, pool)), due < present else {
            return
        }
        deadlines.set(DeadlineToken(.lock, pool), at: due)
    }

    mutating func leaseBecameBusy(_ server: ServerID, _ lease: LeaseID) {
        guard let index = live(server), holds(index, lease) else { return }
        restingLeases.end(index)
    }

    /// False, and counted, if the lease ended meanwhile.
    private mutating func holds(_ server: Int, _ lease: LeaseID) -> Bool {
        if servers.slots[server].lease?.id == lease { return true }
        staleEvents &+= 1
        return false
    }

    /// Looks again at a pool whose waiters may be its holders.
    mutating func lockDue(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        guard pools[pool].lock.nextLook <= now else {
            deadlines.set(DeadlineToken(.lock, pool), at: pools[pool].lock.nextLook)
            return
        }
        if pools[pool].lock.isWatched || pools[pool].lock.since != nil {
            checkLock(pool, now, &effects)
            endLock(pool, now, &effects)
        }
        guard pools[pool].queue.count > 0 else {
            unwatch(pool, &effects)
            if pools[pool].lock.since != nil { rearmLock(pool, now) }
            return
        }
        if !pools[pool].lock.isWatched,
            now.nanoseconds(since: lastMovement(pool, now)) >= lockDelay(pool)
        {
            pools[pool].lock.isWatched = true
            effects.append(.watchLeases(pools[pool].id))
        } else if pools[pool].lock.since == nil, lastMovement(pool, now) == now {
            unwatch(pool, &effects)
        }
        rearmLock(pool, now)
    }

    mutating func rearmLock(_ pool: Int, _ now: Instant) {
        deadlines.set(DeadlineToken(.lock, pool), at: now.adding(lockDelay(pool)))
    }

    private mutating func unwatch(_ pool: Int, _ effects: inout [SchedulerEffect]) {
        guard pools[pool].lock.isWatched else { return }
        pools[pool].lock.isWatched = false
        pools[pool].lock.going = GoingThreads()
        effects.append(.unwatchLeases(pools[pool].id))
    }

    /// When the last of the leases began that waiters of this pool stand behind; now, if there is room, or
    /// a connection is on its way.
    private func lastMovement(_ pool: Int, _ now: Instant) -> Instant {
        let moments = jammedScopes(pool, now).map { scope in
            servers.slots.indices.filter { isMeant($0, by: scope) }
                .map { servers.slots[$0].since }.max() ?? .zero
        }
        return moments.min() ?? now
    }
}
