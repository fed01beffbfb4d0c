// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import BrokerConsole
import LeaseCore
import Logging
import PostgresWire

/// What is known of the password of a client's user.
enum ClientSecret {
    case found(StoredSecret)
    /// There is no such user.
    case nobody
    /// It could not be found out.
    case failed(PgError)
}

extension Broker {
    /// Finds the secret of the client's user: in `auth_file`, else by `auth_query`, for which the client waits.
    func findSecret(
        of client: ClientConnection,
        then: @escaping (Broker, ClientConnection, ClientSecret) -> Void
    ) {
        if let secret = configured.userList?.secret(for: client.user) {
            then(self, client, .found(secret))
            return
        }
        guard let query = authenticationQuery(for: client) else {
            then(self, client, .nobody)
            return
        }
        setAside(client)
        let id = client.id
        ask(
            AuthenticationQueries.Question(client: id, user: client.user, text: query.text) {
                broker, answer in
                broker.takeUp(id) { broker, client in
                    then(broker, client, broker.judge(answer, query, client))
                }
            }, at: query.place)
    }

    /// Where the client's user would be looked up, and how; nil: nowhere.
    func authenticationQuery(
        for client: ClientConnection
    ) -> (place: AuthenticationQueries.Place, text: String)? {
        let isConsole = ConsoleSession.databases.contains(client.database)
        return authenticationQuery(isConsole ? nil : databaseEntry(for: client), client.database)
    }

    /// Whether it would be looked up anywhere.
    func hasAuthenticationQuery(for client: ClientConnection) -> Bool {
        if ConsoleSession.databases.contains(client.database) {
            return authenticationQuery(nil, client.database) != nil
        }
        return admissionTerms(of: client)?.hasAuthenticationQuery
            ?? (authenticationQuery(nil, client.database) != nil)
    }

    /// Where users of the database are looked up. Without a line of its own it is the console, or unknown.
    func authenticationQuery(
        _ entry: DatabaseEntry?, _ name: String
    ) -> (place: AuthenticationQueries.Place, text: String)? {
        guard let user = entry?.authUser ?? settings.authUser,
            let text = entry?.authQuery ?? settings.authQuery,
            let database = entry?.authDbname ?? settings.authDbname
                ?? (entry == nil ? nil : name)
        else { return nil }
        return (AuthenticationQueries.Place(database: database, user: user), text)
    }

    private func judge(
        _ answer: QueriedSecret, _ query: (place: AuthenticationQueries.Place, text: String),
        _ client: ClientConnection
    ) -> ClientSecret {
        switch answer {
        case .found(let secret):
            jobs.queries.failures[query.place] = nil
            if !secret.isEmpty { jobs.queries.recentForm = secret.form }
            client.login?.isFromQuery = true
            return .found(secret)
        case .nobody:
            jobs.queries.failures[query.place] = nil
            return .nobody
        case .refused(let error):
            note(
                failure: error.message, state: error.sqlState, hint: Self.advice(error),
                at: query.place)
        case .unusable(let what):
            note(
                failure: "the answer is \(what)", state: .internalError,
                hint: "auth_query is to answer one row of the user's name and secret.",
                at: query.place)
        }
        return .failed(Self.notLookedUp(query.place))
    }

    private static func advice(_ error: PgError) -> String {
        switch error.sqlState.rawValue {
        case "42501":
            "Let auth_user read pg_authid, or call a SECURITY DEFINER function in auth_query."
        case "42883", "42P01", "42704":
            "Write names with their schemas (public.user_lookup): no search_path leads to them."
        case "28P01", "28000":
            "The password of auth_user is to be in auth_file, as it is or as a secret that the server takes."
        default: error.hint ?? "Correct auth_query, auth_user or auth_dbname, and RELOAD."
        }
    }

    /// One line for each incident, however many logins fail by it.
    private func note(
        failure reason: String, state: SQLState, hint: String, at place: AuthenticationQueries.Place
    ) {
        if let last = jobs.queries.failures[place], last.reason == reason,
            now - last.since < AuthenticationQueries.silence
        {
            return
        }
        jobs.queries.failures[place] = (reason, now)
        logger.warning(
            "auth_query failed",
            metadata: [
                "database": "\(place.database)", "user": "\(place.user)",
                "sqlstate": "\(state.rawValue)", "reason": "\(reason)", "hint": "\(hint)",
            ])
    }

    private static func notLookedUp(_ place: AuthenticationQueries.Place) -> PgError {
        .fatal(
            .cannotConnectNow, "the user could not be looked up",
            detail: "auth_query failed in database \"\(place.database)\".",
            hint: "The broker's log says why.")
    }
}
