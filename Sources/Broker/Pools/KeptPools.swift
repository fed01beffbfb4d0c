// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import PostgresWire

/// Pools that exist before their first client, since the configuration says who uses them.
extension Broker {
    typealias KnownPool = (key: PoolKey, entry: DatabaseEntry)

    /// Those of the databases whose line has a user.
    var forcedUserPools: [KnownPool] {
        configuration.databases.compactMap { entry in
            guard !entry.isFallback, let user = entry.forcedUser else { return nil }
            return (PoolKey(database: entry.name, user: user), entry)
        }
    }

    /// Opens those that are to have `min_pool_size` connections, unless they are open.
    func openKeptPools() {
        for (key, entry) in forcedUserPools + onlyUserPools where directory.pools[key] == nil {
            guard configuration.poolSettings(database: entry, user: key.user).minimumSize > 0,
                !operators.stops.disabledDatabases.contains(key.database)
            else { continue }
            openPool(key, entry, startup: nil)
        }
    }

    /// Databases without a user of their own that ask for a minimum in their line, where the configuration
    /// knows one user only: the pool is certain.
    private var onlyUserPools: [KnownPool] {
        guard let user = onlyUser else { return [] }
        return configuration.databases.compactMap { entry in
            guard !entry.isFallback, entry.forcedUser == nil, entry.minPoolSize != .inherited else {
                return nil
            }
            return (PoolKey(database: entry.name, user: user), entry)
        }
    }

    /// The user of `[users]` and `auth_file`, if there is one only besides those for the console.
    private var onlyUser: String? {
        let forConsole = settings.adminUsers + settings.statsUsers
        let known = Set(configuration.users.map(\.name) + (configured.userList?.users ?? []))
            .subtracting(forConsole)
        return known.count == 1 ? known.first : nil
    }
}
