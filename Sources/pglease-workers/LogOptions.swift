// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Logging

/// How the log looks: what the long-running subcommands share.
struct LogOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "trace, debug, info, notice, warning, error or critical; else LOG_LEVEL.",
            valueName: "level"),
        transform: LogOptions.level)
    var logLevel: Logger.Level?

    @Option(name: .long, help: "text or json; else LOG_FORMAT. To standard error.")
    var logFormat: WorkersLogHandler.Format?

    func makeLogger(_ label: String) throws -> Logger {
        let level = try logLevel ?? WorkersEnvironment.value("LOG_LEVEL").map(LogOptions.level)
        let format =
            logFormat
            ?? WorkersEnvironment.value("LOG_FORMAT").flatMap(WorkersLogHandler.Format.init)
            ?? .text
        return Logger(label: label) { label in
            WorkersLogHandler(label: label, format: format, logLevel: level ?? .info)
        }
    }

    private static func level(_ text: String) throws -> Logger.Level {
        let name = text.lowercased()
        guard let level = Logger.Level(rawValue: name == "warn" ? "warning" : name) else {
            throw ValidationError("\"\(text)\" is no log level")
        }
        return level
    }
}

extension WorkersLogHandler.Format: ExpressibleByArgument {}
