// SPDX-License-Identifier: Apache-2.0

/// Which error a waiter is answered with, and why.
extension Scheduler {
    mutating func reject(
        _ waiter: Int, _ cause: Rejection.Cause, place: Int, suspectsLock: Bool = false,
        _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let rejection = Rejection(
            cause: cause, waited: Self.waited(since: waiters.slots[waiter].since, now),
            place: place, waiting: pools[pool].queue.count, suspectsLock: suspectsLock)
        let client = waiters.slots[waiter].client
        if pools[pool].lock.isWatched {
            noteAnswer(client, waiters.slots[waiter].owner, in: pool, now)
        }
        dequeue(waiter)
        effects.append(.reject(client, rejection))
    }

    mutating func rejectAtDeadline(
        _ waiter: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let place = pools[pool].queue.place(of: waiter, in: &waiters.slots)
        let isLocked = isLocked(waiter, now)
        reject(
            waiter, deadlineCause(waiter, now), place: place, suspectsLock: isLocked, now, &effects)
    }

    /// Whether it is behind a lock now, or was when the last look was at many waiters.
    private mutating func isLocked(_ waiter: Int, _ now: Instant) -> Bool {
        let pool = waiters.slots[waiter].pool
        guard pools[pool].lock.since != nil else { return false }
        if pools[pool].lock.nextLook <= now {
            noteLook(at: pool, now)
            pools[pool].lock.lastSeen = lockIn(pool, now).map(\.scope.group)
        }
        guard let seen = pools[pool].lock.lastSeen else { return false }
        return seen.map { $0 == pools[pool].queue.queues[waiters.slots[waiter].queue].group }
            ?? true
    }

    /// Every waiter of the pool, or only those that need a connection with this profile.
    mutating func rejectAll(
        _ pool: Int, _ cause: Rejection.Cause, requiring profile: ProfileID? = nil, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        // Places are those before the first of them is gone.
        for waiting in waiters(of: pools[pool].id) {
            guard let waiter = waiters.index(of: waiting.client) else { continue }
            if let profile {
                guard waiters.slots[waiter].need.requiresProfile, waiting.profile == profile else {
                    continue
                }
            }
            reject(waiter, cause, place: waiting.place, now, &effects)
        }
    }

    private func deadlineCause(_ waiter: Int, _ now: Instant) -> Rejection.Cause {
        let pool = waiters.slots[waiter].pool
        let queue = waiters.slots[waiter].queue
        let counts = pools[pool].counts
        let limits = pools[pool].limits
        if pools[pool].isPaused { return .poolPaused }
        let account = groups[pools[pool].queue.queues[queue].group]
        if account.isAtCap(), let cap = account.policy.maxLeases {
            return .deadline(.groupLeases(cap))
        }
        if let failure = pools[pool].backoff.failure ?? fenceFailure(pool),
            counts.connected == 0 || !isFull(pool, counts)
        {
            return .connectFailed(failure)
        }
        if let failure = shareFailure(pool), !isFull(pool, counts) {
            return .connectFailed(failure)
        }
        if counts.leased < limits.size,
            !mayLease(pool, queue, capacity: limits.size, ConnectPlan(number: 0))
        {
            return .deadline(.groupGuarantees)
        }
        if isFull(pool, counts) { return .deadline(.poolSize(limits.size)) }
        return .deadline(sharedLimit(pool))
    }

    private func shareFailure(_ pool: Int) -> ConnectFailure? {
        pools[pool].share.flatMap { bounds.shares.all[$0].failure }
    }

    /// Full of connections that live, not of attempts to open some.
    private func isFull(_ pool: Int, _ counts: ServerCounts) -> Bool {
        counts.connected + counts.closing >= pools[pool].limits.size
    }

    private func sharedLimit(_ pool: Int) -> WaitLimit {
        let full = fullBounds(pool, capacity: Int.max, afterClosing: nil)
        let limits = pools[pool].limits.policy
        if full.contains(.database), let most = limits.maxDatabaseConnections {
            return .databaseConnections(most)
        }
        if full.contains(.user), let most = limits.maxUserConnections {
            return .userConnections(most)
        }
        if full.contains(.broker), let most = policy.maxServerConnections {
            return .serverConnections(most)
        }
        if full.contains(.share), let share = pools[pool].share {
            return .share(bounds.shares.all[share].allowance.limit)
        }
        return .connecting
    }
}
