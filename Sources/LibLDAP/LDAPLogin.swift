// SPDX-License-Identifier: Apache-2.0

import CLDAP

/// Logins that an LDAP directory judges.
package struct LDAPLogin: Sendable {
    package enum Scope: Sendable {
        case base, oneLevel, subtree

        var number: Int32 {
            switch self {
            case .base: 0
            case .oneLevel: 1
            case .subtree: 2
            }
        }
    }

    package struct Search: Sendable {
        package var base: String
        package var scope: Scope
        package var filter: String
        package var attribute: String
        package var bindName: String
        package var bindPassword: String
        /// A name to ask for where nothing was found, so that the answer comes no sooner.
        package var decoy: String

        package init(
            base: String, scope: Scope, filter: String, attribute: String, bindName: String,
            bindPassword: String, decoy: String
        ) {
            self.base = base
            self.scope = scope
            self.filter = filter
            self.attribute = attribute
            self.bindName = bindName
            self.bindPassword = bindPassword
            self.decoy = decoy
        }
    }

    package enum Way: Sendable {
        case name(String)
        case search(Search)
    }

    package enum Outcome: Equatable, Sendable {
        case letIn
        case refused(String)
        /// No server could judge.
        case unknown(String)
    }

    private let servers: [String]
    private let startsTLS: Bool
    private let way: Way
    private let password: [UInt8]

    /// `servers` are URIs; empty, for a search alone: the name service knows those of its base.
    package init(servers: [String], startsTLS: Bool, way: Way, password: [UInt8]) {
        self.servers = servers
        self.startsTLS = startsTLS
        self.way = way
        self.password = password
    }

    /// Asks one server after the other until one judges. Returns, too, which ones did not. Takes as long as the
    /// servers take, up to ten seconds or two for each: on a worker thread only.
    package func check() -> (outcome: Outcome, away: [(server: String, reason: String)]) {
        guard !password.isEmpty, !password.contains(0) else {
            return (.refused("the password is empty, or has a NUL in it"), [])
        }
        var servers = servers
        if servers.isEmpty, case .search(let search) = way {
            servers = ldapServers(ofDomainIn: search.base).map { "ldap://\($0)" }
        }
        let share = min(5, max(2, 10 / Double(max(1, servers.count))))
        var away: [(server: String, reason: String)] = []
        var reason = "the name service knows no servers"
        for server in servers {
            do throws(LDAPFailure) {
                return (try ask(server, within: .seconds(share)), away)
            } catch {
                if !error.isOfTheServer { return (.unknown("\(server): \(error.text)"), away) }
                away.append((server, error.text))
                reason = "\(server): \(error.text)"
            }
        }
        return (.unknown(reason), away)
    }

    private func ask(_ server: String, within time: Duration) throws(LDAPFailure) -> Outcome {
        let connection = try LDAPConnection.open(
            uri: server, startsTLS: startsTLS, within: time)
        let name: String
        switch way {
        case .name(let known): name = known
        case .search(let search):
            try connection.bind(name: search.bindName, password: Array(search.bindPassword.utf8))
            let found = try connection.names(
                below: search.base, scope: search.scope.number, filter: search.filter,
                attribute: search.attribute)
            // The root's entry has no name, and to bind without one is to be nobody.
            guard found.count == 1, !found[0].isEmpty else {
                _ = try judge(connection, search.decoy)
                return .refused(found.isEmpty ? "no such entry" : "more than one such entry")
            }
            name = found[0]
        }
        return try judge(connection, name)
    }

    private func judge(
        _ connection: LDAPConnection, _ name: String
    ) throws(LDAPFailure) -> Outcome {
        do throws(LDAPFailure) {
            try connection.bind(name: name, password: password)
            return .letIn
        } catch {
            guard !error.isOfTheServer || error.code == LDAP_UNWILLING_TO_PERFORM else {
                throw error
            }
            return .refused(error.text)
        }
    }
}
