// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Logging

/// One job from its claim to its end.
///
/// Order of a batch: read at the source, written at every destination (a transaction each), then the
/// checkpoint in the config database, which is one transaction with the rows of the flow's record.
/// What dies in between leaves a batch that is written again by the next start, which replaces the
/// same rows: at least once, and once to see. A checkpoint is never ahead of a destination.
struct BackfillRun: Sendable {
    /// How a job ended for this process.
    enum Outcome: Equatable, Sendable {
        case completed(rows: Int)
        case failed(reason: String)
        /// It was told to stop, and has given the job back.
        case stopped
        /// The job was cancelled, or is another's.
        case lost
        /// The config database could not be told. The claim runs out, and another start goes on.
        case abandoned(reason: String)
    }

    /// For a lease that is asked for while another is held. When it passes, all are given back.
    private static let nestedWait: Duration = .seconds(30)

    let job: BackfillJob
    let queue: BackfillQueue
    let clients: DatabaseClients
    let options: BackfillOptions
    let logger: Logger

    init(
        _ job: BackfillJob, queue: BackfillQueue, clients: DatabaseClients,
        options: BackfillOptions, logger: Logger
    ) {
        self.job = job
        self.queue = queue
        self.clients = clients
        self.options = options
        var logger = logger
        logger[metadataKey: "job.id"] = "\(job.id)"
        logger[metadataKey: "job.table"] = "\(job.tableName)"
        self.logger = logger
    }

    /// Runs the job. When the task is cancelled, the statement that runs is cancelled, and the job
    /// is given back as it was at its last checkpoint.
    func run() async -> Outcome {
        logger.info(
            "backfill job started",
            metadata: [
                "job.attempt": "\(job.attempt)", "job.count": "\(job.count)",
                "job.total": "\(job.total)",
            ])
        do {
            let copied = try await process()
            try await retrying("the job's end") {
                try await queue.complete(job, count: copied.rows)
            }
            for destination in copied.noted { await forget(destination) }
            return .completed(rows: copied.rows)
        } catch is ClaimLost {
            return .lost
        } catch {
            // A cancelled task's statements end in more than one way.
            return Task.isCancelled ? await giveBack() : await fail(error)
        }
    }

    /// All rows are where they belong.
    private struct Copied {
        var rows: Int
        /// Destinations that keep a note of the job until it is complete.
        var noted: [DestinationTable] = []
    }

    private func process() async throws -> Copied {
        let targets = try await retrying("destinations") { try await queue.targets(job) }
        let sourceClient = try clients.client(for: job.source)
        let source = try await retrying("source table") {
            try await SourceTable(job, sourceClient)
        }
        var destinations: [DestinationTable] = []
        for target in targets {
            let client = try clients.client(for: target.address)
            destinations.append(
                try await retrying("destination table") {
                    try await DestinationTable(target, of: source, client)
                })
        }
        if job.keyColumn != source.simpleKey {
            try await retrying("key") {
                try await queue.updateKey(job, column: source.simpleKey)
            }
        }
        var total = job.total
        if total == 0 {
            total = try await retrying("count") { try await source.countRows() }
            let counted = total
            try await retrying("total") { try await queue.updateTotal(job, counted) }
        }
        if source.key.isEmpty {
            return try await copyWhole(source, destinations)
        }
        return try await copyBatches(source, destinations, total: total)
    }

    // MARK: Batches

    private func copyBatches(
        _ source: SourceTable, _ destinations: [DestinationTable], total: Int
    ) async throws -> Copied {
        var last = resumeKey(source)
        var count = last == nil ? 0 : job.count
        if last == nil, job.count > 0 {
            try await retrying("start") { try await queue.startOver(job) }
        }
        var meter = ProgressMeter(count: count, total: total, now: .now)
        var limit = options.batchRows
        while true {
            try await checkCancelled()
            let (key, rows) = (last, limit)
            let (batch, written) = try await retrying("batch") {
                try await copyBatch(source, destinations[...], after: key, limit: rows)
            }
            if batch.rows > 0 {
                count += batch.rows
                last = batch.lastKey
                let checkpoint = KeyCheckpoint(
                    columns: source.key.map(\.name), values: batch.lastKey)
                let reached = count
                try await retrying("checkpoint") {
                    try await queue.progress(
                        job, count: reached, key: checkpoint, written: written)
                }
                meter.wrote(batch.rows, now: .now)
                report(meter)
            }
            if batch.isLast { return Copied(rows: count) }
            // Wide rows: the next statement asks for no more than a batch holds.
            limit = min(options.batchRows, max(1, batch.rows * 2))
        }
    }

    /// A batch from the source to all destinations. Each destination's transaction is open, and its
    /// changes held back, before the batch is read: destinations in order, the source last, so that
    /// jobs cannot wait for each other in a circle. When one fails, those before it roll back; those
    /// after it have the batch already, and replace it with the same rows in the next attempt.
    private func copyBatch(
        _ source: SourceTable, _ destinations: ArraySlice<DestinationTable>, after key: [String]?,
        limit: Int, isNested: Bool = false
    ) async throws -> (batch: RowBatch, written: [Written]) {
        guard let destination = destinations.first else {
            let batch = try await source.client.withLease(
                for: "backfill.readBatch", wait: BackfillRun.nestedWait, retry: RetryPolicy.once
            ) {
                try await source.readBatch(
                    after: key, limit: limit, bytes: options.batchBytes, $0)
            }
            return (batch, [])
        }
        let rest = destinations.dropFirst()
        return try await destination.withMergeLock(wait: isNested ? BackfillRun.nestedWait : nil) {
            transaction in
            let batch: RowBatch
            var written: [Written] = []
            if rest.isEmpty, clients.isOnePool(job.source, destination.target.address) {
                // One lease serves both, and waits for no other.
                batch = try await source.readBatch(
                    after: key, limit: limit, bytes: options.batchBytes, transaction)
            } else {
                (batch, written) = try await copyBatch(
                    source, rest, after: key, limit: limit, isNested: true)
            }
            let rows = try await destination.write(batch, transaction)
            return (batch, [Written(target: destination.target, rows: rows)] + written)
        }
    }

    /// Where an earlier start came to; nil when there was none, or it went by another key.
    private func resumeKey(_ source: SourceTable) -> [String]? {
        let names = source.key.map(\.name)
        if let name = source.simpleKey {
            return job.keyColumn == name ? job.lastKey.map { [$0] } : nil
        }
        guard let checkpoint = job.checkpoint, checkpoint.columns == names else { return nil }
        return checkpoint.values
    }

    // MARK: Whole tables

    /// Nothing orders the rows, so there is no place to go on from: all of them are read at one
    /// moment, and written in one transaction for each destination.
    private func copyWhole(
        _ source: SourceTable, _ destinations: [DestinationTable]
    ) async throws -> Copied {
        try await checkCancelled()
        if job.count > 0 { try await retrying("start") { try await queue.startOver(job) } }
        let spool = try RowSpool(folder: options.spoolFolder)
        let rows = try await retrying("source") { try await source.readAll(into: spool) }
        var written: [Written] = []
        for destination in destinations {
            try await checkCancelled()
            let count = try await retrying("destination") {
                try await destination.writeAll(spool, job: job)
            }
            written.append(Written(target: destination.target, rows: count))
        }
        let all = written
        try await retrying("checkpoint") {
            try await queue.progress(job, count: rows, key: nil, written: all)
        }
        return Copied(rows: rows, noted: destinations)
    }

    private func forget(_ destination: DestinationTable) async {
        do {
            try await retrying("the note's end") { try await destination.forget(job) }
        } catch {
            logger.warning(
                "the note of a finished job stays in the destination",
                metadata: ["error": "\(error)"])
        }
    }

    // MARK: Ends

    private func checkCancelled() async throws {
        try Task.checkCancellation()
        let isCancelled = try await retrying("cancel check") { try await queue.isCancelled(job) }
        if isCancelled { throw ClaimLost() }
    }

    /// What the config database is told at the end is told though the task is cancelled, if that can be said within
    /// the grace.
    private func tell(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await Task { try await options.retry.run(onFailure: warn("the job's end"), body) }
            .value(withinWhenCancelled: options.stopGrace)
    }

    private func giveBack() async -> Outcome {
        do {
            try await Task { try await queue.release(job) }
                .value(withinWhenCancelled: options.stopGrace)
            return .stopped
        } catch is ClaimLost {
            return .lost
        } catch {
            return .abandoned(reason: "\(error)")
        }
    }

    private func fail(_ error: any Error) async -> Outcome {
        let reason = "\(error)"
        do {
            try await tell { try await queue.fail(job, reason) }
            return .failed(reason: reason)
        } catch is ClaimLost {
            return .lost
        } catch {
            return .abandoned(reason: "\(error)")
        }
    }

    private func retrying<Result: Sendable>(
        _ step: String, _ body: () async throws -> Result
    ) async throws -> Result {
        try await options.retry.run(onFailure: warn(step), body)
    }

    private func warn(_ step: String) -> @Sendable (any Error) -> Void {
        { error in
            logger.warning(
                "backfill job waits for a connection",
                metadata: ["step": "\(step)", "error": "\(error)"])
        }
    }

    private func report(_ meter: ProgressMeter) {
        logger.info(
            "backfill progress",
            metadata: [
                "job.count": "\(meter.count)", "job.total": "\(meter.total)",
                "job.percent": "\(meter.percent)",
                "job.rows_per_second": "\(meter.rate.map { Int($0) } ?? 0)",
                "job.remaining_seconds": "\(meter.remaining?.components.seconds ?? 0)",
            ])
    }
}
