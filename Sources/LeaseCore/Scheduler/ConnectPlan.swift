// SPDX-License-Identifier: Apache-2.0

/// One pass over a pool's queue: which connections on their way the waiters may count on. Nothing
/// of it outlives the pass; a waiter is never tied to a connection.
struct ConnectPlan {
    /// Marks what this pass has claimed, covered and planned.
    let number: UInt64
    /// Waiters that a connection on its way was found for.
    var planned = 0
    /// Those of them that use their group's guarantee.
    var guaranteed = 0
    /// Those of them that wait for a connection to close before theirs can be opened.
    var awaitingClose = 0

    init(number: UInt64) { self.number = number }
}

/// When connections are opened, and which idle ones make room for them.
extension Scheduler {
    /// Finds or opens a connection for each waiter that none is on its way for.
    mutating func coverWaiters(
        _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let counts = pools[pool].counts
        let limits = pools[pool].limits
        // Idle ones that do not serve those who wait may go.
        if counts.staying >= limits.size + limits.reserveSize,
            !pools[pool].isChoosy || counts.idle == 0
        {
            return
        }
        var queue = pools[pool].queue.cursor
        for _ in 0..<pools[pool].queue.activeCount {
            var candidate = pools[pool].queue.queues[queue].head
            while candidate >= 0 {
                let waiter = Int(candidate)
                candidate = waiters.slots[waiter].next
                if waiters.slots[waiter].coveredIn == plan.number { continue }
                guard mayLease(pool, queue, capacity: capacity(pool, waiter, now), plan),
                    cover(waiter, pool, &plan, now, &effects)
                else { break }
            }
            queue = pools[pool].queue.queues[queue].nextActive
        }
    }

    /// Makes sure that a connection is on its way which this waiter can count on; false when
    /// nothing can be done for it now.
    mutating func cover(
        _ waiter: Int, _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) -> Bool {
        if claimPending(waiter, pool, in: &plan, now) { return true }
        if let own = ownBeingCleaned(pool, for: waiters.slots[waiter].need, now) {
            servers.slots[own].claimedIn = plan.number
            note(waiter, in: &plan)
            return true
        }
        let attempts = pools[pool].counts.connecting + plan.awaitingClose
        guard attempts < connectLimit(pool, now) else { return false }
        let capacity = capacity(pool, waiter, now)
        let need = waiters.slots[waiter].need
        let fullNow = fullBounds(pool, capacity: capacity, afterClosing: nil, now)
        if fullNow.contains(.share) { wantShare(pool, &effects) }
        if fullNow.isEmpty {
            let profile = need.requiresProfile ? need.profile : .serverDefault
            let server = open(pool, profile, now, &effects)
            servers.slots[server].claimedIn = plan.number
            note(waiter, in: &plan)
            return true
        }
        // It is held back until the room is there: others must not be served first by then.
        if !fullNow.isDisjoint(with: .shared) { setHeldBack(pool, true) }
        let full = fullBounds(pool, capacity: capacity, afterClosing: plan.awaitingClose, now)
        if !full.isEmpty, !makeRoom(pool, full, for: need, now, &effects) { return false }
        plan.awaitingClose += 1
        note(waiter, in: &plan)
        return true
    }

    /// Counts on a connection that is being opened or checked, and that no other waiter counts on.
    /// `insteadOf` an idle one that would have to be checked: only one that is being checked, and
    /// serves the same clients.
    mutating func claimPending(
        _ waiter: Int, _ pool: Int, in plan: inout ConnectPlan, insteadOf idle: Int? = nil,
        _ now: Instant
    ) -> Bool {
        let need = waiters.slots[waiter].need
        var claimed: Int?
        var candidate = pools[pool].pending.front
        while candidate >= 0 {
            let server = Int(candidate)
            candidate = servers.slots[server].next
            if servers.slots[server].claimedIn == plan.number { continue }
            if let idle {
                guard servers.slots[server].state == .validating,
                    servers.slots[server].confinedTo == servers.slots[idle].confinedTo
                else { continue }
            }
            if servers.slots[server].closeWhenFree != nil || !fits(server, need) { continue }
            if hangs(server, now) { continue }
            // One that serves nobody else leaves the others to those behind it.
            let isOwn = servers.slots[server].confinedTo != nil
            if claimed == nil || isOwn { claimed = server }
            if isOwn || pools[pool].counts.confined == 0 { break }
        }
        guard let claimed else { return false }
        servers.slots[claimed].claimedIn = plan.number
        note(waiter, in: &plan)
        return true
    }

    /// This waiter is provided for in this pass.
    mutating func note(_ waiter: Int, in plan: inout ConnectPlan) {
        let pool = waiters.slots[waiter].pool
        let queue = waiters.slots[waiter].queue
        waiters.slots[waiter].coveredIn = plan.number
        if pools[pool].queue.queues[queue].plannedIn != plan.number {
            pools[pool].queue.queues[queue].plannedIn = plan.number
            pools[pool].queue.queues[queue].planned = 0
        }
        let held =
            pools[pool].queue.queues[queue].leases + pools[pool].queue.queues[queue].planned
        let group = pools[pool].queue.queues[queue].group
        if groups[group].unusedGuarantee(leases: held) > 0 { plan.guaranteed += 1 }
        pools[pool].queue.queues[queue].planned += 1
        plan.planned += 1
    }

    /// How many connects may be in progress at once: one while it is not known to work.
    func connectLimit(_ pool: Int, _ now: Instant) -> Int {
        guard pools[pool].givesOut, mayAttempt(pool, now) else { return 0 }
        if outage(of: pool) != nil, pools[pool].queue.count > 0 {
            // What hangs does not keep another attempt from being made.
            return min(
                pools[pool].counts.connecting + 1, Outage.mostAttempts,
                pools[pool].limits.connectParallelism)
        }
        if pools[pool].startup != nil || !pools[pool].backoff.isQuiet || isFenced(pool)
            || isUnproven(pool)
        {
            return 1
        }
        return pools[pool].limits.connectParallelism
    }

    /// Whether the pool's own failures let it try again. When PostgreSQL was full, its fences say it.
    func mayAttempt(_ pool: Int, _ now: Instant) -> Bool {
        if nextAttempt(pool) <= now { return true }
        return pools[pool].startup == nil && pools[pool].backoff.isSaturated
    }

    /// The bounds that one more connection would exceed: now, or once those that are closing are
    /// gone and `afterClosing` others were opened in their place. With `now`, one attempt beyond what
    /// PostgreSQL last had room for may be due.
    func fullBounds(
        _ pool: Int, capacity: Int, afterClosing: Int?, _ now: Instant? = nil
    ) -> BoundSet {
        var full = fullFences(pool, afterClosing: afterClosing, now)
        let policy = pools[pool].limits.policy
        let counts = pools[pool].counts
        let own = ConnectionTally(total: counts.total, closing: counts.closing)
        if Self.isFull(own, capacity, afterClosing) { full.insert(.pool) }
        let database = bounds.databases.tallies[pools[pool].databaseTally]
        if Self.isFull(database, policy.maxDatabaseConnections, afterClosing) {
            full.insert(.database)
        }
        let user = bounds.users.tallies[pools[pool].userTally]
        if Self.isFull(user, policy.maxUserConnections, afterClosing) { full.insert(.user) }
        if Self.isFull(bounds.broker, self.policy.maxServerConnections, afterClosing) {
            full.insert(.broker)
        }
        if isFullShare(pool, afterClosing: afterClosing, now) { full.insert(.share) }
        return full
    }

    /// After a reload: more connections stay than a bound allows now.
    @inline(__always)
    func isOverSharedBound(_ pool: Int) -> Bool {
        if let most = policy.maxServerConnections, bounds.broker.staying > most { return true }
        if let share = pools[pool].share,
            bounds.shares.all[share].tally.staying > bounds.shares.all[share].allowance.limit
        {
            return true
        }
        if let most = pools[pool].limits.policy.maxDatabaseConnections,
            bounds.databases.tallies[pools[pool].databaseTally].staying > most
        {
            return true
        }
        guard let most = pools[pool].limits.policy.maxUserConnections else { return false }
        return bounds.users.tallies[pools[pool].userTally].staying > most
    }

    @inline(__always)
    static func isFull(_ tally: ConnectionTally, _ most: Int?, _ afterClosing: Int?) -> Bool {
        guard let most else { return false }
        guard let afterClosing else { return tally.total >= most }
        return tally.staying + afterClosing >= most
    }

    @discardableResult
    mutating func open(
        _ pool: Int, _ profile: ProfileID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) -> Int {
        let index = servers.take()
        servers.slots[index].pool = pool
        servers.slots[index].openedProfile = profile
        servers.slots[index].profile = profile
        servers.slots[index].connectedAt = now
        bounds.outages[pools[pool].fences.server].attempt(by: pool, now)
        move(index, to: .connecting, now)
        limitAttempt(index, pool)
        effects.append(.openServer(servers.id(index), pools[pool].id, profile))
        return index
    }

    /// Opens what is wanted without a waiter: the pool's minimum, or its first connection.
    mutating func keepMinimum(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        let wanted = wantedMinimum(pool)
        while pools[pool].counts.staying < wanted {
            guard pools[pool].counts.connecting < connectLimit(pool, now) else { return }
            let full = fullBounds(
                pool, capacity: pools[pool].limits.size, afterClosing: nil, now)
            if full.contains(.pool) { return }
            if full.contains(.share) { wantShare(pool, &effects) }
            if !full.isEmpty || waitersNeedBounds(of: pool) {
                setHeldBack(pool, true)
                return
            }
            open(pool, .serverDefault, now, &effects)
        }
    }

    /// Waiters of another pool are held back by a bound that this pool is under too. They may need
    /// room under two bounds at once: what is opened for nobody must not take the first meanwhile.
    private func waitersNeedBounds(of pool: Int) -> Bool {
        guard heldBackCount > 0 else { return false }
        let limits = pools[pool].limits.policy
        for other in pools.live where other != pool {
            guard pools[other].isHeldBack, pools[other].queue.count > 0 else {
                continue
            }
            if policy.maxServerConnections != nil || shareFence(pool, other) { return true }
            if let share = pools[pool].share, share == pools[other].share { return true }
            if limits.maxDatabaseConnections != nil,
                pools[other].databaseTally == pools[pool].databaseTally
            {
                return true
            }
            if limits.maxUserConnections != nil, pools[other].userTally == pools[pool].userTally {
                return true
            }
        }
        return false
    }

    @inline(__always)
    func wantedMinimum(_ pool: Int) -> Int {
        guard pools[pool].givesOut else { return 0 }
        let minimum = pools[pool].limits.minimumSize
        return pools[pool].startup != nil ? max(1, minimum) : minimum
    }

    @inline(__always)
    mutating func setHeldBack(_ pool: Int, _ isHeldBack: Bool) {
        guard pools[pool].isHeldBack != isHeldBack else { return }
        pools[pool].isHeldBack = isHeldBack
        heldBackCount += isHeldBack ? 1 : -1
    }

    /// Closes idle connections that are over the pool's size, or that nobody waits for any more where each is for
    /// one client.
    @inline(__always)
    mutating func dropUnwanted(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        while pools[pool].idle.count > 0 {
            // While a lock is relieved, the reserve is needed again at once.
            let size = pools[pool].limits.size
            let kept = pools[pool].lock.since == nil ? size : size + pools[pool].limits.lockReserve
            let isSurplus =
                pools[pool].counts.staying > kept || isOverSharedBound(pool)
                || pools[pool].limits.policy.servesOnce
            guard isSurplus else { return }
            close(Int(pools[pool].idle.back), .surplus, now, &effects)
        }
    }
}
