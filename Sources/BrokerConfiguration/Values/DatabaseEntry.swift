// SPDX-License-Identifier: Apache-2.0

/// A line of `[databases]`: where a database that clients name really is, and its own limits.
package struct DatabaseEntry: Equatable, Sendable {
    /// What clients ask for; `*` is for all that have no line of their own.
    package var name: String
    /// `dbname`: the database on the server. nil: the one that the client named (or, with
    /// `service`, the service file's).
    package var databaseName: String?
    /// libpq keywords in the order of the line, without dbname, user and password.
    package var serverParameters: [ServerParameter] = []
    /// `user`: every client of this database works as this role, in one pool.
    package var forcedUser: String?
    package var password: Secret?
    /// `client_encoding`, `datestyle`, `timezone`, `application_name`: in force on each new
    /// server connection.
    package var startupParameters: [ServerParameter] = []
    /// `connect_query`: run once on each new server connection; an error closes it.
    package var connectQuery: String?

    /// Who runs `auth_query` for clients of this database, where, and which one.
    package var authUser: String?
    package var authDbname: String?
    package var authQuery: String?

    package var poolSize: Override<Int> = .inherited
    package var minPoolSize: Override<Int> = .inherited
    package var reservePoolSize: Override<Int> = .inherited
    package var poolMode: Override<PoolMode> = .inherited
    package var maxDbConnections: Override<Int?> = .inherited
    /// nil: as in general.
    package var sharedBound: String?
    package var sharedBoundDbname: String?
    package var sharedBoundUser: String?
    package var maxDbClientConnections: Override<Int?> = .inherited
    package var serverLifetime: Override<Duration?> = .inherited
    package var queryWaitTimeout: Override<Duration?> = .inherited
    package var sessionState: Override<SessionState> = .inherited
    package var isolation: Override<PoolIsolation> = .inherited
    package var pinTimeout: Override<Duration?> = .inherited
    package var pinReserve: Override<Int> = .inherited
    package var passwordCommand: String?
    package var passwordFile: String?
    package var passwordTtl: Override<Duration> = .inherited
    package var loadBalanceHosts: Override<HostBalance> = .inherited

    package init(name: String) { self.name = name }

    /// The fallback for databases without a line.
    package var isFallback: Bool { name == "*" }

    /// Its server is one of several.
    package var hasHostList: Bool {
        ["host", "hostaddr"].contains { serverParameter($0)?.contains(",") == true }
    }

    /// The first value of a libpq keyword of this line.
    package func serverParameter(_ keyword: String) -> String? {
        serverParameters.first { $0.keyword == keyword }?.value
    }

    /// The database on the server for a client that asked for `requested`; nil leaves it to the
    /// service file.
    package func serverDatabase(requested: String) -> String? {
        if let databaseName { return databaseName }
        return serverParameter("service") == nil || isFallback ? requested : nil
    }
}
