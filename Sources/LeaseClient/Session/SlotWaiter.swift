// SPDX-License-Identifier: Apache-2.0

import LibPQ
import Synchronization

/// One caller that waits for its client's turn to have a connection. Settled once, by whoever comes
/// first: a slot, its deadline, its cancellation, the end of the client.
final class SlotWaiter: Sendable {
    enum Outcome: Sendable {
        /// The right to a connection, with one to reuse if there is any.
        case slot(Session?)
        case timedOut
        case cancelled
        case closed
    }

    private struct State {
        var outcome: Outcome?
        var continuation: CheckedContinuation<Outcome, Never>?
    }

    private let state = Mutex(State())
    /// For a caller that blocks.
    private let wakeup: ThreadWakeup?

    init(isBlocking: Bool) { wakeup = isBlocking ? ThreadWakeup() : nil }

    /// False when it was settled before.
    func settle(_ outcome: Outcome) -> Bool {
        let (isFirst, continuation) = state.withLock { state in
            if state.outcome != nil {
                return (false, nil as CheckedContinuation<Outcome, Never>?)
            }
            state.outcome = outcome
            defer { state.continuation = nil }
            return (true, state.continuation)
        }
        if isFirst {
            continuation?.resume(returning: outcome)
            wakeup?.signal()
        }
        return isFirst
    }

    private var outcome: Outcome? { state.withLock { $0.outcome } }

    /// Blocks the thread.
    func wait(until deadline: ContinuousClock.Instant) -> Outcome {
        while true {
            if let outcome { return outcome }
            if wakeup?.wait(until: deadline) != true { _ = settle(.timedOut) }
        }
    }

    /// Suspends the task; a cancelled task stops waiting.
    nonisolated(nonsending) func wait(
        asyncUntil deadline: ContinuousClock.Instant
    ) async -> Outcome {
        let alarm = Task {
            try await Task.sleep(until: deadline, clock: .continuous)
            _ = settle(.timedOut)
        }
        defer { alarm.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let settled = state.withLock { state -> Outcome? in
                    if state.outcome == nil { state.continuation = continuation }
                    return state.outcome
                }
                if let settled { continuation.resume(returning: settled) }
            }
        } onCancel: {
            _ = settle(.cancelled)
        }
    }
}
