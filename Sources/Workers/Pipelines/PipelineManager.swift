// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LeaseClient
import LibPQ
package import Logging
import Synchronization

/// Keeps one process running for each pipeline that wants one.
///
/// One thread decides (``Supervision``) and signals processes, one talks to the config database,
/// and one waits for each process, so that neither a slow database nor a process that does not end
/// holds up the others.
package final class PipelineManager: Sendable {
    package struct Options: Sendable {
        /// Between two looks at the table.
        package var interval: Duration = .seconds(5)
        package var claimTimeout: Duration = .seconds(30)
        package var policy = Supervision.Policy()
        /// How the process of a pipeline is started: this program, these words before `--id N`.
        package var program: String
        package var arguments: [String]
        /// `NAME=value`, without PGAPPNAME.
        package var environment: [String]

        package init(program: String, arguments: [String], environment: [String]) {
            self.program = program
            self.arguments = arguments
            self.environment = environment
        }
    }

    private struct Mail {
        var events: [Supervision.Event] = []
        /// Generations whose process has ended and is to be reaped.
        var zombies: [Int] = []
        var statements: [SQL] = []
        var isEnding = false
        /// Nothing more is claimed: what is released must stay so.
        var isStopping = false
    }

    private let options: Options
    private let registry: PipelineRegistry
    private let stop: StopSignal
    private let logger: Logger
    private let mail = Mutex(Mail())
    private let decider = ThreadWakeup()
    private let clerk = ThreadWakeup()
    private let lifeline = Lifeline()
    private let sources: DatabaseClients

    /// `owner` names this manager in its claims: another text for each life of each manager.
    /// `sources` are only asked to drop slots of pipelines that were removed; they are closed at the
    /// end.
    package init(
        _ options: Options, config: LeaseClient, sources: DatabaseClients, owner: String,
        stop: StopSignal, logger: Logger
    ) {
        self.sources = sources
        self.options = options
        self.stop = stop
        self.logger = logger
        registry = PipelineRegistry(
            client: config, owner: owner, claimTimeout: options.claimTimeout)
    }

    /// Blocks until it is stopped and every process has ended.
    package func run() {
        let clerkThread = BlockingThread { self.keepBooks() }
        stop.reacting(with: .run { self.shutDown() }) { decide() }
        mail.withLock { $0.isEnding = true }
        clerk.signal()
        clerkThread.join()
        lifeline.close()
    }

    private func shutDown() {
        mail.withLock { $0.isStopping = true }
        post(.shutdown)
    }

    private func post(_ event: Supervision.Event) {
        mail.withLock { $0.events.append(event) }
        decider.signal()
    }

    // MARK: Deciding

    private func decide() {
        var machine = Supervision(options.policy)
        var random = SystemRandomNumberGenerator()
        var children: [Int: Child] = [:]
        var effects: [Supervision.Effect] = []
        while !machine.isDone {
            let (events, zombies) = mail.withLock { mail in
                defer { (mail.events, mail.zombies) = ([], []) }
                return (mail.events, mail.zombies)
            }
            let ends = zombies.compactMap { reap($0, &children) }
            for event in ends + events + [.timePassed] {
                machine.handle(event, now: .now, using: &random, into: &effects)
            }
            for effect in effects { perform(effect, &children) }
            if !effects.isEmpty {
                effects.removeAll(keepingCapacity: true)
                clerk.signal()
            }
            if machine.isDone { return }
            _ = decider.wait(until: machine.nextDeadline)
        }
    }

    private func reap(
        _ generation: Int, _ children: inout [Int: Child]
    ) -> Supervision.Event? {
        guard let child = children.removeValue(forKey: generation) else { return nil }
        child.waiter.join()
        return .ended(
            pipeline: child.pipeline, generation: generation, child.child.reap())
    }

    private struct Child {
        let pipeline: Int
        let child: PipelineChild
        let waiter: BlockingThread
    }

    private func perform(_ effect: Supervision.Effect, _ children: inout [Int: Child]) {
        switch effect {
        case .start(let pipeline, let name, let generation):
            start(pipeline, name, generation, &children)
        case .terminate(let pipeline, let generation):
            logger.info("the pipeline is stopped", metadata: ["pipeline": "\(pipeline)"])
            signal(children[generation], SIGTERM)
        case .kill(let pipeline, let generation):
            logger.warning(
                "the pipeline's process does not end and is killed",
                metadata: ["pipeline": "\(pipeline)"])
            signal(children[generation], SIGKILL)
        case .finishRefresh(let pipeline): note(PipelineRegistry.finishRefresh(pipeline))
        case .notePaused(let pipeline):
            logger.info("the pipeline is paused", metadata: ["pipeline": "\(pipeline)"])
            note(PipelineMetadata.paused(pipeline))
        case .noteDied(let pipeline, let end, let again):
            logger.error(
                "a pipeline's process died",
                metadata: [
                    "pipeline": "\(pipeline)", "end": "\(end)", "again_in": "\(again)",
                ])
            note(PipelineMetadata.died(pipeline, end.description))
        case .noteEnded(let pipeline): note(PipelineMetadata.ended(pipeline))
        case .release(let pipeline): note(registry.release(pipeline))
        }
    }

    private func start(
        _ pipeline: Int, _ name: String, _ generation: Int, _ children: inout [Int: Child]
    ) {
        do {
            let child = try PipelineChild(
                program: options.program,
                arguments: options.arguments + [
                    "--id", "\(pipeline)", "--lifeline", "\(PipelineChild.lifelineDescriptor)",
                ],
                environment: options.environment + ["PGAPPNAME=pipeline-\(name)"],
                lifeline: lifeline.readEnd)
            logger.info(
                "the pipeline is started",
                metadata: [
                    "pipeline": "\(pipeline)", "name": "\(name)", "pid": "\(child.processID)",
                ])
            let waiter = BlockingThread {
                child.waitForEnd()
                self.mail.withLock { $0.zombies.append(generation) }
                self.decider.signal()
            }
            children[generation] = Child(pipeline: pipeline, child: child, waiter: waiter)
        } catch {
            post(
                .ended(
                    pipeline: pipeline, generation: generation, .notStarted(error.reason)))
        }
    }

    private func signal(_ child: Child?, _ number: Int32) {
        // It is not reaped yet, so the id is still its own.
        if let child { kill(child.child.processID, number) }
    }

    private func note(_ statement: SQL) { mail.withLock { $0.statements.append(statement) } }

    // MARK: The config database

    private func keepBooks() {
        let sweeper = SlotSweeper(sources, stop, logger) { [self] in note($0) }
        defer { sweeper.close() }
        var delay = RetryDelay(first: .milliseconds(250), limit: options.interval)
        var random = SystemRandomNumberGenerator()
        while true {
            let isEnding = mail.withLock { $0.isEnding }
            var pause = options.interval
            do {
                try write()
                if isEnding { return }
                if !mail.withLock({ $0.isStopping }) {
                    let listing = try registry.list()
                    post(.listed(listing.pipelines))
                    sweeper.sweep(listing.orphans)
                }
                if delay.failures > 0 { logger.info("the config database answers again") }
                delay.succeeded()
            } catch {
                if delay.failures == 0 {
                    logger.warning(
                        "the config database does not answer: processes go on as they are",
                        metadata: ["error": "\(error)"])
                }
                // At the end: once more, then the claims expire by themselves.
                if isEnding, delay.failures >= 3 { return }
                pause = delay.next(using: &random)
            }
            let hasNews = mail.withLock { !$0.statements.isEmpty || $0.isEnding != isEnding }
            if !hasNews || delay.failures > 0 { _ = clerk.wait(until: .now.advanced(by: pause)) }
        }
    }

    /// What has been noted, in order; it stays noted until it is written.
    private func write() throws {
        let statements = mail.withLock { $0.statements }
        if statements.isEmpty { return }
        do {
            try registry.write(statements)
        } catch let error as LeaseError where error.code == .sql && !error.isPassing {
            // It would be refused again: what follows must not wait for it.
            logger.error(
                "the config database refuses what the manager notes",
                metadata: ["error": "\(error)"])
        }
        mail.withLock { $0.statements.removeFirst(statements.count) }
    }
}
