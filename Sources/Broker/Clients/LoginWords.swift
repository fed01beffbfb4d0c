// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import PostgresWire

/// What pgbouncer says at a login besides PostgreSQL's own messages.
extension Broker {
    /// The version of pgbouncer that this is in the place of.
    package static let pgbouncerVersion = "1.26.1"

    /// With a section `[pgbouncer]`: drivers look for it. `pool` is nil for the console.
    func appendPgbouncerParameters(_ pool: DatabasePool?, to bytes: inout [UInt8]) {
        guard configuration.flavour == .pgbouncer else { return }
        bytes.appendParameterStatus(name: "pgbouncer.version", value: Self.pgbouncerVersion)
        guard let pool else { return }
        let mode =
            switch pool.mode.pooling {
            case .session: PoolMode.session
            case .transaction: PoolMode.transaction
            case .statement: PoolMode.statement
            }
        bytes.appendParameterStatus(name: "pgbouncer.pool_mode", value: mode.rawValue)
        bytes.appendParameterStatus(
            name: "pgbouncer.max_prepared_statements", value: "\(pool.mode.maxPreparedStatements)")
    }

    /// `login_notify_message`.
    func appendLoginNotice(to bytes: inout [UInt8]) {
        guard let message = settings.loginNotifyMessage else { return }
        bytes.appendNoticeResponse(
            PgError(severity: .notice, sqlState: .successfulCompletion, message: message))
    }
}
