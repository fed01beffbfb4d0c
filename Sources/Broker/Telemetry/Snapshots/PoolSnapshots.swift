// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import BrokerConsole
import LeaseCore

/// Pools, databases, users and groups, as a snapshot has them.
extension Broker {
    // MARK: Pools

    func facts(of pools: [DatabasePool], withTimes: Bool) -> [PoolFacts] {
        if pools.isEmpty { return [] }
        let servers = serversByPool
        let waitingCancels = engine.cancelsWaiting
        var all: [PoolFacts] = []
        for pool in pools {
            guard let summary = engine.scheduler.summary(of: pool.id) else { continue }
            var facts = PoolFacts(summary)
            let own = servers[pool.id] ?? ServersOfPool()
            facts.database = pool.database
            facts.user = pool.user
            facts.replication = pool.replication
            facts.clients = pool.clientCount
            facts.learning = pool.learning
            facts.used = own.used
            facts.cancelsSent = own.cancels
            facts.cancelsWaiting = waitingCancels[pool.id] ?? 0
            facts.mode = pool.mode.pooling
            facts.loadBalancing = Self.loadBalancing(pool.entry)
            facts.isPaused = operators.stops.isPaused(pool.database)
            facts.isDisabled = operators.stops.disabledDatabases.contains(pool.database)
            facts.hasFailed = pool.lastFailure != nil
            facts.oldestLease = own.oldestLease
            facts.warned = own.warned
            facts.parked = own.parked
            facts.pinReasons = own.pinReasons
            facts.awaitingPins = engine.pinWaiters(of: pool.id).map(\.since)
            if withTimes { facts.times = pool.times }
            all.append(facts)
        }
        return all
    }

    private struct ServersOfPool {
        var used = 0
        var cancels = 0
        var oldestLease: Instant?
        var warned = 0
        var parked = 0
        var pinReasons: [PinReasons] = []
    }

    private var serversByPool: [PoolID: ServersOfPool] {
        let now = now
        var all: [PoolID: ServersOfPool] = [:]
        for server in servers.values {
            var own = all[server.pool.id] ?? ServersOfPool()
            if consoleState(of: server, now) == .used { own.used += 1 }
            own.cancels += server.cancelsInFlight
            if engine.liesParked(server.id) {
                own.parked += 1
            } else if server.isLeased {
                own.oldestLease = min(own.oldestLease ?? now, server.leaseSince)
                if server.wasWarnedAbout { own.warned += 1 }
                if !server.pinReasons.isEmpty { own.pinReasons.append(server.pinReasons) }
            }
            all[server.pool.id] = own
        }
        return all
    }

    /// nil: there is one host only.
    private static func loadBalancing(_ entry: DatabaseEntry) -> String? {
        entry.hasHostList ? entry.loadBalanceHosts.over(.roundRobin).rawValue : nil
    }

    // MARK: Databases

    var databaseFacts: [DatabaseFacts] {
        var servers: [String: Int] = [:]
        for server in self.servers.values { servers[server.pool.database, default: 0] += 1 }
        var names = configuration.databases.filter { !$0.isFallback }.map(\.name)
        let configured = Set(names)
        // Those that only the line "*" answers for are listed once they are in use.
        names += Set(directory.pools.open.keys.map(\.database)).subtracting(configured)
        return names.sorted().compactMap { name in
            configuration.database(named: name).map {
                facts(of: name, $0, servers: servers[name] ?? 0)
            }
        }
    }

    private func facts(of name: String, _ entry: DatabaseEntry, servers: Int) -> DatabaseFacts {
        var facts = DatabaseFacts(name)
        let lifetime = entry.serverLifetime.over(settings.serverLifetime)
        facts.host = entry.serverParameter("host") ?? entry.serverParameter("hostaddr")
        facts.port = entry.serverParameter("port").map { Int($0) ?? 0 } ?? 5432
        facts.serverDatabase = entry.serverDatabase(requested: name)
        facts.forcedUser = entry.forcedUser
        facts.poolSize = entry.poolSize.over(settings.defaultPoolSize)
        facts.minPoolSize = entry.minPoolSize.over(settings.minPoolSize)
        facts.reservePoolSize = entry.reservePoolSize.over(settings.reservePoolSize)
        facts.serverLifetime = lifetime.map { $0.components.seconds } ?? 0
        facts.poolMode = entry.poolMode.over(settings.poolMode).rawValue
        facts.loadBalancing = Self.loadBalancing(entry)
        facts.maxServers = entry.maxDbConnections.over(settings.maxDbConnections) ?? 0
        facts.servers = servers
        facts.maxClients = entry.maxDbClientConnections.over(settings.maxDbClientConnections) ?? 0
        facts.clients = directory.clientCounts.byDatabase[name] ?? 0
        facts.isPaused = operators.stops.isPaused(name)
        facts.isDisabled = operators.stops.disabledDatabases.contains(name)
        return facts
    }

    // MARK: Users

    var userFacts: [UserFacts] {
        var servers: [String: Int] = [:]
        for server in self.servers.values { servers[server.pool.user, default: 0] += 1 }
        return knownUsers.sorted().map { name in
            let entry = configuration.user(named: name) ?? UserEntry(name: name)
            var facts = UserFacts(name)
            facts.poolSize = entry.poolSize.own
            facts.reservePoolSize = entry.reservePoolSize.own
            facts.poolMode = entry.poolMode.own?.rawValue
            facts.maxServers = entry.maxUserConnections.over(settings.maxUserConnections) ?? 0
            facts.servers = servers[name] ?? 0
            facts.maxClients =
                entry.maxUserClientConnections.over(settings.maxUserClientConnections) ?? 0
            facts.clients = directory.clientCounts.byUser[name] ?? 0
            return facts
        }
    }

    var knownUsers: Set<String> {
        var names = Set(configuration.users.map(\.name))
        names.formUnion(configured.userList?.users ?? [])
        names.formUnion(directory.clientCounts.byUser.keys)
        names.formUnion(directory.pools.open.keys.map(\.user))
        return names
    }

    // MARK: Groups

    /// By name.
    var groupFacts: [GroupFacts] {
        var pinned: [GroupID: Int] = [:]
        for server in servers.values where !server.pinReasons.isEmpty {
            if let group = server.client?.group { pinned[group.id, default: 0] += 1 }
        }
        var parked: [GroupID: Int] = [:]
        for server in servers.values where engine.liesParked(server.id) {
            if let group = server.client?.group { parked[group.id, default: 0] += 1 }
        }
        var all: [GroupFacts] = []
        for summary in engine.scheduler.groupSummaries {
            guard let group = directory.groups[summary.group] else { continue }
            var facts = GroupFacts(group.name, summary, group.policy)
            facts.members = group.members
            facts.pinned = pinned[group.id] ?? 0
            facts.parked = parked[group.id] ?? 0
            facts.timesName = group.times.group
            all.append(facts)
        }
        return all.sorted { $0.name < $1.name }
    }
}

extension Override {
    /// nil: it says nothing.
    fileprivate var own: Value? {
        switch self {
        case .inherited: nil
        case .value(let value): value
        }
    }
}
