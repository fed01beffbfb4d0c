// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration
import PostgresProbe

/// `pglease check-config`: everything that is wrong with a configuration, or what it would run.
struct CheckConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check a configuration without starting anything.",
        usage: """
            pglease check-config [--config <file>] [--set <name=value> ...]
                                 [--database-url <url> | --embedded]
            """,
        discussion: """
            Reads the same sources as serve: defaults, file, environment, command line. Prints each \
            error as file:line: setting: reason, and exits with 78. When all is good it prints what \
            would run, and every setting that is not at its default with its origin.
            """
    )

    @OptionGroup var options: ConfigurationOptions
    @OptionGroup var database: DatabaseOptions

    mutating func run() throws {
        let environment = try ProcessEnvironment.read()
        var sources = options.sources(
            environment: environment, databaseURL: database.databaseURL)
        sources.databasesComeLater = database.isEmbedded(environment: environment)
        var loaded: LoadedConfiguration
        let encryption: EncryptionSetup
        do throws(ConfigurationError) {
            loaded = try Configuration.load(sources)
            loaded.warnings += try Broker.checkAccess(of: loaded)
            encryption = try EncryptionSetup(loaded)
        } catch {
            throw ConfigurationReport.refuse(error)
        }
        for warning in loaded.warnings + encryption.warnings { Output.error("warning: \(warning)") }
        report(loaded, isEmbedded: sources.databasesComeLater)
    }

    private func report(_ loaded: LoadedConfiguration, isEmbedded: Bool) {
        let configuration = loaded.configuration
        let settings = configuration.settings
        var lines: [(title: String, text: String)] = []
        for address in Self.addresses(settings) { lines.append(("listens on", address)) }
        lines.append(
            (
                "each pool",
                "\(settings.poolMode.rawValue) mode, \(settings.defaultPoolSize) server connections"
                    + (settings.reservePoolSize > 0
                        ? ", \(settings.reservePoolSize) in reserve" : "")
            ))
        lines.append(("logins by", settings.authType.rawValue))
        for entry in configuration.databases {
            lines.append(("database", Self.text(of: entry)))
        }
        if isEmbedded { lines.append(("database", "* = a private PostgreSQL")) }
        for group in configuration.groups { lines.append(("group", group.name)) }
        for file in loaded.files { lines.append(("read", file)) }
        for description in Settings.all where loaded.origins[description.name] != nil {
            lines.append(
                (
                    "set",
                    "\(description.name) = \(description.text(in: settings)) "
                        + "(\(loaded.origin(of: description.name)))"
                ))
        }
        Output.line("the configuration is good")
        var last = ""
        for (title, text) in lines {
            let shown = title == last ? "" : title
            last = title
            Output.line("  \(shown)\(String(repeating: " ", count: 12 - shown.count))\(text)")
        }
    }

    /// The line without its secrets, and who works there: that decides how many pools there are.
    private static func text(of entry: DatabaseEntry) -> String {
        let name = entry.databaseName.map { ["dbname=\($0)"] } ?? []
        let target = name + entry.serverParameters.map(\.description)
        let user =
            entry.forcedUser.map { "every client as user \($0)" } ?? "each client as its own user"
        return "\(entry.name) = \(target.joined(separator: " ")) (\(user))"
    }

    private static func addresses(_ settings: Settings) -> [String] {
        var addresses: [String] = []
        if let folder = settings.unixSocketDir {
            addresses.append("\(folder)/.s.PGSQL.\(settings.listenPort)")
        }
        addresses += settings.listenAddr.map {
            ProbeAddress.tcp(host: $0, port: UInt16(settings.listenPort)).description
        }
        return addresses
    }
}
