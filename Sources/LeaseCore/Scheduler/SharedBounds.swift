// SPDX-License-Identifier: Apache-2.0

/// Connections under one bound, in any state, and how many of them are about to be gone.
struct ConnectionTally: Equatable {
    var total = 0
    var closing = 0

    @inline(__always)
    var staying: Int { total - closing }
}

/// Tallies by the key that pools share (`databaseKey`, `userKey`).
struct KeyedTallies {
    private var keys: [UInt32] = []
    var tallies: [ConnectionTally] = []

    mutating func index(of key: UInt32) -> Int {
        if let index = keys.firstIndex(of: key) { return index }
        keys.append(key)
        tallies.append(ConnectionTally())
        return keys.count - 1
    }
}

/// The bounds that may keep a pool from opening one more connection.
struct BoundSet: OptionSet {
    let rawValue: UInt8

    static let pool = BoundSet(rawValue: 1)
    static let database = BoundSet(rawValue: 2)
    static let user = BoundSet(rawValue: 4)
    static let broker = BoundSet(rawValue: 8)

    /// Limits of PostgreSQL's own, see `Fence`.
    static let serverFence = BoundSet(rawValue: 16)
    static let databaseFence = BoundSet(rawValue: 32)
    static let roleFence = BoundSet(rawValue: 64)

    /// What many hosts share, see `ShareBound`.
    static let share = BoundSet(rawValue: 128)

    static let fences: BoundSet = [.serverFence, .databaseFence, .roleFence]
    static let shared: BoundSet = [.database, .user, .broker, .share, .fences]
    /// Each bound that pools share, by itself.
    static let eachShared: [BoundSet] = [
        .database, .user, .broker, .share, .serverFence, .databaseFence, .roleFence,
    ]
}

/// The tallies of every bound that several pools are under.
struct SharedBounds {
    var broker = ConnectionTally()
    var databases = KeyedTallies()
    var users = KeyedTallies()
    var fences = FenceTable()
    var outages = OutageTable()
    var shares = ShareBounds()
}
