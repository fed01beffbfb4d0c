// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import Logging

/// Pools that nobody uses any more: `pool_idle_timeout`, and `autodb_idle_timeout` for databases that only the line
/// `*` has.
extension Broker {
    /// The last client has left, or nobody has come.
    func poolIsUnused(_ pool: DatabasePool) {
        pool.unusedSince = now
        if let limit = idleLimit(of: pool) { lookAtIdlePools(by: now + limit) }
    }

    func lookAtIdlePools(by deadline: Instant) {
        if let due = directory.idlePoolsDue, due <= deadline { return }
        directory.idlePoolsDue = deadline
        housekeeping(by: deadline)
    }

    func lookAtIdlePools(_ now: Instant) {
        guard let due = directory.idlePoolsDue else { return }
        guard due <= now else { return housekeeping(by: due) }
        directory.idlePoolsDue = nil
        var busy: Set<PoolID> = []
        for server in servers.values { busy.insert(server.pool.id) }
        for pool in Array(directory.pools.open.values) where pool.clientCount == 0 {
            guard let since = pool.unusedSince, let limit = idleLimit(of: pool) else { continue }
            if busy.contains(pool.id) {
                // Its time begins when the last connection is gone: until then it is looked at now and then.
                pool.unusedSince = now
                lookAtIdlePools(by: now + limit)
            } else if since + limit <= now {
                logger.info(
                    "idle pool closed",
                    metadata: ["database": "\(pool.database)", "user": "\(pool.user)"])
                directory.pools.close(pool)
                post(.poolClosed(pool.id))
            } else {
                lookAtIdlePools(by: since + limit)
            }
        }
    }

    private func idleLimit(of pool: DatabasePool) -> Duration? {
        let isOfFallback = configuration.databases.allSatisfy {
            $0.isFallback || $0.name != pool.database
        }
        let limits = [
            settings.poolIdleTimeout, isOfFallback ? settings.autodbIdleTimeout : nil,
        ]
        return limits.compactMap { $0 }.min()
    }
}
