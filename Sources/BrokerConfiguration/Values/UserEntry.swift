// SPDX-License-Identifier: Apache-2.0

/// A line of `[users]`: limits of one role, in every database.
package struct UserEntry: Equatable, Sendable {
    package var name: String
    package var poolSize: Override<Int> = .inherited
    package var reservePoolSize: Override<Int> = .inherited
    package var poolMode: Override<PoolMode> = .inherited
    package var maxUserConnections: Override<Int?> = .inherited
    package var maxUserClientConnections: Override<Int?> = .inherited
    package var queryTimeout: Override<Duration?> = .inherited
    package var queryWaitTimeout: Override<Duration?> = .inherited
    package var idleTransactionTimeout: Override<Duration?> = .inherited
    package var transactionTimeout: Override<Duration?> = .inherited
    package var clientIdleTimeout: Override<Duration?> = .inherited
    package var sessionState: Override<SessionState> = .inherited
    package var isolation: Override<PoolIsolation> = .inherited
    package var pinTimeout: Override<Duration?> = .inherited
    package var pinReserve: Override<Int> = .inherited
    package var passwordCommand: String?
    package var passwordFile: String?
    package var passwordTtl: Override<Duration> = .inherited

    package init(name: String) { self.name = name }
}
