import LibPQ
import Synchronization

/// The wish that a process ends its work, made once and from any thread.
///
/// Who waits for something registers what ends the wait; it runs on the thread that makes the wish,
/// so it must not block.
package final class StopSignal: Sendable {
    private struct State {
        var isRequested = false
        var next = 0
        var reactions: [Int: @Sendable () -> Void] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    package var isRequested: Bool { state.withLock { $0.isRequested } }

    package func request() {
        let reactions = state.withLock { state in
            state.isRequested = true
            return Array(state.reactions.values)
        }
        for react in reactions { react() }
    }

    /// Runs `body`, during which a request calls `react`; at once when it has been made already.
    func reacting<Result>(
        _ react: @escaping @Sendable () -> Void, during body: () throws -> Result
    ) rethrows -> Result {
        let (key, isLate) = state.withLock { state in
            state.next += 1
            state.reactions[state.next] = react
            return (state.next, state.isRequested)
        }
        defer { state.withLock { $0.reactions[key] = nil } }
        if isLate { react() }
        return try body()
    }

    /// Blocks for that long, or until the request; true when it has been made.
    func wait(for time: Duration) -> Bool {
        let wakeup = Wakeup()
        let deadline = ContinuousClock.now.advanced(by: time)
        return reacting({ wakeup.signal() }) {
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
