// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import BrokerConfiguration

/// `pglease serve`: reads the configuration, starts what it needs, and runs the broker to its end.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the broker in the foreground.",
        usage: """
            pglease serve [--config <file>] [--set <name=value> ...]
                          [--database-url <url> | --embedded]
                          [--log-format <format>] [--log-level <level>]
                          [--replace] [--detach]
            """,
        discussion: """
            SIGTERM ends it once its clients have left, SIGINT once the leases are back, either \
            way after shutdown_grace at the latest; a second one, or SIGQUIT, ends it at once. \
            SIGHUP reads the configuration again. It logs to standard error, tells systemd when it \
            is ready, and takes over the sockets of a socket unit.

            With --replace it takes the place of the broker that listens where it is to listen, without \
            a client that is refused: it starts beside it, and when it is ready it has its sockets. The \
            other one serves its clients until they have left, and sends them away within \
            drain_idle_clients. If anything fails, the other one goes on as it was.
            """
    )

    @OptionGroup var options: ConfigurationOptions
    @OptionGroup var database: DatabaseOptions

    @Option(name: .long, help: ArgumentHelp("text or json.", valueName: "format"))
    var logFormat: String?

    @Option(
        name: .long,
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical.", valueName: "level"))
    var logLevel: String?

    @Flag(name: .long, help: "Take the place of the broker that listens there.")
    var replace = false

    @Flag(
        name: .long,
        help: "Go on in the background; end with status 0 when it is ready, for ExecReload=.")
    var detach = false

    func validate() throws {
        if replace, database.embedded {
            throw ValidationError("--replace: a private PostgreSQL ends with its broker")
        }
        if database.embedded, database.databaseURL != nil {
            throw ValidationError(
                "--embedded serves a PostgreSQL of its own: leave --database-url out")
        }
    }

    mutating func run() throws {
        let environment = try ProcessEnvironment.read()
        var process = BrokerProcess(
            sources: sources(environment: environment), environment: environment,
            isEmbedded: database.isEmbedded(environment: environment), isDetached: detach,
            replaces: replace)
        try process.run()
    }

    private func sources(environment: [String: String]) -> ConfigurationSources {
        var sources = options.sources(
            environment: environment, databaseURL: database.databaseURL)
        if let logFormat {
            sources.overrides.append(
                SettingOverride(name: "log_format", value: logFormat, option: "--log-format"))
        }
        if let logLevel {
            sources.overrides.append(
                SettingOverride(name: "log_level", value: logLevel, option: "--log-level"))
        }
        return sources
    }
}
