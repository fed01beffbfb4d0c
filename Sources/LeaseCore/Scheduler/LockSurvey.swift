/// Which pools, and which groups at their cap, stand still for ever unless somebody outside helps.
///
/// It assumes that all do, and strikes out each that has a lease whose holder can go on, until
/// nothing changes: so a holder that waits in another pool counts only if that one stands still.
struct LockSurvey {
    let grade: PoolLock.Grade
    /// A holder that rests since after this moment may just be thinking.
    let restedBefore: Instant
    /// By pool slot and by group number.
    fileprivate(set) var pools: [Bool]
    fileprivate(set) var groups: [Bool]
    /// Waiters by process, of processes that hold something.
    fileprivate var waiters: [Int32: [Int]] = [:]
    /// Uses of sessions that somebody who waits seems to be nested in.
    fileprivate var waitedFor: Set<SessionUse> = []
}

extension OwnerKey {
    /// Certainly one and the same thread.
    @inline(__always)
    func isSameThread(as other: OwnerKey) -> Bool {
        processID == other.processID && processID != 0 && thread != nil && thread == other.thread
    }

    /// Possibly the same thread: of one process (those over TCP count as one), and not known to be
    /// two threads.
    @inline(__always)
    func mayBeSameThread(as other: OwnerKey) -> Bool {
        guard processID == other.processID else { return false }
        return thread == nil || other.thread == nil || thread == other.thread
    }
}

extension Scheduler {
    /// How sure it is that this pool is locked; nil: somebody can go on.
    func lockGrade(of pool: Int, _ now: Instant) -> PoolLock.Grade? {
        guard isJammed(pool, now) else { return nil }
        if survey(.certain, now).pools[pool] { return .certain }
        return survey(.suspected, now).pools[pool] ? .suspected : nil
    }

    func survey(_ grade: PoolLock.Grade, _ now: Instant) -> LockSurvey {
        var survey = LockSurvey(
            grade: grade, restedBefore: now, pools: jammedPools(now), groups: jammedGroups())
        if grade == .suspected { survey.waitedFor = waitedFor() }
        var holders: Set<Int32> = []
        var leases: [Int] = []
        for index in servers.slots.indices where servers.slots[index].state == .leased {
            leases.append(index)
            holders.insert(servers.slots[index].lease!.owner.processID)
        }
        for pool in pools.live where pools[pool].queue.count > 0 {
            forEachWaiter(of: pool) { waiter in
                let process = waiters.slots[waiter].owner.processID
                if holders.contains(process) {
                    survey.waiters[process, default: []].append(waiter)
                }
            }
        }
        var isSettled = false
        while !isSettled {
            isSettled = true
            for server in leases {
                let pool = servers.slots[server].pool
                let group = self.group(ofLeaseOn: server)
                guard survey.pools[pool] || survey.groups[group],
                    !isBlocked(server, by: survey)
                else { continue }
                survey.pools[pool] = false
                survey.groups[group] = false
                isSettled = false
            }
        }
        return survey
    }

    /// In pools that are being relieved.
    private func waitedFor() -> Set<SessionUse> {
        var found: Set<SessionUse> = []
        for pool in pools.live where pools[pool].lock.since != nil {
            let ties = guessTies(pool)
            forEachWaiter(of: pool) { waiter in
                let slot = waiters.slots[waiter]
                let use = SessionUse(client: slot.client, since: slot.useSince)
                if let parent = ties.parents[use] { found.insert(parent) }
            }
        }
        return found
    }

    func forEachWaiter(of pool: Int, _ body: (Int) -> Void) {
        for queue in pools[pool].queue.queues {
            var candidate = queue.head
            while candidate >= 0 {
                body(Int(candidate))
                candidate = waiters.slots[Int(candidate)].next
            }
        }
    }

    /// Waiters, every connection leased, none on its way, and no room for another.
    func isJammed(_ pool: Int, _ now: Instant) -> Bool {
        let counts = pools[pool].counts
        // What is idle then is of the reserve.
        guard pools[pool].queue.count > 0, pools[pool].givesOut, counts.leased > 0,
            counts.leased + counts.idle == counts.total,
            counts.idle == 0 || counts.leased >= pools[pool].limits.size
        else { return false }
        if counts.leased + pools[pool].unusedGuarantee >= pools[pool].limits.size { return true }
        return connectLimit(pool, now) == 0
            || !fullBounds(pool, capacity: pools[pool].limits.size, afterClosing: nil).isEmpty
    }

    private func jammedPools(_ now: Instant) -> [Bool] {
        var jammed = Array(repeating: false, count: (pools.live.max() ?? -1) + 1)
        for pool in pools.live { jammed[pool] = isJammed(pool, now) }
        return jammed
    }

    private func jammedGroups() -> [Bool] {
        groups.accounts.map { account in
            guard let account else { return false }
            return account.waiting > 0 && account.leases > 0 && account.isAtCap()
        }
    }

    func group(ofLeaseOn server: Int) -> Int {
        let slot = servers.slots[server]
        return pools[slot.pool].queue.queues[slot.lease!.queue].group
    }

    /// Whether whoever holds this lease waits for ever, if the survey is right so far.
    private func isBlocked(_ server: Int, by survey: LockSurvey) -> Bool {
        let lease = servers.slots[server].lease!
        let rests = restingLeases.since(server, lease.id)
        guard let waiting = survey.waiters[lease.owner.processID] else { return false }
        var waitsItself = false
        var mayWait = false
        for waiter in waiting {
            let owner = waiters.slots[waiter].owner
            if owner.isSameThread(as: lease.owner) {
                // A thread that waits twice goes on with either.
                if !isStuck(waiter, in: survey) { return false }
                waitsItself = true
            } else if !mayWait, let rests, waiters.slots[waiter].since >= rests,
                owner.mayBeSameThread(as: lease.owner)
            {
                // Its thread was heard of before it asked for one more.
                mayWait = isStuck(waiter, in: survey)
            }
        }
        if waitsItself { return true }
        guard survey.grade == .suspected, mayWait, let since = rests else { return false }
        if survey.waitedFor.contains(SessionUse(client: lease.client, since: lease.useSince)) {
            return true
        }
        let delay = lockDelay(servers.slots[server].pool)
        return survey.restedBefore.nanoseconds(since: since) >= delay
    }

    private func isStuck(_ waiter: Int, in survey: LockSurvey) -> Bool {
        let pool = waiters.slots[waiter].pool
        if survey.pools[pool] { return true }
        return survey.groups[pools[pool].queue.queues[waiters.slots[waiter].queue].group]
    }

    /// What the shell needs to say who waits for whom.
    func describeLock(
        _ pool: Int, _ grade: PoolLock.Grade, group: Int? = nil
    ) -> PoolLock {
        var links: [PoolLock.Link] = []
        for index in servers.slots.indices where servers.slots[index].state == .leased {
            let slot = servers.slots[index]
            let isMeant = group.map { self.group(ofLeaseOn: index) == $0 } ?? (slot.pool == pool)
            guard isMeant, let lease = slot.lease else { continue }
            links.append(
                PoolLock.Link(
                    lease: lease.id, server: servers.id(index), holder: lease.client,
                    owner: lease.owner, heldSince: slot.since, waitsAs: request(of: lease.owner)))
        }
        return PoolLock(
            pool: pools[pool].id, grade: grade, group: group.map { GroupID(UInt32($0)) },
            links: links)
    }

    /// What this owner waits with: its own request, else the newest one that may be its.
    private func request(of owner: OwnerKey) -> ClientID? {
        var found: ClientID?
        var isOwn = false
        var newest = Instant(nanoseconds: .min)
        for pool in pools.live where pools[pool].queue.count > 0 {
            forEachWaiter(of: pool) { waiter in
                let slot = waiters.slots[waiter]
                let same = slot.owner.isSameThread(as: owner)
                guard same || (!isOwn && slot.owner.mayBeSameThread(as: owner)) else { return }
                guard (same && !isOwn) || slot.since >= newest else { return }
                found = slot.client
                isOwn = same
                newest = slot.since
            }
        }
        return found
    }
}
