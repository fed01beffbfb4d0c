/// How a pool whose leases wait for each other is helped: the reserve is lent, one connection at a
/// time; when that is spent and the lock is certain, the youngest waiter is rejected.
extension Scheduler {
    // MARK: Noticing

    /// A client has begun to wait. If whoever it is may hold a lease, this may close a cycle.
    mutating func lookForLock(
        _ waiter: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let owner = waiters.slots[waiter].owner
        var mayHold = false
        var holds = false
        for slot in servers.slots {
            guard slot.state == .leased, let lease = slot.lease,
                lease.owner.mayBeSameThread(as: owner)
            else { continue }
            mayHold = true
            if lease.owner.isSameThread(as: owner) { holds = true }
        }
        guard mayHold else { return }
        let token = DeadlineToken(.lock, pool)
        if !deadlines.contains(token) { deadlines.set(token, at: now.adding(lockDelay(pool))) }
        if holds || pools[pool].lock.isWatched { checkLock(pool, now, &effects) }
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
        let due = since.adding(lockDelay(pool))
        if due <= now {
            checkLock(pool, now, &effects)
        } else {
            lookAgain(pool, at: due)
        }
    }

    /// If that is earlier than it would be anyway.
    private mutating func lookAgain(_ pool: Int, at due: Instant) {
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

    private mutating func rearmLock(_ pool: Int, _ now: Instant) {
        deadlines.set(DeadlineToken(.lock, pool), at: now.adding(lockDelay(pool)))
    }

    private mutating func unwatch(_ pool: Int, _ effects: inout [SchedulerEffect]) {
        guard pools[pool].lock.isWatched else { return }
        pools[pool].lock.isWatched = false
        effects.append(.unwatchLeases(pools[pool].id))
    }

    /// When the last lease of this pool began; now, if a connection is on its way.
    private func lastMovement(_ pool: Int, _ now: Instant) -> Instant {
        guard isJammed(pool, now) else { return now }
        var last = Instant.zero
        for slot in servers.slots where slot.state == .leased && slot.pool == pool {
            last = max(last, slot.since)
        }
        return last
    }

    // MARK: Helping

    /// If the pool is locked: the next step of its relief.
    mutating func checkLock(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        // One at a time: whoever is helped now may be about to finish.
        if pools[pool].lock.favoured >= 0 { return }
        guard let grade = lockGrade(of: pool, now) else {
            rejectInLockedGroup(pool, now, &effects)
            return
        }
        announceLock(pool, grade, now, &effects)
        if let claim = firstToLendTo(pool, now) {
            let due = standsStillSince(pool).adding(patience(claim, pool))
            if due <= now {
                lend(claim, pool, now, &effects)
            } else {
                lookAgain(pool, at: due)
            }
        } else if grade == .certain, let waiter = youngestHolder(pool, group: nil) {
            pools[pool].lock.rejected += 1
            rejectForLock(waiter, describeLock(pool, grade), now, &effects)
        }
    }

    private mutating func lend(
        _ claim: Claim, _ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        noteHelp(claim, pool, isLent: true)
        pools[pool].lock.favoured = Int32(claim.waiter)
        pools[pool].lock.lent += 1
        let limits = pools[pool].limits
        effects.append(
            .reserveLent(
                pools[pool].id, to: waiters.slots[claim.waiter].client, outOf: limits.lockReserve,
                alreadyLent: max(0, pools[pool].counts.leased - limits.size)))
        settle(pool, now, &effects)
    }

    private mutating func announceLock(
        _ pool: Int, _ grade: PoolLock.Grade, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        pools[pool].lock.seenAt = now
        if pools[pool].lock.since != nil, grade <= pools[pool].lock.grade { return }
        if pools[pool].lock.since == nil { pools[pool].lock.since = now }
        pools[pool].lock.grade = grade
        effects.append(.poolLocked(describeLock(pool, grade)))
        rearmLock(pool, now)
    }

    /// The lock is over when it was not seen for a while, as it comes again at once as long as the
    /// same threads want the same, and the reserve is back.
    private mutating func endLock(
        _ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let since = pools[pool].lock.since, pools[pool].lock.favoured < 0,
            pools[pool].counts.leased <= pools[pool].limits.size,
            now.nanoseconds(since: pools[pool].lock.seenAt) >= 10 * pools[pool].limits.lockDelay
        else { return }
        let lock = pools[pool].lock
        effects.append(
            .poolRelieved(
                pools[pool].id, after: .nanoseconds(now.nanoseconds(since: since)),
                lent: lock.lent, rejected: lock.rejected))
        pools[pool].lock = LockState()
        pools[pool].lock.isWatched = lock.isWatched
        settle(pool, now, &effects)
    }

    /// A waiter that a connection of the reserve may be lent to now; nil: there is none, or no room.
    private func firstToLendTo(_ pool: Int, _ now: Instant) -> Claim? {
        let capacity = pools[pool].limits.size + pools[pool].limits.lockReserve
        let mayOpen =
            connectLimit(pool, now) > 0
            && fullBounds(pool, capacity: capacity, afterClosing: nil).isEmpty
        guard pools[pool].counts.leased < capacity, mayOpen || pools[pool].counts.idle > 0 else {
            return nil
        }
        return firstToHelp(pool, capacity: capacity, certainly: false)
    }

    /// The waiter that came last among threads that hold a lease of the pool, or of the group.
    private func youngestHolder(_ pool: Int, group: Int?) -> Int? {
        var youngest: Int?
        forEachWaiter(of: pool) { waiter in
            let slot = waiters.slots[waiter]
            if let group, pools[pool].queue.queues[slot.queue].group != group { return }
            if let present = youngest, waiters.slots[present].since > slot.since { return }
            let holds = servers.slots.indices.contains { index in
                guard let lease = servers.slots[index].lease,
                    lease.owner.isSameThread(as: slot.owner)
                else { return false }
                return group.map { self.group(ofLeaseOn: index) == $0 }
                    ?? (servers.slots[index].pool == pool)
            }
            if holds { youngest = waiter }
        }
        return youngest
    }

    /// A group at its cap whose leases wait for each other: the cap leaves no reserve to lend.
    private mutating func rejectInLockedGroup(
        _ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard
            pools[pool].queue.queues.contains(where: { $0.count > 0 && groups[$0.group].isAtCap() })
        else { return }
        let survey = survey(.certain, now)
        for group in survey.groups.indices where survey.groups[group] {
            guard let waiter = youngestHolder(pool, group: group) else { continue }
            rejectForLock(waiter, describeLock(pool, .certain, group: group), now, &effects)
            return
        }
    }

    private mutating func rejectForLock(
        _ waiter: Int, _ lock: PoolLock, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let place = pools[pool].queue.place(of: waiter, in: waiters.slots)
        reject(waiter, .poolLock(lock), place: place, now, &effects)
        settleWidely(pool, now, &effects)
    }

    /// Whoever is helped comes first: an idle connection, or one of the reserve.
    mutating func serveFavoured(
        _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        if pools[pool].idle.count > 0, pools[pool].counts.leased < pools[pool].limits.size {
            // Somebody gave back before: those who came earlier are not passed over for nothing.
            pools[pool].lock.favoured = -1
            return
        }
        let waiter = Int(pools[pool].lock.favoured)
        let capacity = capacity(pool, waiter, now)
        let queue = waiters.slots[waiter].queue
        guard mayLease(pool, queue, capacity: capacity, ConnectPlan(number: 0)) else {
            pools[pool].lock.favoured = -1
            return
        }
        if let server = idleServer(pool, for: waiters.slots[waiter].need, now) {
            if !needsCheck(server, now) {
                grant(waiter, server, now, &effects)
            } else if !claimPending(waiter, pool, in: &plan, insteadOf: server) {
                check(server, for: waiter, in: &plan, now, &effects)
            }
        } else if !cover(waiter, pool, &plan, now, &effects) {
            // Nothing can be opened: whoever is helped next finds out what else there is.
            pools[pool].lock.favoured = -1
        }
    }

    /// While a lock is relieved, what comes back goes to those who hold something: each of them that
    /// ends gives back more than it got, and a newcomer would only join the lock.
    mutating func serveHolders(
        _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let size = pools[pool].limits.size
        while pools[pool].idle.count > 0, pools[pool].queue.count > 0,
            let claim = firstToHelp(pool, capacity: size, certainly: true),
            let server = idleServer(pool, for: waiters.slots[claim.waiter].need, now)
        {
            if needsCheck(server, now) {
                check(server, for: claim.waiter, in: &plan, now, &effects)
            } else {
                noteHelp(claim, pool, isLent: false)
                grant(claim.waiter, server, now, &effects)
            }
        }
    }
}
