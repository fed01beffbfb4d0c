// SPDX-License-Identifier: Apache-2.0

/// How a rule has a client show who it is.
package enum HBAMethod: String, CaseIterable, Sendable {
    case trust, reject, md5, password, peer, cert, ldap, pam
    case scramSHA256 = "scram-sha-256"
}

/// Who asks to be let in, as far as rules look.
package struct HBAClient: Equatable, Sendable {
    package var database: String
    package var user: String
    /// nil: over the Unix socket.
    package var address: IPAddress?
    /// TLS is in use.
    package var isEncrypted: Bool
    /// For physical replication; logical replication is of a database, as any other client.
    package var wantsReplication: Bool

    package init(
        database: String, user: String, address: IPAddress?, isEncrypted: Bool = false,
        wantsReplication: Bool = false
    ) {
        self.database = database
        self.user = user
        self.address = address
        self.isEncrypted = isEncrypted
        self.wantsReplication = wantsReplication
    }
}

/// One line of `auth_hba_file`.
package struct HBARule: Equatable, Sendable {
    package enum Connection: String, CaseIterable, Sendable {
        case local, host, hostssl, hostnossl
        /// No client's: the broker does not encrypt by GSSAPI.
        case hostgssenc
        /// As `host`.
        case hostnogssenc
    }

    package enum Addresses: Equatable, Sendable {
        case all
        case network(IPNetwork)
    }

    /// In the file, from 1.
    package let line: Int
    package let connection: Connection
    package let databases: HBANames
    package let users: HBANames
    package let addresses: Addresses
    package let method: HBAMethod
    /// The name of an ident map (`map=`): whom a certificate's or the system's name may log in as.
    package let map: String?
    /// The service that `pam` asks (`pamservice=`); nil: the usual one.
    package let service: String?
    /// The directory that `ldap` asks.
    package let directory: LDAPDirectory?

    func matches(_ client: HBAClient) -> Bool {
        matchesConnection(client) && databases.containsDatabase(client)
            && users.containsUser(client)
    }

    private func matchesConnection(_ client: HBAClient) -> Bool {
        guard let address = client.address else { return connection == .local }
        switch connection {
        case .local, .hostgssenc: return false
        case .hostssl where !client.isEncrypted: return false
        case .hostnossl where client.isEncrypted: return false
        case .host, .hostssl, .hostnossl, .hostnogssenc: break
        }
        switch addresses {
        case .all: return true
        case .network(let network): return network.contains(address)
        }
    }
}

/// The rules of `auth_hba_file`, in order, and the maps of `auth_ident_file`.
package struct HBARules: Equatable, Sendable {
    package let rules: [HBARule]
    package let maps: IdentMaps
    /// What is doubtful, and read all the same.
    package let warnings: [HBAIssue]
    /// The file is not there: nobody has a rule.
    package let isMissing: Bool

    init(rules: [HBARule], maps: IdentMaps, warnings: [HBAIssue]) {
        self.rules = rules
        self.maps = maps
        self.warnings = warnings
        isMissing = false
    }

    /// Those of a file that is not there.
    package init(missing file: String) {
        rules = []
        maps = IdentMaps()
        warnings = [
            HBAIssue(
                file, 0, "no such file or directory: no client can log in",
                advice: "RELOAD reads it once it is there")
        ]
        isMissing = true
    }

    /// The first rule that is for the client; nil when there is none, which lets it in by no method.
    package func rule(for client: HBAClient) -> HBARule? {
        rules.first { $0.matches(client) }
    }
}

/// Whom a name of the system or of a certificate may log in as: the maps of `auth_ident_file`.
package struct IdentMaps: Equatable, Sendable {
    struct Entry: Equatable, Sendable {
        let systemName: String
        /// nil: any role.
        let role: String?
    }

    var entries: [String: [Entry]] = [:]

    package init() {}

    package var names: Set<String> { Set(entries.keys) }

    package func allows(_ systemName: String, as role: String, by map: String) -> Bool {
        entries[map, default: []].contains {
            $0.systemName == systemName && ($0.role == nil || $0.role == role)
        }
    }
}
