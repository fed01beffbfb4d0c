// SPDX-License-Identifier: Apache-2.0

package import LeaseClient
package import Logging

/// Runs the jobs of the queue: recovers those of dead owners, claims pending ones as far as it has
/// room, keeps the claims alive, and gives back what it has not finished when it is stopped.
///
/// Several may run, in one process or many: a job is run by one of them.
package actor BackfillManager {
    package nonisolated let owner: String
    private let queue: BackfillQueue
    private let clients: DatabaseClients
    private let options: BackfillOptions
    private let logger: Logger
    private var active: [Int: ActiveJob] = [:]
    private var isStopped = false
    private var looking: Task<Void, any Error>?
    private var outcomes = BackfillSummary()
    /// A job has ended, time has passed, or the end has come: the loop looks at all that anyway.
    private let events: AsyncStream<Void>
    private let post: AsyncStream<Void>.Continuation

    private struct ActiveJob {
        let job: BackfillJob
        let task: Task<Void, Never>
    }

    /// `config` leads to the config database. `owner` must be this process's alone, over all hosts
    /// and restarts.
    package init(
        config: LeaseClient, clients: DatabaseClients, owner: String, options: BackfillOptions,
        logger: Logger
    ) {
        self.owner = owner
        self.clients = clients
        self.options = options
        queue = BackfillQueue(client: config, owner: owner)
        var logger = logger
        logger[metadataKey: "owner"] = "\(owner)"
        self.logger = logger
        // One look at the queue answers several events.
        (events, post) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Ends `run` soon: no further claims, running statements are cancelled at the server, and the
    /// jobs are PENDING again, each at its last checkpoint. Where the config database cannot be reached within
    /// the grace of the options, they are left to their claims' end.
    package func stop() {
        isStopped = true
        for entry in active.values { entry.task.cancel() }
        looking?.cancel(after: options.stopGrace)
        post.yield()
    }

    /// Works until it is stopped, or, `once`, until no job is pending and none runs. Returns what
    /// became of the jobs. A config database that cannot be reached is waited for; `once`, it is
    /// thrown after the retries of the options.
    package func run(once: Bool = false) async throws -> BackfillSummary {
        logger.info("backfill manager started")
        let heartbeat = Task { await self.beat() }
        let clock = Task { await self.tick() }
        defer {
            heartbeat.cancel()
            clock.cancel()
        }
        var iterator = events.makeAsyncIterator()
        var failures = 0
        while !isStopped {
            do {
                let look = Task { try await self.look() }
                looking = look
                defer { looking = nil }
                try await look.value
                failures = 0
                if once, active.isEmpty { break }
            } catch {
                failures += 1
                if failures == 1 {
                    logger.warning(
                        "the queue cannot be read", metadata: ["error": "\(error)"])
                }
                if once, failures >= options.retry.attempts || !error.passesByItself {
                    await endJobs()
                    throw error
                }
            }
            if isStopped { break }
            _ = await iterator.next(isolation: self)
        }
        await endJobs()
        logger.info("backfill manager stopped", metadata: outcomes.metadata)
        return outcomes
    }

    // MARK: The queue

    /// Recovers and claims.
    private func look() async throws {
        let recovered = try await queue.recoverStaleJobs(options, running: Array(active.keys))
        for job in recovered {
            logger.warning(
                "stale backfill job recovered",
                metadata: ["job.id": "\(job.id)", "job.status": "\(job.status)"])
        }
        let room = options.maximumJobs - active.count
        if room < 1 || isStopped { return }
        for job in try await queue.pendingJobs(limit: room, running: Array(active.keys)) {
            start(job)
        }
    }

    private func start(_ job: BackfillJob) {
        let run = BackfillRun(
            job, queue: queue, clients: clients, options: options, logger: logger)
        let task = Task.detached {
            let outcome = await run.run()
            await self.ended(job, outcome)
        }
        active[job.id] = ActiveJob(job: job, task: task)
        // Stopped while the claim was under way: it gives the job back at once.
        if isStopped { task.cancel() }
    }

    private func ended(_ job: BackfillJob, _ outcome: BackfillRun.Outcome) {
        active[job.id] = nil
        outcomes.add(outcome)
        log(job, outcome)
        post.yield()
    }

    private func endJobs() async {
        isStopped = true
        for entry in active.values { entry.task.cancel() }
        while let entry = active.values.first { await entry.task.value }
    }

    private func log(_ job: BackfillJob, _ outcome: BackfillRun.Outcome) {
        var metadata: Logger.Metadata = [
            "job.id": "\(job.id)", "job.table": "\(job.tableName)",
        ]
        switch outcome {
        case .completed(let rows):
            metadata["job.count"] = "\(rows)"
            logger.info("backfill job completed", metadata: metadata)
        case .failed(let reason):
            metadata["error"] = "\(reason)"
            logger.error("backfill job failed", metadata: metadata)
        case .stopped: logger.info("backfill job given back", metadata: metadata)
        case .lost:
            logger.info("backfill job cancelled or taken over", metadata: metadata)
        case .abandoned(let reason):
            metadata["error"] = "\(reason)"
            logger.error("backfill job left to its claim's end", metadata: metadata)
        }
    }

    // MARK: Time

    /// Keeps the claims, and ends the runs of jobs that were cancelled or taken over.
    private func beat() async {
        var failures = 0
        while await pause(options.claimTimeout / 3) {
            let jobs = active.values.map(\.job)
            if jobs.isEmpty { continue }
            do {
                let held = try await queue.heartbeat(jobs)
                failures = 0
                for job in jobs where !held.contains(job.id) {
                    if active[job.id]?.job == job { active[job.id]?.task.cancel() }
                }
            } catch {
                failures += 1
                if failures == 1, !Task.isCancelled {
                    logger.warning("no heartbeat", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    private func tick() async {
        while await pause(options.pollInterval) { post.yield() }
    }

    /// False when it is over.
    private func pause(_ time: Duration) async -> Bool {
        do {
            try await Task.sleep(for: time, clock: .continuous)
            return true
        } catch {
            return false
        }
    }
}

/// What became of the jobs of one manager's life.
package struct BackfillSummary: Equatable, Sendable {
    package var completed = 0
    package var failed = 0
    /// Given back, cancelled, taken over or left.
    package var unfinished = 0

    mutating func add(_ outcome: BackfillRun.Outcome) {
        switch outcome {
        case .completed: completed += 1
        case .failed: failed += 1
        case .stopped, .lost, .abandoned: unfinished += 1
        }
    }

    var metadata: Logger.Metadata {
        [
            "jobs.completed": "\(completed)", "jobs.failed": "\(failed)",
            "jobs.unfinished": "\(unfinished)",
        ]
    }
}
