// SPDX-License-Identifier: Apache-2.0

/// What the configuration and the operators ask for.
extension Scheduler {
    mutating func openPool(
        _ id: PoolID, _ policy: PoolPolicy, _ startup: StartupSchedule?, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        var pool = Pool(
            id: id, limits: PoolLimits(policy), unusedGuarantee: groups.guarantees,
            databaseTally: bounds.databases.index(of: policy.databaseKey),
            userTally: bounds.users.index(of: policy.userKey),
            share: policy.shareKey.map { bounds.shares.index(of: $0) },
            fences: bounds.fences.places(of: policy.fenceKeys, in: id))
        pool.startup = startup.map(StartupProgress.init(schedule:))
        let index = pools.insert(pool)
        announcePhase(index, &effects)
        settle(index, now, &effects)
    }

    mutating func changePool(
        _ id: PoolID, _ policy: PoolPolicy, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let pool = poolIndex(id) else { return }
        moveTallies(pool, policy)
        pools[pool].limits = PoolLimits(policy)
        for index in servers.slots.indices where isOpen(index, in: pool) {
            setLifetime(index)
            deadlines.remove(DeadlineToken(.server, index))
            guard state(of: index) == .idle else { continue }
            let idleUntil = servers.slots[index].since.adding(servers.slots[index].idleAllowance)
            let at = min(servers.slots[index].expiresAt, idleUntil)
            if at < .endOfTime { deadlines.set(DeadlineToken(.server, index), at: at) }
        }
        for queue in pools[pool].queue.queues.indices {
            var candidate = pools[pool].queue.queues[queue].head
            while candidate >= 0 {
                setReminders(Int(candidate), now)
                candidate = waiters.slots[Int(candidate)].next
            }
        }
        settleAll(now, &effects)
    }

    /// Opened, and not on its way out.
    private func isOpen(_ index: Int, in pool: Int) -> Bool {
        guard servers.slots[index].pool == pool, let state = servers.slots[index].state else {
            return false
        }
        return state != .closing && state != .connecting
    }

    private mutating func moveTallies(_ pool: Int, _ policy: PoolPolicy) {
        let counts = pools[pool].counts
        let database = bounds.databases.index(of: policy.databaseKey)
        let user = bounds.users.index(of: policy.userKey)
        let oldDatabase = pools[pool].databaseTally
        let oldUser = pools[pool].userTally
        bounds.databases.tallies[oldDatabase].total -= counts.total
        bounds.databases.tallies[oldDatabase].closing -= counts.closing
        bounds.databases.tallies[database].total += counts.total
        bounds.databases.tallies[database].closing += counts.closing
        bounds.users.tallies[oldUser].total -= counts.total
        bounds.users.tallies[oldUser].closing -= counts.closing
        bounds.users.tallies[user].total += counts.total
        bounds.users.tallies[user].closing += counts.closing
        pools[pool].databaseTally = database
        pools[pool].userTally = user
        moveShare(pool, to: policy.shareKey.map { bounds.shares.index(of: $0) })
        let fences = bounds.fences.places(of: policy.fenceKeys, in: pools[pool].id)
        for scope in FenceScope.allCases {
            let old = pools[pool].fences[scope]
            bounds.fences[old].tally.total -= counts.total
            bounds.fences[old].tally.closing -= counts.closing
            bounds.fences[fences[scope]].tally.total += counts.total
            bounds.fences[fences[scope]].tally.closing += counts.closing
        }
        pools[pool].fences = fences
    }

    private mutating func moveShare(_ pool: Int, to share: Int?) {
        let counts = pools[pool].counts
        for (place, sign) in [(pools[pool].share, -1), (share, 1)] {
            guard let place else { continue }
            bounds.shares.all[place].tally.total += sign * counts.total
            bounds.shares.all[place].tally.closing += sign * counts.closing
            bounds.shares.all[place].connecting += sign * counts.connecting
            bounds.shares.all[place].lease(sign * counts.leased)
        }
        pools[pool].share = share
    }

    mutating func closePool(
        _ id: PoolID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let pool = poolIndex(id), !pools[pool].isClosed else { return }
        pools[pool].isClosed = true
        pools[pool].startup = nil
        rejectAll(pool, .poolClosed, now, &effects)
        closeUnused(pool, .poolClosed, now, &effects)
        recallAll(in: pool, &effects)
        announcePhase(pool, &effects)
        settleAll(now, &effects)
        announceEmpty(pool, &effects)
    }

    mutating func pausePool(
        _ id: PoolID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let pool = poolIndex(id), !pools[pool].isClosed else { return }
        pools[pool].isPaused = true
        closeUnused(pool, .paused, now, &effects)
        recallAll(in: pool, &effects)
        announcePhase(pool, &effects)
        settleAll(now, &effects)
        announceEmpty(pool, &effects)
    }

    mutating func resumePool(
        _ id: PoolID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let pool = poolIndex(id), !pools[pool].isClosed else { return }
        pools[pool].isPaused = false
        pools[pool].backoff.cutShort()
        cutShortFences(pool)
        announcePhase(pool, &effects)
        settle(pool, now, &effects)
    }

    mutating func reconnectPool(
        _ id: PoolID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let pool = poolIndex(id), !pools[pool].isClosed else { return }
        closeUnused(pool, .reconnect, now, &effects)
        for index in servers.slots.indices where isOpen(index, in: pool) {
            servers.slots[index].closeWhenFree = .reconnect
        }
        recallAll(in: pool, &effects)
        pools[pool].backoff.cutShort()
        cutShortFences(pool)
        settleAll(now, &effects)
    }

    /// Connects in progress find the right host by themselves.
    mutating func strand(
        _ stranded: [ServerID], _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        var touched: Set<Int> = []
        for server in stranded {
            guard let index = live(server) else { continue }
            let pool = servers.slots[index].pool
            switch state(of: index) {
            case .idle, .validating, .resetting: close(index, .stranded, now, &effects)
            case .leased, .cancelling: servers.slots[index].closeWhenFree = .stranded
            case .connecting, .closing: continue
            }
            touched.insert(pool)
        }
        for pool in touched where pools[pool].backoff.failure?.kind == .transient {
            pools[pool].backoff.cutShort()
        }
        if !touched.isEmpty { settleAll(now, &effects) }
    }

    /// Closes every connection of the pool that neither serves a client nor is in a cancel's way.
    private mutating func closeUnused(
        _ pool: Int, _ reason: CloseReason, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        for index in servers.slots.indices where servers.slots[index].pool == pool {
            switch servers.slots[index].state {
            case .connecting, .idle, .validating, .resetting: close(index, reason, now, &effects)
            case .leased, .cancelling, .closing, nil: break
            }
        }
    }

    /// A paused pool says when its last connection is gone; a closed one is forgotten then: true.
    @discardableResult
    mutating func announceEmpty(_ pool: Int, _ effects: inout [SchedulerEffect]) -> Bool {
        guard pools[pool].counts.total == 0 else { return false }
        if pools[pool].isClosed {
            setHeldBack(pool, false)
            deadlines.remove(DeadlineToken(.pool, pool))
            deadlines.remove(DeadlineToken(.lock, pool))
            pools.remove(pool)
            return true
        }
        if pools[pool].isPaused { effects.append(.poolPaused(pools[pool].id)) }
        return false
    }

    mutating func changeGroup(
        _ id: GroupID, _ policy: GroupPolicy, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard groups.contains(id) else { contractBroken("\(id) was never opened") }
        let group = Int(id.rawValue)
        groups[group].policy = policy.sane
        for pool in pools.live {
            pools[pool].queue.setWeight(groups[group].policy.weight, ofGroup: group)
        }
        guaranteesChanged(now, &effects)
    }

    /// Recomputes what every pool keeps for groups.
    mutating func guaranteesChanged(_ now: Instant, _ effects: inout [SchedulerEffect]) {
        for pool in pools.live {
            pools[pool].unusedGuarantee = unusedGuarantee(pool)
        }
        settleAll(now, &effects)
    }

    func unusedGuarantee(_ pool: Int) -> Int {
        var sum = 0
        for group in groups.accounts.indices {
            guard let account = groups.accounts[group] else { continue }
            var leases = 0
            if let queue = pools[pool].queue.existingIndex(ofGroup: group) {
                leases = pools[pool].queue.queues[queue].leases
            }
            sum += account.unusedGuarantee(leases: leases)
        }
        return sum
    }

    /// After the broker's bound shrank: idle connections close until it is met again.
    mutating func shedOverBroker(_ now: Instant, _ effects: inout [SchedulerEffect]) {
        guard let most = policy.maxServerConnections else { return }
        while bounds.broker.staying > most {
            var oldest: Int?
            for pool in pools.live {
                let candidate = Int(pools[pool].idle.back)
                guard candidate >= 0 else { continue }
                if let present = oldest,
                    servers.slots[present].since <= servers.slots[candidate].since
                {
                    continue
                }
                oldest = candidate
            }
            guard let oldest else { return }
            close(oldest, .surplus, now, &effects)
        }
    }
}
