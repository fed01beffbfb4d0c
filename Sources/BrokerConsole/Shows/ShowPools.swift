// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// SHOW POOLS, DATABASES, USERS and GROUPS.
extension BrokerSnapshot {
    // MARK: Pools

    func showPools(into rows: inout ConsoleRows) {
        var shown = pools
        for pool in replications {
            if let index = shown.firstIndex(where: {
                $0.database == pool.database && $0.user == pool.user
            }) {
                shown[index].add(replications: pool)
            } else {
                shown.append(pool)
            }
        }
        for pool in shown { rows.add { add(pool, to: &$0) } }
        rows.add {
            $0.text(Self.consoleName)
            $0.text(Self.consoleName)
            $0.integer(whole.consoleClients)
            for _ in 0..<12 { $0.integer(0) }
            $0.text("statement")
            $0.text(nil)
            $0.integer(0)
            $0.integer(0)
        }
    }

    private func add(_ pool: PoolFacts, to row: inout ConsoleRows) {
        let wait = (pool.oldestWaiter.map { now - $0 } ?? .zero).secondsAndMicroseconds
        let counts = pool.summary.counts
        row.text(pool.database)
        row.text(pool.user)
        row.integer(max(0, pool.clients - pool.waiting))
        row.integer(pool.waiting)
        // A cancel request has a connection of its own, and waits only for a server that hangs.
        row.integer(pool.cancelsSent)
        row.integer(pool.cancelsWaiting)
        row.integer(counts.leased - pool.parked)
        row.integer(pool.cancelsSent)
        row.integer(counts.cancelling)
        row.integer(max(0, counts.idle - pool.used))
        row.integer(pool.used)
        row.integer(counts.validating + counts.resetting)
        row.integer(counts.connecting)
        row.integer(wait.seconds)
        row.integer(wait.microseconds)
        row.text(pool.mode.name)
        row.text(pool.loadBalancing)
        row.integer(pool.pinReasons.count)
        row.integer(pool.parked)
    }

    // MARK: Databases

    func showDatabases(into rows: inout ConsoleRows) {
        for database in databases { rows.add { add(database, to: &$0) } }
        rows.add {
            $0.text(Self.consoleName)
            $0.text(nil)
            $0.integer(whole.listenPort)
            $0.text(Self.consoleName)
            $0.text(Self.consoleName)
            for _ in 0..<4 { $0.integer(0) }
            $0.text("statement")
            $0.text(nil)
            for _ in 0..<3 { $0.integer(0) }
            $0.integer(whole.consoleClients)
            for _ in 0..<3 { $0.integer(0) }
        }
    }

    private func add(_ database: DatabaseFacts, to row: inout ConsoleRows) {
        row.text(database.name)
        row.text(database.host)
        row.integer(database.port)
        row.text(database.serverDatabase)
        row.text(database.forcedUser)
        row.integer(database.poolSize)
        row.integer(database.minPoolSize)
        row.integer(database.reservePoolSize)
        row.integer(database.serverLifetime)
        row.text(database.poolMode)
        row.text(database.loadBalancing)
        row.integer(database.maxServers)
        row.integer(database.servers)
        row.integer(database.maxClients)
        row.integer(database.clients)
        row.integer(database.isPaused ? 1 : 0)
        row.integer(database.isDisabled ? 1 : 0)
        row.integer(database.reservePoolSize)
    }

    // MARK: Users

    func showUsers(into rows: inout ConsoleRows) {
        for user in users {
            rows.add {
                $0.text(user.name)
                $0.integer(user.poolSize)
                $0.integer(user.reservePoolSize)
                $0.text(user.poolMode)
                $0.integer(user.maxServers)
                $0.integer(user.servers)
                $0.integer(user.maxClients)
                $0.integer(user.clients)
            }
        }
    }

    // MARK: Groups

    func showGroups(into rows: inout ConsoleRows) {
        for group in groups {
            let summary = group.summary
            rows.add {
                $0.text(group.name)
                $0.integer(group.policy.weight)
                $0.integer(group.policy.minLeases)
                $0.integer(group.policy.maxLeases)
                $0.integer(group.members)
                $0.integer(summary.leases - group.parked)
                $0.integer(summary.waiting)
                $0.integer(summary.oldestWaiter.map { (now - $0).wholeMicroseconds } ?? 0)
                $0.integer(group.policy.maxPins)
                $0.integer(group.pinned)
                $0.integer(group.parked)
            }
        }
    }
}
