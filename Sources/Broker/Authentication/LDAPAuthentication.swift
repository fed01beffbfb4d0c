// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibLDAP
import Logging
import PostgresWire

/// Servers of directories that lately could not judge a login; they are asked last.
struct AbsentDirectories {
    private var until: [String: Instant] = [:]

    static let remembered = Duration.seconds(30)

    func ordered(_ servers: [String], now: Instant) -> [String] {
        let isAway = { (server: String) in until[server].map { $0 > now } ?? false }
        return servers.filter { !isAway($0) } + servers.filter(isAway)
    }

    /// Returns whether that is new.
    mutating func note(_ server: String, now: Instant) -> Bool {
        until = until.filter { $0.value > now }
        return until.updateValue(now + Self.remembered, forKey: server) == nil
    }
}

/// `auth_type = ldap`, and rules of that method: a directory knows the users, and `auth_file` is not asked.
extension Broker {
    func askForLDAP(_ client: ClientConnection, _ directory: LDAPDirectory) {
        client.login?.exchange = .awaitsPasswordForLDAP(directory)
        var bytes: [UInt8] = []
        bytes.appendAuthenticationCleartextPassword()
        send(bytes, to: client)
    }

    func askDirectory(
        _ directory: LDAPDirectory, _ password: [UInt8], _ client: ClientConnection
    ) {
        guard !password.isEmpty, let way = Self.way(of: client.user, in: directory) else {
            fail(client, Self.directoryRefused(client.user))
            return
        }
        let login = LDAPLogin(
            servers: jobs.absentDirectories.ordered(directory.servers, now: now),
            startsTLS: directory.startsTLS, way: way, password: password)
        workOut(for: client, in: .directory(directory.servers.joined(separator: " "))) {
            login.check()
        } then: { broker, client, answer in
            broker.note(away: answer.away)
            broker.answered(answer.outcome, password, client)
        }
    }

    private func answered(
        _ outcome: LDAPLogin.Outcome, _ password: [UInt8], _ client: ClientConnection
    ) {
        switch outcome {
        case .letIn: judge(true, password, client)
        case .refused(let reason):
            logger.notice(
                "LDAP refuses a login",
                metadata: describe(client, with: ["reason": "\(Self.oneLine(reason))"]))
            fail(client, Self.directoryRefused(client.user))
        case .unknown(let reason):
            logger.warning(
                "LDAP cannot judge a login",
                metadata: describe(client, with: ["reason": "\(Self.oneLine(reason))"]))
            fail(client, Self.directoryUnknown(client.user))
        }
    }

    private func note(away servers: [(server: String, reason: String)]) {
        for (server, reason) in servers where jobs.absentDirectories.note(server, now: now) {
            logger.warning(
                "an LDAP server is of no use",
                metadata: ["server": "\(server)", "reason": "\(Self.oneLine(reason))"])
        }
    }

    private static func way(of user: String, in directory: LDAPDirectory) -> LDAPLogin.Way? {
        switch directory.lookup {
        case .name(let prefix, let suffix):
            return LDAPDirectory.name(of: user, prefix: prefix, suffix: suffix).map { .name($0) }
        case .search(let search):
            let scope: LDAPLogin.Scope =
                switch search.scope {
                case .base: .base
                case .oneLevel: .oneLevel
                case .subtree: .subtree
                }
            return .search(
                LDAPLogin.Search(
                    base: search.base, scope: scope, filter: search.filter(for: user),
                    attribute: search.attribute, bindName: search.bindName,
                    bindPassword: search.bindPassword, decoy: search.decoy(for: user)))
        }
    }

    // MARK: Refusals

    private static func directoryRefused(_ user: String) -> PgError {
        .fatal(.invalidPassword, "LDAP authentication failed for user \"\(user)\"")
    }

    private static func directoryUnknown(_ user: String) -> PgError {
        .fatal(
            .cannotConnectNow, "LDAP authentication failed for user \"\(user)\"",
            detail: "The directory could not be asked.",
            hint: "The broker's log says why. Connect again later.")
    }

    // MARK: Options

    /// The directory of `auth_ldap_options`; nil when it is not set.
    static func directory(
        of loaded: LoadedConfiguration
    ) throws(ConfigurationError) -> LDAPDirectory? {
        guard let options = loaded.configuration.settings.authLdapOptions else { return nil }
        do throws(LDAPOptionsError) {
            return try LDAPDirectory(options: options.value)
        } catch {
            throw ConfigurationError(
                issues: [
                    ConfigurationIssue(
                        loaded.origin(of: "auth_ldap_options"), "auth_ldap_options", error.reason,
                        advice: error.advice)
                ], warnings: loaded.warnings)
        }
    }

    /// That of the setting, which has been read already.
    var usualDirectory: LDAPDirectory? {
        settings.authLdapOptions.flatMap { try? LDAPDirectory(options: $0.value) }
    }
}
