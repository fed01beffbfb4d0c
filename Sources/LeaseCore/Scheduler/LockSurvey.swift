// SPDX-License-Identifier: Apache-2.0

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
    /// By process, of processes that hold something.
    fileprivate var waiting: [Int32: WaitingProcess] = [:]
    /// Uses of sessions that somebody who waits seems to be nested in.
    fileprivate var waitedFor: Set<SessionUse> = []

    func isLocked(_ scope: LockScope) -> Bool {
        scope.group.map { groups[$0] } ?? pools[scope.pool]
    }
}

/// Who waits of one process, by the queue that they wait in.
private struct WaitingProcess {
    struct Queue {
        let pool: Int
        let group: Int
        /// The newest request, and the newest one of a thread that is not known.
        var newest = Instant(nanoseconds: .min)
        var newestOfUnknown = Instant(nanoseconds: .min)
    }

    var queues: [Queue] = []
    /// Indices of `queues`.
    var queuesOfThread: [UInt64: [Int]] = [:]

    /// Waiters of one queue come together.
    mutating func add(_ slot: Waiter, group: Int) {
        if queues.last.map({ $0.pool != slot.pool || $0.group != group }) ?? true {
            queues.append(Queue(pool: slot.pool, group: group))
        }
        let index = queues.count - 1
        queues[index].newest = max(queues[index].newest, slot.since)
        if let thread = slot.owner.thread {
            queuesOfThread[thread, default: []].append(index)
        } else {
            queues[index].newestOfUnknown = max(queues[index].newestOfUnknown, slot.since)
        }
    }
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
    /// What of this pool is locked, and how sure that is; nil: somebody can go on.
    func lockIn(_ pool: Int, _ now: Instant) -> (scope: LockScope, grade: PoolLock.Grade)? {
        let scopes = jammedScopes(pool, now)
        if scopes.isEmpty { return nil }
        for grade in [PoolLock.Grade.certain, .suspected] {
            let survey = survey(grade, now)
            if let scope = scopes.first(where: survey.isLocked) { return (scope, grade) }
        }
        return nil
    }

    /// The pool, if all of it is leased; else groups that wait in it at their cap.
    func jammedScopes(_ pool: Int, _ now: Instant) -> [LockScope] {
        guard pools[pool].givesOut, pools[pool].queue.count > 0 else { return [] }
        var capped = pools[pool].queue.queues.compactMap { queue -> LockScope? in
            guard queue.count > 0, groups[queue.group].isAtCap(), groups[queue.group].leases > 0
            else { return nil }
            return LockScope(pool: pool, group: queue.group)
        }
        guard isJammed(pool, now) else { return capped }
        // A group that is being relieved takes more of the pool than its cap allows: that goes on.
        capped.removeAll { pools[pool].lock.since == nil || $0.group != pools[pool].lock.group }
        return capped + [LockScope(pool: pool, group: nil)]
    }

    func survey(_ grade: PoolLock.Grade, _ now: Instant) -> LockSurvey {
        var survey = LockSurvey(
            grade: grade, restedBefore: now, pools: jammedPools(now), groups: jammedGroups())
        if grade == .suspected { survey.waitedFor = waitedFor() }
        var holders: Set<Int32> = []
        var leases: [Int] = []
        for index in servers.slots.indices
        where servers.slots[index].state == .leased && !servers.slots[index].lease!.owner.isHub {
            leases.append(index)
            holders.insert(servers.slots[index].lease!.owner.processID)
        }
        for pool in pools.live where pools[pool].queue.count > 0 {
            forEachWaiter(of: pool) { waiter in
                let slot = waiters.slots[waiter]
                guard holders.contains(slot.owner.processID) else { return }
                survey.waiting[slot.owner.processID, default: WaitingProcess()].add(
                    slot, group: pools[pool].queue.queues[slot.queue].group)
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
            let still = standstill(LockScope(pool: pool, group: pools[pool].lock.group))
            for waiter in still.waiters {
                let slot = waiters.slots[waiter]
                let use = SessionUse(client: slot.client, since: slot.useSince)
                if let parent = still.ties.parents[use] { found.insert(parent) }
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
        groups.accounts.all.map { account in
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
        guard let waiting = survey.waiting[lease.owner.processID] else { return false }
        if lease.owner.processID != 0, let thread = lease.owner.thread,
            let own = waiting.queuesOfThread[thread]
        {
            // A thread that waits twice goes on with either.
            return own.allSatisfy { isStuck(waiting.queues[$0], in: survey) }
        }
        guard survey.grade == .suspected, let since = restingLeases.since(server, lease.id) else {
            return false
        }
        // Its thread was heard of before it asked for one more.
        let mayWait = waiting.queues.contains { queue in
            let isAnyones = lease.owner.thread == nil || lease.owner.processID == 0
            let newest = isAnyones ? queue.newest : queue.newestOfUnknown
            return newest >= since && isStuck(queue, in: survey)
        }
        guard mayWait else { return false }
        if survey.waitedFor.contains(SessionUse(client: lease.client, since: lease.useSince)) {
            return true
        }
        let delay = lockDelay(servers.slots[server].pool)
        return survey.restedBefore.nanoseconds(since: since) >= delay
    }

    private func isStuck(_ queue: WaitingProcess.Queue, in survey: LockSurvey) -> Bool {
        survey.pools[queue.pool] || survey.groups[queue.group]
    }

    /// What the shell needs to say who waits for whom.
    func describeLock(_ scope: LockScope, _ grade: PoolLock.Grade) -> PoolLock {
        let meant = servers.slots.indices.filter { isMeant($0, by: scope) }
        let requests = newestRequests(
            of: Set(meant.map { servers.slots[$0].lease!.owner.processID }))
        let links = meant.map { index in
            let slot = servers.slots[index]
            let lease = slot.lease!
            return PoolLock.Link(
                lease: lease.id, server: servers.id(index), holder: lease.client,
                owner: lease.owner, heldSince: slot.since,
                waitsAs: requests.request(of: lease.owner))
        }
        return PoolLock(
            pool: pools[scope.pool].id, grade: grade,
            group: scope.group.map { GroupID(UInt32($0)) }, links: links)
    }

    private func newestRequests(of processes: Set<Int32>) -> NewestRequests {
        var requests = NewestRequests()
        for pool in pools.live where pools[pool].queue.count > 0 {
            forEachWaiter(of: pool) { waiter in
                let slot = waiters.slots[waiter]
                guard processes.contains(slot.owner.processID) else { return }
                requests.add(slot)
            }
        }
        return requests
    }
}

/// The newest requests of processes and of their threads.
private struct NewestRequests {
    typealias Request = (client: ClientID, since: Instant)

    private var ofOwner: [OwnerKey: Request] = [:]
    private var ofProcess: [Int32: Request] = [:]

    mutating func add(_ slot: Waiter) {
        let request = (slot.client, slot.since)
        if ofOwner[slot.owner].map({ $0.since <= slot.since }) ?? true {
            ofOwner[slot.owner] = request
        }
        let process = slot.owner.processID
        if ofProcess[process].map({ $0.since <= slot.since }) ?? true {
            ofProcess[process] = request
        }
    }

    /// What this owner waits with: its own request, else the newest one that may be its.
    func request(of owner: OwnerKey) -> ClientID? {
        guard owner.thread != nil else { return ofProcess[owner.processID]?.client }
        let own = owner.processID == 0 ? nil : ofOwner[owner]
        let unknown = ofOwner[OwnerKey(processID: owner.processID)]
        return (own ?? unknown ?? ofOwner[owner])?.client
    }
}
