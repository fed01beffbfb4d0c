// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LeaseClient
import Logging
import Workers

/// `pglease-workers pipeline --id N`: the process of one pipeline, until SIGTERM.
struct PipelineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pipeline",
        abstract: "Replicate one pipeline's tables.",
        discussion: """
            What `pipelines` starts for each pipeline; by hand it runs whatever the pipeline's \
            status is. SIGTERM rolls back what is under way and ends: nothing is lost or doubled. \
            Exit status 1: somebody has to mend something, which pipeline_metadata names.
            """)

    @OptionGroup var config: ConfigDatabaseOptions
    @OptionGroup var log: LogOptions
    @OptionGroup var broker: BrokerRouteOptions

    @Option(help: "The pipeline's id.")
    var id: Int

    @Option(
        help: """
            Seconds between two looks at a source that is polled (5); else PGLEASE_PIPELINE_POLL.
            """)
    var poll: Double?

    @Option(
        help: """
            Seconds until the first new attempt after a failure that may pass, doubled each time \
            (0.5); else PGLEASE_PIPELINE_RETRY.
            """)
    var retry: Double?

    @Option(help: "The longest such pause (30); else PGLEASE_PIPELINE_RETRY_LIMIT.")
    var retryLimit: Double?

    @Option(help: .hidden)
    var lifeline: Int32?

    func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let logger = try log.makeLogger("pipeline-\(id)")
        let stop = StopSignal()
        let signals = TerminationSignals { stop.request() }
        defer { withExtendedLifetime(signals) {} }
        if let lifeline { ParentWatch.start(lifeline, stop, logger) }
        let outcome: PipelineWorker.Outcome
        do {
            let makeConfig = configMaker()
            outcome = try PipelineWorker(
                options(), stop: stop, logger: logger, config: makeConfig
            ).run()
        } catch let failure as PipelineFailure {
            logger.critical("the pipeline fails", metadata: ["error": "\(failure)"])
            throw ExitCode(1)
        } catch {
            logger.critical("the pipeline ends", metadata: ["error": "\(error)"])
            throw WorkersExitStatus.of(error)
        }
        switch outcome {
        case .stopped: logger.info("the pipeline has stopped")
        case .failed: throw ExitCode(1)
        }
    }

    private func options() throws -> PipelineWorker.Options {
        var configuration = try LeaseConfiguration()
        // Replication has one lease at a time, and the metadata theirs.
        configuration.maximumConnections = 2
        // A failure shows in the metadata soon; new attempts are the pipeline's own.
        configuration.wait = configuration.wait ?? .seconds(10)
        configuration.retry = .once
        var options = PipelineWorker.Options(pipeline: id, configuration: configuration)
        options.route = try broker.route()
        options.credentials = try Credentials.cipher()
        options.pollingInterval =
            try Seconds.read(poll, "PGLEASE_PIPELINE_POLL") ?? options.pollingInterval
        options.retry.delay = RetryDelay(
            first: try Seconds.read(retry, "PGLEASE_PIPELINE_RETRY") ?? .milliseconds(500),
            limit: try Seconds.read(retryLimit, "PGLEASE_PIPELINE_RETRY_LIMIT") ?? .seconds(30))
        return options
    }

    private func configMaker() -> @Sendable (String) throws -> LeaseClient {
        let url = config.databaseURL
        return { name in
            // The name is this pipeline's group at the broker, whatever the parent was called.
            setenv("PGAPPNAME", name, 1)
            var config = try ConfigDatabaseOptions.parse([])
            config.databaseURL = url
            return try config.makeClient(applicationName: name)
        }
    }
}

/// Ends this process when its parent is gone, which closes the other end of the lifeline.
enum ParentWatch {
    /// For the graceful end, when nobody is left who would kill this process.
    private static let grace: UInt32 = 15

    static func start(_ lifeline: Int32, _ stop: StopSignal, _ logger: Logger) {
        _ = BlockingThread {
            var byte: UInt8 = 0
            while read(lifeline, &byte, 1) != 0 {
                // Nobody writes to it; only a signal ends the read early.
                if errno != EINTR { break }
            }
            logger.warning("the manager is gone: the pipeline ends")
            stop.request()
            sleep(grace)
            _exit(WorkersExitStatus.software.rawValue)
        }
    }
}

/// Options in seconds, by flag or environment.
enum Seconds {
    static func read(_ flag: Double?, _ variable: String) throws -> Duration? {
        let text = flag.map { String($0) } ?? WorkersEnvironment.value(variable)
        guard let text else { return nil }
        guard let value = Double(text), value >= 0.01, value <= 1_000_000 else {
            throw ValidationError("\(text) for \(variable): use seconds from 0.01")
        }
        return .milliseconds(Int64((value * 1000).rounded()))
    }
}
