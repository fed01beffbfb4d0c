// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
package import BrokerConfiguration
import LibUV
import Logging
import PostgresWire

/// `auth_type = hba`: which rule of `auth_hba_file` is a client's.
extension Broker {
    /// What the rules know of a client.
    func hostRuleClient(_ client: ClientConnection) -> HBAClient {
        HBAClient(
            database: client.database, user: client.user,
            address: client.isUnix ? nil : client.networkAddress,
            isEncrypted: client.isEncrypted,
            wantsReplication: client.replication == .physical)
    }

    /// The method of the first rule that is for the client; nil without one.
    func ruledMethod(for client: ClientConnection) -> AuthenticationMethod? {
        guard let rule = configured.hostRules?.rule(for: hostRuleClient(client)) else { return nil }
        logger.debug(
            "HBA Line \(rule.line) is matched",
            metadata: describe(client, with: ["method": "\(rule.method.rawValue)"]))
        return rule.authenticationMethod
    }

    /// Whether the kernel's word about the other end of the Unix socket lets it in as its role: the user has
    /// the role's name, or the map says so.
    func kernelAllows(_ client: ClientConnection, map: String?) -> Bool {
        client.systemUser.map { isAllowed($0, as: client.user, by: map) } ?? false
    }

    /// Whether a name of the system or of a certificate is the role's, or the map lets it in as the role.
    func isAllowed(_ name: String, as role: String, by map: String?) -> Bool {
        guard let map else { return name == role }
        return configured.hostRules?.maps.allows(name, as: role, by: map) == true
    }

    // MARK: Refusals

    /// pgbouncer's words, and what was looked for.
    func noRule(for client: ClientConnection) -> PgError {
        .fatal(
            .invalidAuthorization, "no authentication method is found",
            detail: Self.sentence(hostRuleClient(client)),
            hint: "Add a line for it to auth_hba_file and RELOAD: the first that fits decides.")
    }

    /// pgbouncer's words, and which rule it was.
    func rejectedByRule(_ client: ClientConnection) -> PgError {
        let facts = hostRuleClient(client)
        let line = configured.hostRules?.rule(for: facts)?.line ?? 0
        return .fatal(
            .invalidAuthorization, "login rejected",
            detail: Self.sentence(facts),
            hint: "Line \(line) of auth_hba_file rejects it.")
    }

    func kernelRefused(_ client: ClientConnection, map: String?) -> PgError {
        let shown = client.systemUser.map { "user \"\($0)\"" } ?? "a user without a name"
        return .fatal(
            .invalidAuthorization, "unix socket login rejected",
            detail: client.isUnix
                ? "The client's process runs as \(shown)."
                : "The client came over TCP, where the kernel does not know its user.",
            hint: map.map {
                "Add a line to auth_ident_file: \($0) system-username \(client.user)."
            } ?? "Log in as the role of the user's name, or name a map: peer map=name.")
    }

    private static func sentence(_ client: HBAClient) -> String {
        let way =
            client.address.map { "came from \($0) \(client.isEncrypted ? "with" : "without") TLS" }
            ?? "came over the Unix socket"
        return Self.oneLine(
            "The client \(way), for database \"\(client.database)\" as user \"\(client.user)\".")
    }

    // MARK: The files

    /// Reads the files that say who may log in, as a start does. Returns what is doubtful in them.
    package static func checkAccess(
        of loaded: LoadedConfiguration
    ) throws(ConfigurationError) -> [ConfigurationIssue] {
        _ = try userList(of: loaded)
        return warnings(of: try hostRules(of: loaded, mayBeMissing: true), loaded)
    }

    /// The rules of `auth_hba_file`; nil where auth_type is not hba. Every mistake in them is named.
    ///
    /// Where that file is not there, pgbouncer starts, lets nobody in, and reads it at the next RELOAD: so does a
    /// `pgbouncer.ini` here with `mayBeMissing`, as with an `auth_file` that is not there.
    static func hostRules(
        of loaded: LoadedConfiguration, mayBeMissing: Bool = false
    ) throws(ConfigurationError) -> HBARules? {
        let settings = loaded.configuration.settings
        let directory = try directory(of: loaded)
        guard settings.authType == .hba, let path = settings.authHbaFile else { return nil }
        if mayBeMissing, loaded.configuration.flavour == .pgbouncer,
            case .failure(let failure) = readText(path), failure.isMissing
        {
            return HBARules(missing: path)
        }
        var issues: [ConfigurationIssue] = []
        let maps = settings.authIdentFile.map { path in
            let reader = IdentMapReader(
                file: path, text: text(path, "auth_ident_file", loaded, &issues))
            issues += reader.issues.map { ConfigurationIssue($0, "auth_ident_file") }
            return reader.maps
        }
        let reader = HBAReader(
            file: path, text: text(path, "auth_hba_file", loaded, &issues), maps: maps,
            directory: directory, readFile: readText)
        issues += reader.issues.map { ConfigurationIssue($0, "auth_hba_file") }
        guard issues.isEmpty else {
            throw ConfigurationError(issues: issues, warnings: loaded.warnings)
        }
        return reader.result
    }

    static func warnings(
        of rules: HBARules?, _ loaded: LoadedConfiguration
    ) -> [ConfigurationIssue] {
        if let rules { return rules.warnings.map { ConfigurationIssue($0, "auth_hba_file") } }
        guard loaded.configuration.settings.authType == .ldap,
            (try? directory(of: loaded))??.isInTheClear == true
        else { return [] }
        return [
            ConfigurationIssue(
                loaded.origin(of: "auth_ldap_options"), "auth_ldap_options",
                LDAPDirectory.clearTextWarning)
        ]
    }

    private static func text(
        _ path: String, _ setting: String, _ loaded: LoadedConfiguration,
        _ issues: inout [ConfigurationIssue]
    ) -> String {
        switch readText(path) {
        case .success(let text): return text
        case .failure(let failure):
            issues.append(
                ConfigurationIssue(
                    loaded.origin(of: setting), setting, "\(path): \(failure.reason)"))
            return ""
        }
    }

    static func readText(_ path: String) -> Result<String, HBAFileFailure> {
        do throws(FileReadError) {
            guard let text = String(validating: try FileSystem.readBytes(path), as: UTF8.self)
            else { return .failure(HBAFileFailure("the file is not UTF-8 text")) }
            return .success(text)
        } catch {
            return .failure(HBAFileFailure(error.reason))
        }
    }
}

extension ConfigurationIssue {
    init(_ issue: HBAIssue, _ setting: String) {
        self.init(
            .file(path: issue.file, line: issue.line), setting, issue.reason,
            advice: issue.advice)
    }
}

extension HBARule {
    var authenticationMethod: AuthenticationMethod {
        switch method {
        case .trust: .trust
        case .md5: .md5
        case .scramSHA256: .scramSHA256
        case .password: .plain
        case .peer: .peerByRule(map: map)
        case .cert: .cert(map: map)
        case .reject: .reject
        case .pam: .pam(service: service)
        // The reader lets none in without.
        case .ldap: directory.map { .ldap($0) } ?? .noRule
        }
    }
}
