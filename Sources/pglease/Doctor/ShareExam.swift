// SPDX-License-Identifier: Apache-2.0

import Broker
import BrokerConfiguration
import LibPQ
import OperatorTools

/// The tables of shared bounds: there, with the bound in them, and open to the role that asks.
struct ShareExam {
    private static let topic = "shared bound"
    private(set) var findings: [Finding] = []

    init(
        _ loaded: LoadedConfiguration, pools: [(entry: DatabaseEntry, user: String)],
        timeout: Duration
    ) {
        let configuration = loaded.configuration
        var looked: Set<SharedBoundName> = []
        for entry in configuration.databases {
            guard let bound = configuration.sharedBound(of: entry), looked.insert(bound).inserted
            else { continue }
            guard let place = configuration.database(named: bound.database) else {
                findings.append(
                    .wrong(
                        Self.topic,
                        "\(bound.name): shared_bound_dbname \(bound.database) has no line",
                        do: "add the line to [databases]"))
                continue
            }
            guard
                let user = bound.user ?? place.forcedUser ?? entry.forcedUser
                    ?? pools.first(where: { $0.entry.name == entry.name })?.user
            else { continue }
            let login = TrialLogin(loaded, place, database: bound.database, user: user)
            ask(login, bound.name, "\(user) in \(bound.database)", user, timeout)
        }
    }

    private mutating func ask(
        _ login: TrialLogin, _ bound: String, _ name: String, _ user: String, _ timeout: Duration
    ) {
        do throws(ConnectionFailure) {
            guard
                let parameters = try? login.addresses(resolve: AddressLookup.addresses).first?
                    .parameters
            else { return }
            let session = try TrialSession(parameters, timeout: timeout)
            defer { session.close() }
            judge(session, bound, name, user)
        } catch {
            findings.append(
                .wrong(
                    Self.topic, "\(bound): \(name) cannot log in: \(ServerAdvice.text(error))",
                    do: ServerAdvice.remedy(error)))
        }
    }

    private mutating func judge(
        _ session: TrialSession, _ bound: String, _ name: String, _ user: String
    ) {
        do throws(ServerMessage) {
            let rows = try session.rows(
                "select total, spare from pglease.bound where bound = $1", [bound])
            guard let row = rows.first else {
                findings.append(
                    .wrong(
                        Self.topic, "\(bound) is not in the table",
                        do: "pglease share set \(bound) TOTAL"))
                return
            }
            let may = try session.rows(
                """
                select coalesce(bool_and(has_function_privilege(p.oid, 'execute')), false)
                from pg_catalog.pg_proc p
                where p.pronamespace = 'pglease'::regnamespace and p.proname in ('ask', 'leave')
                """)
            guard may.first?.first == "t" else {
                findings.append(
                    .wrong(
                        Self.topic, "\(bound): \(name) may not ask for a share",
                        do: "pglease share init --role \(user)"))
                return
            }
            findings.append(
                .ok(
                    Self.topic,
                    "\(bound): \(row[0] ?? "?") connections for all hosts, \(row[1] ?? "?") to ask with; \(name) may ask"
                ))
        } catch {
            let isMissing = ["3F000", "42P01"].contains(error.sqlState)
            findings.append(
                .wrong(
                    Self.topic, "\(bound): \(name): \(error.message) (\(error.sqlState))",
                    do: "pglease share init --role \(user)\(isMissing ? ", in that database" : "")")
            )
        }
    }
}
