// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LibSSL
import Logging
import PostgresWire

/// pgbouncer's words for logins, closes and errors: people's alerts match on them. The text log has them in the place of
/// the constant message.
extension Broker {
    func logAttempt(_ client: ClientConnection) {
        guard settings.logConnections else { return }
        let tls = client.encryption?.stream.summary ?? "no"
        logger.info(
            "login attempt",
            metadata: describe(
                client,
                with: [
                    LogLine.wordsKey:
                        "\(prefix(client)) login attempt: db=\(client.database) user=\(client.user) tls=\(tls) replication=\(Self.word(for: client.replication))"
                ]))
    }

    private static func word(for replication: ReplicationKind?) -> String {
        switch replication {
        case nil: "no"
        case .logical: "database"
        case .physical: "yes"
        }
    }

    func closing(
        _ client: ClientConnection, _ reason: String, _ age: Duration
    ) -> Logger.MetadataValue {
        let words = Self.closingWords[reason] ?? reason
        return "\(prefix(client)) closing because: \(words) (age=\(age.components.seconds)s)"
    }

    func handshakeError(_ client: ClientConnection, _ reason: String) -> Logger.MetadataValue {
        "\(prefix(client)) TLS handshake error: handshake failed: \(reason)"
    }

    func poolerError(_ client: ClientConnection, _ error: PgError) -> Logger.MetadataValue {
        "\(prefix(client)) pooler error: \(error.message)"
    }

    func logConsoleError(_ client: ClientConnection, _ error: PgError) {
        guard settings.logPoolerErrors else { return }
        logger.warning(
            "console command refused",
            metadata: describe(
                client,
                with: [
                    "sqlstate": "\(error.sqlState.rawValue)", "reason": "\(error.message)",
                    LogLine.wordsKey: poolerError(client, error),
                ]))
    }

    private static let closingWords = [
        "client said goodbye": "client close request",
        "client said goodbye during login": "client close request",
        "client closed the connection": "client unexpected eof",
    ]

    private func prefix(_ client: ClientConnection) -> String {
        let database = client.database.isEmpty ? "(nodb)" : client.database
        let user = client.user.isEmpty ? "(nouser)" : client.user
        return "C-\(client.id): \(database)/\(user)@\(client.origin)"
    }
}
