// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ
import PostgresWire

/// Where the table is asked, and as whom.
struct ShareAsker {
    var entry: DatabaseEntry
    var database: String
    var user: String
    /// nil: it is read, or there is none.
    var password: Secret?
    /// The broker logs in with keys, and the asker cannot.
    var hasOnlyKeys = false
}

extension Broker {
    /// `shared_bound_user`, or the role of a pool of the line that has the table, or of the first pool under the bound.
    func asker(_ place: Int) -> ShareAsker? {
        let bound = sharing.bounds.all[place].name
        guard let entry = configuration.database(named: bound.database) else { return nil }
        let pools = sharedPools(UInt32(place)).filter { $0.replication == nil }
        let own = pools.first { $0.database == bound.database }
        guard let user = bound.user ?? own?.user ?? entry.forcedUser ?? pools.first?.user else {
            return nil
        }
        var asker = ShareAsker(entry: entry, database: bound.database, user: user)
        asker.password = password(for: user, entry)
        if asker.password == nil, let pool = pools.first(where: { $0.user == user }) {
            switch serverSecret(of: pool) {
            case .password(let password): asker.password = password
            case .hashed: asker.hasOnlyKeys = true
            case nil: break
            }
        }
        if let bytes = asker.password?.bytes, String(validating: bytes, as: UTF8.self) == nil {
            asker.password = nil
        }
        return asker
    }

    func askingParameters(_ asker: ShareAsker, _ password: Secret?) -> ConnectionParameters {
        var parameters: ConnectionParameters = configuration.connectionParameters(
            for: asker.entry, database: asker.entry.serverDatabase(requested: asker.database),
            user: asker.user, password: password
        ).map { ($0.keyword, $0.value) }
        parameters.removeAll { $0.keyword == "application_name" }
        parameters.append(("application_name", "pglease share"))
        if parameters.value(of: "target_session_attrs") == nil {
            parameters.append(("target_session_attrs", "read-write"))
        }
        Self.addSettings(
            asker.entry.startupParameters.map { ($0.keyword, $0.value) }, to: &parameters)
        Self.addSettings(Self.askingSettings, to: &parameters)
        return parameters
    }

    /// Its place is free soon, whatever becomes of this host.
    private static let askingSettings: [(String, String)] = [
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "off"), ("statement_timeout", "10000"),
        ("idle_session_timeout", "5000"), ("tcp_user_timeout", "10000"),
        ("tcp_keepalives_idle", "5"), ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
    ]
}
