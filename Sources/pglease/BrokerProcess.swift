// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration
import EmbeddedPostgres
import Glibc
import Logging

/// One broker as the process that it is, from its sources to its end: what `serve` and `pgbouncer` have in
/// common.
struct BrokerProcess {
    var sources: ConfigurationSources
    let environment: [String: String]
    /// A private PostgreSQL is started first.
    var isEmbedded = false
    /// Nothing goes to standard error once the configuration is read.
    var isQuiet = false
    /// It goes on in the background once the configuration is read.
    var isDaemon = false
    /// The same, and its log goes where it went.
    var isDetached = false
    /// The one that was started: a manager that watches knows it, and hears of the one that goes on.
    private let firstProcess = getpid()
    /// It takes the place of the broker that listens where it is to listen, if there is one.
    var replaces = false

    /// Runs to the end. Throws the exit status where that is not 0.
    mutating func run() throws {
        // A client that leaves while it is written to is an error of that write, not the end.
        signal(SIGPIPE, SIG_IGN)
        // Checked before anything is started; the private server's address is known only then.
        sources.databasesComeLater = isEmbedded
        var loaded = try load()
        try ProcessUser.become(loaded.configuration.settings.user)
        let predecessor = replaces ? try findPredecessor(loaded.configuration.settings) : nil
        let pidFile = try PidFile(
            loaded.configuration.settings.pidfile, isReplaced: predecessor != nil)
        let daemon = try begin(loaded.configuration.settings)
        let sink = try openLog(loaded.configuration.settings)
        try pidFile.write()
        defer { pidFile.remove() }
        let logger = sink.makeLogger()

        var embedded: EmbeddedServer?
        if isEmbedded {
            let instance = try startEmbedded(loaded, logger)
            sources.databaseURL = instance.databaseURL
            sources.databasesComeLater = false
            embedded = instance
            loaded = try load()
        }
        defer { embedded?.stop() }
        for warning in loaded.warnings {
            logger.warning("configuration", metadata: ["issue": "\(warning)"])
        }
        let status = try serve(loaded, sink, embedded, pidFile, daemon, predecessor)
        if let embedded, let end = embedded.unexpectedEnd {
            Output.error(
                "pglease: the private PostgreSQL ended with \(end): see \(embedded.logPath)")
            throw ExitCode(ExitStatus.unavailable)
        }
        if status != 0 { throw ExitCode(status) }
    }

    private func load() throws -> LoadedConfiguration {
        do throws(ConfigurationError) {
            return try Configuration.load(sources)
        } catch {
            throw ConfigurationReport.refuse(error)
        }
    }

    private func begin(_ settings: Settings) throws -> Daemon? {
        if isDetached { return try Daemon.detach() }
        return isDaemon ? try Daemon.begin(settings) : nil
    }

    private func findPredecessor(_ settings: Settings) throws -> Predecessor? {
        guard !isEmbedded else {
            Output.error(
                "pglease: --replace: a private PostgreSQL (--embedded) ends with its broker")
            throw ExitCode(ExitStatus.configuration)
        }
        guard let folder = settings.unixSocketDir else {
            Output.error(
                "pglease: --replace needs unix_socket_dir: over its Unix socket a broker gives its place up"
            )
            throw ExitCode(ExitStatus.configuration)
        }
        do throws(BrokerStartError) {
            return try Predecessor.find(at: "\(folder)/.s.PGSQL.\(settings.listenPort)")
        } catch {
            Output.error("pglease: \(error)")
            throw ExitCode(error.exitStatus)
        }
    }

    private func openLog(_ settings: Settings) throws -> LogSink {
        let sink = LogSink(settings, isQuiet: isQuiet || isDaemon)
        do throws(LogTargetError) {
            try sink.openTargets(settings)
        } catch {
            Output.error("pglease: \(error.setting): \(error.reason)")
            throw ExitCode(ExitStatus.cannotCreate)
        }
        return sink
    }

    private func startEmbedded(
        _ loaded: LoadedConfiguration, _ logger: Logger
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
        _ loaded: LoadedConfiguration, _ sink: LogSink, _ embedded: EmbeddedServer?,
        _ pidFile: PidFile, _ daemon: Daemon?, _ predecessor: Predecessor?
    ) throws -> Int32 {
        let logger = sink.makeLogger()
        let sources = sources
        var options = BrokerOptions(configuration: loaded, logger: logger) {
            () throws(ConfigurationError) in try Configuration.load(sources)
        }
        options.followLog = { settings throws(LogTargetError) in try sink.follow(settings) }
        do {
            options.notify = try ServiceNotifier(
                environment: environment, processID: isDetached ? firstProcess : getpid())
            let sockets = try SocketActivation.adopt(environment: environment)
            options.adoptedMetrics = SocketActivation.named(
                SocketActivation.metricsName, among: sockets, environment: environment)
            options.adoptedSockets = sockets.filter { !options.adoptedMetrics.contains($0) }
        } catch {
            Output.error("pglease: \(error)")
            throw ExitCode(ExitStatus.operatingSystem)
        }
        options.predecessor = predecessor
        options.isEmbedded = embedded != nil
        options.onReady = { address in
            do { try pidFile.replace() } catch {
                logger.error("the pid file still names the former broker")
            }
            daemon?.isReady()
            guard let embedded else { return }
            Self.endWith(embedded, logger)
            Self.printHowToTry(address)
        }
        do throws(BrokerStartError) {
            let broker = try Broker(options)
            let status = try broker.run()
            if broker.leavesJobsBehind { leave(status, embedded, pidFile) }
            return status
        } catch {
            // A daemon's terminal is gone, and its log is what is read then.
            if isQuiet || isDaemon {
                logger.critical("cannot start", metadata: ["reason": "\(error)"])
            }
            Output.error("pglease: \(error)")
            throw ExitCode(error.exitStatus)
        }
    }

    /// Ends the process without waiting for its threads.
    private func leave(_ status: Int32, _ embedded: EmbeddedServer?, _ pidFile: PidFile) -> Never {
        embedded?.stop()
        pidFile.remove()
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
