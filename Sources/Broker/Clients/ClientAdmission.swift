// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import PostgresWire

/// How many clients there may be: max_client_conn and its kin.
extension Broker {
    /// More clients than may log in have connected and said nothing: the one that has for longest goes.
    func boundSilentClients() {
        guard directory.clientCounts.silent > settings.maxClientConn + Self.consoleReserve else {
            return
        }
        var oldest: ClientConnection?
        for client in clients.values
        where !client.hasArrived && client.isOpen && !client.isOurs {
            guard let known = oldest, known.number < client.number else {
                oldest = client
                continue
            }
        }
        guard let oldest else { return }
        refuse(oldest, Self.tooManySilent(settings.maxClientConn))
    }

    /// Clients of the console above max_client_conn: an administrator gets in when it is reached.
    private static let consoleReserve = 10

    /// A client that says who it is counts from here on, before it has proven anything. Refuses one too many.
    func isAdmitted(_ client: ClientConnection) -> Bool {
        let isConsole = ConsoleSession.databases.contains(client.database)
        let limit = settings.maxClientConn + (isConsole ? Self.consoleReserve : 0)
        guard directory.clientCounts.arrived < limit else {
            refuse(
                client,
                Self.tooManyClients(
                    "no more connections allowed (max_client_conn)", "max_client_conn",
                    settings.maxClientConn))
            return false
        }
        client.hasArrived = true
        directory.clientCounts.arrive()
        return true
    }

    func admissionError(_ client: ClientConnection) -> PgError? {
        guard let terms = admissionTerms(of: client) else {
            return noSuchDatabase(client.database)
        }
        if let limit = terms.maxDatabaseClients,
            directory.clientCounts.byDatabase[client.database, default: 0] >= limit
        {
            return Self.tooManyClients(
                "client connections exceeded (max_db_client_connections)",
                "max_db_client_connections of \"\(client.database)\"", limit)
        }
        if let limit = terms.maxUserClients,
            directory.clientCounts.byUser[client.user, default: 0] >= limit
        {
            return Self.tooManyClients(
                "client connections exceeded (max_user_client_connections)",
                "max_user_client_connections of \"\(client.user)\"", limit)
        }
        return nil
    }

    private static func tooManyClients(
        _ message: String, _ setting: String, _ limit: Int
    ) -> PgError {
        .fatal(
            .tooManyConnections, message, detail: "\(setting) is \(limit).",
            hint: "Close idle client connections or raise \(setting).")
    }

    private static func tooManySilent(_ limit: Int) -> PgError {
        .fatal(
            .tooManyConnections, "no more connections allowed (max_client_conn)",
            detail: "max_client_conn is \(limit), and more have connected without logging in.",
            hint: "Connect again: the client, or others, took too long to log in.")
    }
}
