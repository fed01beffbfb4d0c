/// What is in force for the pool of one database and user: the user's word before the database's,
/// the database's before the general one, as in pgbouncer.
package struct PoolSettings: Equatable, Sendable {
    package let mode: PoolMode
    package let size: Int
    package let minimumSize: Int
    package let reserveSize: Int
    package let maxDbConnections: Int?
    package let maxUserConnections: Int?
    package let sharedBound: SharedBoundName?
    package let maxDbClientConnections: Int?
    package let maxUserClientConnections: Int?
    package let serverLifetime: Duration?
    package let queryWaitTimeout: Duration?
    package let queryTimeout: Duration?
    package let idleTransactionTimeout: Duration?
    package let transactionTimeout: Duration?
    package let clientIdleTimeout: Duration?
    package let sessionState: SessionState
    package let isolation: PoolIsolation
    package let pinTimeout: Duration?
    /// How many leases may be pinned at a time; nil: there are no pins.
    package let maxPins: Int?
}

/// Which bound, and the line of [databases] in whose database its table is.
package struct SharedBoundName: Hashable, Sendable {
    package var name: String
    package var database: String

    package init(name: String, database: String) {
        self.name = name
        self.database = database
    }
}

extension Configuration {
    package func sharedBound(of database: DatabaseEntry) -> SharedBoundName? {
        guard let name = database.sharedBound ?? settings.sharedBound, !name.isEmpty else {
            return nil
        }
        return SharedBoundName(
            name: name,
            database: database.sharedBoundDbname ?? settings.sharedBoundDbname ?? database.name)
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
            .compactMap { $0 }.reduce(size, min)
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
