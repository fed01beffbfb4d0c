// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import PostgresWire

/// Pools that come, change and go. One is made for its first client, or at start where the configuration names a
/// user for its database.
extension Broker {
    /// The pool of this database as clients call it, for this client's user; nil if there is no such database.
    /// `learned`: what the user's login has taught.
    func pool(
        database: String, user: String, replication: ReplicationKind?, learned: ServerSecret?
    ) -> DatabasePool? {
        let asked = PoolKey(database: database, user: user, replication: replication)
        guard let terms = admissionTerms(asked) else { return nil }
        let serverUser = terms.forcedUser ?? user
        let key = PoolKey(database: database, user: serverUser, replication: replication)
        let learned = serverUser == user ? learned : nil
        if let pool = directory.pools[key] {
            if let learned { learn(learned, for: pool) }
            return pool
        }
        guard let entry = databaseEntry(of: key) else { return nil }
        return openPool(
            key, entry, startup: replication == nil ? Self.firstLook : nil, learned: learned)
    }

    /// One connection at once, so that the pool's parameters are known soon.
    static let firstLook: StartupSchedule = {
        var schedule = StartupSchedule()
        schedule.attempts = 1
        return schedule
    }()

    @discardableResult
    func openPool(
        _ key: PoolKey, _ entry: DatabaseEntry, startup: StartupSchedule?,
        learned: ServerSecret? = nil
    ) -> DatabasePool {
        if directory.pools.open.count >= Self.poolsKept { closeUselessPools() }
        let limits = poolSettings(key, entry)
        let policy = poolPolicy(key, limits)
        let pool = DatabasePool(
            id: directory.pools.takeNumber(), key: key, entry: entry,
            password: password(for: key.user, entry), learned: learned,
            terms: terms(key, entry, limits, policy), broker: self)
        directory.pools.insert(pool)
        poolIsUnused(pool)
        let isPaused = operators.stops.isPaused(key.database) || isWithoutPlace(key)
        engine.openPool(
            pool.id, pool.terms, policy, startup: isPaused ? nil : startup, now: now)
        if isPaused { engine.order(.poolPauseRequested(pool.id), now: now) }
        if isWithoutPlace(key) { handover.before?.stopped.insert(pool.id) }
        dealWithNotices()
        return pool
    }

    /// A pool that is closed and has no connection is the engine's until its last client has gone.
    func forgetIfUnused(_ pool: DatabasePool) {
        if pool.isRetired, pool.clientCount == 0 {
            pool.isRetired = false
            post(.poolClosed(pool.id))
            return
        }
        if pool.isClosed, pool.clientCount == 0, directory.pools[pool.id] == nil {
            engine.forgetPool(pool.id)
        }
    }

    /// Behind a "*" line any name makes a pool, also one that PostgreSQL does not know.
    /// A few at a time: a login must not wait for hundreds of them.
    private func closeUselessPools() {
        var closed = 0
        for pool in directory.pools.open.values
        where pool.clientCount == 0 && pool.isKnownToBeUnusable {
            directory.pools.close(pool)
            post(.poolClosed(pool.id))
            closed += 1
            if closed == Self.poolsClosedAtOnce { return }
        }
    }

    /// From here on those that nobody can use are forgotten. Until then their failure is remembered, and
    /// answers the next login.
    private static let poolsKept = 256
    private static let poolsClosedAtOnce = 16

    func password(for user: String, _ entry: DatabaseEntry) -> Secret? {
        // The password of the line is that of its user; the one who asks auth_query there is another one.
        if let password = entry.password, entry.forcedUser == nil || entry.forcedUser == user {
            return password
        }
        if case .plain(let password)? = configured.userList?.secret(for: user) {
            return Secret(bytes: password)
        }
        return nil
    }

    private func terms(
        _ key: PoolKey, _ entry: DatabaseEntry, _ limits: PoolSettings, _ policy: PoolPolicy
    ) -> PoolTerms {
        let isReplication = key.replication != nil
        var terms = PoolTerms(
            database: key.database, mode: relayMode(limits), limits: leaseLimits(limits),
            connectQuery: isReplication ? nil : entry.connectQuery,
            serverKey: policy.fenceKeys?.server ?? 0, maxPins: limits.maxPins)
        terms.isReplication = isReplication
        if isReplication { terms.limits.lease = nil }
        terms.sessionState = limits.sessionState.policy
        terms.isolation = limits.isolation.policy
        terms.wanted =
            entry.serverParameter("target_session_attrs").flatMap(WantedServer.init) ?? .any
        return terms
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
        known.pin = limits.pinTimeout
        known.placeNotice = settings.queryWaitNotify
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
        policy.closesAfterUse = limits.serverLifetime == nil && configuration.flavour == .pgbouncer
        policy.notifyAfter = settings.queryWaitNotify
        policy.roundRobin = settings.serverRoundRobin
        policy.servesOnce = key.replication != nil
        policy.alwaysReset =
            settings.serverResetQuery != nil && !policy.servesOnce
            && (limits.mode == .session || settings.serverResetQueryAlways)
        policy.databaseKey = directory.policyNumbers.database(key.database)
        policy.maxDatabaseConnections = limits.maxDbConnections
        policy.userKey = directory.policyNumbers.user(key.user)
        policy.maxUserConnections = limits.maxUserConnections
        policy.fenceKeys = fenceKeys(key)
        policy.shareKey = limits.sharedBound.map { sharing.bounds.key(of: $0) }
        share(&policy, of: key)
        return policy
    }

    /// What the configuration says now; nil: it has no such pool any more.
    func poolPolicy(_ pool: DatabasePool) -> PoolPolicy? {
        databaseEntry(of: pool.key).map { poolPolicy(pool.key, poolSettings(pool.key, $0)) }
    }

    /// Which limits of PostgreSQL a pool shares with others.
    private func fenceKeys(_ key: PoolKey) -> FenceKeys? {
        guard let entry = databaseEntry(of: key) else { return nil }
        var place = ["host", "hostaddr", "port", "service"].map {
            entry.serverParameter($0) ?? ""
        }
        // Of one list the one that writes may be away, and those that only read there.
        if entry.hasHostList { place.append(entry.serverParameter("target_session_attrs") ?? "") }
        // Walsenders have places of their own there (max_wal_senders).
        if key.replication != nil { place.append("walsenders") }
        let server = place.joined(separator: "\n")
        let database =
            key.replication == .physical ? "" : entry.serverDatabase(requested: key.database) ?? ""
        return FenceKeys(
            server: directory.policyNumbers.place(server),
            database: directory.policyNumbers.place("\(server)\ndatabase \(database)"),
            role: directory.policyNumbers.place("\(server)\nrole \(key.user)"))
    }

    static func brokerPolicy(_ settings: Settings) -> BrokerPolicy {
        BrokerPolicy(
            maxServerConnections: settings.maxServerConnections, maxWaiting: settings.maxWaiting)
    }

    /// Brings all pools to what the configuration says now. Connections that were made with other settings of
    /// TLS are replaced: they may be less secure than what is asked for now.
    func reconfigurePools(reconnecting: Bool = false) {
        var policy = Self.brokerPolicy(settings)
        share(&policy)
        engine.change(Self.engineSettings(settings), policy, now: now)
        dealWithNotices()
        for (key, pool) in directory.pools.open {
            guard let entry = databaseEntry(of: key),
                entry.forcedUser == nil || entry.forcedUser == key.user
                    || asksQueries(key)
            else {
                closePool(pool)
                continue
            }
            let limits = poolSettings(key, entry)
            let mode = relayMode(limits)
            let password = password(for: key.user, entry)
            let isElsewhere = entry.isServerDifferent(from: pool.entry) || password != pool.password
            // What is in flight was framed under the old mode: it is for new clients only.
            if mode.pooling != pool.mode.pooling
                || mode.tracksStatements != pool.mode.tracksStatements
            {
                retirePool(pool)
                continue
            }
            pool.entry = entry
            pool.password = password
            let policy = poolPolicy(key, limits)
            pool.terms = terms(key, entry, limits, policy)
            engine.changePool(pool.id, pool.terms, policy, now: now)
            dealWithNotices()
            if isElsewhere || reconnecting { post(.poolReconnectRequested(pool.id)) }
        }
        for pool in directory.pools.inOrder
        where pool.isRetired && databaseEntry(of: pool.key) == nil {
            closePool(pool)
        }
        forgetUnusedPlaces()
        forgetPasswords()
        openKeptPools()
        lookAtIdlePools(by: now)
        for group in directory.groups.all {
            reconfigure(group)
            closeIfUnused(group)
        }
    }

    /// Those who are in the pool go on as they came; who comes from now on joins another. The last one who leaves takes
    /// the pool along.
    private func retirePool(_ pool: DatabasePool) {
        guard pool.clientCount > 0 else { return closePool(pool) }
        directory.pools.close(pool)
        pool.isRetired = true
        startupForgets(pool.key)
    }

    /// The pool is no more: its clients are told when they next ask.
    private func closePool(_ pool: DatabasePool) {
        directory.pools.close(pool)
        pool.isRetired = false
        startupForgets(pool.key)
        post(.poolClosed(pool.id))
        for client in Array(clients.values)
        where client.pool === pool && client.isOpen && client.server == nil {
            refuse(
                client,
                .fatal(
                    .adminShutdown, "database configuration changed",
                    detail: "The configuration of database \"\(pool.database)\" has changed.",
                    hint: "Connect again."))
        }
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

extension SessionState {
    var policy: SessionStatePolicy {
        switch self {
        case .keep: .keep
        case .refuse: .refuse
        case .drop: .drop
        }
    }
}

extension PoolIsolation {
    var policy: LeaseIsolation {
        switch self {
        case .tracked: .tracked
        case .strict: .strict
        }
    }
}
