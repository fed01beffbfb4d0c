// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LeaseClient
import Logging
import Workers

/// `pglease-workers backfill`: the backfill manager, until SIGTERM or, with `--once`, until the
/// queue is empty.
struct BackfillCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backfill",
        abstract: "Run the jobs of the backfill queue.",
        discussion: """
            Any number of these may run, on any number of hosts: each job is run by one. SIGTERM \
            gives unfinished jobs back, each at its last checkpoint; a second one ends at once.
            """)

    @OptionGroup var config: ConfigDatabaseOptions
    @OptionGroup var log: LogOptions
    @OptionGroup var backfill: BackfillFlags
    @OptionGroup var broker: BrokerRouteOptions

    @Flag(help: "End when no job is pending and none runs.")
    var once = false

    @Flag(help: "Do not make or complete the tables at the start.")
    var noMigrate = false

    func run() async throws {
        let logger = try log.makeLogger("backfill")
        let options = try backfill.options()
        let route = try broker.route()
        let summary: BackfillSummary
        do {
            summary = try await work(options, route, logger)
        } catch {
            logger.critical("the backfill manager ends", metadata: ["error": "\(error)"])
            throw WorkersExitStatus.of(error)
        }
        if once, summary.failed + summary.unfinished > 0 { throw WorkersExitStatus.jobsFailed }
    }

    private func work(
        _ options: BackfillOptions, _ route: BrokerRoute?, _ logger: Logger
    ) async throws -> BackfillSummary {
        var configuration = try LeaseConfiguration()
        // A job has one lease at a time; the queue and the heartbeat have theirs.
        configuration.maximumConnections = options.maximumJobs + 2
        let client = try config.makeClient(applicationName: "backfill")
        defer { client.close() }
        let clients = DatabaseClients(
            route: route, applicationName: WorkersEnvironment.value("PGAPPNAME") ?? "backfill",
            configuration: configuration, credentials: try Credentials.cipher())
        defer { clients.close() }
        let manager = BackfillManager(
            config: client, clients: clients, owner: BackfillCommand.owner(), options: options,
            logger: logger)
        let signals = TerminationSignals {
            logger.notice("told to end: jobs are given back")
            Task { await manager.stop() }
        }
        defer { withExtendedLifetime(signals) {} }
        if !noMigrate { try await Migration().run(client) }
        return try await manager.run(once: once)
    }

    /// This host, this process, this life of it.
    private static func owner() -> String {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = name.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        return "\(host)/\(getpid())/\(String(UInt64.random(in: .min ... .max), radix: 36))"
    }
}
