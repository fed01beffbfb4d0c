// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore

/// What the configuration says of those who log in to a database as a user.
struct AdmissionTerms {
    /// The role on the server, where the database's line names one.
    let forcedUser: String?
    let maxDatabaseClients: Int?
    let maxUserClients: Int?
    /// Some database can be asked for the user's secret.
    let hasAuthenticationQuery: Bool
}

/// The terms that were asked for, for as long as their configuration is in force: a login reads them for the
/// price of a look-up.
struct KnownAdmissions {
    private var terms: [PoolKey: AdmissionTerms] = [:]
    /// A login asks several times in a row.
    private var last: (key: PoolKey, terms: AdmissionTerms)?

    // Anybody may ask for any name.
    private static let limit = 1024

    mutating func find(_ key: PoolKey) -> AdmissionTerms? {
        if let last, last.key == key { return last.terms }
        guard let found = terms[key] else { return nil }
        last = (key, found)
        return found
    }

    mutating func note(_ found: AdmissionTerms, of key: PoolKey) {
        if terms.count >= Self.limit { terms.removeAll() }
        terms[key] = found
        last = (key, found)
    }
}

extension Broker {
    /// nil: there is no such database. `key` names the client's user, not the server's.
    func admissionTerms(_ key: PoolKey) -> AdmissionTerms? {
        if let known = configured.admissions.find(key) { return known }
        guard let entry = databaseEntry(of: key) else { return nil }
        let limits = configuration.poolSettings(database: entry, user: key.user)
        let terms = AdmissionTerms(
            forcedUser: entry.forcedUser,
            maxDatabaseClients: limits.maxDbClientConnections,
            maxUserClients: limits.maxUserClientConnections,
            hasAuthenticationQuery: authenticationQuery(entry, key.database) != nil)
        configured.admissions.note(terms, of: key)
        return terms
    }

    func admissionTerms(of client: ClientConnection) -> AdmissionTerms? {
        admissionTerms(
            PoolKey(
                database: client.database, user: client.user, replication: client.replication))
    }
}
