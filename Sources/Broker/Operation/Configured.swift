import BrokerAuthentication
import BrokerConfiguration
import LibPQ

/// The configuration that is in force, and what follows from it.
///
/// Invariant: the users and what was derived from their secrets are those of `loaded`.
struct Configured {
    /// SET changes it until the next reload.
    var loaded: LoadedConfiguration
    /// Reads the same sources again.
    let reload: () throws(ConfigurationError) -> LoadedConfiguration
    /// Those of `auth_file`; nil when there is none.
    var userList: UserList?
    /// Those of `auth_hba_file`; nil where auth_type is not hba.
    var hostRules: HBARules?
    /// Secrets derived from plain passwords of `auth_file`.
    var derivedSecrets: [String: ScramSecret] = [:]
    /// Makes the secrets of users that do not exist.
    let mockKey = OpenSSLArithmetic().randomBytes(32)

    init(
        _ loaded: LoadedConfiguration,
        reload: @escaping () throws(ConfigurationError) -> LoadedConfiguration
    ) {
        self.loaded = loaded
        self.reload = reload
    }

    /// What was read is in force, whole.
    mutating func replace(with next: LoadedConfiguration, users: UserList?, hostRules: HBARules?) {
        loaded = next
        userList = users
        self.hostRules = hostRules
        derivedSecrets = [:]
    }
}
