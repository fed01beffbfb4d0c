import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import PostgresWire

/// SHOW POOLS, DATABASES, USERS, GROUPS and LISTS.
extension Broker {
    /// The row of the console itself, as pgbouncer names it.
    static let consoleName = "pgbouncer"

    var poolsInOrder: [Pool] {
        poolsByID.values.sorted {
            ($0.database, $0.user, $0.id.rawValue) < ($1.database, $1.user, $1.id.rawValue)
        }
    }

    var consoleClientCount: Int { clients.values.reduce(0) { $0 + ($1.phase == .console ? 1 : 0) } }

    // MARK: Pools

    func showPools(into rows: inout ConsoleRows) {
        let now = now
        var usedByPool: [PoolID: Int] = [:]
        var cancelsByPool: [PoolID: Int] = [:]
        for server in servers.values {
            if consoleState(of: server, now) == .used {
                usedByPool[server.pool.id, default: 0] += 1
            }
            if server.cancelsInFlight > 0 {
                cancelsByPool[server.pool.id, default: 0] += server.cancelsInFlight
            }
        }
        let waitingCancels = engine.cancelsWaiting
        for pool in poolsInOrder {
            guard let summary = engine.scheduler.summary(of: pool.id) else { continue }
            rows.add {
                addPool(
                    pool, summary, used: usedByPool[pool.id] ?? 0,
                    cancels: (cancelsByPool[pool.id] ?? 0, waitingCancels[pool.id] ?? 0), now,
                    to: &$0)
            }
        }
        rows.add {
            $0.text(Self.consoleName)
            $0.text(Self.consoleName)
            $0.integer(consoleClientCount)
            for _ in 0..<12 { $0.integer(0) }
            $0.text("statement")
            $0.text(nil)
        }
    }

    private func addPool(
        _ pool: Pool, _ summary: PoolSummary, used: Int, cancels: (sent: Int, waiting: Int),
        _ now: Instant, to row: inout ConsoleRows
    ) {
        let waiting = summary.waiting + pool.learning.count
        let oldest = pool.learning.min()
        let since = [summary.oldestWaiter, oldest].compactMap { $0 }.min()
        let wait = (since.map { now - $0 } ?? .zero).secondsAndMicroseconds
        let counts = summary.counts
        row.text(pool.database)
        row.text(pool.user)
        row.integer(max(0, pool.clientCount - waiting))
        row.integer(waiting)
        // A cancel request has a connection of its own, and waits only for a server that hangs.
        row.integer(cancels.sent)
        row.integer(cancels.waiting)
        row.integer(counts.leased)
        row.integer(cancels.sent)
        row.integer(counts.cancelling)
        row.integer(max(0, counts.idle - used))
        row.integer(used)
        row.integer(counts.validating + counts.resetting)
        row.integer(counts.connecting)
        row.integer(wait.seconds)
        row.integer(wait.microseconds)
        row.text(poolModeName(pool.mode.pooling))
        row.text(loadBalancing(pool.entry))
    }

    func poolModeName(_ pooling: RelayMode.Pooling) -> String {
        switch pooling {
        case .session: "session"
        case .transaction: "transaction"
        case .statement: "statement"
        }
    }

    /// The keyword of the database's line; without one, hosts are tried in their order.
    private func loadBalancing(_ entry: DatabaseEntry) -> String? {
        entry.serverParameter("load_balance_hosts")
    }

    // MARK: Databases

    func showDatabases(into rows: inout ConsoleRows) {
        var serversByDatabase: [String: Int] = [:]
        for server in servers.values { serversByDatabase[server.pool.database, default: 0] += 1 }
        var names = configuration.databases.filter { !$0.isFallback }.map(\.name)
        let configured = Set(names)
        // Those that only the line "*" answers for are listed once they are in use.
        names += Set(pools.keys.map(\.database)).subtracting(configured)
        for name in names.sorted() {
            guard let entry = configuration.database(named: name) else { continue }
            rows.add { addDatabase(name, entry, servers: serversByDatabase[name] ?? 0, to: &$0) }
        }
        rows.add {
            $0.text(Self.consoleName)
            $0.text(nil)
            $0.integer(settings.listenPort)
            $0.text(Self.consoleName)
            $0.text(Self.consoleName)
            for _ in 0..<4 { $0.integer(0) }
            $0.text("statement")
            $0.text(nil)
            for _ in 0..<3 { $0.integer(0) }
            $0.integer(consoleClientCount)
            for _ in 0..<3 { $0.integer(0) }
        }
    }

    private func addDatabase(
        _ name: String, _ entry: DatabaseEntry, servers: Int, to row: inout ConsoleRows
    ) {
        let lifetime = entry.serverLifetime.over(settings.serverLifetime)
        row.text(name)
        row.text(entry.serverParameter("host") ?? entry.serverParameter("hostaddr"))
        row.integer(entry.serverParameter("port").map { Int($0) } ?? 5432)
        row.text(entry.serverDatabase(requested: name))
        row.text(entry.forcedUser)
        row.integer(entry.poolSize.over(settings.defaultPoolSize))
        row.integer(entry.minPoolSize.over(settings.minPoolSize))
        row.integer(entry.reservePoolSize.over(settings.reservePoolSize))
        row.integer(lifetime.map { $0.components.seconds } ?? 0)
        row.text(entry.poolMode.over(settings.poolMode).rawValue)
        row.text(loadBalancing(entry))
        row.integer(entry.maxDbConnections.over(settings.maxDbConnections) ?? 0)
        row.integer(servers)
        row.integer(entry.maxDbClientConnections.over(settings.maxDbClientConnections) ?? 0)
        row.integer(clientsByDatabase[name] ?? 0)
        row.integer(stops.isPaused(name) ? 1 : 0)
        row.integer(stops.disabledDatabases.contains(name) ? 1 : 0)
        row.integer(entry.reservePoolSize.over(settings.reservePoolSize))
    }

    // MARK: Users

    func showUsers(into rows: inout ConsoleRows) {
        var serversByUser: [String: Int] = [:]
        for server in servers.values { serversByUser[server.pool.user, default: 0] += 1 }
        for name in knownUsers.sorted() {
            let entry = configuration.user(named: name) ?? UserEntry(name: name)
            rows.add {
                $0.text(name)
                $0.integer(entry.poolSize.own)
                $0.integer(entry.reservePoolSize.own)
                $0.text(entry.poolMode.own?.rawValue)
                $0.integer(entry.maxUserConnections.over(settings.maxUserConnections) ?? 0)
                $0.integer(serversByUser[name] ?? 0)
                $0.integer(
                    entry.maxUserClientConnections.over(settings.maxUserClientConnections) ?? 0)
                $0.integer(clientsByUser[name] ?? 0)
            }
        }
    }

    private var knownUsers: Set<String> {
        var names = Set(configuration.users.map(\.name))
        names.formUnion(userList?.users ?? [])
        names.formUnion(clientsByUser.keys)
        names.formUnion(pools.keys.map(\.user))
        return names
    }

    // MARK: Groups

    func showGroups(into rows: inout ConsoleRows) {
        let now = now
        let known = engine.scheduler.groupSummaries.compactMap { summary in
            groupsByID[summary.group].map { (group: $0, summary: summary) }
        }
        for (group, summary) in known.sorted(by: { $0.group.name < $1.group.name }) {
            rows.add {
                $0.text(group.name)
                $0.integer(group.policy.weight)
                $0.integer(group.policy.minLeases)
                $0.integer(group.policy.maxLeases)
                $0.integer(group.members)
                $0.integer(summary.leases)
                $0.integer(summary.waiting)
                $0.integer(summary.oldestWaiter.map { (now - $0).wholeMicroseconds } ?? 0)
            }
        }
    }

    // MARK: Lists

    func showLists(into rows: inout ConsoleRows) {
        let loggingIn = clients.values.reduce(0) { $0 + ($1.consoleState == .login ? 1 : 0) }
        let items = [
            ("databases", configuration.databases.filter { !$0.isFallback }.count + 1),
            ("users", knownUsers.count), ("peers", 0), ("pools", poolsByID.count + 1),
            ("peer_pools", 0),
            // Memory of connections that are gone is given back, not kept in a list.
            ("free_clients", 0), ("used_clients", clients.count - loggingIn),
            ("login_clients", loggingIn), ("free_servers", 0), ("used_servers", servers.count),
            ("dns_names", 0), ("dns_zones", 0), ("dns_queries", 0), ("dns_pending", 0),
        ]
        for (name, count) in items {
            rows.add {
                $0.text(name)
                $0.integer(count)
            }
        }
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
