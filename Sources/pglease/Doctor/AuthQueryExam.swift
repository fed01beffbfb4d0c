// SPDX-License-Identifier: Apache-2.0

import Broker
import BrokerConfiguration
import LibPQ
import OperatorTools

/// Whether `auth_query` can be run, and answers a user and a secret. Neither is shown.
struct AuthQueryExam {
    private static let topic = "auth_query"
    private(set) var findings: [Finding] = []

    init(_ loaded: LoadedConfiguration, timeout: Duration) {
        let configuration = loaded.configuration
        var looked: Set<[String]> = []
        for entry in configuration.databases {
            guard let user = entry.authUser ?? configuration.settings.authUser,
                let query = entry.authQuery ?? configuration.settings.authQuery
            else { continue }
            // The line * without auth_dbname asks in whatever database a client names.
            let database =
                entry.authDbname ?? configuration.settings.authDbname
                ?? (entry.isFallback ? "postgres" : entry.name)
            guard looked.insert([database, user, query]).inserted else { continue }
            guard let place = configuration.database(named: database) else {
                findings.append(
                    .wrong(
                        Self.topic, "auth_dbname \(database) has no line in [databases]",
                        do: "add the line, or correct auth_dbname"))
                continue
            }
            let login = TrialLogin(loaded, place, database: database, user: user)
            ask(login, query, "\(user) in \(database)", user, timeout)
        }
    }

    private mutating func ask(
        _ login: TrialLogin, _ query: String, _ name: String, _ user: String, _ timeout: Duration
    ) {
        do throws(ConnectionFailure) {
            guard
                let parameters = try? login.addresses(resolve: AddressLookup.addresses).first?
                    .parameters
            else { return }
            let session = try TrialSession(parameters, timeout: timeout)
            defer { session.close() }
            judge(session, query, name, user)
        } catch {
            findings.append(
                .wrong(
                    Self.topic, "\(name) cannot log in: \(ServerAdvice.text(error))",
                    do: "give auth_user a password in auth_file, and a place in pg_hba.conf"))
        }
    }

    private mutating func judge(
        _ session: TrialSession, _ query: String, _ name: String, _ user: String
    ) {
        let rows: [[String?]]
        do throws(ServerMessage) {
            rows = try session.rows(query, [user])
        } catch {
            findings.append(
                .wrong(
                    Self.topic, "\(name) is refused: \(error.message) (\(error.sqlState))",
                    do: error.sqlState == "42501"
                        ? "use a function of SECURITY DEFINER that auth_user may call, as in docs/security.md"
                        : "correct auth_query"))
            return
        }
        if rows.count > 1 || rows.contains(where: { $0.count != 2 }) {
            findings.append(
                .wrong(
                    Self.topic, "\(name): the answer is not one row of a user and a secret",
                    do: "let auth_query select the name and the secret of the role $1"))
        } else {
            findings.append(.ok(Self.topic, "\(name) is answered"))
        }
    }
}
