// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import LibPQ
import Synchronization

/// The wish that a process ends its work, made once and from any thread.
///
/// Who waits for something registers what ends the wait; it happens on the thread that makes the
/// wish.
package final class StopSignal: Sendable {
    /// What the request does to who works or waits. It never blocks.
    enum Reaction: Sendable {
        case wake(ThreadWakeup)
        case interrupt(Interruption)
        /// The statement that runs is cancelled.
        case cancel(StatementCanceller)
        /// Who waits for a lease is let go.
        case close(DatabaseClients)
        case closeOne(LeaseClient)
        case run(@Sendable () -> Void)

        fileprivate func happen() {
            switch self {
            case .wake(let wakeup): wakeup.signal()
            case .interrupt(let interruption): interruption.request()
            case .cancel(let canceller): canceller.cancel()
            case .close(let clients): clients.close()
            case .closeOne(let client): client.close()
            case .run(let action): action()
            }
        }
    }

    private struct State {
        var isRequested = false
        var next = 0
        var reactions: [Int: Reaction] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var isRequested: Bool { state.withLock { $0.isRequested } }

    package func request() {
        let reactions = state.withLock { state in
            state.isRequested = true
            return Array(state.reactions.values)
        }
        for reaction in reactions { reaction.happen() }
    }

    /// Runs `body`, during which a request makes the reaction happen; at once when it has been
    /// made already.
    func reacting<Result>(
        with reaction: Reaction, during body: () throws -> Result
    ) rethrows -> Result {
        let (key, isLate) = state.withLock { state in
            state.next += 1
            state.reactions[state.next] = reaction
            return (state.next, state.isRequested)
        }
        defer { state.withLock { $0.reactions[key] = nil } }
        if isLate { reaction.happen() }
        return try body()
    }

    /// Blocks for that long, or until the request; true when it has been made.
    func wait(for time: Duration) -> Bool {
        let wakeup = ThreadWakeup()
        let deadline = ContinuousClock.now.advanced(by: time)
        return reacting(with: .wake(wakeup)) {
            while !isRequested, wakeup.wait(until: deadline) {}
            return isRequested
        }
    }

    /// Throws ``Stopped`` once the request has been made.
    func check() throws(Stopped) {
        if isRequested { throw Stopped() }
    }
}

/// Work ended because it was asked to.
struct Stopped: Error {}
