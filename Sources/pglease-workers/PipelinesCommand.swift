// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LeaseClient
import Logging
import Workers

/// `pglease-workers pipelines`: the pipeline manager, until SIGTERM.
struct PipelinesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pipelines",
        abstract: "Run a process for each pipeline with status START.",
        discussion: """
            Any number of these may run: each pipeline is run by one. SIGTERM stops all pipelines \
            and ends; a second one ends at once, and the pipelines with it.
            """)

    @OptionGroup var config: ConfigDatabaseOptions
    @OptionGroup var log: LogOptions
    @OptionGroup var broker: BrokerRouteOptions

    @Option(help: "Seconds between two looks at the table (5); else PGLEASE_PIPELINES_INTERVAL.")
    var interval: Double?

    @Option(
        help: """
            Seconds that a pipeline has to end before it is killed (10); else \
            PGLEASE_PIPELINES_GRACE.
            """)
    var grace: Double?

    @Option(
        help: """
            Seconds of silence after which a manager is dead and its pipelines are another's (30); \
            else PGLEASE_PIPELINES_CLAIM_TIMEOUT.
            """)
    var claimTimeout: Double?

    @Option(
        help: """
            Seconds until a pipeline that died is started again, doubled each time (1); else \
            PGLEASE_PIPELINES_RESTART.
            """)
    var restart: Double?

    @Option(help: "The longest such pause (300); else PGLEASE_PIPELINES_RESTART_LIMIT.")
    var restartLimit: Double?

    @Flag(help: "Do not make or complete the tables at the start.")
    var noMigrate = false

    func run() async throws {
        let logger = try log.makeLogger("pipelines")
        var options = PipelineManager.Options(
            program: try Self.program(), arguments: ["pipeline"],
            environment: childEnvironment())
        options.interval =
            try Seconds.read(interval, "PGLEASE_PIPELINES_INTERVAL") ?? options.interval
        options.claimTimeout =
            try Seconds.read(claimTimeout, "PGLEASE_PIPELINES_CLAIM_TIMEOUT")
            ?? options.claimTimeout
        options.policy.grace =
            try Seconds.read(grace, "PGLEASE_PIPELINES_GRACE") ?? options.policy.grace
        options.policy.restart = RetryDelay(
            first: try Seconds.read(restart, "PGLEASE_PIPELINES_RESTART") ?? .seconds(1),
            limit: try Seconds.read(restartLimit, "PGLEASE_PIPELINES_RESTART_LIMIT")
                ?? .seconds(300))
        // Refused here, not in each process.
        let route = try broker.route()
        do {
            let sources = DatabaseClients(
                route: route, applicationName: "pipelines", configuration: try .init(),
                credentials: try Credentials.cipher())
            try await work(options, sources, logger)
        } catch {
            logger.critical("the pipeline manager ends", metadata: ["error": "\(error)"])
            throw WorkersExitStatus.of(error)
        }
    }

    private func work(
        _ options: PipelineManager.Options, _ sources: DatabaseClients, _ logger: Logger
    ) async throws {
        signal(SIGPIPE, SIG_IGN)
        let client = try config.makeClient(applicationName: "pipelines")
        defer { client.close() }
        if !noMigrate { try await Migration().run(client) }
        let stop = StopSignal()
        let signals = TerminationSignals {
            logger.notice("told to end: pipelines are stopped")
            stop.request()
        }
        defer { withExtendedLifetime(signals) {} }
        PipelineManager(
            options, config: client, sources: sources, owner: Self.owner(), stop: stop,
            logger: logger
        ).run()
    }

    /// What was given by flags goes on by the environment, where passwords are not shown.
    private func childEnvironment() -> [String] {
        var values: [(String, String)] = []
        if let url = config.databaseURL { values.append(("DATABASE_URL", url)) }
        if let level = log.logLevel { values.append(("LOG_LEVEL", "\(level)")) }
        if let format = log.logFormat { values.append(("LOG_FORMAT", format.rawValue)) }
        if let address = broker.broker { values.append(("PGLEASE_BROKER", address)) }
        if !broker.databaseName.isEmpty {
            values.append(("PGLEASE_DATABASE_NAMES", broker.databaseName.joined(separator: ",")))
        }
        let replaced = Set(values.map(\.0) + ["PGAPPNAME"])
        var environment: [String] = []
        var entry = environ
        while let text = entry.pointee {
            let line = String(cString: text)
            if !replaced.contains(String(line.prefix { $0 != "=" })) { environment.append(line) }
            entry += 1
        }
        return environment + values.map { "\($0.0)=\($0.1)" }
    }

    /// This program itself, wherever it was started from.
    private static func program() throws -> String {
        var path = [CChar](repeating: 0, count: 4097)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        guard count > 0 else {
            throw ValidationError(
                "/proc/self/exe cannot be read: \(String(cString: strerror(errno)))")
        }
        return String(decoding: path[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func owner() -> String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        return "\(host)/\(getpid())/\(String(UInt64.random(in: .min ... .max), radix: 36))"
    }
}
