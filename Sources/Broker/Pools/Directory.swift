import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import PostgresWire

/// Which pools and groups there are. A pool is made for its first client, or at start where the configuration
/// names a user for its database.
extension Broker {
    // MARK: Pools

    /// The pool of this database as clients call it, for this client's user; nil if there is no such database.
    func pool(database: String, user: String) -> DatabasePool? {
        guard let entry = configuration.database(named: database) else { return nil }
        let serverUser = entry.forcedUser ?? user
        let key = PoolKey(database: database, user: serverUser)
        if let pool = pools[key] { return pool }
        return openPool(key, entry, startup: Self.firstLook)
    }

    /// One connection at once, so that the pool's parameters are known soon.
    private static let firstLook: StartupSchedule = {
        var schedule = StartupSchedule()
        schedule.attempts = 1
        return schedule
    }()

    @discardableResult
    func openPool(_ key: PoolKey, _ entry: DatabaseEntry, startup: StartupSchedule?) -> DatabasePool
    {
        if pools.count >= Self.poolsKept { closeUselessPools() }
        lastPool += 1
        let limits = configuration.poolSettings(database: entry, user: key.user)
        let policy = poolPolicy(key, limits)
        let pool = DatabasePool(
            id: PoolID(lastPool), database: key.database, user: key.user, entry: entry,
            password: password(for: key.user, entry), terms: terms(key, entry, limits, policy),
            broker: self)
        pools[key] = pool
        poolsByID[pool.id] = pool
        let isPaused = stops.isPaused(key.database)
        engine.openPool(
            pool.id, pool.terms, policy, startup: isPaused ? nil : startup, now: now)
        if isPaused { engine.order(.poolPauseRequested(pool.id), now: now) }
        dealWithNotices()
        return pool
    }

    /// A pool that is closed and has no connection is the engine's until its last client has gone.
    func forgetIfUnused(_ pool: DatabasePool) {
        if pool.isClosed, pool.clientCount == 0, poolsByID[pool.id] == nil {
            engine.forgetPool(pool.id)
        }
    }

    /// Behind a "*" line any name makes a pool, also one that PostgreSQL does not know.
    /// A few at a time: a login must not wait for hundreds of them.
    private func closeUselessPools() {
        var closed = 0
        for (key, pool) in pools where pool.clientCount == 0 && pool.isKnownToBeUnusable {
            pools[key] = nil
            pool.isClosed = true
            post(.poolClosed(pool.id))
            closed += 1
            if closed == Self.poolsClosedAtOnce { return }
        }
    }

    /// From here on those that nobody can use are forgotten. Until then their failure is remembered, and
    /// answers the next login.
    private static let poolsKept = 256
    private static let poolsClosedAtOnce = 16

    private func password(for user: String, _ entry: DatabaseEntry) -> Secret? {
        if let password = entry.password { return password }
        if case .plain(let password)? = userList?.secret(for: user) { return Secret(password) }
        return nil
    }

    private func terms(
        _ key: PoolKey, _ entry: DatabaseEntry, _ limits: PoolSettings, _ policy: PoolPolicy
    ) -> PoolTerms {
        PoolTerms(
            database: key.database, mode: relayMode(limits), limits: leaseLimits(limits),
            connectQuery: entry.connectQuery, serverKey: policy.fenceKeys?.server ?? 0)
    }

    private func relayMode(_ limits: PoolSettings) -> RelayMode {
        let pooling: RelayMode.Pooling
        switch limits.mode {
        case .session: pooling = .session
        case .transaction: pooling = .transaction
        case .statement: pooling = .statement
        }
        return RelayMode(
            pooling: pooling, maxPreparedStatements: settings.maxPreparedStatements,
            maxMessageSize: settings.maxPacketSize)
    }

    private func leaseLimits(_ limits: PoolSettings) -> LeaseLimits {
        var known = LeaseLimits()
        known.queryWait = limits.queryWaitTimeout
        known.query = limits.queryTimeout
        known.idleTransaction = limits.idleTransactionTimeout
        known.transaction = limits.transactionTimeout
        known.lease = settings.leaseTimeout
        // A session lease lasts as long as its client: that is no news.
        known.leaseWarning = limits.mode == .session ? nil : settings.leaseWarnAfter
        known.clientIdle = limits.clientIdleTimeout
        return known
    }

    private func poolPolicy(_ key: PoolKey, _ limits: PoolSettings) -> PoolPolicy {
        var policy = PoolPolicy(size: limits.size > 0 ? limits.size : Int(Int32.max))
        policy.minimumSize = limits.minimumSize
        policy.reserveSize = limits.reserveSize
        policy.reserveTimeout = settings.reservePoolTimeout
        policy.connectParallelism = settings.connectParallelism
        policy.retryMinimum = settings.serverLoginRetryMin
        policy.retryMaximum = max(settings.serverLoginRetry, settings.serverLoginRetryMin)
        policy.checkDelay = settings.serverCheckQuery == nil ? nil : settings.serverCheckDelay
        policy.idleTimeout = settings.serverIdleTimeout
        policy.lifetime = limits.serverLifetime
        policy.notifyAfter = settings.queryWaitNotify
        policy.roundRobin = settings.serverRoundRobin
        policy.alwaysReset =
            settings.serverResetQuery != nil
            && (limits.mode == .session || settings.serverResetQueryAlways)
        policy.databaseKey = number(of: key.database, in: &databaseKeys)
        policy.maxDatabaseConnections = limits.maxDbConnections
        policy.userKey = number(of: key.user, in: &userKeys)
        policy.maxUserConnections = limits.maxUserConnections
        policy.fenceKeys = fenceKeys(key)
        return policy
    }

    /// Which limits of PostgreSQL a pool shares with others.
    private func fenceKeys(_ key: PoolKey) -> FenceKeys? {
        guard let entry = configuration.database(named: key.database) else { return nil }
        let place = ["host", "hostaddr", "port", "service"].map {
            entry.serverParameter($0) ?? ""
        }
        let server = place.joined(separator: "\n")
        let database = entry.serverDatabase(requested: key.database) ?? ""
        return FenceKeys(
            server: number(of: server, in: &serverKeys),
            database: number(of: "\(server)\ndatabase \(database)", in: &serverKeys),
            role: number(of: "\(server)\nrole \(key.user)", in: &serverKeys))
    }

    private func number(of name: String, in numbers: inout [String: UInt32]) -> UInt32 {
        if let known = numbers[name] { return known }
        let next = UInt32(numbers.count) + 1
        numbers[name] = next
        return next
    }

    static func brokerPolicy(_ settings: Settings) -> BrokerPolicy {
        BrokerPolicy(
            maxServerConnections: settings.maxServerConnections, maxWaiting: settings.maxWaiting)
    }

    /// Brings all pools to what the configuration says now.
    func reconfigurePools() {
        engine.change(
            Self.engineSettings(settings), Self.brokerPolicy(settings), now: now)
        dealWithNotices()
        for (key, pool) in pools {
            guard let entry = configuration.database(named: key.database),
                entry.forcedUser == nil || entry.forcedUser == key.user
            else {
                closePool(key, pool)
                continue
            }
            let limits = configuration.poolSettings(database: entry, user: key.user)
            let mode = relayMode(limits)
            let password = password(for: key.user, entry)
            let isElsewhere = entry.isServerDifferent(from: pool.entry) || password != pool.password
            // What is in flight was framed under the old mode: it is for new clients only.
            if mode.pooling != pool.mode.pooling
                || mode.tracksStatements != pool.mode.tracksStatements
            {
                closePool(key, pool)
                continue
            }
            pool.entry = entry
            pool.password = password
            let policy = poolPolicy(key, limits)
            pool.terms = terms(key, entry, limits, policy)
            engine.changePool(pool.id, pool.terms, policy, now: now)
            dealWithNotices()
            if isElsewhere { post(.poolReconnectRequested(pool.id)) }
        }
        openKeptPools()
        for group in groups.values {
            reconfigure(group)
            closeIfUnused(group)
        }
    }

    /// The pool is no more: its clients are told when they next ask.
    private func closePool(_ key: PoolKey, _ pool: DatabasePool) {
        pools[key] = nil
        pool.isClosed = true
        startupForgets(key)
        post(.poolClosed(pool.id))
        for client in Array(clients.values)
        where client.pool === pool && client.isOpen && client.server == nil {
            refuse(
                client,
                .fatal(
                    .adminShutdown,
                    "the configuration of database \"\(pool.database)\" has changed",
                    hint: "Connect again."))
        }
    }

    // MARK: Groups

    /// By its name; without one, by what the kernel calls its program, which is known at once.
    func group(for client: ClientConnection) -> ClientGroup {
        let name =
            client.applicationName.isEmpty
            ? client.process?.name ?? "" : client.applicationName
        let assignment = configuration.group(
            forApplication: name, database: client.database)
        return groups[assignment.name]
            ?? openGroup(assignment.name, Self.policy(of: assignment.entry))
    }

    private func openGroup(_ name: String, _ policy: GroupPolicy) -> ClientGroup {
        let group: ClientGroup
        let isConfigured = configuration.groups.contains { !$0.isTemplate && $0.name == name }
        let times = groupTimes.times(of: name, isConfigured: isConfigured)
        if let number = freeGroups.popLast() {
            group = ClientGroup(id: number, name: name, policy: policy, times: times)
            post(.groupChanged(number, policy))
        } else {
            lastGroup += 1
            group = ClientGroup(
                id: GroupID(lastGroup), name: name, policy: policy, times: times)
            post(.groupOpened(group.id, policy))
        }
        groups[name] = group
        groupsByID[group.id] = group
        return group
    }

    func leave(_ group: ClientGroup) {
        group.members -= 1
        closeIfUnused(group)
    }

    /// The last member of a group has left, and no guarantee of a line of its own keeps it: its
    /// number is for the next name. There may be a name for each worker process that ever was.
    private func closeIfUnused(_ group: ClientGroup) {
        guard group.members == 0 else { return }
        if group.policy.minLeases > 0 {
            let isKept = configuration.groups.contains { !$0.isTemplate && $0.name == group.name }
            if isKept { return }
            group.policy = GroupPolicy()
            post(.groupChanged(group.id, group.policy))
        }
        groups[group.name] = nil
        groupsByID[group.id] = nil
        freeGroups.append(group.id)
    }

    private func reconfigure(_ group: ClientGroup) {
        let entry = configuration.groups.first {
            $0.isTemplate ? $0.match.matches(group.name) : $0.name == group.name
        }
        let policy = Self.policy(of: entry)
        guard policy != group.policy else { return }
        group.policy = policy
        post(.groupChanged(group.id, policy))
    }

    /// Groups with a guarantee exist before their first client: their connections are kept for them.
    func openGuaranteedGroups() {
        for entry in configuration.groups where entry.minLeases > 0 && !entry.isTemplate {
            guard groups[entry.name] == nil else { continue }
            _ = openGroup(entry.name, Self.policy(of: entry))
        }
    }

    private static func policy(of entry: GroupEntry?) -> GroupPolicy {
        guard let entry else { return GroupPolicy() }
        return GroupPolicy(
            weight: entry.weight, minLeases: entry.minLeases, maxLeases: entry.maxLeases)
    }
}

extension DatabaseEntry {
    /// Connections that are open now lead somewhere else, or as somebody else.
    fileprivate func isServerDifferent(from other: DatabaseEntry) -> Bool {
        serverParameters != other.serverParameters || databaseName != other.databaseName
            || forcedUser != other.forcedUser || startupParameters != other.startupParameters
            || connectQuery != other.connectQuery
    }
}
