// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration
import Glibc

/// `pglease pgbouncer`, also when the program is called by the name `pgbouncer`: its options and its way to start.
struct PgbouncerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pgbouncer",
        abstract: "Run in the place of pgbouncer, with its options.",
        usage: "pglease pgbouncer [-d] [-q] [-v] [-u <username>] [--replace] <config file>",
        discussion: """
            A link to pglease that is called pgbouncer is this command. The file is an existing \
            pgbouncer.ini; a section [pgbouncer] starts from pgbouncer's defaults. Signals are \
            pgbouncer's: SIGTERM waits for the clients, SIGINT for the servers, a second one or SIGQUIT \
            ends at once, SIGHUP reloads and opens the log file again, SIGUSR1 pauses, SIGUSR2 resumes. \
            -d needs pidfile and logfile (or syslog), and ends when clients are let in, or with the \
            status of the start that failed.
            """
    )

    @Flag(name: .shortAndLong, help: "Run in the background (as a daemon).")
    var daemon = false

    @Flag(name: .shortAndLong, help: "Log nothing to standard error.")
    var quiet = false

    @Flag(name: .shortAndLong, help: "Increase verbosity. Repeatable.")
    var verbose: Int

    @Option(
        name: [.customShort("u", allowingJoined: true), .customLong("user")],
        help: ArgumentHelp("Assume the identity of this user.", valueName: "username"))
    var user: String?

    @Flag(name: .long, help: "Take the place of the broker that listens there.")
    var replace = false

    @Flag(name: [.customShort("V"), .customLong("version")], help: "Show the version, then exit.")
    var showsVersion = false

    @Argument(help: ArgumentHelp("A pgbouncer.ini.", valueName: "config file"))
    var file: String?

    func validate() throws {
        if !showsVersion, file == nil {
            throw ValidationError("no configuration file specified")
        }
    }

    mutating func run() throws {
        if showsVersion {
            Output.line("PgBouncer \(Broker.pgbouncerVersion) (pglease \(ProductVersion.text))")
            return
        }
        var environment = try ProcessEnvironment.read()
        // The application's, which pgbouncer knows nothing of.
        for name in ["DATABASE_URL", "DATABASE_URL_FILE"] { environment[name] = nil }
        var sources = ConfigurationSources(
            file: file, environment: environment, readFile: FileSystem.readBytes,
            canUseFolder: FileSystem.canUseFolder)
        if verbose > 0 {
            sources.overrides.append(
                SettingOverride(name: "verbose", value: "\(min(verbose, 10))", option: "-v"))
        }
        if let user {
            sources.overrides.append(SettingOverride(name: "user", value: user, option: "-u"))
        }
        var process = BrokerProcess(
            sources: sources, environment: environment, isQuiet: quiet, isDaemon: daemon,
            replaces: replace)
        try process.run()
    }

    // MARK: By its name

    static func isMeant(by program: String?) -> Bool {
        program?.split(separator: "/").last == "pgbouncer"
    }

    /// Wrong options end with 1, as pgbouncer's.
    static func runAsPgbouncer(_ arguments: [String]) -> Never {
        do {
            var command = try parseAsRoot(arguments)
            try command.run()
            Glibc.exit(0)
        } catch {
            guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
            Output.error("pgbouncer: \(message(for: error))")
            Output.error("Try \"pgbouncer --help\" for more information.")
            Glibc.exit(1)
        }
    }
}
