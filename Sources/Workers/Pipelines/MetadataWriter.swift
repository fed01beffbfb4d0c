// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import LibPQ
import Logging
import Synchronization

/// Writes what a pipeline's process tells of itself into the config database, on a thread of its
/// own and each time with a short lease: replication never waits for that database, and no news is lost
/// while it is away.
final class MetadataWriter: ReplicationReport {
    private struct News {
        /// Nil: nothing new.
        var status: SQL?
        var tables: [SQL] = []
        var destinations: [Int: [SQL]] = [:]
        var rows: [Int: Int] = [:]
        var isEnding = false

        var isEmpty: Bool {
            status == nil && tables.isEmpty && destinations.isEmpty && rows.isEmpty
        }
    }

    private struct Written {
        var hasStarted = false
        /// What was told last, so that it is told once.
        var failure: PipelineFailure?
    }

    private let pipeline: Int
    private let client: LeaseClient
    private let logger: Logger
    private let wakeup = ThreadWakeup()
    private let news = Mutex(News())
    private let written = Mutex(Written())
    /// Counts are put together for so long.
    private let countsEvery: Duration
    /// What is not written by then at the end is given up.
    private let farewell: Duration

    init(
        _ pipeline: Int, _ client: LeaseClient, _ logger: Logger,
        countsEvery: Duration = .seconds(5), farewell: Duration = .seconds(5)
    ) {
        self.pipeline = pipeline
        self.client = client
        self.logger = logger
        self.countsEvery = countsEvery
        self.farewell = farewell
    }

    /// Runs `body`, during which news are written; at its end those that are left.
    func writing<Result>(_ body: () throws -> Result) rethrows -> Result {
        let thread = BlockingThread { self.write() }
        defer {
            news.withLock { $0.isEnding = true }
            wakeup.signal()
            thread.join()
        }
        return try body()
    }

    // MARK: News

    /// What the pipeline replicates now, and what it leaves alone.
    func loaded(_ definition: PipelineDefinition) {
        for table in definition.destinations.flatMap(\.refused) {
            logger.warning(
                "a table is left alone",
                metadata: ["table": "\(table.name)", "reason": "\(table.reason)"])
        }
        news.withLock { $0.tables = PipelineMetadata.tables(definition) }
        wakeup.signal()
    }

    func running() {
        let isStart = written.withLock { written in
            written.failure = nil
            defer { written.hasStarted = true }
            return !written.hasStarted
        }
        news.withLock { $0.status = PipelineMetadata.running(pipeline, isStart: isStart) }
        wakeup.signal()
    }

    func failed(_ failure: PipelineFailure) {
        let isNew = written.withLock { written in
            defer { written.failure = failure }
            return written.failure != failure
        }
        guard isNew else { return }
        news.withLock { $0.status = PipelineMetadata.failed(pipeline, failure.description) }
        wakeup.signal()
    }

    func destinationFailed(_ destination: Int, _ failure: PipelineFailure) {
        news.withLock {
            $0.destinations[destination] = PipelineMetadata.destination(
                destination, error: failure.description)
        }
        wakeup.signal()
    }

    func destinationWorks(_ destination: Int) {
        news.withLock {
            $0.destinations[destination] = PipelineMetadata.destination(destination, error: nil)
        }
        wakeup.signal()
    }

    func applied(_ rows: [Int: Int], to destination: Int) {
        if rows.isEmpty { return }
        // Written in a while: nothing is woken.
        news.withLock { news in
            for (sync, count) in rows { news.rows[sync, default: 0] += count }
        }
    }

    // MARK: The writing thread

    private func write() {
        var delay = RetryDelay(first: .milliseconds(250), limit: .seconds(10))
        var random = SystemRandomNumberGenerator()
        var nextCounts = ContinuousClock.now.advanced(by: countsEvery)
        var end: ContinuousClock.Instant?
        while true {
            let isEnding = news.withLock { $0.isEnding }
            if isEnding, end == nil { end = .now.advanced(by: farewell) }
            let countsAreDue = isEnding || ContinuousClock.now >= nextCounts
            if countsAreDue { nextCounts = .now.advanced(by: countsEvery) }
            var pause = ContinuousClock.now.duration(to: nextCounts)
            if let taken = take(withCounts: countsAreDue) {
                do {
                    try write(taken)
                    delay.succeeded()
                } catch {
                    if delay.failures == 0 {
                        logger.warning(
                            "the pipeline's metadata could not be written, trying again",
                            metadata: ["error": "\(error)"])
                    }
                    putBack(taken)
                    pause = delay.next(using: &random)
                }
            }
            if let end {
                if news.withLock({ $0.isEmpty }) || ContinuousClock.now >= end { return }
            }
            _ = wakeup.wait(until: min(.now.advanced(by: pause), end ?? .now.advanced(by: pause)))
        }
    }

    private func take(withCounts: Bool) -> News? {
        news.withLock { news in
            var taken = News()
            taken.status = news.status.take()
            swap(&taken.tables, &news.tables)
            swap(&taken.destinations, &news.destinations)
            if withCounts { swap(&taken.rows, &news.rows) }
            return taken.isEmpty ? nil : taken
        }
    }

    /// What is newer stays.
    private func putBack(_ taken: News) {
        news.withLock { news in
            if news.status == nil { news.status = taken.status }
            if news.tables.isEmpty { news.tables = taken.tables }
            news.destinations.merge(taken.destinations) { newer, _ in newer }
            news.rows.merge(taken.rows) { $0 + $1 }
        }
    }

    private func write(_ taken: News) throws {
        var statements = taken.tables
        statements += taken.destinations.sorted { $0.key < $1.key }.flatMap(\.value)
        if let status = taken.status { statements.append(status) }
        statements += taken.rows.sorted { $0.key < $1.key }.map {
            PipelineMetadata.flow($0.key, rows: $0.value)
        }
        try client.withLease(
            for: "pipeline.metadata", wait: .seconds(2), retry: .once
        ) { connection in
            try connection.withTransaction { transaction in
                for answer in try transaction.pipeline(statements) { _ = try answer.get() }
            }
        }
    }
}
