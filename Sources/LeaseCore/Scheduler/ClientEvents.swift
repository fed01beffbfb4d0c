// SPDX-License-Identifier: Apache-2.0

/// What clients ask for, and how they are answered.
extension Scheduler {
    mutating func requestLease(
        _ request: LeaseRequest, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard groups.contains(request.group) else {
            contractBroken("\(request.group) was never opened")
        }
        if waiters.index(of: request.client) != nil {
            contractBroken("client \(request.client) waits already")
        }
        guard let pool = poolIndex(request.pool), !pools[pool].isClosed else {
            refuse(request, .poolClosed, waiting: 0, now, &effects)
            return
        }
        let group = Int(request.group.rawValue)
        let queue = pools[pool].queue.index(ofGroup: group, weight: groups[group].policy.weight)
        if let server = leaseAtOnce(request, pool, queue, now) {
            effects.append(
                .grant(
                    request.client, servers.id(server), servers.slots[server].lease!.id,
                    waited: Self.waited(since: request.since, now)))
            return
        }
        if let failure = permanentFailure(pool, now) {
            refuse(
                request, .connectFailed(failure), waiting: pools[pool].queue.count, now, &effects)
            return
        }
        doubtFailure(pool, now)
        if isFenced(pool) { doubtFences(pool, now) }
        if let limit = policy.maxWaiting, waiters.count >= limit {
            let waiting = pools[pool].queue.count
            refuse(request, .queueFull(limit: limit), waiting: waiting, now, &effects)
            return
        }
        if pools[pool].lock.isWatched { noteRequest(request, in: pool, now) }
        enqueue(request, pool, queue, now)
        settle(pool, now, &effects)
        if request.deadline <= now, let waiter = waiters.index(of: request.client) {
            rejectAtDeadline(waiter, now, &effects)
            settleWidely(pool, now, &effects)
        } else if let waiter = waiters.index(of: request.client) {
            lookForLock(waiter, now, &effects)
        }
    }

    /// The hot path of `leaseRequested`: an idle connection that is granted without further ado, and so without an
    /// effect. nil: nothing has happened, and `leaseRequested` is to be told.
    package mutating func leaseAtOnce(
        _ request: LeaseRequest, now: Instant
    ) -> (server: ServerID, lease: LeaseID)? {
        guard groups.contains(request.group), let pool = poolIndex(request.pool),
            !pools[pool].isClosed,
            let queue = pools[pool].queue.existingIndex(ofGroup: Int(request.group.rawValue)),
            waiters.index(of: request.client) == nil
        else { return nil }
        callNumber &+= 1
        guard let server = leaseAtOnce(request, pool, queue, now) else { return nil }
        if checksInvariants { check() }
        return (servers.id(server), servers.slots[server].lease!.id)
    }

    /// The same, of a client of which nothing is to be noted, in a pool in which nothing is in the way: nearly always.
    /// nil says nothing.
    @inline(__always)
    package mutating func leasePlainly(
        to client: ClientID, from pool: PoolID, group: GroupID, owner: OwnerKey,
        profile: ProfileID, useSince: Instant, now: Instant
    ) -> (server: ServerID, lease: LeaseID)? {
        guard groups.contains(group), let number = poolIndex(pool) else { return nil }
        let place = pools.address(number)
        guard place.pointee.givesOut, place.pointee.idle.count > 0, place.pointee.queue.count == 0,
            !place.pointee.lock.isWatched, place.pointee.counts.confined == 0,
            !place.pointee.limits.policy.roundRobin, waiters.count == 0,
            let queue = place.pointee.queue.existingIndex(ofGroup: Int(group.rawValue)),
            mayLease(number, queue, capacity: place.pointee.limits.size, ConnectPlan(number: 0))
        else { return nil }
        callNumber &+= 1
        let server = Int(place.pointee.idle.front)
        guard servers.slots[server].profile == profile, !needsCheck(server, now) else { return nil }
        beginLease(server, client, owner, queue, useSince: useSince, now)
        if checksInvariants { check() }
        return (servers.id(server), servers.slots[server].lease!.id)
    }

    /// An idle connection, and nobody of the group before this client.
    @inline(__always)
    private mutating func leaseAtOnce(
        _ request: LeaseRequest, _ pool: Int, _ queue: Int, _ now: Instant
    ) -> Int? {
        guard pools[pool].idle.count > 0, pools[pool].queue.count(in: queue) == 0,
            pools[pool].givesOut
        else { return nil }
        guard
            mayLease(
                pool, queue, capacity: pools[pool].limits.size, ConnectPlan(number: 0)),
            let server = idleServer(pool, for: ServerNeed(of: request, now), now),
            !needsCheck(server, now)
        else { return nil }
        if pools[pool].lock.isWatched { noteRequest(request, in: pool, now) }
        beginLease(
            server, request.client, request.owner, queue, useSince: request.useSince, now)
        return server
    }

    private func refuse(
        _ request: LeaseRequest, _ cause: Rejection.Cause, waiting: Int, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        let waited = Self.waited(since: request.since, now)
        let rejection = Rejection(cause: cause, waited: waited, place: 0, waiting: waiting)
        effects.append(.reject(request.client, rejection))
    }

    private mutating func enqueue(
        _ request: LeaseRequest, _ pool: Int, _ queue: Int, _ now: Instant
    ) {
        var waiter = Waiter()
        waiter.client = request.client
        waiter.pool = pool
        waiter.queue = queue
        waiter.owner = request.owner
        waiter.need = ServerNeed(of: request, now)
        waiter.deadline = request.deadline
        waiter.since = request.since
        waiter.useSince = request.useSince
        let index = waiters.insert(waiter)
        setReminders(index, now)
        pools[pool].queue.insert(index, in: &waiters.slots)
        if request.requiresProfile { pools[pool].requiring += 1 }
        groups[pools[pool].queue.queues[queue].group].waiting += 1
    }

    /// When a waiter is notified and when the reserve is open to it, by its pool's present policy.
    mutating func setReminders(_ waiter: Int, _ now: Instant) {
        let limits = pools[waiters.slots[waiter].pool].limits
        let since = waiters.slots[waiter].since
        waiters.slots[waiter].notifyInterval = limits.notifyAfter
        waiters.slots[waiter].notifyAt = since.adding(limits.notifyAfter)
        skipPastNotices(waiter, now)
        waiters.slots[waiter].reserveAt = since.adding(limits.reserveTimeout)
        armWaiter(waiter, now)
    }

    mutating func armWaiter(_ waiter: Int, _ now: Instant) {
        var at = min(waiters.slots[waiter].deadline, waiters.slots[waiter].notifyAt)
        let reserveAt = waiters.slots[waiter].reserveAt
        if reserveAt > now { at = min(at, reserveAt) }
        let ownUntil = waiters.slots[waiter].need.awaitsOwnUntil
        if ownUntil > now { at = min(at, ownUntil) }
        deadlines.set(DeadlineToken(.waiter, waiter), at: at)
    }

    /// The next notice is the first that is yet to come; the intervals double.
    mutating func skipPastNotices(_ waiter: Int, _ now: Instant) {
        while waiters.slots[waiter].notifyAt <= now {
            let interval = max(1_000_000, waiters.slots[waiter].notifyInterval)
            let (doubled, overflow) = interval.multipliedReportingOverflow(by: 2)
            waiters.slots[waiter].notifyInterval = overflow ? Nanoseconds.never : doubled
            waiters.slots[waiter].notifyAt = waiters.slots[waiter].since.adding(
                waiters.slots[waiter].notifyInterval)
        }
    }

    @inline(__always)
    mutating func dequeue(_ waiter: Int) {
        let pool = waiters.slots[waiter].pool
        let queue = waiters.slots[waiter].queue
        deadlines.remove(DeadlineToken(.waiter, waiter))
        if pools[pool].lock.favoured == Int32(waiter) { pools[pool].lock.favoured = -1 }
        groups[pools[pool].queue.queues[queue].group].waiting -= 1
        if waiters.slots[waiter].need.requiresProfile { pools[pool].requiring -= 1 }
        pools[pool].queue.remove(waiter, in: &waiters.slots)
        waiters.remove(waiter)
    }

    mutating func withdraw(
        _ client: ClientID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let waiter = waiters.index(of: client) else { return }
        let pool = waiters.slots[waiter].pool
        if pools[pool].lock.isWatched {
            noteAnswer(client, waiters.slots[waiter].owner, in: pool, now)
        }
        dequeue(waiter)
        settleWidely(pool, now, &effects)
    }

    /// A clean connection comes back to a pool in which nothing is in the way, while nobody waits: nearly always. It comes
    /// to the same as `returnLease`, which is for all others. False: nothing has happened.
    @inline(__always)
    mutating func returnPlainly(
        _ server: ServerID, _ profile: ProfileID, _ now: Instant
    ) -> Bool {
        guard let index = servers.index(of: server) else { return false }
        let slot = servers.slots.address(index)
        guard slot.pointee.state == .leased, let queue = slot.pointee.lease?.queue,
            slot.pointee.closeWhenFree == nil, slot.pointee.cancelsInFlight == 0,
            slot.pointee.expiresAt > now, waiters.count == 0, parking.allowed == 0
        else { return false }
        let number = slot.pointee.pool
        let pool = pools.address(number)
        guard pool.pointee.givesOut, !pool.pointee.limits.policy.alwaysReset,
            !pool.pointee.limits.policy.servesOnce, !pool.pointee.limits.policy.closesAfterUse,
            !pool.pointee.lock.isWatched, pool.pointee.lock.since == nil, isCalm(number)
        else { return false }
        slot.pointee.profile = profile
        slot.pointee.needsReset = false
        endLease(index, number, queue, pool.pointee.queue.queues[queue].group)
        slot.pointee.provenIn = callNumber
        move(index, from: .leased, to: .idle, now)
        armServer(index, now)
        return true
    }

    mutating func returnLease(
        _ server: ServerID, _ condition: ServerCondition, _ profile: ProfileID, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        guard servers.slots[index].state == .leased, let lease = servers.slots[index].lease else {
            if servers.slots[index].state == .closing {
                staleEvents &+= 1
                return
            }
            illegal("leaseReturned", index)
        }
        let pool = servers.slots[index].pool
        let group = pools[pool].queue.queues[lease.queue].group
        servers.slots[index].profile = profile
        switch condition {
        case .clean: servers.slots[index].needsReset = pools[pool].limits.policy.alwaysReset
        case .dirty: servers.slots[index].needsReset = true
        case .broken:
            servers.slots[index].closeWhenFree = .broken
            suspectServer(of: pool)
        }
        if pools[pool].limits.policy.servesOnce, servers.slots[index].closeWhenFree == nil {
            servers.slots[index].closeWhenFree = .served
        } else if pools[pool].limits.policy.closesAfterUse,
            servers.slots[index].closeWhenFree == nil
        {
            servers.slots[index].closeWhenFree = .lifetime
        }
        if pools[pool].lock.isWatched { noteReturn(lease, in: pool, now) }
        if pools[pool].lock.since != nil { leaseEnded(lease, in: pool, now) }
        let wasAtCap = groups[group].isAtCap()
        endLease(index, pool, lease.queue, group)
        becomeFree(index, now, &effects)
        if wasAtCap, groups[group].waiting > 0 {
            settleAll(now, &effects)
        } else if !isCalm(pool) {
            settleWidely(pool, now, &effects)
        }
    }

    /// Nobody waits, and the pool has what it wants and no more: `settle` would find nothing to do.
    @inline(__always)
    private func isCalm(_ pool: Int) -> Bool {
        let place = pools.address(pool)
        let staying = place.pointee.counts.staying
        return heldBackCount == 0 && place.pointee.queue.count == 0
            && staying >= wantedMinimum(pool) && staying <= place.pointee.limits.size
            && !deadlines.contains(DeadlineToken(.pool, pool)) && !isOverSharedBound(pool)
    }

    @inline(__always)
    mutating func beginLease(
        _ server: Int, _ client: ClientID, _ owner: OwnerKey, _ queue: Int, useSince: Instant,
        _ now: Instant
    ) {
        let number = servers.slots[server].pool
        let pool = pools.address(number)
        let group = pool.pointee.queue.queues[queue].group
        let held = pool.pointee.queue.queues[queue].leases
        if groups.isGuaranteed(group) {
            let kept = groups[group].unusedGuarantee(leases: held)
            pool.pointee.unusedGuarantee -= kept - groups[group].unusedGuarantee(leases: held + 1)
        }
        pool.pointee.queue.queues[queue].leases = held + 1
        groups.count(1, of: group)
        servers.slots[server].lease = Lease(
            id: LeaseID(nextLease), client: client, owner: owner, useSince: useSince,
            queue: queue)
        if pool.pointee.lock.isWatched {
            noteAnswer(client, owner, with: LeaseID(nextLease), in: number, now)
        }
        nextLease += 1
        move(server, from: .idle, to: .leased, now)
    }

    /// The lease on this server goes on as another one's, who has not waited in any queue; the new lease. nil, and
    /// nothing done, if the connection is wanted back.
    package mutating func transferLease(
        of server: ServerID, to client: ClientID, _ owner: OwnerKey, group: GroupID, now: Instant,
        into effects: inout [SchedulerEffect]
    ) -> LeaseID? {
        guard let index = live(server), servers.slots[index].state == .leased,
            servers.slots[index].closeWhenFree == nil, let lease = servers.slots[index].lease
        else { return nil }
        let pool = servers.slots[index].pool
        guard pools[pool].givesOut else { return nil }
        if pools[pool].lock.isWatched { noteReturn(lease, in: pool, now) }
        if pools[pool].lock.since != nil { leaseEnded(lease, in: pool, now) }
        let old = pools[pool].queue.queues[lease.queue].group
        let wasAtCap = groups[old].isAtCap()
        endLease(index, pool, lease.queue, old)
        let number = Int(group.rawValue)
        let queue = pools[pool].queue.index(
            ofGroup: number, weight: groups[number].policy.weight)
        pools[pool].queue.queues[queue].leases += 1
        groups.count(1, of: number)
        servers.slots[index].lease = Lease(
            id: LeaseID(nextLease), client: client, owner: owner, useSince: now, queue: queue)
        nextLease += 1
        servers.slots[index].since = now
        if wasAtCap, groups[old].waiting > 0 {
            settleAll(now, &effects)
        } else {
            settleWidely(pool, now, &effects)
        }
        return servers.slots[index].lease?.id
    }

    @inline(__always)
    private mutating func endLease(_ server: Int, _ pool: Int, _ queue: Int, _ group: Int) {
        let pool = pools.address(pool)
        let held = pool.pointee.queue.queues[queue].leases
        if groups.isGuaranteed(group) {
            let kept = groups[group].unusedGuarantee(leases: held)
            pool.pointee.unusedGuarantee += groups[group].unusedGuarantee(leases: held - 1) - kept
        }
        pool.pointee.queue.queues[queue].leases = held - 1
        groups.count(-1, of: group)
        if parking.allowed > 0 { parkingEnds(server) }
        servers.slots[server].lease = nil
    }

    static func waited(since: Instant, _ now: Instant) -> Duration {
        .nanoseconds(now.nanoseconds(since: since))
    }
}
