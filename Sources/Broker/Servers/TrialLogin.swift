// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
package import BrokerConfiguration
package import LibPQ

/// How the broker would log in to a line's servers as a role, worked out without a broker: for `pglease doctor`.
package struct TrialLogin {
    package enum Password: Equatable, Sendable {
        /// Configured, and among the parameters.
        case known
        case none
        /// `auth_file` has only a hash of it.
        case hashed
        /// `password_command` or `password_file` gave none.
        case unread(reason: String)
    }

    package let password: Password
    private let parameters: ConnectionParameters

    /// Runs `password_command`, or reads `password_file`, where one counts; blocks for that.
    package init(
        _ loaded: LoadedConfiguration, _ entry: DatabaseEntry, database: String, user: String
    ) {
        let configuration = loaded.configuration
        let users = loaded.userListText.flatMap { try? UserList(parsing: $0.bytes) }
        var secret: Secret?
        if let origin = configuration.passwordOrigin(database: entry, user: user)?.origin {
            let environment = Broker.commandEnvironment(
                origin, entry, database: database, user: user)
            switch Broker.readPassword(origin, environment: environment) {
            case .success(let read):
                secret = read
                password = .known
            case .failure(let failure): password = .unread(reason: failure.reason)
            }
        } else if let own = entry.password, entry.forcedUser == nil || entry.forcedUser == user {
            secret = own
            password = .known
        } else {
            switch users?.secret(for: user) {
            case .plain(let bytes)? where !bytes.isEmpty:
                secret = Secret(bytes: bytes)
                password = .known
            case .md5?, .scram?: password = .hashed
            case .plain?, nil: password = .none
            }
        }
        var parameters: ConnectionParameters = configuration.connectionParameters(
            for: entry, database: entry.serverDatabase(requested: database), user: user,
            password: secret
        ).map { ($0.keyword, $0.value) }
        parameters.append(("fallback_application_name", "pglease doctor"))
        Broker.addSettings(
            entry.startupParameters.map { ($0.keyword, $0.value) }, to: &parameters)
        self.parameters = parameters
    }

    /// Every address that it may lead to, with the parameters for each. `resolve` answers a name's addresses.
    package func addresses(
        resolve: (_ host: String, _ port: String) -> [String]
    ) throws(ConnectionStringError) -> [(host: String, parameters: ConnectionParameters)] {
        let plan = try HostPlan(parameters: parameters)
        let answers = plan.lookups.map { resolve($0.host, $0.port) }
        return plan.addresses(with: answers).map { address in
            let host =
                [address.host, address.number].first { !$0.isEmpty }
                ?? "the default socket"
            return ("\(host):\(address.port)", plan.parameters(for: address, attributes: nil))
        }
    }
}
