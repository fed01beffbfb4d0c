// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The world's operators: they reload, pause, resume and reconnect, and databases change their mood.
extension SchedulerWorld {
    mutating func openPool() throws(Violation) {
        let pool = PoolID(poolCount)
        poolCount += 1
        livePools.append(pool)
        databases[pool] = WorldDatabase()
        databases[pool]!.limit = Int.random(in: 2...12, using: &random)
        databases[pool]!.host = Int.random(in: 0...1, using: &random)
        let startup = WorldPolicies.chance(0.3, &random) ? StartupSchedule() : nil
        var policy = policies.pool(using: &random)
        if sharesFences {
            databases[pool]!.keys = FenceKeys(
                server: UInt32(databases[pool]!.host), database: pool.rawValue,
                role: policy.userKey)
        }
        policy.fenceKeys = databases[pool]!.keys
        try send(.poolOpened(pool, policy, startup: startup))
    }

    private mutating func policy(of pool: PoolID) -> PoolPolicy {
        var policy = policies.pool(using: &random)
        policy.fenceKeys = databases[pool]!.keys
        return policy
    }

    /// Strangers come and go, and the room that a server has changes.
    private mutating func changeRoom() {
        let host = Int.random(in: 0...1, using: &random)
        hosts[host].limit = Int.random(in: 1...8, using: &random)
        hosts[host].strangers = Int.random(in: 0...3, using: &random)
    }

    mutating func operatorActs() throws(Violation) {
        guard !isHealing else { return }
        plan(.operatorActs, within: 1500)
        let pool = livePools.randomElement(using: &random)!
        switch Int.random(in: 0..<23, using: &random) {
        case 0..<9:
            databases[pool]!.mood = WorldDatabase.Mood.allCases.randomElement(using: &random)!
        case 9, 10: try send(.poolChanged(pool, policy(of: pool)))
        case 11, 12: try send(.policyChanged(WorldPolicies.broker(using: &random)))
        case 13:
            let group = GroupID(UInt32.random(in: 0..<groupCount, using: &random))
            try send(.groupChanged(group, WorldPolicies.group(using: &random)))
        case 14, 15:
            try send(.poolPauseRequested(pool))
            plan(.poolResumed(pool), after: .milliseconds(Int.random(in: 1...900, using: &random)))
        case 20, 21, 22: changeRoom()
        case 16:
            // In turns, so that a seed draws what it always drew.
            reconnects += 1
            if reconnects.isMultiple(of: 2) {
                try send(.serversStranded(someServers(of: pool)))
            } else {
                try send(.poolReconnectRequested(pool))
            }
        case 17: try openPool()
        case 18 where livePools.count > 1:
            livePools.removeAll { $0 == pool }
            try send(.poolClosed(pool))
        default: databases[pool]!.mood = .accepts
        }
    }

    /// Those on one of its hosts.
    private func someServers(of pool: PoolID) -> [ServerID] {
        oracle.servers.filter { $0.value.pool == pool && !$0.key.slot.isMultiple(of: 3) }
            .map(\.key).sorted { $0.slot < $1.slot }
    }

    /// Nothing goes wrong any more: then every client that still waits must be answered, those
    /// who have time with a grant, and connections end up at what the policies keep.
    mutating func heal() throws(Violation) {
        isHealing = true
        // There may still be less room than the pools would like to use: all are served all the same.
        let isNarrow = WorldPolicies.chance(0.4, &random)
        for host in hosts.indices {
            let room = hosts[host].open + Int.random(in: 1...2, using: &random)
            // Who is not told that pools share a server cannot move connections between them.
            hosts[host].limit =
                isNarrow && sharesFences ? min(room, Int.random(in: 1...4, using: &random)) : 1000
            hosts[host].strangers = 0
        }
        for pool in livePools {
            databases[pool]!.mood = .accepts
            databases[pool]!.limit = isNarrow ? Int.random(in: 1...3, using: &random) : 1000
            if oracle.pools[pool]!.isPaused { try send(.poolResumed(pool)) }
        }
        for group in 0..<groupCount { try send(.groupChanged(GroupID(group), GroupPolicy())) }
        if policies.sharesBound { grantShare(7) }
        // After the longest backoff, the longest hold and a connect that hangs, nobody waits.
        let patience = now + .seconds(40)
        while !oracle.waiters.isEmpty || oracle.servers.values.contains(where: { $0.lease != nil })
        {
            try step()
            try oracle.require(now < patience, "clients wait forever: \(oracle.waiters.keys)")
        }
        try drainAway()
    }

    private mutating func drainAway() throws(Violation) {
        for pool in oracle.pools.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
            try send(.poolPauseRequested(pool))
        }
        let patience = now + .seconds(40)
        while !oracle.servers.isEmpty {
            try step()
            try oracle.require(now < patience, "servers of paused pools stay open")
        }
        try oracle.require(scheduler.serverCount == 0, "servers left in the scheduler")
        try oracle.require(scheduler.waitingCount == 0, "waiters left in the scheduler")
    }
}
