// SPDX-License-Identifier: Apache-2.0

/// What is in force for the pool of one database and user: the user's word before the database's,
/// the database's before the general one, as in pgbouncer.
package struct PoolSettings: Equatable, Sendable {
    package internal(set) var mode: PoolMode
    package internal(set) var size: Int
    package internal(set) var minimumSize: Int
    package internal(set) var reserveSize: Int
    package internal(set) var maxDbConnections: Int?
    package internal(set) var maxUserConnections: Int?
    package internal(set) var sharedBound: SharedBoundName?
    package internal(set) var maxDbClientConnections: Int?
    package internal(set) var maxUserClientConnections: Int?
    package internal(set) var serverLifetime: Duration?
    package internal(set) var queryWaitTimeout: Duration?
    package internal(set) var queryTimeout: Duration?
    package internal(set) var idleTransactionTimeout: Duration?
    package internal(set) var transactionTimeout: Duration?
    package internal(set) var clientIdleTimeout: Duration?
    package internal(set) var sessionState: SessionState
    package internal(set) var isolation: PoolIsolation
    package internal(set) var pinTimeout: Duration?
    /// How many leases may be pinned at a time; nil: there are no pins.
    package internal(set) var maxPins: Int?

    /// How many connections a pool of that size may have; 0 is no limit.
    static func bound(_ size: Int) -> Int { size > 0 ? size : Int(Int32.max) }

    /// For replication: as many as the shared bounds allow, none before a client comes, and no limit to how long
    /// anything lasts.
    package var forReplication: PoolSettings {
        var settings = self
        settings.mode = .session
        settings.size = 0
        settings.minimumSize = 0
        settings.reserveSize = 0
        settings.serverLifetime = nil
        settings.queryTimeout = nil
        settings.idleTransactionTimeout = nil
        settings.transactionTimeout = nil
        settings.clientIdleTimeout = nil
        settings.pinTimeout = nil
        settings.maxPins = nil
        return settings
    }
}

/// Which bound, the line of [databases] in whose database its table is, and who asks there.
package struct SharedBoundName: Hashable, Sendable {
    package var name: String
    package var database: String
    /// nil: the role of the pools.
    package var user: String?

    package init(name: String, database: String, user: String? = nil) {
        self.name = name
        self.database = database
        self.user = user
    }
}

extension Configuration {
    package func sharedBound(of database: DatabaseEntry) -> SharedBoundName? {
        guard let name = database.sharedBound ?? settings.sharedBound, !name.isEmpty else {
            return nil
        }
        return SharedBoundName(
            name: name,
            database: database.sharedBoundDbname ?? settings.sharedBoundDbname ?? database.name,
            user: [database.sharedBoundUser, settings.sharedBoundUser].lazy.compactMap { $0 }
                .first { !$0.isEmpty })
    }

    package func poolSettings(
        database: DatabaseEntry, user userName: String
    ) -> PoolSettings {
        let user = user(named: userName) ?? UserEntry(name: userName)
        let mode = user.poolMode.or(database.poolMode).over(settings.poolMode)
        let size = user.poolSize.or(database.poolSize).over(settings.defaultPoolSize)
        let maxDbConnections = database.maxDbConnections.over(settings.maxDbConnections)
        let maxUserConnections = user.maxUserConnections.over(settings.maxUserConnections)
        let most = [maxDbConnections, maxUserConnections, settings.maxServerConnections]
            .compactMap { $0 }.reduce(PoolSettings.bound(size), min)
        let pinReserve = user.pinReserve.or(database.pinReserve).over(settings.pinReserve)
        return PoolSettings(
            mode: mode,
            size: size,
            minimumSize: database.minPoolSize.over(settings.minPoolSize),
            reserveSize: user.reservePoolSize.or(database.reservePoolSize)
                .over(settings.reservePoolSize),
            maxDbConnections: maxDbConnections,
            maxUserConnections: maxUserConnections,
            sharedBound: sharedBound(of: database),
            maxDbClientConnections: database.maxDbClientConnections
                .over(settings.maxDbClientConnections),
            maxUserClientConnections: user.maxUserClientConnections
                .over(settings.maxUserClientConnections),
            serverLifetime: database.serverLifetime.over(settings.serverLifetime),
            queryWaitTimeout: user.queryWaitTimeout.or(database.queryWaitTimeout)
                .over(settings.queryWaitTimeout),
            queryTimeout: user.queryTimeout.over(settings.queryTimeout),
            idleTransactionTimeout: user.idleTransactionTimeout
                .over(settings.idleTransactionTimeout),
            transactionTimeout: user.transactionTimeout.over(settings.transactionTimeout),
            clientIdleTimeout: user.clientIdleTimeout.over(settings.clientIdleTimeout),
            sessionState: user.sessionState.or(database.sessionState).over(settings.sessionState),
            isolation: user.isolation.or(database.isolation).over(settings.isolation),
            pinTimeout: user.pinTimeout.or(database.pinTimeout).over(settings.pinTimeout),
            maxPins: mode == .session ? nil : max(0, most - pinReserve))
    }
}
