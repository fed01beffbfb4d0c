// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import BrokerConsole
import Glibc
import LibPQ
import LibUV
import Logging
import PostgresWire

extension OpenSSLArithmetic: ScramArithmetic {}

/// Who may come in, and how it shows who it is.
///
/// First the method is chosen (`method`), then it is carried out. A method is one case of
/// `AuthenticationMethod`, one branch of `carryOut`, and for those that ask the client one case of
/// `ClientLogin.Exchange`.
extension Broker {
    func authenticate(_ client: ClientConnection) {
        findSystemUser(of: client) { broker, client in
            broker.carryOut(broker.method(for: client), for: client)
        }
    }

    /// Which method is this client's.
    private func method(for client: ClientConnection) -> AuthenticationMethod {
        if isConsoleOfOwner(client) { return .peer }
        return switch settings.authType {
        case .hba: ruledMethod(for: client) ?? .noRule
        case .trust: .trust
        case .any: .any
        case .peer: .peerOrPassword
        case .scramSHA256: .scramSHA256
        case .md5: .md5
        case .plain: .plain
        case .cert: .cert(map: nil)
        case .pam: .pam(service: nil)
        case .ldap: usualDirectory.map { .ldap($0) } ?? .noRule
        }
    }

    /// Ends in `authenticated` or in `fail`, at once or after answers of the client, a worker thread or
    /// `auth_query`.
    private func carryOut(_ method: AuthenticationMethod, for client: ClientConnection) {
        switch method {
        case .trust: trust(client)
        case .any: letAnybodyIn(client)
        case .peer, .peerOrPassword: askTheKernel(client, orPassword: method == .peerOrPassword)
        case .scramSHA256, .md5, .plain: askForPassword(client, method)
        case .pam(let service): askForPAM(client, service)
        case .ldap(let directory): askForLDAP(client, directory)
        case .cert(let map): askTheCertificate(client, map: map)
        case .peerByRule(let map):
            if kernelAllows(client, map: map) {
                authenticated(client)
            } else {
                fail(client, kernelRefused(client, map: map))
            }
        case .reject: fail(client, rejectedByRule(client))
        case .noRule: fail(client, noRule(for: client))
        }
    }

    func fail(_ client: ClientConnection, _ error: PgError) {
        counters.loginFailures += 1
        refuse(client, error)
    }

    // MARK: The console

    private func isConsole(_ client: ClientConnection) -> Bool {
        ConsoleSession.databases.contains(client.database)
    }

    /// The broker's own user, and root, on the Unix socket: the console is theirs without a password.
    private func isConsoleOfOwner(_ client: ClientConnection) -> Bool {
        guard let peer = client.peer, isConsole(client) else { return false }
        return isOwner(peer)
    }

    // MARK: Nobody is asked

    private func trust(_ client: ClientConnection) {
        // pgbouncer knows nobody then.
        guard
            configured.userList != nil || hasAuthenticationQuery(for: client)
                || configuration.flavour == .pgbouncer
        else {
            authenticated(client)
            return
        }
        findSecret(of: client) { broker, client, secret in
            switch secret {
            case .found: broker.authenticated(client)
            case .nobody: broker.fail(client, Self.notKnown(client.user))
            case .failed(let error): broker.fail(client, error)
            }
        }
    }

    private static func notKnown(_ role: String) -> PgError {
        .fatal(
            .invalidAuthorization, "\"trust\" authentication failed",
            detail: "Neither auth_file nor auth_query knows user \"\(role)\".",
            hint: "Add the user to auth_file, with an empty secret (\"\"), and RELOAD.")
    }

    private func letAnybodyIn(_ client: ClientConnection) {
        guard isConsole(client) || databaseEntry(for: client)?.forcedUser != nil
        else {
            fail(client, Self.noForcedUser(client.database))
            return
        }
        authenticated(client)
    }

    private static func noForcedUser(_ database: String) -> PgError {
        .fatal(
            .invalidAuthorization, "bouncer config error",
            detail: "auth_type is any, and database \"\(database)\" names no user.",
            hint: "Add user= to its line in [databases], and RELOAD.")
    }

    // MARK: The kernel and the certificate

    /// Who could come in by a password is asked for one, whether the role has a password or not.
    private func askTheKernel(_ client: ClientConnection, orPassword: Bool) {
        if isTrusted(client) {
            authenticated(client)
        } else if orPassword,
            configured.userList?.hasSecrets == true || hasAuthenticationQuery(for: client)
        {
            askForPassword(client, .scramSHA256)
        } else if let peer = client.peer {
            fail(client, Self.peerRefused(peer, client.systemUser, client.user))
        } else {
            fail(client, Self.noPeerOverTCP(client.user))
        }
    }

    /// The process of the broker's own user, or of root.
    func isOwner(_ peer: PeerCredentials) -> Bool { peer.userID == 0 || peer.userID == geteuid() }

    /// Whether the client is let in as its role by its uid alone: root, the broker's own user, the user of
    /// the role's name, or one of peer_map. Also who may have a direct lease.
    func isTrusted(_ client: ClientConnection) -> Bool {
        guard let peer = client.peer else { return false }
        if isOwner(peer) { return true }
        return client.systemUser == client.user
            || settings.peerMap.contains {
                $0.allows(
                    systemUser: client.systemUser, userID: peer.userID, role: client.user)
            }
    }

    private static func peerRefused(
        _ peer: PeerCredentials, _ name: String?, _ role: String
    ) -> PgError {
        let shown = name.map { "user \"\($0)\"" } ?? "a user without a name"
        return .fatal(
            .invalidAuthorization, "peer authentication failed for user \"\(role)\"",
            detail: "The client's process runs as \(shown) (uid \(peer.userID)).",
            hint:
                "Let it in with peer_map = \(name ?? "\(peer.userID)"):\(role) (or PGLEASE_PEER_MAP), log in as the role of the user's name, or give \"\(role)\" a secret in auth_file."
        )
    }

    private static func noPeerOverTCP(_ role: String) -> PgError {
        .fatal(
            .invalidAuthorization, "no authentication over TCP for user \"\(role)\"",
            detail: "auth_type is peer, which needs the Unix socket.",
            hint: "Use the Unix socket, or set auth_type = scram-sha-256 with an auth_file.")
    }

    /// The name in the certificate must be the role's, or be let in as it by the map.
    private func askTheCertificate(_ client: ClientConnection, map: String?) {
        let name = client.certificateName
        if let name, isAllowed(name, as: client.user, by: map) {
            authenticated(client)
        } else {
            fail(client, Self.certificateRefused(client.user, name))
        }
    }

    private static func certificateRefused(_ role: String, _ name: String?) -> PgError {
        .fatal(
            .invalidAuthorization, "certificate authentication failed for user \"\(role)\"",
            detail: name.map { "The client's certificate is of \"\($0)\"." }
                ?? "The client has shown no certificate with a name.")
    }
}
