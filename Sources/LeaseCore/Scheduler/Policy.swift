// SPDX-License-Identifier: Apache-2.0

/// What bounds the whole broker.
package struct BrokerPolicy: Equatable, Sendable {
    /// `max_server_connections`; nil: no global bound.
    package var maxServerConnections: Int?
    /// `max_waiting`, over all pools; nil: no bound.
    package var maxWaiting: Int?

    package init(maxServerConnections: Int? = nil, maxWaiting: Int? = nil) {
        self.maxServerConnections = maxServerConnections
        self.maxWaiting = maxWaiting
    }
}

/// What bounds one pool. Durations that are nil are off.
package struct PoolPolicy: Equatable, Sendable {
    /// `pool_size`, at least 1.
    package var size: Int
    /// `min_pool_size`: kept open without any client.
    package var minimumSize: Int = 0
    /// `reserve_pool_size`: lent above `size` to a waiter that has waited `reserveTimeout`.
    package var reserveSize: Int = 0
    /// `reserve_pool_timeout`; nil: the reserve is only for pool locks.
    package var reserveTimeout: Duration?
    /// How long nothing must have moved before a pool lock is suspected. A certain one is not
    /// waited for.
    package var lockDelay: Duration = .milliseconds(100)
    /// `connect_parallelism`: connects in progress at once, at least 1.
    package var connectParallelism: Int = 4
    /// `server_login_retry_min`, `server_login_retry`.
    package var retryMinimum: Duration = .milliseconds(200)
    package var retryMaximum: Duration = .seconds(15)
    /// `server_check_delay`; nil: never checked.
    package var checkDelay: Duration? = .seconds(30)
    /// `server_idle_timeout`.
    package var idleTimeout: Duration? = .seconds(600)
    /// `server_lifetime`.
    package var lifetime: Duration? = .seconds(3600)
    /// pgbouncer's `server_lifetime = 0`: a connection serves one lease.
    package var closesAfterUse = false
    /// `query_wait_notify`.
    package var notifyAfter: Duration? = .seconds(5)
    /// `server_round_robin`: longest idle first, instead of last used first.
    package var roundRobin = false
    /// `server_reset_query_always`, and session pools: every return is a reset.
    package var alwaysReset = false
    /// Replication: a connection serves one lease, and is never used again.
    package var servesOnce = false
    /// Pools with the same key share `max_db_connections` / `max_user_connections`; nil: no bound.
    package var databaseKey: UInt32 = 0
    package var maxDatabaseConnections: Int?
    package var userKey: UInt32 = 0
    package var maxUserConnections: Int?
    /// Pools with the same key are under one bound that other hosts are under, too; nil: none.
    package var shareKey: UInt32?
    /// Which limits of PostgreSQL's own it shares with other pools; nil: none.
    package var fenceKeys: FenceKeys?

    package init(size: Int) { self.size = size }
}

/// `[groups]`: a group's share.
package struct GroupPolicy: Equatable, Sendable {
    /// Turns in a row when several groups wait, at least 1.
    package var weight: Int = 1
    /// Connections that each pool keeps for this group; 0: none.
    package var minLeases: Int = 0
    /// Leases of this group at once, over all pools; nil: no cap.
    package var maxLeases: Int?
    /// How many of them may be pinned; nil: all.
    package var maxPins: Int?

    package init(
        weight: Int = 1, minLeases: Int = 0, maxLeases: Int? = nil, maxPins: Int? = nil
    ) {
        self.weight = weight
        self.minLeases = minLeases
        self.maxLeases = maxLeases
        self.maxPins = maxPins
    }
}

/// `startup_attempts` and its delays: how long a cold start may take before it is a failure.
package struct StartupSchedule: Equatable, Sendable {
    package var attempts: Int = 5
    package var delay: Duration = .seconds(2)
    package var factor: Double = 1.5
    package var maximumDelay: Duration = .seconds(10)

    package init() {}
}
