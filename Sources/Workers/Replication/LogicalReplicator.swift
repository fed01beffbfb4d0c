// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import LibPQ
import Logging

/// Replicates a pipeline's tables by logical decoding: one connection to the source's walsender,
/// outside of every pool, and a lease at a destination for each batch.
///
/// A transaction is confirmed to the source only when every destination has committed it.
final class LogicalReplicator {
    private let definition: PipelineDefinition
    private let clients: DatabaseClients
    private let stop: StopSignal
    private let report: any ReplicationReport
    private let logger: Logger
    private let retry: RetryPace

    init(
        _ definition: PipelineDefinition, _ clients: DatabaseClients, _ stop: StopSignal,
        _ report: any ReplicationReport, _ retry: RetryPace, _ logger: Logger
    ) {
        self.definition = definition
        self.clients = clients
        self.stop = stop
        self.report = report
        self.retry = retry
        self.logger = logger
    }

    /// Runs until the stream or a destination fails for good. Throws ``PipelineFailure``, or
    /// ``Stopped``; returns when it is to be run again, with nothing wrong. `streaming` is called
    /// once changes flow.
    func run(streaming: () -> Void) throws {
        let isNewSlot = try during("the source is prepared") { try prepareSource() }
        let wakeup = ThreadWakeup()
        let stream = try during("the replication connection is made") { try connect(wakeup) }
        defer { stream.close() }
        let patience = Patience(until: .now.advanced(by: .seconds(60)))
        let system = try during("the source is identified") { try stream.identify(patience) }
        let appliers = try prepareDestinations(system)
        try check(appliers, system, isNewSlot: isNewSlot)
        try during("replication is started") {
            try stream.start(
                slot: definition.source.slot, publication: definition.source.publication,
                from: (appliers.map(\.applied).min() ?? .zero).description, patience)
        }
        logger.info(
            "replication runs",
            metadata: [
                "mode": "logical", "slot": "\(definition.source.slot)",
                "publication": "\(definition.source.publication)",
            ])
        streaming()
        let feed = ChangeFeed(stream, reader: wakeup)
        try feed.reading {
            try stop.reacting(with: .wake(feed.arrived)) {
                try during("changes are read") { try follow(feed, appliers) }
            }
        }
    }

    // MARK: Starting

    private func prepareSource() throws -> Bool {
        let client = try clients.client(for: definition.source.address)
        return try client.withLease(for: "pipeline.source") { connection in
            return try stop.reacting(with: .cancel(connection.canceller)) {
                try ReplicationSource(
                    source: definition.source, tables: definition.sourceTables
                ).prepare(connection, logger)
            }
        }
    }

    /// To the source's own address, never through a broker: a walsender cannot be leased.
    private func connect(_ wakeup: ThreadWakeup) throws -> ReplicationStream {
        let address = definition.source.address
        var parameters: ConnectionParameters = [
            ("host", address.host), ("port", String(address.port)), ("dbname", address.database),
            ("user", address.user), ("application_name", definition.applicationName),
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "5"),
        ]
        if let password = clients.password(of: address) {
            parameters.append(("password", password))
        }
        let interruption = Interruption(waking: wakeup)
        return try stop.reacting(with: .interrupt(interruption)) {
            try ReplicationStream.connect(
                parameters, wakeup: wakeup,
                patience: Patience(
                    until: .now.advanced(by: .seconds(30)), interruption: interruption))
        }
    }

    private func prepareDestinations(
        _ system: ReplicationStream.System
    ) throws -> [DestinationApplier] {
        try definition.destinations.map { destination in
            let applier = DestinationApplier(
                destination, try clients.client(for: destination.address),
                ApplyProgress(
                    schema: destination.schema, systemIdentifier: system.identifier,
                    slot: definition.source.slot, destination: destination.id))
            try withRetries(destination) { try applier.prepare(stop) }
            // What an earlier process left there is over; if not, the next batch says so.
            report.destinationWorks(destination.id)
            return applier
        }
    }

    private func check(
        _ appliers: [DestinationApplier], _ system: ReplicationStream.System, isNewSlot: Bool
    ) throws {
        guard let position = LogSequenceNumber(system.position) else {
            throw PipelineFailure(
                "the source names its position \"\(system.position)\"", isPassing: false)
        }
        for applier in appliers where applier.applied > position {
            throw PipelineFailure(
                "destination \"\(applier.destination.name)\" has changes up to \(applier.applied), "
                    + "the source is at \(position) only: it was restored to an earlier state; "
                    + "backfill the tables and delete the row in \(ApplyProgress.tableName)",
                isPassing: false)
        }
        if isNewSlot, appliers.contains(where: { $0.applied > .zero }) {
            logger.warning(
                """
                the slot is new although changes had been applied before: what changed in between \
                is missing in the destinations until the tables are backfilled
                """,
                metadata: ["slot": "\(definition.source.slot)"])
        }
    }

    // MARK: Following

    private func follow(_ feed: ChangeFeed, _ appliers: [DestinationApplier]) throws {
        let batch = TransactionBatch()
        while true {
            try stop.check()
            // Small transactions are put together as long as more is there already.
            switch batch.isComplete ? feed.take() : feed.next(until: nil) {
            case .elements(let elements):
                for element in elements { try take(element, batch, feed, appliers) }
            case .nothing:
                if batch.isComplete { try apply(batch, feed, appliers) }
            case .ended(let end):
                if batch.isComplete { try apply(batch, feed, appliers) }
                // The destinations take changes again: the stream goes on where they are.
                if end == .full { return }
                throw end
            }
        }
    }

    private func take(
        _ element: ChangeFeed.Element, _ batch: TransactionBatch, _ feed: ChangeFeed,
        _ appliers: [DestinationApplier]
    ) throws {
        switch element {
        case .change(let payload):
            try batch.append(payload)
            if batch.isFull { try apply(batch, feed, appliers) }
        case .keepalive(let position):
            // Nothing is under way, so there is nothing before it that concerns us.
            if batch.isEmpty { feed.confirm(position) }
        }
    }

    private func apply(
        _ batch: TransactionBatch, _ feed: ChangeFeed, _ appliers: [DestinationApplier]
    ) throws {
        for applier in appliers {
            let rows = try apply(batch, applier)
            report.applied(rows, to: applier.destination.id)
        }
        feed.confirm(batch.end)
        batch.removeAll()
    }

    /// Fetches what the destination lacks between two attempts: no lease is held meanwhile.
    private func apply(
        _ batch: TransactionBatch, _ applier: DestinationApplier
    ) throws -> [Int: Int] {
        var fetched = FetchedRows()
        while true {
            let outcome = try withRetries(applier.destination) {
                try applier.apply(batch, fetched, stop)
            }
            switch outcome {
            case .applied(let rows): return rows
            case .incomplete(let missing):
                try during("rows are fetched from the source") {
                    let client = try clients.client(for: definition.source.address)
                    try RowFetcher(client: client, stop: stop).fetch(missing, into: &fetched)
                }
            }
        }
    }

    /// Tries again for as long as a failure may pass: nothing is lost, the source keeps it.
    private func withRetries<Result>(
        _ destination: PipelineDefinition.Destination, _ body: () throws -> Result
    ) throws -> Result {
        var delay = retry.delay
        var random = SystemRandomNumberGenerator()
        while true {
            do {
                let result = try body()
                if delay.failures > 0 {
                    logger.info(
                        "the destination works again",
                        metadata: ["destination": "\(destination.name)"])
                    report.destinationWorks(destination.id)
                    report.running()
                }
                return result
            } catch {
                try stop.check()
                let failure = PipelineFailure(
                    error, during: "destination \"\(destination.name)\"")
                report.destinationFailed(destination.id, failure)
                guard failure.isPassing else { throw failure }
                if delay.failures == 0 {
                    logger.warning(
                        "the destination does not take changes",
                        metadata: ["destination": "\(destination.name)", "error": "\(failure)"])
                    report.failed(failure)
                }
                if stop.wait(for: delay.next(using: &random)) { throw Stopped() }
            }
        }
    }

    /// Gives every error its place, and makes errors of a stop what they are.
    private func during<Result>(_ action: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch is Stopped {
            throw Stopped()
        } catch {
            try stop.check()
            throw PipelineFailure(error, during: "while \(action)")
        }
    }
}

/// How fast a pipeline's process tries again.
package struct RetryPace: Equatable, Sendable {
    package var delay = RetryDelay(first: .milliseconds(500), limit: .seconds(30))
    /// After so long without a failure the pauses begin anew.
    package var healthyAfter: Duration = .seconds(60)

    package init() {}
}
