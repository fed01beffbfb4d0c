// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LibPQ
import LibSSL

/// The configuration that is in force, and what follows from it.
///
/// Invariant: the users are those of `loaded`.
struct Configured {
    /// SET changes it until the next reload.
    var loaded: LoadedConfiguration { didSet { admissions = KnownAdmissions() } }
    /// Of what is loaded.
    var admissions = KnownAdmissions()
    /// Reads the same sources again.
    let reload: () throws(ConfigurationError) -> LoadedConfiguration
    var users: KnownUsers
    /// Those of `auth_file`; nil when there is none.
    var userList: UserList? { users.list }
    /// Those of `auth_hba_file`; nil where auth_type is not hba.
    var hostRules: HBARules?
    /// What clients with TLS are served with; nil when there is none.
    var clientTLS: TLSContext?
    /// Makes the secrets of users that do not exist.
    private let mockKey = OpenSSLArithmetic().randomBytes(32)

    init(
        _ loaded: LoadedConfiguration,
        reload: @escaping () throws(ConfigurationError) -> LoadedConfiguration
    ) {
        self.loaded = loaded
        self.reload = reload
        users = KnownUsers(nil, key: mockKey)
    }

    /// Those of `loaded`, read for the first time.
    mutating func begin(with users: UserList?) { self.users = KnownUsers(users, key: mockKey) }

    /// What was read is in force, whole.
    mutating func replace(
        with next: LoadedConfiguration, users: UserList?, hostRules: HBARules?,
        clientTLS: TLSContext?
    ) {
        loaded = next
        self.clientTLS = clientTLS
        self.users = KnownUsers(users, key: mockKey, before: self.users)
        self.hostRules = hostRules
    }
}
