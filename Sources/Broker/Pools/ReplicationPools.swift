// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ
import PostgresWire

/// Replication clients have pools of their own, one for each database, user and kind of walsender: outside of the
/// size that the database's pool has, under every bound that is shared.
extension Broker {
    /// The line of [databases] for a client. A client of physical replication names no database: libpq's tools say
    /// `replication`, and where all lines lead to one server, that is the one.
    func databaseEntry(_ database: String, _ replication: ReplicationKind?) -> DatabaseEntry? {
        if let entry = configured.loaded.configuration.databases.named(database) { return entry }
        guard replication == .physical, database == Self.noDatabase,
            let first = configuration.databases.first,
            configuration.databases.allSatisfy({
                $0.serverParameters == first.serverParameters
                    && $0.forcedUser == first.forcedUser && $0.password == first.password
            })
        else { return nil }
        return first
    }

    func databaseEntry(of key: PoolKey) -> DatabaseEntry? {
        databaseEntry(key.database, key.replication)
    }

    func databaseEntry(for client: ClientConnection) -> DatabaseEntry? {
        databaseEntry(client.database, client.replication)
    }

    /// What is in force for the pool.
    func poolSettings(_ key: PoolKey, _ entry: DatabaseEntry) -> PoolSettings {
        let settings = configuration.poolSettings(database: entry, user: key.user)
        return key.replication == nil ? settings : settings.forReplication
    }

    /// What libpq's tools put in the place of a database's name.
    static let noDatabase = "replication"

    /// libpq's keywords for a walsender in the place of those for a session.
    func makeWalsender(_ kind: ReplicationKind, _ parameters: inout ConnectionParameters) {
        switch kind {
        case .logical:
            parameters.append(("replication", "database"))
        case .physical:
            parameters.removeAll { $0.keyword == "dbname" }
            parameters.append(("dbname", Self.noDatabase))
            parameters.append(("replication", "true"))
        }
    }
}
