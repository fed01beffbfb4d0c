// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// RELOAD and SIGHUP: the new configuration is taken whole, or the old one stays.
extension Broker {
    /// Reads the sources again and puts what they say in force. Returns what changed; those that need a
    /// restart keep their old value.
    func reload() throws(ConfigurationError) -> [SettingChange] {
        _ = surroundings.notify?.reloading()
        defer { _ = surroundings.notify?.ready(status: "serving") }
        var next = try configured.reload()
        if let missing = next.missingUserList, configured.loaded.missingUserList == nil {
            throw ConfigurationError(issues: [missing], warnings: next.warnings)
        }
        let users = try Self.userList(of: next)
        let hostRules = try Self.hostRules(
            of: next, mayBeMissing: configured.hostRules?.isMissing == true)
        next.warnings += Self.warnings(of: hostRules, next)
        let encryption = try EncryptionSetup(next, replacing: configured.clientTLS)
        let changes = configuration.changes(to: next.configuration)
        for change in changes where change.needsRestart {
            guard let old = change.old, let setting = Settings.byName[change.name] else { continue }
            do throws(SettingValueError) {
                try setting.assign(old, &next.configuration.settings)
            } catch {
                preconditionFailure("\(change.name): its own value is refused: \(error.reason)")
            }
        }
        try followLog(next)
        try moveMonitoring(to: next)
        let isServerTLSOther =
            next.serverTLSFingerprint != configured.loaded.serverTLSFingerprint
            || Self.concernServerTLS(changes)
        configured.replace(
            with: next, users: users, hostRules: hostRules, clientTLS: encryption.context)
        deriveSecrets()
        reconfigurePools(reconnecting: isServerTLSOther)
        openGuaranteedGroups()
        // A limit may have become shorter than what was looked ahead to.
        housekeeping(by: now)
        deferAccepts()
        for change in changes {
            logger.notice(
                change.needsRestart ? "setting changed, needs a restart" : "setting changed",
                metadata: ["change": "\(change)"])
        }
        for warning in next.warnings + encryption.warnings {
            logger.warning("configuration", metadata: ["issue": "\(warning)"])
        }
        logger.notice("configuration reloaded", metadata: ["changes": "\(changes.count)"])
        note(.reload, .notice, "configuration reloaded, \(Self.inWords(changes))")
        return changes
    }

    private func followLog(_ next: LoadedConfiguration) throws(ConfigurationError) {
        do throws(LogTargetError) {
            try surroundings.followLog(next.configuration.settings)
        } catch {
            throw ConfigurationError(
                issues: [
                    ConfigurationIssue(next.origin(of: error.setting), error.setting, error.reason)
                ], warnings: next.warnings)
        }
    }

    private func moveMonitoring(to next: LoadedConfiguration) throws(ConfigurationError) {
        do throws(UVError) {
            try serveMonitoring(at: next.configuration.settings.metricsListen)
        } catch {
            throw ConfigurationError(
                issues: [
                    ConfigurationIssue(
                        next.origin(of: "metrics_listen"), "metrics_listen", "\(error)",
                        advice: monitoringAdvice(error))
                ], warnings: next.warnings)
        }
    }

    /// SET: one setting, until the next RELOAD or restart. Returns what there is to say about it.
    func set(_ name: String, _ value: String) throws(SettingValueError) -> [ConfigurationIssue] {
        var next = configured.loaded
        if let warnings = try next.configuration.setReplaced(name, value) {
            configured.loaded = next
            return warnings
        }
        guard let setting = Settings.byName[name] else {
            throw SettingValueError("is not a setting")
        }
        try setting.assign(value, &next.configuration.settings)
        let changes = configuration.changes(to: next.configuration)
        guard !changes.contains(where: \.needsRestart) else {
            throw SettingValueError(
                "needs a restart", advice: "change the configuration file and restart")
        }
        let encryption = try changedEncryption(changes, next)
        let rules = try readAgain(name, &next)
        do throws(LogTargetError) {
            try surroundings.followLog(next.configuration.settings)
        } catch {
            throw SettingValueError(error.reason)
        }
        do throws(UVError) {
            try serveMonitoring(at: next.configuration.settings.metricsListen)
        } catch {
            throw SettingValueError("\(error)", advice: monitoringAdvice(error))
        }
        configured.replace(
            with: next, users: rules.users, hostRules: rules.hosts,
            clientTLS: encryption.map(\.context) ?? configured.clientTLS)
        deriveSecrets()
        reconfigurePools(reconnecting: Self.concernServerTLS(changes))
        housekeeping(by: now)
        deferAccepts()
        for change in changes {
            logger.notice("setting changed by SET", metadata: ["change": "\(change)"])
        }
        return name.hasPrefix("auth_") ? Self.warnings(of: rules.hosts, configured.loaded) : []
    }

    /// The files that say who may log in, read again where the setting is about them.
    private func readAgain(
        _ name: String, _ next: inout LoadedConfiguration
    ) throws(SettingValueError) -> (users: UserList?, hosts: HBARules?) {
        guard name.hasPrefix("auth_") else { return (configured.userList, configured.hostRules) }
        do throws(ConfigurationError) {
            if name == "auth_file" { try Self.readUserList(&next) }
            return (try Self.userList(of: next), try Self.hostRules(of: next))
        } catch {
            let first = error.issues[0]
            throw SettingValueError(
                "\(first.origin): \(first.reason)"
                    + (error.issues.count > 1 ? " (and \(error.issues.count - 1) more)" : ""),
                advice: first.advice)
        }
    }

    private static func readUserList(
        _ loaded: inout LoadedConfiguration
    ) throws(ConfigurationError) {
        loaded.userListText = nil
        loaded.missingUserList = nil
        guard let path = loaded.configuration.settings.authFile else { return }
        do throws(FileReadError) {
            loaded.userListText = Secret(bytes: try FileSystem.readBytes(path))
        } catch {
            throw ConfigurationError(
                issues: [
                    ConfigurationIssue(.file(path: path, line: 0), "auth_file", error.reason)
                ], warnings: [])
        }
    }

    private static func concernServerTLS(_ changes: [SettingChange]) -> Bool {
        changes.contains { $0.name.hasPrefix("server_tls_") }
    }

    /// nil: it stays as it is.
    private func changedEncryption(
        _ changes: [SettingChange], _ next: LoadedConfiguration
    ) throws(SettingValueError) -> EncryptionSetup? {
        guard changes.contains(where: { $0.name.hasPrefix("client_tls") }) else { return nil }
        do throws(ConfigurationError) {
            let setup = try EncryptionSetup(next, replacing: configured.clientTLS)
            guard setup.context != nil || next.configuration.settings.clientTlsSslmode == .disable
            else {
                throw ConfigurationError(
                    issues: [ConfigurationIssue(.defaults, nil, Self.filesMissing)], warnings: [])
            }
            return setup
        } catch {
            throw SettingValueError(error.description)
        }
    }

    private static let filesMissing =
        "client_tls_key_file and client_tls_cert_file must be set, to allow TLS connections from clients"

    func reloadOnSignal() {
        logger.notice("SIGHUP received")
        do throws(ConfigurationError) {
            _ = try reload()
        } catch {
            reloadRefused(error)
        }
    }

    func reloadRefused(_ error: ConfigurationError) {
        for issue in error.issues {
            logger.error(
                "configuration refused, the old one stays", metadata: ["issue": "\(issue)"])
        }
        let more = error.issues.count > 1 ? " (and \(error.issues.count - 1) more)" : ""
        note(
            .reloadFailed, .error,
            "configuration refused, the old one stays: \(error.issues.first.map { "\($0)" } ?? "")\(more)"
        )
    }

    /// Which settings changed, without their values.
    private static func inWords(_ changes: [SettingChange]) -> String {
        guard !changes.isEmpty else { return "nothing changed" }
        let names = changes.prefix(10).map(\.name).joined(separator: ", ")
        return "changed: \(names)\(changes.count > 10 ? " …" : "")"
    }

    /// The users of `auth_file`; nil when there is none.
    static func userList(of loaded: LoadedConfiguration) throws(ConfigurationError) -> UserList? {
        guard let text = loaded.userListText else { return nil }
        do throws(UserListError) {
            return try UserList(parsing: text.bytes)
        } catch {
            let path = loaded.configuration.settings.authFile ?? "auth_file"
            throw ConfigurationError(
                issues: [
                    ConfigurationIssue(
                        .file(path: path, line: error.line), "auth_file", error.reason,
                        advice: "a line is \"user\" \"secret\"")
                ], warnings: loaded.warnings)
        }
    }
}
