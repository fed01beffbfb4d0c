// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration

/// Where a configuration comes from: the options that all commands share.
struct ConfigurationOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "A pglease.ini or a pgbouncer.ini.",
            discussion: "Without it, PGLEASE_CONFIG names the file; without that there is none.",
            valueName: "file"),
        completion: .file(extensions: ["ini"]))
    var config: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "One setting, as in the file; wins over file and environment. Repeatable.",
            valueName: "name=value"),
        transform: { argument in
            guard let override = SettingOverride(argument: argument) else {
                throw ValidationError("\"\(argument)\" is not of the form name=value")
            }
            return override
        })
    var overrides: [SettingOverride] = []

    func sources(
        environment: [String: String], databaseURL: String? = nil
    ) -> ConfigurationSources {
        let named = environment["PGLEASE_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        return ConfigurationSources(
            file: config ?? named, environment: environment, overrides: overrides,
            databaseURL: databaseURL, readFile: FileSystem.readBytes,
            canUseFolder: FileSystem.canUseFolder)
    }
}

/// Which PostgreSQL is served when no file says it: of serve and check-config.
struct DatabaseOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The PostgreSQL to serve: its database, and * for the others of that server.",
            discussion: """
                Everyone on the host can read the command line: put a password into \
                PGLEASE_DATABASE_URL, PGLEASE_DATABASE_URL_FILE or a passfile.
                """,
            valueName: "url"))
    var databaseURL: String?

    @Flag(
        name: .long,
        help: ArgumentHelp(
            "Make and start a private PostgreSQL and serve it.",
            discussion: """
                Its data is kept in PGLEASE_STATE_DIR, else the XDG state folder, and found again \
                at the next start. PGLEASE_EMBEDDED=1 is the same.
                """))
    var embedded = false

    func isEmbedded(environment: [String: String]) -> Bool {
        embedded || ["1", "yes", "on", "true"].contains(environment["PGLEASE_EMBEDDED"] ?? "")
    }
}

/// Configuration errors as the person at the terminal sees them.
enum ConfigurationReport {
    /// Prints every error and warning and answers the exit status.
    static func refuse(_ error: ConfigurationError) -> ExitCode {
        for warning in error.warnings { Output.error("warning: \(warning)") }
        for issue in error.issues { Output.error("error: \(issue)") }
        let count = error.issues.count
        Output.error("pglease: the configuration is wrong: \(count) error\(count == 1 ? "" : "s")")
        return ExitCode(ExitStatus.configuration)
    }
}
