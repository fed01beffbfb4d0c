// SPDX-License-Identifier: Apache-2.0

/// How many connections a pool may have, by each of the bounds that it is under.
struct ConnectionBounds {
    var size = 0
    var databaseKey: UInt32 = 0
    var database: Int?
    var userKey: UInt32 = 0
    var user: Int?
    var broker: Int?
}

extension Scheduler {
    /// All zero for a pool that is gone.
    func bounds(of pool: PoolID) -> ConnectionBounds {
        guard let index = pools.knownIndex(of: pool) else { return ConnectionBounds() }
        let limits = pools[index].limits
        return ConnectionBounds(
            size: limits.size, databaseKey: limits.policy.databaseKey,
            database: limits.policy.maxDatabaseConnections, userKey: limits.policy.userKey,
            user: limits.policy.maxUserConnections, broker: policy.maxServerConnections)
    }
}
