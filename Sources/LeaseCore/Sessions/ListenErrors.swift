// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What clients that listen are told, word for word.
enum ListenErrors {
    static func tooFewConnections(_ setting: String, _ limit: Int, taken: Int) -> PgError {
        let hubs = taken == 1 ? "1 is" : "\(taken) are"
        let detail =
            taken == 0
            ? "\(setting) is \(limit), and the transactions need one."
            : "\(setting) is \(limit): \(hubs) taken for it already, and the transactions need one."
        return .error(
            .featureNotSupported, "LISTEN needs a server connection beside those of transactions",
            detail: detail,
            hint: "Raise \(setting), or listen on a database whose pool_mode is session.")
    }

    static func notInTime(_ limit: Duration) -> PgError {
        .error(
            .tooManyConnections,
            "no server connection to listen on became free within \(limit.inSeconds)",
            detail: "One connection of the pool listens for all of its clients.",
            hint:
                "Shorten the transactions of the holders, or raise pool_size or query_wait_timeout."
        )
    }

    static func unreachable(_ error: PgError) -> PgError {
        .error(
            error.sqlState, "no server connection to listen on: \(error.message)",
            detail: error.detail, hint: error.hint)
    }

    static let poolClosed = PgError.error(
        .adminShutdown, "the configuration of this database has changed", hint: "Connect again.")

    static func missed(_ time: Duration) -> PgError {
        PgError(
            severity: .warning, sqlState: .warning,
            message: "notifications may have been missed during the last \(time.inSeconds)",
            detail: "The server connection that listens was lost or closed, and listens again now.",
            hint: "Read again what the notifications are about.")
    }

    static func overflow(_ count: Int, _ limit: Int) -> PgError {
        PgError(
            severity: .warning, sqlState: .warning,
            message: "\(count) notifications were dropped",
            detail: "More than \(limit) bytes of them came during one transaction.",
            hint: "Listen on a connection that holds no long transactions.")
    }

    static func stopped(_ error: PgError) -> PgError {
        PgError(
            severity: .warning, sqlState: .warning,
            message: "notifications do not come any more: \(error.message)",
            detail: error.detail, hint: error.hint)
    }
}
