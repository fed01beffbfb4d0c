// SPDX-License-Identifier: Apache-2.0

/// How connections move between pools that share a bound.
extension Scheduler {
    /// Closes connections that nobody uses, so that each of these bounds has room for one more of
    /// this pool's; false, and nothing done, when that is not possible. The pool's own idle ones do
    /// not fit what is needed, and may go as well.
    mutating func makeRoom(
        _ pool: Int, _ full: BoundSet, for need: ServerNeed, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) -> Bool {
        guard allowsReplacing(pool, full, now), sharesOpen(pool, now) else { return false }
        if let victim = leastUseful(for: pool, sharing: full, need, now) {
            evict(victim, for: pool, need, now, &effects)
            return true
        }
        // No single connection is under all of them: one for each bound, if each has one.
        if full.contains(.pool) { return false }
        var victims: [Int] = []
        for bound in BoundSet.eachShared where full.contains(bound) {
            guard let victim = leastUseful(for: pool, sharing: bound, need, now) else {
                return false
            }
            if !victims.contains(victim) { victims.append(victim) }
        }
        for victim in victims { evict(victim, for: pool, need, now, &effects) }
        return true
    }

    private mutating func evict(
        _ victim: Int, for pool: Int, _ need: ServerNeed, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        if servers.slots[victim].state == .connecting {
            close(victim, .unneeded, now, &effects)
        } else if servers.slots[victim].pool == pool, !isOpen(victim, to: need.peer) {
            pools[pool].contention.tookAway(now)
            close(victim, .confined, now, &effects)
        } else {
            close(victim, .evicted, now, &effects)
        }
    }

    /// The connection that has been idle longest among those under all these bounds, of pools
    /// above their minimum if there are such; else one being opened that no one waits for.
    private func leastUseful(
        for pool: Int, sharing full: BoundSet, _ need: ServerNeed, _ now: Instant
    ) -> Int? {
        var victim: Int?
        var victimIsSpare = false
        for other in pools.live {
            guard shares(full, pool, other),
                let candidate = other == pool
                    ? longestIdle(other, unfitFor: need) : longestUnwanted(other, now)
            else { continue }
            let isSpare = pools[other].counts.staying > wantedMinimum(other)
            if let present = victim {
                if victimIsSpare && !isSpare { continue }
                let isOlder = servers.slots[candidate].since < servers.slots[present].since
                if victimIsSpare == isSpare && !isOlder { continue }
            }
            victim = candidate
            victimIsSpare = isSpare
        }
        return victim ?? unneededConnect(for: pool, sharing: full)
    }

    private func longestIdle(_ pool: Int, unfitFor need: ServerNeed) -> Int? {
        var candidate = Int(pools[pool].idle.back)
        while candidate >= 0 {
            if !fits(candidate, need) { return candidate }
            candidate = Int(servers.slots[candidate].previous)
        }
        return nil
    }

    /// The connection that has been idle longest in a pool where nobody can be served by it.
    private func longestUnwanted(_ pool: Int, _ now: Instant) -> Int? {
        var candidate = Int(pools[pool].idle.back)
        if candidate < 0 { return nil }
        if longestWait(pool, now) == nil { return candidate }
        guard pools[pool].isChoosy else { return nil }
        while candidate >= 0 {
            if !isWanted(candidate, now) { return candidate }
            candidate = Int(servers.slots[candidate].previous)
        }
        return nil
    }

    /// Whether a waiter of the idle connection's own pool might be served by it.
    private func isWanted(_ server: Int, _ now: Instant) -> Bool {
        let pool = servers.slots[server].pool
        var queue = pools[pool].queue.cursor
        for _ in 0..<pools[pool].queue.activeCount {
            var candidate = pools[pool].queue.queues[queue].head
            while candidate >= 0 {
                let waiter = Int(candidate)
                let capacity = capacity(pool, waiter, now)
                guard mayLease(pool, queue, capacity: capacity, ConnectPlan(number: 0)) else {
                    break
                }
                if fits(server, waiters.slots[waiter].need) { return true }
                candidate = waiters.slots[waiter].next
            }
            queue = pools[pool].queue.queues[queue].nextActive
        }
        return false
    }

    private func unneededConnect(for pool: Int, sharing full: BoundSet) -> Int? {
        for other in pools.live where other != pool {
            guard pools[other].counts.connecting > 0, pools[other].queue.count == 0,
                pools[other].counts.staying > wantedMinimum(other), shares(full, pool, other)
            else { continue }
            var candidate = pools[other].pending.back
            while candidate >= 0 {
                if servers.slots[Int(candidate)].state == .connecting { return Int(candidate) }
                candidate = servers.slots[Int(candidate)].previous
            }
        }
        return nil
    }

    /// Whether a connection of `other` is counted in each of these bounds of `pool`.
    private func shares(_ full: BoundSet, _ pool: Int, _ other: Int) -> Bool {
        if pool == other { return true }
        if full.contains(.pool) { return false }
        if full.contains(.database), pools[pool].databaseTally != pools[other].databaseTally {
            return false
        }
        if full.contains(.user), pools[pool].userTally != pools[other].userTally { return false }
        if full.contains(.share), pools[pool].share != pools[other].share { return false }
        return FenceScope.allCases.allSatisfy { scope in
            !full.contains(BoundSet(scope))
                || pools[pool].fences[scope] == pools[other].fences[scope]
        }
    }

    /// A connection of this pool just became free: whether a waiter of a pool that is held back by
    /// a bound they share has waited longer than everyone here, and that pool has so much less
    /// that moving a connection there is not undone by the next return.
    func isMoreDeservedElsewhere(_ server: Int, _ now: Instant) -> Bool {
        let own = servers.slots[server].pool
        guard let waiting = longestWait(own, now) else { return false }
        let staying = pools[own].counts.staying
        for other in pools.live where other != own {
            guard pools[other].isHeldBack, let since = longestWait(other, now), since < waiting
            else { continue }
            let there = pools[other].counts.staying
            guard there == 0 || there + 1 < staying else { continue }
            let full = fullBounds(
                other, capacity: pools[other].limits.size, afterClosing: 0, now)
            let connects = pools[other].counts.connecting
            if !full.isEmpty, shares(full, other, own), allowsReplacing(other, full, now),
                sharesOpen(other, now),
                connects < connectLimit(other, now)
            {
                return true
            }
        }
        return false
    }
}
