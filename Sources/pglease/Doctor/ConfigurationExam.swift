// SPDX-License-Identifier: Apache-2.0

import Broker
import BrokerConfiguration
import OperatorTools

/// Whether the configuration can be read, and is good.
struct ConfigurationExam {
    static let usualFile = "/etc/pglease/pglease.ini"
    private static let topic = "configuration"

    /// nil: it is not good.
    private(set) var loaded: LoadedConfiguration?
    private(set) var findings: [Finding] = []
    /// The file that was read, if there is one.
    let file: String?

    init(
        _ options: ConfigurationOptions, _ database: DatabaseOptions,
        _ environment: [String: String]
    ) {
        var sources = options.sources(environment: environment, databaseURL: database.databaseURL)
        if sources.file == nil, FileFacts(Self.usualFile) != nil { sources.file = Self.usualFile }
        file = sources.file
        let urls = ["DATABASE_URL", "PGLEASE_DATABASE_URL"].flatMap { [$0, "\($0)_FILE"] }
        let isNamed =
            sources.file != nil || database.databaseURL != nil
            || urls.contains { environment.value($0) != nil }
        sources.databasesComeLater = !isNamed || database.isEmbedded(environment: environment)
        do throws(ConfigurationError) {
            var loaded = try Configuration.load(sources)
            loaded.warnings += try Broker.checkAccess(of: loaded)
            loaded.warnings += try EncryptionSetup(loaded).warnings
            self.loaded = loaded
            if isNamed {
                let count = loaded.configuration.databases.count
                let origin = sources.file ?? "the environment or the command line"
                findings.append(
                    .ok(Self.topic, "\(origin) is good: \(count) lines in [databases]"))
            } else {
                findings.append(
                    .warning(
                        Self.topic, "no configuration is named: PostgreSQL is not looked at",
                        do: "give --config, or --database-url, as to the broker"))
            }
            findings += loaded.warnings.map {
                .warning(Self.topic, Self.text($0), do: $0.advice ?? "correct it, and RELOAD")
            }
        } catch {
            findings += error.issues.map {
                .wrong(
                    Self.topic, Self.text($0),
                    do: $0.advice ?? "correct it; pglease check-config shows all that is wrong")
            }
        }
    }

    /// Without its advice, which stands in a line of its own.
    private static func text(_ issue: ConfigurationIssue) -> String {
        var issue = issue
        issue.advice = nil
        return issue.description
    }

    /// For the comparison with what is in force. What the process chose or was started with is its own.
    var settings: [BrokerDiagnosis.Setting] {
        guard let loaded, file != nil else { return [] }
        return Settings.all.filter { loaded.origins[$0.name] != nil }.map {
            BrokerDiagnosis.Setting(
                name: $0.name, value: $0.text(in: loaded.configuration.settings),
                isChangeable: $0.changeable)
        }
    }
}
