// SPDX-License-Identifier: Apache-2.0

/// A row of `pipelines` as the manager sees it.
package struct PipelineRow: Equatable, Sendable {
    package var id: Int
    package var name: String
    /// `START`, `PAUSE`, `REFRESH`; others mean nothing here.
    package var status: String
    /// Changes with whatever the pipeline's process reads at its start, and with nothing else.
    package var fingerprint: String
}

/// How a process ended.
package enum ProcessEnd: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)
    /// It could not be started.
    case notStarted(String)

    package var description: String {
        switch self {
        case .exited(let status): "the pipeline's process ended with exit status \(status)"
        case .signalled(let signal): "the pipeline's process was ended by signal \(signal)"
        case .notStarted(let reason): "the pipeline's process could not be started: \(reason)"
        }
    }
}

/// Decides which pipelines have a process: the manager's sync loop without processes, database or
/// clock.
///
/// Each pipeline is on its own: none waits for another one's stop. A process is named by its
/// pipeline and a generation, so news of an old one cannot be taken for news of the next.
package struct Supervision {
    package enum Event: Equatable, Sendable {
        /// All pipelines but those that another manager has claimed.
        case listed([PipelineRow])
        case ended(pipeline: Int, generation: Int, ProcessEnd)
        case timePassed
        /// The manager is to end: every process is stopped.
        case shutdown
    }

    package enum Effect: Equatable, Sendable {
        case start(pipeline: Int, name: String, generation: Int)
        /// SIGTERM.
        case terminate(pipeline: Int, generation: Int)
        /// SIGKILL: it did not obey.
        case kill(pipeline: Int, generation: Int)
        /// The refresh is done: REFRESH becomes START.
        case finishRefresh(pipeline: Int)
        /// The metadata: somebody paused it, and it has stopped.
        case notePaused(pipeline: Int)
        /// The metadata: it died, unless it said why by itself.
        case noteDied(pipeline: Int, ProcessEnd, again: Duration)
        /// The metadata: the manager ends.
        case noteEnded(pipeline: Int)
        /// Other managers may have it.
        case release(pipeline: Int)
    }

    package struct Policy: Equatable, Sendable {
        /// Between SIGTERM and SIGKILL.
        package var grace: Duration = .seconds(10)
        package var restart = RetryDelay(first: .seconds(1), limit: .seconds(300))
        /// Who ran so long is started as if it had never died.
        package var healthyAfter: Duration = .seconds(60)

        package init() {}
    }

    private enum AfterStop: Equatable { case pause, forget, restart, end }

    private enum Phase: Equatable {
        /// Next: stopping, backingOff.
        case running(since: ContinuousClock.Instant)
        /// Next: gone, running. `killAt` is nil once it has been killed.
        case stopping(AfterStop, killAt: ContinuousClock.Instant?)
        /// Next: running, gone.
        case backingOff(until: ContinuousClock.Instant)
    }

    private struct Entry {
        var row: PipelineRow
        var generation: Int
        var phase: Phase
        var restart: RetryDelay
        /// The REFRESH that the row shows is being done or is done.
        var isRefreshed = false
    }

    private let policy: Policy
    private var entries: [Int: Entry] = [:]
    private var generations = 0
    private var isEnding = false

    package init(_ policy: Policy) { self.policy = policy }

    /// Everything has ended, as `shutdown` wanted.
    package var isDone: Bool { isEnding && entries.isEmpty }

    /// Pipelines with a process that is meant to go on.
    package var running: [Int] {
        entries.filter { if case .running = $0.value.phase { true } else { false } }.keys.sorted()
    }

    package var nextDeadline: ContinuousClock.Instant? {
        entries.values.compactMap { entry -> ContinuousClock.Instant? in
            switch entry.phase {
            case .running: nil
            case .stopping(_, let killAt): killAt
            case .backingOff(let until): until
            }
        }.min()
    }

    package mutating func handle(
        _ event: Event, now: ContinuousClock.Instant,
        using random: inout some RandomNumberGenerator,
        into effects: inout [Effect]
    ) {
        switch event {
        case .listed(let rows):
            if !isEnding { list(rows, now, &effects) }
        case .ended(let pipeline, let generation, let end):
            // Of a process that has been replaced: nothing to do any more.
            guard let entry = entries[pipeline], entry.generation == generation else { return }
            ended(entry, end, now, &random, &effects)
        case .timePassed: timePassed(now, &effects)
        case .shutdown:
            isEnding = true
            for id in entries.keys.sorted() { shutDown(id, now, &effects) }
        }
    }

    // MARK: What the table wants

    private mutating func list(
        _ rows: [PipelineRow], _ now: ContinuousClock.Instant, _ effects: inout [Effect]
    ) {
        let listed = Set(rows.map(\.id))
        // Removed, or another manager's by now.
        for id in entries.keys.sorted() where !listed.contains(id) {
            stop(id, .forget, now, &effects)
        }
        for row in rows.sorted(by: { $0.id < $1.id }) {
            switch row.status {
            case "PAUSE": stop(row.id, .pause, now, &effects)
            case "START": want(row, isRefresh: false, now, &effects)
            case "REFRESH": want(row, isRefresh: true, now, &effects)
            default: break
            }
        }
    }

    private mutating func want(
        _ row: PipelineRow, isRefresh: Bool, _ now: ContinuousClock.Instant,
        _ effects: inout [Effect]
    ) {
        guard var entry = entries[row.id] else {
            var entry = Entry(
                row: row, generation: 0, phase: .backingOff(until: now), restart: policy.restart)
            entry.isRefreshed = isRefresh
            start(entry, now, &effects)
            if isRefresh { effects.append(.finishRefresh(pipeline: row.id)) }
            return
        }
        let isNewRefresh = isRefresh && !entry.isRefreshed
        let isOther = entry.row.fingerprint != row.fingerprint || isNewRefresh
        // The row still shows the refresh that was done: the first word of it was lost.
        if isRefresh && entry.isRefreshed, case .running = entry.phase {
            effects.append(.finishRefresh(pipeline: row.id))
        }
        entry.isRefreshed = isRefresh
        entry.row = row
        entries[row.id] = entry
        switch entry.phase {
        case .running:
            if isOther { stop(row.id, .restart, now, &effects) }
        case .stopping(let after, let killAt):
            if after != .restart {
                entries[row.id]?.phase = .stopping(.restart, killAt: killAt)
            }
        case .backingOff:
            // What made it fail may be mended: no reason to wait.
            if isOther {
                entry.restart.succeeded()
                start(entry, now, &effects)
                if isRefresh { effects.append(.finishRefresh(pipeline: row.id)) }
            }
        }
    }

    // MARK: Starting and stopping

    private mutating func start(
        _ entry: Entry, _ now: ContinuousClock.Instant, _ effects: inout [Effect]
    ) {
        var entry = entry
        generations += 1
        entry.generation = generations
        entry.phase = .running(since: now)
        entries[entry.row.id] = entry
        effects.append(
            .start(pipeline: entry.row.id, name: entry.row.name, generation: generations))
    }

    private mutating func stop(
        _ id: Int, _ after: AfterStop, _ now: ContinuousClock.Instant, _ effects: inout [Effect]
    ) {
        guard let entry = entries[id] else { return }
        switch entry.phase {
        case .running:
            entries[id]?.phase = .stopping(after, killAt: now.advanced(by: policy.grace))
            effects.append(.terminate(pipeline: id, generation: entry.generation))
        case .stopping(_, let killAt): entries[id]?.phase = .stopping(after, killAt: killAt)
        case .backingOff: finish(id, after, &effects)
        }
    }

    /// It has no process any more, and is to have none.
    private mutating func finish(_ id: Int, _ after: AfterStop, _ effects: inout [Effect]) {
        entries[id] = nil
        switch after {
        case .pause: effects.append(.notePaused(pipeline: id))
        case .end: effects.append(.noteEnded(pipeline: id))
        case .forget, .restart: break
        }
        effects.append(.release(pipeline: id))
    }

    private mutating func shutDown(
        _ id: Int, _ now: ContinuousClock.Instant, _ effects: inout [Effect]
    ) {
        // What was paused or removed a moment ago is still that.
        if case .stopping(let after, _) = entries[id]?.phase, after != .restart { return }
        stop(id, .end, now, &effects)
    }

    private mutating func ended(
        _ entry: Entry, _ end: ProcessEnd, _ now: ContinuousClock.Instant,
        _ random: inout some RandomNumberGenerator, _ effects: inout [Effect]
    ) {
        var entry = entry
        switch entry.phase {
        case .running(let since):
            if since.duration(to: now) >= policy.healthyAfter { entry.restart.succeeded() }
            let pause = entry.restart.next(using: &random)
            entry.phase = .backingOff(until: now.advanced(by: pause))
            entries[entry.row.id] = entry
            effects.append(.noteDied(pipeline: entry.row.id, end, again: pause))
        case .stopping(.restart, _):
            entry.restart.succeeded()
            start(entry, now, &effects)
            if entry.isRefreshed { effects.append(.finishRefresh(pipeline: entry.row.id)) }
        case .stopping(let after, _): finish(entry.row.id, after, &effects)
        case .backingOff: preconditionFailure("a process ended that had ended before")
        }
    }

    private mutating func timePassed(
        _ now: ContinuousClock.Instant, _ effects: inout [Effect]
    ) {
        for id in entries.keys.sorted() {
            guard let entry = entries[id] else { continue }
            switch entry.phase {
            case .backingOff(let until) where until <= now: start(entry, now, &effects)
            case .stopping(let after, let killAt?) where killAt <= now:
                entries[id]?.phase = .stopping(after, killAt: nil)
                effects.append(.kill(pipeline: id, generation: entry.generation))
            case .running, .stopping, .backingOff: break
            }
        }
    }
}
