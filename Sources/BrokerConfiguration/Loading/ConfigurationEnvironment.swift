// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What the environment says: `PGLEASE_<NAME>`, `PGLEASE_<NAME>_FILE`, and `DATABASE_URL`.
extension ConfigurationLoader {
    /// An empty variable counts as unset: that is what `${NAME:-}` of compose files leaves behind.
    mutating func applyEnvironment() {
        for (variable, value) in sources.environment.sorted(by: { $0.key < $1.key })
        where variable.hasPrefix(Self.prefix) && !value.isEmpty {
            take(variable: variable, value: value)
        }
    }

    private static let prefix = "PGLEASE_"
    private static let fileSuffix = "_FILE"

    private mutating func take(variable: String, value: String) {
        let name = variable.dropFirst(Self.prefix.count).asciiLowercased
        if isSetting(name) {
            return assign(name, value, origin: .environment(variable))
        }
        if variable.hasSuffix(Self.fileSuffix) {
            let plain = String(name.dropLast(Self.fileSuffix.count))
            if isSetting(plain) {
                if let text = read(variable, path: value) {
                    assign(plain, text, origin: .environment(variable))
                }
                return
            }
        }
        guard !Self.isKnown(variable) else { return }
        let advice = NameAdvice.forSetting(name) { Self.prefix + $0.asciiUppercased }
        warnings.append(
            ConfigurationIssue(
                .environment(variable), nil, "is not a setting and has no effect", advice: advice))
    }

    private func isSetting(_ name: String) -> Bool {
        Settings.byName[name] != nil || ReplacedSetting.byName[name] != nil
    }

    /// Variables that are not settings: read elsewhere, or made by Kubernetes for a Service that
    /// is named pglease.
    private static func isKnown(_ variable: String) -> Bool {
        let names: Set<String> = [
            "PGLEASE_CONFIG", "PGLEASE_DATABASE_URL", "PGLEASE_DATABASE_URL_FILE",
            "PGLEASE_RUNTIME_DIR", "PGLEASE_POSTGRES_BIN", "PGLEASE_BIN", "PGLEASE_EMBEDDED",
            "PGLEASE_HOST", "PGLEASE_DSN",
        ]
        return names.contains(variable) || variable.hasPrefix("PGLEASE_LEASE_")
            || variable.hasPrefix("PGLEASE_SERVICE_") || variable.hasPrefix("PGLEASE_PORT")
            || variable.hasPrefix("PGLEASE_TEST_")
    }

    /// The value of a variable, or what the file that `<variable>_FILE` names holds.
    private mutating func value(of variable: String) -> (text: String, origin: SettingOrigin)? {
        let fileVariable = variable + Self.fileSuffix
        let path = sources.environment[fileVariable] ?? ""
        if let text = sources.environment[variable], !text.isEmpty {
            if !path.isEmpty {
                errors.append(
                    ConfigurationIssue(
                        .environment(fileVariable), nil,
                        "is set beside \(variable)", advice: "set one of them"))
            }
            return (text, .environment(variable))
        }
        guard !path.isEmpty, let text = read(fileVariable, path: path) else { return nil }
        return (text, .environment(fileVariable))
    }

    private mutating func read(_ variable: String, path: String) -> String? {
        do throws(FileReadError) {
            let bytes = try sources.readFile(path)
            files.append(path)
            guard let text = ConfigurationFile.value(bytes) else {
                throw FileReadError("the file is not UTF-8 text")
            }
            return text
        } catch {
            errors.append(
                ConfigurationIssue(.environment(variable), nil, "\(path): \(error.reason)"))
            return nil
        }
    }

    // MARK: A database from a URL

    /// `--database-url` and `PGLEASE_DATABASE_URL` are meant for pglease and stand beside, or in
    /// the place of, what the file names. `DATABASE_URL` belongs to the application, which may
    /// well point it at pglease itself: it counts only where nothing else names a database.
    mutating func applyDatabaseURL() {
        if let text = sources.databaseURL, !text.isEmpty {
            return addDatabases(from: text, origin: .commandLine("--database-url"))
        }
        if let (text, origin) = value(of: "PGLEASE_DATABASE_URL") {
            return addDatabases(from: text, origin: origin)
        }
        guard configuration.databases.isEmpty, !sources.databasesComeLater else { return }
        if let (text, origin) = value(of: "DATABASE_URL") {
            addDatabases(from: text, origin: origin)
        }
    }

    /// The URL's own database, and `*` for every other one of that server.
    private mutating func addDatabases(from text: String, origin: SettingOrigin) {
        let trimmed = String(text.trimmedBlanks)
        if trimmed.contains("://"), !ConnectionURI.isURI(trimmed) {
            errors.append(
                ConfigurationIssue(
                    origin, nil, "is not a postgresql:// URL",
                    advice: "such as postgresql://user:password@host:5432/database"))
            return
        }
        var fallback = databaseEntry(named: "*", from: trimmed, origin: origin)
        if let name = fallback.databaseName, !Self.reservedDatabases.contains(name) {
            var entry = fallback
            entry.name = name
            add(entry, origin: origin)
        }
        fallback.databaseName = nil
        add(fallback, origin: origin)
    }
}
