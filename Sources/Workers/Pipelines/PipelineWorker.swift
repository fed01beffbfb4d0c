// SPDX-License-Identifier: Apache-2.0

package import LeaseClient
package import Logging

/// What the process of one pipeline does: replicates until it is told to stop, and tries again what
/// may pass by itself.
package struct PipelineWorker: Sendable {
    package struct Options: Sendable {
        package var pipeline: Int
        /// Where leases on sources and destinations come from; nil: the rows name the broker.
        package var route: BrokerRoute?
        package var retry = RetryPace()
        /// Between two looks at a source that is polled.
        package var pollingInterval: Duration = .seconds(5)
        package var configuration: LeaseConfiguration
        /// For the passwords of sources and destinations; nil: they are used as they are.
        package var credentials: CredentialCipher?

        package init(pipeline: Int, configuration: LeaseConfiguration) {
            self.pipeline = pipeline
            self.configuration = configuration
        }
    }

    package enum Outcome: Equatable, Sendable {
        case stopped
        /// Somebody has to mend something; the metadata says what.
        case failed(PipelineFailure)
    }

    private let options: Options
    /// Makes a client of the config database that calls itself so at the broker.
    private let makeConfig: @Sendable (_ applicationName: String) throws -> LeaseClient
    private let stop: StopSignal
    private let logger: Logger

    package init(
        _ options: Options, stop: StopSignal, logger: Logger,
        config makeConfig: @escaping @Sendable (_ applicationName: String) throws -> LeaseClient
    ) {
        self.options = options
        self.makeConfig = makeConfig
        self.stop = stop
        self.logger = logger
    }

    /// Blocks until the end. What waits for a lease, runs at a destination or reads a source is
    /// ended by the stop at once; an open transaction is rolled back.
    package func run() throws -> Outcome {
        let name = try firstName()
        guard let name else { return .stopped }
        let config = try makeConfig("pipeline-\(name)")
        defer { config.close() }
        let writer = MetadataWriter(options.pipeline, config, logger)
        return writer.writing { replicate(config, writer) }
    }

    private func replicate(_ config: LeaseClient, _ writer: MetadataWriter) -> Outcome {
        var delay = options.retry.delay
        var random = SystemRandomNumberGenerator()
        while true {
            let started = ContinuousClock.now
            do {
                try replicateOnce(config, writer)
            } catch {
                if stop.isRequested { return .stopped }
                let failure = PipelineFailure(error, during: "replication")
                guard failure.isPassing else {
                    logger.error("the pipeline fails", metadata: ["error": "\(failure)"])
                    writer.failed(failure)
                    return .failed(failure)
                }
                if started.duration(to: .now) >= options.retry.healthyAfter { delay.succeeded() }
                if delay.failures == 0 {
                    logger.warning(
                        "replication is interrupted", metadata: ["error": "\(failure)"])
                }
                writer.failed(failure)
                if stop.wait(for: delay.next(using: &random)) { return .stopped }
            }
        }
    }

    private func replicateOnce(_ config: LeaseClient, _ writer: MetadataWriter) throws {
        let definition = try PipelineDefinition.load(options.pipeline, config)
        writer.loaded(definition)
        let clients = DatabaseClients(
            route: options.route, applicationName: definition.applicationName,
            configuration: options.configuration, credentials: options.credentials)
        // Who waits for a lease of these is let go; those of the config database go on, for the
        // metadata.
        try stop.reacting(with: .close(clients)) {
            defer { clients.close() }
            let source = try clients.client(for: definition.source.address)
            let ability = try source.withLease(for: "pipeline.source") {
                try ReplicationSource.ability($0)
            }
            switch ability {
            case .logical:
                try LogicalReplicator(
                    definition, clients, stop, writer, options.retry, logger
                ).run { writer.running() }
            case .pollingOnly(let reason):
                try PollingReplicator(
                    definition, clients, stop, writer, options, logger
                ).run(because: reason) { writer.running() }
            }
        }
    }

    /// The pipeline's name, which every lease of it bears, needs a first lease to be known. Nil
    /// when it was stopped meanwhile.
    private func firstName() throws -> String? {
        let client = try makeConfig("pipeline-\(options.pipeline)")
        defer { client.close() }
        var delay = options.retry.delay
        var random = SystemRandomNumberGenerator()
        return try stop.reacting(with: .closeOne(client)) {
            while true {
                do {
                    return try client.withLease(
                        for: "pipeline.load", wait: .seconds(2), retry: .once
                    ) { connection in
                        let found = try connection.query(
                            "SELECT name FROM pipelines WHERE id = \(options.pipeline)"
                        ).decode(String.self)
                        guard let name = found.first else {
                            throw PipelineFailure(
                                "there is no pipeline \(options.pipeline)", isPassing: false)
                        }
                        return name
                    }
                } catch {
                    if stop.isRequested { return nil }
                    let failure = PipelineFailure(error, during: "the pipeline is loaded")
                    guard failure.isPassing else { throw failure }
                    if delay.failures == 0 {
                        logger.warning(
                            "the config database does not answer", metadata: ["error": "\(failure)"]
                        )
                    }
                    if stop.wait(for: delay.next(using: &random)) { return nil }
                }
            }
        }
    }
}
