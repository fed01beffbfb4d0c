// SPDX-License-Identifier: Apache-2.0

/// What is done about a lock: the reserve is lent, one connection at a time; when that is spent and the
/// lock is certain, the youngest waiter is rejected.
///
/// A loan may exceed the cap of a group, by the pool's reserve at most: else a group whose cap its own
/// chains of leases use up would wait for ever. It never exceeds the pool's size and reserve, nor
/// a bound that pools share.
extension Scheduler {
    /// If the pool is locked, or a group that waits in it at its cap: the next step of its relief.
    mutating func checkLock(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        // One at a time: whoever is helped now may be about to finish.
        if pools[pool].lock.favoured >= 0 { return }
        noteLook(at: pool, now)
        let found = lockIn(pool, now)
        pools[pool].lock.lastSeen = found.map(\.scope.group)
        guard let (scope, grade) = found else { return }
        announceLock(scope, grade, now, &effects)
        let still = look(at: scope, now)
        if let claim = firstToLendTo(still, now) {
            if claim.due <= now {
                lend(claim, still, now, &effects)
            } else {
                lookAgain(pool, at: claim.due)
            }
        } else if grade == .certain, let waiter = youngestHolder(still) {
            pools[pool].lock.rejected += 1
            rejectForLock(waiter, describeLock(scope, grade), now, &effects)
        }
    }

    private mutating func lend(
        _ claim: Claim, _ still: Standstill, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = still.scope.pool
        let owner = waiters.slots[claim.waiter].owner
        if owner.thread == nil { pools[pool].lock.going.allWait(of: owner.processID) }
        noteHelp(claim, still, isLent: true)
        pools[pool].lock.favoured = Int32(claim.waiter)
        pools[pool].lock.lent += 1
        effects.append(
            .reserveLent(
                pools[pool].id, to: waiters.slots[claim.waiter].client,
                outOf: pools[pool].limits.lockReserve, alreadyLent: lentNow(still.scope)))
        settle(pool, now, &effects)
    }

    private mutating func announceLock(
        _ scope: LockScope, _ grade: PoolLock.Grade, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        let pool = scope.pool
        pools[pool].lock.seenAt = now
        if let since = pools[pool].lock.since {
            let isSame = scope.group == pools[pool].lock.group
            if isSame, grade <= pools[pool].lock.grade { return }
            if !isSame {
                // Another takes its place: what was lent for the one before is still out.
                sayRelieved(pool, since, now, &effects)
                pools[pool].lock.since = nil
                pools[pool].lock.lent = 0
                pools[pool].lock.rejected = 0
            }
        }
        if pools[pool].lock.since == nil { pools[pool].lock.since = now }
        pools[pool].lock.grade = grade
        pools[pool].lock.group = scope.group
        effects.append(.poolLocked(describeLock(scope, grade)))
        rearmLock(pool, now)
    }

    /// The lock is over when it was not seen for a while, as it comes again at once as long as the
    /// same threads want the same, and the reserve is back.
    mutating func endLock(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        let lock = pools[pool].lock
        guard let since = lock.since, lock.favoured < 0,
            lentNow(LockScope(pool: pool, group: lock.group)) == 0,
            now.nanoseconds(since: lock.seenAt) >= 10 * pools[pool].limits.lockDelay
        else { return }
        sayRelieved(pool, since, now, &effects)
        pools[pool].lock = LockState(after: lock)
        settle(pool, now, &effects)
    }

    private func sayRelieved(
        _ pool: Int, _ since: Instant, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let lock = pools[pool].lock
        effects.append(
            .poolRelieved(
                pools[pool].id, group: lock.group.map { GroupID(UInt32($0)) },
                after: .nanoseconds(now.nanoseconds(since: since)), lent: lock.lent,
                rejected: lock.rejected))
    }

    /// A waiter that a connection of the reserve may be lent to, now or when that is due; nil: there is
    /// none, or no room.
    private func firstToLendTo(_ still: Standstill, _ now: Instant) -> Claim? {
        let pool = still.scope.pool
        let reserve = pools[pool].limits.lockReserve
        let capacity = pools[pool].limits.size + reserve
        let mayOpen =
            connectLimit(pool, now) > 0
            && fullBounds(pool, capacity: capacity, afterClosing: nil).isEmpty
        guard lentNow(still.scope) < reserve, mayOpen || pools[pool].counts.idle > 0 else {
            return nil
        }
        var chosen: Claim?
        let claims = bestClaims(still, capacity: capacity, overCap: reserve, certainly: false)
        for (_, var claim) in claims {
            claim.due = max(now, helpIsDue(claim, still))
            guard let present = chosen else {
                chosen = claim
                continue
            }
            // One that seems to hold nothing needs most of the reserve: the others are waited for.
            let isFirst =
                claim.isLikelyHolder != present.isLikelyHolder
                ? claim.isLikelyHolder
                : claim.due == present.due ? claim.comesBefore(present) : claim.due < present.due
            if isFirst { chosen = claim }
        }
        return chosen
    }

    /// The waiter that came last among threads that hold one of the leases.
    private func youngestHolder(_ still: Standstill) -> Int? {
        var youngest: Int?
        for waiter in still.waiters
        where still.leasesHeld(by: waiters.slots[waiter].owner) > 0 {
            if let present = youngest, waiters.slots[present].since > waiters.slots[waiter].since {
                continue
            }
            youngest = waiter
        }
        return youngest
    }

    private mutating func rejectForLock(
        _ waiter: Int, _ lock: PoolLock, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let place = pools[pool].queue.place(of: waiter, in: &waiters.slots)
        reject(waiter, .poolLock(lock), place: place, now, &effects)
        settleWidely(pool, now, &effects)
    }

    /// Somebody gave back before the loan was there: those who came earlier are not passed over for
    /// nothing.
    private func hasRoomWithoutLoan(_ pool: Int, _ queue: Int) -> Bool {
        let isInSize =
            pools[pool].idle.count > 0 && pools[pool].counts.leased < pools[pool].limits.size
        return isInSize && !groups[pools[pool].queue.queues[queue].group].isAtCap()
    }

    /// Whoever is helped comes first: an idle connection, or one of the reserve.
    mutating func serveFavoured(
        _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let waiter = Int(pools[pool].lock.favoured)
        let capacity = capacity(pool, waiter, now)
        let queue = waiters.slots[waiter].queue
        guard !hasRoomWithoutLoan(pool, queue),
            mayLease(
                pool, queue, capacity: capacity, ConnectPlan(number: 0),
                overCap: pools[pool].limits.lockReserve)
        else {
            pools[pool].lock.favoured = -1
            return
        }
        if let server = idleServer(pool, for: waiters.slots[waiter].need, now) {
            if !needsCheck(server, now) {
                grant(waiter, server, now, &effects)
            } else if !claimPending(waiter, pool, in: &plan, insteadOf: server, now) {
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
        while pools[pool].idle.count > 0, pools[pool].queue.count > 0, mayLeaseAny(pool),
            pools[pool].lock.nextLook <= now
        {
            let still = look(at: LockScope(pool: pool, group: pools[pool].lock.group), now)
            let claims = bestClaims(still, capacity: size, overCap: 0, certainly: true)
            guard let claim = claims.values.min(by: { $0.comesBefore($1) }),
                let server = idleServer(pool, for: waiters.slots[claim.waiter].need, now)
            else { return }
            if needsCheck(server, now) {
                check(server, for: claim.waiter, in: &plan, now, &effects)
            } else {
                noteHelp(claim, still, isLent: false)
                grant(claim.waiter, server, now, &effects)
            }
        }
    }

    /// Whether anybody who waits may have one more lease of the pool's own.
    private func mayLeaseAny(_ pool: Int) -> Bool {
        let size = pools[pool].limits.size
        return pools[pool].queue.queues.indices.contains { queue in
            pools[pool].queue.queues[queue].count > 0
                && mayLease(pool, queue, capacity: size, ConnectPlan(number: 0))
        }
    }
}
