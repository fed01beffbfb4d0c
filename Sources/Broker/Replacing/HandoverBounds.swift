// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore

/// How two brokers share the bounds while one takes the other's place, so that their connections together are never more
/// than one broker may have.
///
/// | | the old one uses | the new one uses |
/// |---|---|---|
/// | before it serves | one less of each bound that allows two or more; it says so (`lent`) once that is so | that one, to see whether the server lets it in; pools of one connection are not tried |
/// | when it serves | in each pool what it has now, or half of the pool for the clients that it has (`held`); never more, and less as they leave | the rest of each bound, as it is told |
/// | when the old one has ended | | all of it |
extension Broker {
    // MARK: Both

    /// Bounds of one pool, as they are for this broker now.
    func share(_ policy: inout PoolPolicy, of key: PoolKey) {
        if let next = handover.after {
            policy.minimumSize = 0
            policy.reserveSize = 0
            if next.isServing {
                policy.size = max(1, min(policy.size, next.limits[key] ?? 1))
            } else {
                policy.size = Self.less(policy.size)
                policy.maxDatabaseConnections = policy.maxDatabaseConnections.map(Self.less)
                policy.maxUserConnections = policy.maxUserConnections.map(Self.less)
            }
        }
        guard let former = handover.before else { return }
        if former.hasNamedAll {
            policy.size = max(1, policy.size - heldBefore(key, former))
            policy.minimumSize = min(policy.minimumSize, policy.size)
            policy.maxDatabaseConnections = policy.maxDatabaseConnections.map {
                max(1, $0 - heldBefore(key.database, former.heldByDatabase, former))
            }
            policy.maxUserConnections = policy.maxUserConnections.map {
                max(1, $0 - heldBefore(key.user, former.heldByUser, former))
            }
        } else {
            policy.size = 1
            policy.minimumSize = min(policy.minimumSize, 1)
            policy.reserveSize = 0
            policy.maxDatabaseConnections = policy.maxDatabaseConnections.map { _ in 1 }
            policy.maxUserConnections = policy.maxUserConnections.map { _ in 1 }
        }
    }

    func share(_ policy: inout BrokerPolicy) {
        guard let most = policy.maxServerConnections else { return }
        if let next = handover.after {
            policy.maxServerConnections =
                next.isServing
                ? max(1, min(most, next.limits.values.reduce(0, +))) : Self.less(most)
        }
        if let former = handover.before {
            policy.maxServerConnections =
                former.hasNamedAll ? max(1, most - former.heldInAll - former.unnamed) : 1
        }
    }

    private static func less(_ bound: Int) -> Int { bound >= 2 ? bound - 1 : bound }

    // MARK: The old one

    /// Says that one connection of each bound is the new one's, once that is so.
    func lendOne() {
        guard let next = handover.after, !next.wasLent else { return }
        if !next.hasYielded {
            next.hasYielded = true
            reconfigurePools()
        }
        guard isWithinBounds() else { return }
        next.wasLent = true
        next.channel.send("lent")
    }

    /// Whether each bound has one place less taken than it has.
    private func isWithinBounds() -> Bool {
        var byDatabase: [String: Int] = [:]
        var byUser: [String: Int] = [:]
        var all = 0
        let counts = connections()
        for (key, count) in counts {
            byDatabase[key.database, default: 0] += count
            byUser[key.user, default: 0] += count
            all += count
        }
        if let most = settings.maxServerConnections, all > Self.less(most) { return false }
        for pool in directory.pools.inOrder where !pool.isClosed {
            guard let entry = configuration.database(named: pool.database) else { continue }
            let limits = configuration.poolSettings(database: entry, user: pool.user)
            let size = limits.size > 0 ? limits.size : .max
            if counts[pool.key, default: 0] > Self.less(size) { return false }
            if let most = limits.maxDbConnections,
                byDatabase[pool.database, default: 0] > Self.less(most)
            {
                return false
            }
            if let most = limits.maxUserConnections,
                byUser[pool.user, default: 0] > Self.less(most)
            {
                return false
            }
        }
        return true
    }

    private func connections() -> [PoolKey: Int] {
        var counts: [PoolKey: Int] = [:]
        for pool in directory.pools.byID.values {
            counts[pool.key, default: 0] +=
                engine.scheduler.summary(of: pool.id)?.counts.total ?? 0
        }
        return counts
    }

    private func clientCounts() -> [PoolKey: Int] {
        var counts: [PoolKey: Int] = [:]
        for pool in directory.pools.byID.values {
            counts[pool.key, default: 0] += pool.clientCount
        }
        return counts
    }

    /// From here on no pool has more connections here than it has now, or than the one that its clients need.
    func freezeBounds(for next: NextBroker) {
        next.clientsBefore = clientCounts()
        let coming = clientsLoggingIn
        for (key, count) in connections() {
            let needed = needed(key, clients: next.clientsBefore[key, default: 0] + coming)
            next.frozen[key] = max(count, needed)
            next.limits[key] = max(count, needed)
        }
        reconfigurePools()
        tellHeld(next)
        next.channel.send("frozen")
    }

    /// How many connections the clients of a pool may go on to ask for: of a bound that pools share, each has one.
    private func needed(_ key: PoolKey, clients: Int) -> Int {
        guard clients > 0, let entry = configuration.database(named: key.database) else { return 0 }
        let limits = configuration.poolSettings(database: entry, user: key.user)
        guard settings.maxServerConnections == nil, limits.maxDbConnections == nil,
            limits.maxUserConnections == nil
        else { return 1 }
        return max(1, min(clients, limits.size > 0 ? limits.size / 2 : clients))
    }

    /// Gives up what those who are left do not need, and says what is kept.
    func tellHeld(_ next: NextBroker) {
        let clients = clientCounts()
        let counts = connections()
        // Who has just come may make a pool, or use one that has nobody: it needs one connection.
        let isSettled = next.isSettled || clientsLoggingIn == 0
        var hasChanged = false
        var emptied: [PoolKey] = []
        for key in Set(counts.keys).union(next.limits.keys) {
            let before = next.clientsBefore[key, default: 0]
            let left = clients[key, default: 0]
            let known = next.limits[key] ?? (left > 0 || !isSettled ? 1 : 0)
            var limit = known
            if before > 0, isSettled, let frozen = next.frozen[key] {
                limit = min(known, (frozen * left + before - 1) / before)
            }
            if left > 0 || !isSettled { limit = max(limit, min(1, known)) }
            if next.limits[key] != limit {
                next.limits[key] = limit
                hasChanged = true
                if limit == 0 { emptied.append(key) }
            }
            let held = max(limit, counts[key, default: 0]) + (handover.before?.held[key] ?? 0)
            guard next.told[key, default: 0] != held else { continue }
            next.told[key] = held
            next.channel.send(
                "held \(held) \(HandoverWords.escaped(key.database)) \(HandoverWords.escaped(key.user))"
            )
        }
        next.clientsBefore = clients.merging(next.clientsBefore) { max($0, $1) }
        if hasChanged { reconfigurePools() }
        // A pool has one connection at least: those that nobody needs are closed.
        for key in emptied {
            guard let pool = directory.pools[key] else { continue }
            post(.poolReconnectRequested(pool.id))
        }
        if isSettled, !next.isSettled {
            next.isSettled = true
            next.channel.send("settled")
        }
    }

    // MARK: The new one

    /// What the former broker has of this pool, or may still open.
    private func heldBefore(_ key: PoolKey, _ former: FormerBroker) -> Int {
        former.held[key] ?? former.unnamed
    }

    private func heldBefore(
        _ name: String, _ held: [String: Int], _ former: FormerBroker
    ) -> Int { held[name, default: 0] + former.unnamed }

    /// Whether a bound has no place for this broker while the former one has all of it.
    func isWithoutPlace(_ key: PoolKey) -> Bool {
        guard let former = handover.before,
            let entry = configuration.database(named: key.database)
        else { return false }
        let limits = configuration.poolSettings(database: entry, user: key.user)
        let size = limits.size > 0 ? limits.size : .max
        let bounds: [(Int, Int)] = [
            (size, heldBefore(key, former)),
            (
                limits.maxDbConnections ?? .max,
                heldBefore(key.database, former.heldByDatabase, former)
            ),
            (
                limits.maxUserConnections ?? .max,
                heldBefore(key.user, former.heldByUser, former)
            ),
            (settings.maxServerConnections ?? .max, former.heldInAll + former.unnamed),
        ]
        if former.hasNamedAll { return bounds.contains { $0.0 <= $0.1 } }
        return !former.hasLent || bounds.contains { $0.0 < 2 }
    }

    /// Pools without a place wait; others go on. To be called when the bounds have changed.
    func stopPoolsWithoutPlace() {
        guard let former = handover.before else { return }
        for pool in directory.pools.inOrder { stopIfWithoutPlace(pool, former) }
    }

    func stopIfWithoutPlace(_ pool: DatabasePool, _ former: FormerBroker) {
        if isWithoutPlace(pool.key) {
            if former.stopped.insert(pool.id).inserted { post(.poolPauseRequested(pool.id)) }
        } else if former.stopped.remove(pool.id) != nil, !operators.stops.isPaused(pool.database) {
            post(.poolResumed(pool.id))
        }
    }
}
