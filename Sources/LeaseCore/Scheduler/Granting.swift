// SPDX-License-Identifier: Apache-2.0

/// Who gets an idle connection: the walk over a pool's queue.
extension Scheduler {
    /// Brings a pool to rest: grants what can be granted, opens what is wanted and allowed, closes
    /// what is over, and arms its timer.
    mutating func settle(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        setHeldBack(pool, false)
        var plan = ConnectPlan(number: nextPass())
        if pools[pool].queue.count > 0, pools[pool].givesOut {
            if pools[pool].lock.favoured >= 0 { serveFavoured(pool, &plan, now, &effects) }
            if pools[pool].lock.since != nil { serveHolders(pool, &plan, now, &effects) }
            if pools[pool].idle.count > 0 { grantIdle(pool, &plan, now, &effects) }
            if pools[pool].queue.count > 0 { coverWaiters(pool, &plan, now, &effects) }
        }
        if parking.allowed > 0 || pools[pool].shortage > 0 || pools[pool].shortageDue != nil {
            askForParked(pool, plan, now, &effects)
        }
        keepMinimum(pool, now, &effects)
        dropUnwanted(pool, now, &effects)
        armPool(pool, now)
    }

    /// Settles this pool, and the others too if some wait for a bound that they share.
    @inline(__always)
    mutating func settleWidely(_ pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        if heldBackCount > 0 {
            settleAll(now, &effects)
        } else {
            settle(pool, now, &effects)
        }
    }

    /// Settles every pool, the one with the longest wait first.
    mutating func settleAll(_ now: Instant, _ effects: inout [SchedulerEffect]) {
        for pool in pools.live {
            pools[pool].turn = longestWait(pool, now) ?? .endOfTime
        }
        while true {
            var chosen: Int?
            var oldest = Instant.endOfTime
            for pool in pools.live {
                guard let turn = pools[pool].turn else { continue }
                if chosen == nil || turn < oldest {
                    chosen = pool
                    oldest = turn
                }
            }
            guard let chosen else { return }
            pools[chosen].turn = nil
            settle(chosen, now, &effects)
        }
    }

    /// Since when the oldest waiter waits that would be served if there were a connection.
    func longestWait(_ pool: Int, _ now: Instant) -> Instant? {
        guard pools[pool].queue.count > 0, pools[pool].givesOut else { return nil }
        var oldest: Instant?
        var queue = pools[pool].queue.cursor
        for _ in 0..<pools[pool].queue.activeCount {
            let head = Int(pools[pool].queue.queues[queue].head)
            if mayLease(pool, queue, capacity: capacity(pool, head, now), ConnectPlan(number: 0)) {
                let since = waiters.slots[head].since
                oldest = min(oldest ?? since, since)
            }
            queue = pools[pool].queue.queues[queue].nextActive
        }
        return oldest
    }

    /// Whether the group's cap, the other groups' guarantees and the pool's size allow one more
    /// lease, besides those that the plan foresees. `overCap`: by how much a loan may exceed the cap.
    @inline(__always)
    func mayLease(
        _ pool: Int, _ queue: Int, capacity: Int, _ plan: ConnectPlan, overCap: Int = 0
    ) -> Bool {
        let group = pools[pool].queue.queues[queue].group
        let isPlanned =
            plan.planned > 0 && pools[pool].queue.queues[queue].plannedIn == plan.number
        let plannedHere = isPlanned ? pools[pool].queue.queues[queue].planned : 0
        let leases = pools[pool].counts.leased + plan.planned
        guard leases < capacity, !groups[group].isAtCap(planned: plannedHere - overCap)
        else { return false }
        let kept = pools[pool].unusedGuarantee - plan.guaranteed
        if kept <= 0 { return true }
        let own = groups[group].unusedGuarantee(
            leases: pools[pool].queue.queues[queue].leases + plannedHere)
        return own > 0 || leases + kept < capacity
    }

    /// The size that counts for this waiter: with the reserve, once it has waited for that.
    @inline(__always)
    func capacity(_ pool: Int, _ waiter: Int, _ now: Instant) -> Int {
        let size = pools[pool].limits.size
        if pools[pool].lock.favoured == Int32(truncatingIfNeeded: waiter) {
            return size + pools[pool].limits.lockReserve
        }
        let reserve = pools[pool].limits.reserveSize
        return reserve > 0 && waiters.slots[waiter].reserveAt <= now ? size + reserve : size
    }

    @inline(__always)
    func needsCheck(_ server: Int, _ now: Instant) -> Bool {
        let limit = pools[servers.slots[server].pool].limits.checkDelay
        if limit == Nanoseconds.never || servers.slots[server].provenIn == callNumber {
            return false
        }
        return now.nanoseconds(since: servers.slots[server].since) >= limit
    }

    private mutating func grantIdle(
        _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        while pools[pool].idle.count > 0, pools[pool].queue.count > 0 {
            guard let (waiter, server) = nextGrant(pool, &plan, now, &effects) else { return }
            if needsCheck(server, now) {
                check(server, for: waiter, in: &plan, now, &effects)
            } else {
                grant(waiter, server, now, &effects)
            }
        }
    }

    /// The connection is checked before it is granted; the waiter counts on it.
    mutating func check(
        _ server: Int, for waiter: Int, in plan: inout ConnectPlan, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        move(server, to: .validating, now)
        servers.slots[server].claimedIn = plan.number
        note(waiter, in: &plan)
        effects.append(.validateServer(servers.id(server)))
    }

    /// The next waiter that an idle connection serves, by turns; nil when there is none.
    private mutating func nextGrant(
        _ pool: Int, _ plan: inout ConnectPlan, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) -> (waiter: Int, server: Int)? {
        var queue = pools[pool].queue.cursor
        for _ in 0..<pools[pool].queue.activeCount {
            // Many clients of one process may wait: what does not fit the first fits none of them.
            var unmet: ServerNeed?
            var candidate = pools[pool].queue.queues[queue].head
            while candidate >= 0 {
                let waiter = Int(candidate)
                candidate = waiters.slots[waiter].next
                if waiters.slots[waiter].coveredIn == plan.number { continue }
                let need = waiters.slots[waiter].need
                if let unmet, need.isMet(alikeWith: unmet) { continue }
                let capacity = capacity(pool, waiter, now)
                // What is planned for others does not keep a connection idle that is there now.
                let present = ConnectPlan(number: 0)
                guard mayLease(pool, queue, capacity: capacity, present) else { break }
                if let server = idleServer(pool, for: need, now) {
                    if !needsCheck(server, now) { return (waiter, server) }
                    if !claimPending(waiter, pool, in: &plan, insteadOf: server, now) {
                        return (waiter, server)
                    }
                } else {
                    // Its own connection is opened before one that it cannot use goes to others.
                    let isCovered =
                        mayLease(pool, queue, capacity: capacity, plan)
                        && cover(waiter, pool, &plan, now, &effects)
                    if !isCovered { unmet = need }
                    if pools[pool].idle.count == 0 { return nil }
                }
            }
            queue = pools[pool].queue.queues[queue].nextActive
        }
        return nil
    }

    @inline(__always)
    mutating func grant(
        _ waiter: Int, _ server: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        let queue = waiters.slots[waiter].queue
        let client = waiters.slots[waiter].client
        let owner = waiters.slots[waiter].owner
        let since = waiters.slots[waiter].since
        let waited = Self.waited(since: since, now)
        pools[pool].queue.useTurn(of: queue)
        let useSince = waiters.slots[waiter].useSince
        dequeue(waiter)
        beginLease(server, client, owner, queue, useSince: useSince, now)
        effects.append(
            .grant(client, servers.id(server), servers.slots[server].lease!.id, waited: waited))
    }
}
