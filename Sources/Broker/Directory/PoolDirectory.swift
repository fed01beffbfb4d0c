// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// A pool as the configuration names it.
struct PoolKey: Hashable {
    var database: String
    var user: String
    /// What its clients replicate; nil: they are sessions.
    var replication: ReplicationKind? = nil
}

/// Which pools there are.
///
/// Invariant: a pool that clients may join is found by its key and by its number; a closed one only by its number,
/// until it has no connection any more. Numbers are never used again.
struct PoolDirectory {
    /// Those that clients may join.
    private(set) var open: [PoolKey: DatabasePool] = [:]
    private(set) var byID: [PoolID: DatabasePool] = [:]
    private var last: UInt32 = 0

    subscript(key: PoolKey) -> DatabasePool? { open[key] }
    subscript(id: PoolID) -> DatabasePool? { byID[id] }

    mutating func takeNumber() -> PoolID {
        last += 1
        return PoolID(last)
    }

    mutating func insert(_ pool: DatabasePool) {
        precondition(open[pool.key] == nil, "a pool is opened twice")
        open[pool.key] = pool
        byID[pool.id] = pool
    }

    /// Nobody joins it any more.
    mutating func close(_ pool: DatabasePool) {
        if open[pool.key] === pool { open[pool.key] = nil }
        pool.isClosed = true
    }

    /// A closed one has no connection any more.
    mutating func forget(_ pool: DatabasePool) {
        precondition(pool.isClosed, "a pool is forgotten that clients may join")
        byID[pool.id] = nil
    }

    /// By database and user.
    var inOrder: [DatabasePool] {
        byID.values.sorted {
            ($0.database, $0.user, $0.id.rawValue) < ($1.database, $1.user, $1.id.rawValue)
        }
    }
}
