// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Puts a configuration together from its sources and collects everything that is wrong with it.
///
/// Nothing stops at the first error; `load` throws at the end if there was one.
struct ConfigurationLoader {
    let sources: ConfigurationSources
    var configuration = Configuration()
    var origins: [String: SettingOrigin] = [:]
    var databaseOrigins: [String: SettingOrigin] = [:]
    var userOrigins: [String: SettingOrigin] = [:]
    var groupOrigins: [String: SettingOrigin] = [:]
    var errors: [ConfigurationIssue] = []
    var warnings: [ConfigurationIssue] = []
    var files: [String] = []
    var userListText: Secret?
    var missingUserList: ConfigurationIssue?
    var serverTLSFingerprint = Hasher()

    init(sources: ConfigurationSources) { self.sources = sources }

    mutating func load() throws(ConfigurationError) -> LoadedConfiguration {
        readConfigurationFile()
        applyEnvironment()
        for override in sources.overrides {
            assign(override.name, override.value, origin: .commandLine(override.option))
        }
        applyDatabaseURL()
        chooseSocketFolder()
        readUserList()
        if let file = sources.file { configuration.replaced["conffile"] = file }
        check()
        guard errors.isEmpty else {
            throw ConfigurationError(issues: errors, warnings: warnings)
        }
        return LoadedConfiguration(
            configuration: configuration, origins: origins, warnings: warnings, files: files,
            userListText: userListText, missingUserList: missingUserList,
            serverTLSFingerprint: serverTLSFingerprint.finalize())
    }

    // MARK: The file

    private mutating func readConfigurationFile() {
        guard let path = sources.file else { return }
        var reader = ConfigurationReader(readFile: sources.readFile)
        reader.read(path)
        files += reader.files
        errors += reader.issues
        chooseFlavour(reader.sections)
        for section in reader.sections { checkSection(section.name, origin: section.origin) }
        for line in reader.lines { take(line) }
    }

    private mutating func chooseFlavour(_ sections: [(name: String, origin: SettingOrigin)]) {
        let main = sections.filter { ConfigurationFlavour(rawValue: $0.name) != nil }
        if let second = main.dropFirst().first {
            errors.append(
                ConfigurationIssue(
                    second.origin, nil,
                    "[\(second.name)] beside [\(main[0].name)] of \(main[0].origin)",
                    advice: "the section's name decides the defaults: keep one of them"))
        }
        configuration.flavour =
            main.first.flatMap { ConfigurationFlavour(rawValue: $0.name) } ?? .pglease
        configuration.settings = Settings(flavour: configuration.flavour)
    }

    private static let sections = [
        "pglease", "pgbouncer", "databases", "users", "groups", "peers",
    ]

    private mutating func checkSection(_ name: String, origin: SettingOrigin) {
        if !Self.sections.contains(name) {
            let nearest = NearestName.of(name, among: Self.sections)
            errors.append(
                ConfigurationIssue(
                    origin, nil, "unknown section [\(name.prefix(80))]",
                    advice: nearest.map { "did you mean [\($0)]?" }
                        ?? "sections are \(Self.sections.map { "[\($0)]" }.joined(separator: ", "))"
                ))
        }
    }

    private mutating func take(_ line: ConfigurationReader.Line) {
        switch line.section {
        case "pglease", "pgbouncer": assign(line.key, line.value, origin: line.origin)
        case "databases": takeDatabase(line)
        case "users": takeUser(line)
        case "groups": takeGroup(line)
        case "peers": takePeer(line)
        default: break
        }
    }

    // MARK: Settings

    /// Sets one setting from any source; the later source wins.
    mutating func assign(_ name: String, _ value: String, origin: SettingOrigin) {
        guard let description = Settings.byName[name] else {
            return takeOtherName(name, value, origin: origin)
        }
        if case .file(_, _) = origin, let earlier = origins[name] {
            warnings.append(
                ConfigurationIssue(
                    origin, name, "is set again; the value of \(earlier) is not used"))
        }
        do throws(SettingValueError) {
            let expanded = description.kind == .path ? expandHome(value) : value
            try description.assign(expanded, &configuration.settings)
        } catch {
            errors.append(
                ConfigurationIssue(
                    origin, name, error.reason,
                    advice: Self.commentAdvice(value, origin) ?? error.advice))
        }
        origins[name] = origin
    }

    private mutating func takeOtherName(_ name: String, _ value: String, origin: SettingOrigin) {
        if let replaced = ReplacedSetting.byName[name] {
            replaced.judge(value, origin: origin, errors: &errors, warnings: &warnings)
            configuration.replaced[name] = value
            return
        }
        errors.append(
            ConfigurationIssue(
                origin, nil, "unknown setting \(quoted(name))", advice: NameAdvice.forSetting(name))
        )
    }

    /// Many formats have comments behind values; this one, as pgbouncer's, takes them for a part of the value.
    static func commentAdvice(_ value: String, _ origin: SettingOrigin) -> String? {
        guard case .file = origin, value.contains(" ;") || value.contains(" #") else { return nil }
        return "a comment needs a line of its own: behind a value it is part of the value"
    }

    /// `~/` as pgbouncer reads it.
    private func expandHome(_ path: String) -> String {
        guard path.hasPrefix("~/"), let home = sources.environment["HOME"] else { return path }
        return home + path.dropFirst()
    }

    // MARK: What is left open until all sources are read

    private mutating func chooseSocketFolder() {
        guard configuration.settings.unixSocketDir == "" else { return }
        switch configuration.flavour {
        case .pgbouncer:
            configuration.settings.unixSocketDir = nil
        case .pglease:
            configuration.settings.unixSocketDir = SocketFolder.choose(
                environment: sources.environment, canUse: sources.canUseFolder)
        }
    }

    private mutating func readUserList() {
        guard let path = configuration.settings.authFile else { return }
        let origin = origins["auth_file"] ?? .defaults
        do throws(FileReadError) {
            let bytes = try sources.readFile(path)
            files.append(path)
            userListText = Secret(bytes: bytes)
        } catch {
            let issue = ConfigurationIssue(origin, "auth_file", "\(path): \(error.reason)")
            guard configuration.flavour == .pgbouncer, error.isMissing else {
                errors.append(issue)
                return
            }
            // pgbouncer starts, and knows nobody until the file is there and read.
            missingUserList = issue
            warnings.append(issue)
            userListText = Secret("")
        }
    }

    /// What is wrong in pglease's own files, but only worth a word where an existing
    /// `pgbouncer.ini` must start as it is.
    mutating func reportStrictly(_ issue: ConfigurationIssue) {
        switch configuration.flavour {
        case .pglease: errors.append(issue)
        case .pgbouncer: warnings.append(issue)
        }
    }
}
