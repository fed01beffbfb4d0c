// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import Logging
import PostgresWire

/// Connections that give way to DROP DATABASE, ALTER DATABASE … RENAME and CREATE DATABASE … TEMPLATE.
///
/// PostgreSQL refuses these while anybody is connected to the database, after it has waited for five seconds. So idle
/// connections of its pools are closed when such a statement of a client's arrives, those in use when they come back,
/// and `min_pool_size` opens none for that time. Clients that ask for one get one: PostgreSQL makes them wait.
extension Broker {
    func freeDatabase(_ name: String, for id: ClientID) {
        guard let client = clients[id], let own = client.pool else { return }
        let place = Self.place(of: own.entry)
        for pool in directory.pools.inOrder
        where pool !== own && Self.place(of: pool.entry) == place
            && pool.entry.serverDatabase(requested: pool.database) == name
        {
            vacate(pool)
        }
        dealWithNotices()
        engine.databaseIsFree(id, now: now)
    }

    private static func place(of entry: DatabaseEntry) -> [String] {
        ["host", "hostaddr", "port", "service"].map { entry.serverParameter($0) ?? "" }
    }

    private func vacate(_ pool: DatabasePool) {
        logger.info(
            "idle connections give way to a command that wants the database for itself",
            metadata: ["database": "\(pool.database)", "user": "\(pool.user)"])
        let until = now + .seconds(6)
        operators.vacated[pool.id] = until
        turn.keepHouse(by: until)
        var policy = poolPolicy(pool)
        policy?.minimumSize = 0
        if let policy { engine.changePool(pool.id, pool.terms, policy, now: now) }
        post(.poolReconnectRequested(pool.id))
    }

    /// `min_pool_size` counts again.
    func lookAtVacated(_ now: Instant) {
        guard !operators.vacated.isEmpty else { return }
        for (id, until) in operators.vacated {
            guard until <= now else {
                turn.keepHouse(by: until)
                continue
            }
            operators.vacated[id] = nil
            guard let pool = directory.pools[id], let policy = poolPolicy(pool) else { continue }
            engine.changePool(id, pool.terms, policy, now: now)
            dealWithNotices()
        }
    }
}
