// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// What must hold when the scheduler has returned: nobody waits for what is there.
extension EffectOracle {
    /// `backingOff`: pools that pause between failing attempts to connect, or probe.
    package func checkRest(
        now: Instant, nextDeadline: Instant?, backingOff: Set<PoolID>
    ) throws(Violation) {
        for (server, model) in servers {
            try require(model.phase != .doomed, "server \(server) should be closing: \(model)")
            let isStuck = model.phase == .ready && model.isDirty && model.cancels == 0
            try require(!isStuck, "server \(server) is dirty, and not being reset")
            let pool = pools[model.pool]
            let isUseless = pool?.isPaused != false || pool?.isClosed == true
            try require(
                !(isUseless && isFree(model)), "server \(server) is kept by a pool at rest")
            if let peer = model.confinedTo, gonePeers.contains(peer) {
                try require(!isFree(model), "server \(server) is kept for \(peer), which is gone")
            }
        }
        for (client, waiter) in waiters {
            guard waiter.request.deadline < Instant(nanoseconds: .max) else { continue }
            guard let nextDeadline, nextDeadline <= waiter.request.deadline else {
                throw Violation("client \(client)'s deadline is not watched")
            }
        }
        for pool in pools.keys {
            try checkIdle(pool, now)
            if !backingOff.contains(pool) {
                try checkCapacity(pool, now)
                try checkUnfit(pool, now)
            }
        }
    }

    private func checkIdle(_ pool: PoolID, _ now: Instant) throws(Violation) {
        let idle = servers.values.filter { $0.pool == pool && isFree($0) }
        if idle.isEmpty { return }
        let delay = pools[pool]!.policy.checkDelay
        let validating = servers.values.count { $0.pool == pool && $0.phase == .validating }
        for waiter in waiters.values where waiter.request.pool == pool {
            guard mayLease(waiter.request, now), !mayAwaitOwn(waiter, now) else { continue }
            let usable = idle.filter { canUse(waiter.request, $0) }
            // One that is its own process's comes first, even if it has to be checked.
            let isOwnChecked = servers.values.contains {
                $0.pool == pool && $0.phase == .validating && $0.confinedTo != nil
                    && canUse(waiter.request, $0)
            }
            if isOwnChecked { continue }
            // In turns, the one whose turn it is is checked, even if another needs no check.
            let inTurns = pools[pool]!.policy.roundRobin && validating > 0
            let fresh = !inTurns && usable.contains { delay == nil || now - $0.lastAlive < delay! }
            try require(
                !fresh && (usable.isEmpty || validating > 0),
                "client \(waiter.request.client) waits beside an idle connection")
        }
    }

    /// A waiter that may have a lease has a connection on its way, if there is room for one.
    private func checkCapacity(_ pool: PoolID, _ now: Instant) throws(Violation) {
        let model = pools[pool]!
        let own = servers.values.filter { $0.pool == pool }
        let connecting = own.count { $0.phase == .connecting }
        guard connecting < model.policy.connectParallelism, room(pool, withReserve: true, now) > 0
        else {
            return
        }
        let pending = own.count {
            $0.phase == .connecting || $0.phase == .validating || $0.phase == .closing
        }
        let awaited = waiters.values.count { $0.request.pool == pool && mayAwaitOwn($0, now) }
        var unserved = 0
        for waiter in waiters.values
        where waiter.request.pool == pool && !mayAwaitOwn(waiter, now) {
            let reserve = isEntitledToReserve(waiter.request, now)
            guard mayLease(waiter.request, now), room(pool, withReserve: reserve, now) > 0 else {
                continue
            }
            let group = groups[waiter.request.group]!
            if group.maxLeases == nil, !hasGuarantees { unserved += 1 }
            let isProvidedFor = own.contains { server in
                switch server.phase {
                case .connecting, .validating: canUse(waiter.request, server)
                case .closing: true
                case .ready, .leased, .resetting, .doomed: false
                }
            }
            // A cap or a guarantee may leave one place, and a connection for it is on its way.
            // So is one that is cleaned for the process of a waiter that has the place.
            let isScarce = hasGuarantees || group.maxLeases != nil
            try require(
                isProvidedFor || (isScarce && pending + awaited > 0),
                "client \(waiter.request.client) waits, there is room, none opened")
        }
        // One that may not use the reserve yet counts on a connection that closes: an attempt, too.
        let closing = own.count { $0.phase == .closing }
        let attempts = connecting + (model.policy.reserveSize > 0 ? closing : 0)
        guard attempts < model.policy.connectParallelism else { return }
        let leased = own.count { $0.phase == .leased }
        let wanted = min(unserved, model.policy.size - leased)
        try require(
            wanted <= pending, "\(pool): \(unserved) wait, \(pending) on their way, and room")
    }

    /// A waiter that could be served by closing an idle connection which it cannot use is not left
    /// waiting beside it.
    private func checkUnfit(_ pool: PoolID, _ now: Instant) throws(Violation) {
        let model = pools[pool]!
        let own = servers.values.filter { $0.pool == pool }
        let idle = own.filter { isFree($0) }
        let connecting = own.count { $0.phase == .connecting }
        let closing = servers.values.count { $0.phase == .closing }
        guard !idle.isEmpty, connecting + closing < model.policy.connectParallelism,
            room(pool, withReserve: false, now) >= 0
        else { return }
        // One that is being cleaned for its own process takes a place as well.
        let awaited = waiters.values.count { $0.request.pool == pool && mayAwaitOwn($0, now) }
        let pending = own.count { $0.phase == .validating } + connecting + closing + awaited
        let waiting = waiters.values.filter {
            $0.request.pool == pool && mayLease($0.request, now) && !mayAwaitOwn($0, now)
        }
        for waiter in waiting {
            let isProvidedFor =
                closing > 0
                || own.contains { server in
                    (server.phase == .connecting || server.phase == .validating)
                        && canUse(waiter.request, server)
                }
            let isScarce = hasGuarantees || groups[waiter.request.group]!.maxLeases != nil
            let isServed = idle.contains { canUse(waiter.request, $0) }
            try require(
                isProvidedFor || isServed || (isScarce && pending > 0),
                "client \(waiter.request.client) waits, and what it cannot use is kept")
        }
        guard !hasGuarantees, groups.values.allSatisfy({ $0.maxLeases == nil }),
            !own.contains(where: { $0.phase == .validating })
        else { return }
        let leased = own.count { $0.phase == .leased }
        let wanted = min(waiting.count, model.policy.size - leased)
        try require(
            wanted <= pending,
            "\(pool): \(waiting.count) wait, \(pending) on their way, and what they cannot use is kept"
        )
    }

    private var hasGuarantees: Bool { groups.values.contains { $0.minLeases > 0 } }

    // MARK: Bounds

    /// How many more connections the pool may open; negative when it has too many.
    func room(_ pool: PoolID, withReserve: Bool, _ now: Instant) -> Int {
        let policy = pools[pool]!.policy
        var inPool = 0
        var inDatabase = 0
        var ofUser = 0
        for server in servers.values {
            guard let other = pools[server.pool]?.policy else { continue }
            if server.pool == pool { inPool += 1 }
            if other.databaseKey == policy.databaseKey { inDatabase += 1 }
            if other.userKey == policy.userKey { ofUser += 1 }
        }
        var room = policy.size + (withReserve ? policy.reserveSize : 0) - inPool
        if let most = policy.maxDatabaseConnections { room = min(room, most - inDatabase) }
        if let most = policy.maxUserConnections { room = min(room, most - ofUser) }
        if let most = broker.maxServerConnections { room = min(room, most - servers.count) }
        if policy.shareKey != nil {
            let shared = servers.values.filter { pools[$0.pool]?.policy.shareKey != nil }
            let isAlone = shared.allSatisfy { $0.phase == .connecting || $0.phase == .closing }
            let until = isAlone ? min(share.until, share.alone) : share.until
            room = min(room, now < until ? share.limit - shared.count : -1)
        }
        return room
    }

    func isEntitledToReserve(_ request: LeaseRequest, _ now: Instant) -> Bool {
        let policy = pools[request.pool]!.policy
        guard policy.reserveSize > 0, let timeout = policy.reserveTimeout else { return false }
        return now - request.since >= timeout
    }

    func canUse(_ request: LeaseRequest, _ server: ServerModel) -> Bool {
        guard server.confinedTo == nil || server.confinedTo == request.peer else { return false }
        return !request.requiresProfile || server.openedProfile == request.profile
    }

    /// Whether the waiter may let others go first, for the moments that a connection of its own process
    /// takes to be cleaned.
    func mayAwaitOwn(_ waiter: WaiterModel, _ now: Instant) -> Bool {
        guard waiter.request.wantsHandOut, now < waiter.arrivedAt + .milliseconds(10),
            let peer = waiter.request.peer
        else { return false }
        return servers.values.contains {
            $0.pool == waiter.request.pool && $0.phase == .resetting && $0.confinedTo == peer
        }
    }

    /// Whether the pool's size, the group's cap and other groups' guarantees allow this lease.
    /// `isLent`: to relieve a lock, the reserve is its, also beyond the group's cap.
    func mayLease(_ request: LeaseRequest, _ now: Instant, isLent: Bool = false) -> Bool {
        guard let pool = pools[request.pool], !pool.isPaused, !pool.isClosed else { return false }
        let mayUseReserve = isEntitledToReserve(request, now) || isLent
        let reserve = mayUseReserve ? pool.policy.reserveSize : 0
        let capacity = pool.policy.size + reserve
        var leased = 0
        var leasedByGroup = 0
        var leasedHere: [GroupID: Int] = [:]
        for server in servers.values {
            guard server.phase == .leased, let lease = server.lease else { continue }
            if lease.group == request.group { leasedByGroup += 1 }
            if server.pool == request.pool {
                leased += 1
                leasedHere[lease.group, default: 0] += 1
            }
        }
        let loans = isLent ? pool.policy.reserveSize : 0
        if let cap = groups[request.group]!.maxLeases, leasedByGroup >= cap + loans {
            return false
        }
        if leased >= capacity { return false }
        if leasedHere[request.group, default: 0] < groups[request.group]!.minLeases { return true }
        var kept = 0
        for (group, policy) in groups where group != request.group {
            kept += max(0, policy.minLeases - leasedHere[group, default: 0])
        }
        return leased + kept < capacity
    }
}
