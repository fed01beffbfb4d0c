import ArgumentParser
import Broker
import BrokerConfiguration
import EmbeddedPostgres
import Glibc
import Logging

/// `pglease serve`: reads the configuration, starts what it needs, and runs the broker to its end.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the broker in the foreground.",
        usage: """
            pglease serve [--config <file>] [--set <name=value> ...]
                          [--database-url <url> | --embedded]
                          [--log-format <format>] [--log-level <level>]
            """,
        discussion: """
            SIGTERM ends it once its clients have left, SIGINT once the leases are back, either \
            way after shutdown_grace at the latest; a second one, or SIGQUIT, ends it at once. \
            SIGHUP reads the configuration again. It logs to standard error, tells systemd when it \
            is ready, and takes over the sockets of a socket unit.
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

    func validate() throws {
        if database.embedded, database.databaseURL != nil {
            throw ValidationError(
                "--embedded serves a PostgreSQL of its own: leave --database-url out")
        }
    }

    mutating func run() throws {
        // A client that leaves while it is written to is an error of that write, not the end.
        signal(SIGPIPE, SIG_IGN)
        let environment = try ProcessEnvironment.read()
        var sources = sources(environment: environment)
        let isEmbedded = database.isEmbedded(environment: environment)
        // Checked before anything is started; the private server's address is known only then.
        sources.databasesComeLater = isEmbedded
        var loaded = try load(sources)
        let sink = LogSink(loaded.configuration.settings)
        let logger = sink.makeLogger()

        var embedded: EmbeddedServer?
        if isEmbedded {
            let instance = try startEmbedded(loaded, environment: environment, logger: logger)
            sources.databaseURL = instance.databaseURL
            sources.databasesComeLater = false
            embedded = instance
            loaded = try load(sources)
        }
        defer { embedded?.stop() }
        for warning in loaded.warnings {
            logger.warning("configuration", metadata: ["issue": "\(warning)"])
        }
        let status = try serve(loaded, sources, sink, environment, embedded)
        if let embedded, let end = embedded.unexpectedEnd {
            Output.error(
                "pglease: the private PostgreSQL ended with \(end): see \(embedded.logPath)")
            throw ExitCode(ExitStatus.unavailable)
        }
        if status != 0 { throw ExitCode(status) }
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

    private func load(_ sources: ConfigurationSources) throws -> LoadedConfiguration {
        do throws(ConfigurationError) {
            return try Configuration.load(sources)
        } catch {
            throw ConfigurationReport.refuse(error)
        }
    }

    private func startEmbedded(
        _ loaded: LoadedConfiguration, environment: [String: String], logger: Logger
    ) throws -> EmbeddedServer {
        do throws(EmbeddedPostgresError) {
            return try EmbeddedServer(
                .init(
                    stateDirectory: loaded.configuration.settings.stateDir,
                    environment: environment, logger: logger))
        } catch {
            Output.error("pglease: \(error)")
            throw ExitCode(ExitStatus.of(error))
        }
    }

    private func serve(
        _ loaded: LoadedConfiguration, _ sources: ConfigurationSources, _ sink: LogSink,
        _ environment: [String: String], _ embedded: EmbeddedServer?
    ) throws -> Int32 {
        let logger = sink.makeLogger()
        var options = BrokerOptions(configuration: loaded, logger: logger) {
            () throws(ConfigurationError) in
            let loaded = try Configuration.load(sources)
            sink.follow(loaded.configuration.settings)
            return loaded
        }
        do {
            options.notify = try ServiceNotifier(environment: environment)
            options.adoptedSockets = try SocketActivation.adopt(environment: environment)
        } catch {
            Output.error("pglease: \(error)")
            throw ExitCode(ExitStatus.operatingSystem)
        }
        if let embedded {
            options.onReady = { address in
                Self.endWith(embedded, logger)
                Self.printHowToTry(address)
            }
        }
        do throws(BrokerStartError) {
            let broker = try Broker(options)
            let status = try broker.run()
            if broker.leavesJobsBehind { leave(status, embedded) }
            return status
        } catch {
            Output.error("pglease: \(error)")
            throw ExitCode(error.exitStatus)
        }
    }

    /// Ends the process without waiting for its threads.
    private func leave(_ status: Int32, _ embedded: EmbeddedServer?) -> Never {
        embedded?.stop()
        fflush(nil)
        _exit(embedded?.unexpectedEnd == nil ? status : ExitStatus.unavailable)
    }

    /// Without its server the broker has nothing to lease: it tells its clients and ends, and the
    /// next start recovers the data.
    private static func endWith(_ embedded: EmbeddedServer, _ logger: Logger) {
        let logPath = embedded.logPath
        embedded.watch {
            logger.critical("the private PostgreSQL has ended", metadata: ["log": "\(logPath)"])
            kill(getpid(), SIGQUIT)
        }
    }

    private static func printHowToTry(_ address: BrokerAddress) {
        guard let host = address.socketDirectory ?? address.tcp.first else { return }
        Output.line("ready; try: psql -h \(host) -p \(address.port) postgres")
    }
}
