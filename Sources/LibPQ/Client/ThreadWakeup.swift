// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc
import Synchronization

/// Wakes a thread that waits in poll(2), from any other thread (eventfd).
///
/// A signal that nobody waits for stays until the next wait, which it ends at once. Owns its
/// descriptor.
package final class ThreadWakeup: Sendable {
    let descriptor: Int32

    /// Traps when the process has no descriptor left: nothing could be waited for then.
    package init() {
        descriptor = pglease_make_eventfd()
        precondition(descriptor >= 0, "no descriptor is left for an eventfd: raise ulimit -n")
    }

    deinit { _ = close(descriptor) }

    package func signal() {
        let one: UInt64 = 1
        // SAFETY: eventfd(2) reads eight bytes. The only failure is a counter that is full, and then
        // the signal is there already.
        _ = unsafe withUnsafeBytes(of: one) { unsafe write(descriptor, $0.baseAddress, 8) }
    }

    /// Takes the signals that have come.
    func drain() {
        var count: UInt64 = 0
        // SAFETY: eventfd(2) writes eight bytes, or nothing when no signal is there.
        _ = unsafe withUnsafeMutableBytes(of: &count) {
            unsafe read(descriptor, $0.baseAddress, 8)
        }
    }

    /// Blocks until a signal comes, and takes it; false when the deadline came first.
    package func wait(until deadline: ContinuousClock.Instant?) -> Bool {
        while true {
            var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let count = unsafe Glibc.poll(&wanted, 1, pollTimeout(until: deadline))
            if count > 0 {
                drain()
                return true
            }
            if count == 0, let deadline, deadline <= ContinuousClock.now { return false }
        }
    }
}

/// Milliseconds for poll(2), rounded up so that it never comes back early; -1 for ever.
func pollTimeout(until deadline: ContinuousClock.Instant?) -> Int32 {
    guard let deadline else { return -1 }
    let rest = ContinuousClock.now.duration(to: deadline)
    if rest <= .zero { return 0 }
    let (seconds, attoseconds) = rest.components
    if seconds > 1_000_000 { return 1_000_000_000 }
    return Int32(seconds) * 1000
        + Int32((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
}

/// The wish that one operation on a connection be given up. May be made from any thread, once and
/// for that operation alone, so that a late one cannot hit the next.
package final class Interruption: Sendable {
    private let requested = Atomic(false)
    private let wakeup: ThreadWakeup

    package init(waking wakeup: ThreadWakeup) { self.wakeup = wakeup }

    package func request() {
        requested.store(true, ordering: .releasing)
        wakeup.signal()
    }

    package var isRequested: Bool { requested.load(ordering: .acquiring) }
}

/// How long an operation may wait, and what else may end its wait.
package struct Patience: Sendable {
    package var deadline: ContinuousClock.Instant?
    package var interruption: Interruption?

    package init(
        until deadline: ContinuousClock.Instant? = nil, interruption: Interruption? = nil
    ) {
        self.deadline = deadline
        self.interruption = interruption
    }
}

/// Why a wait ended before what was waited for.
package enum WaitFailure: Error, Equatable, Sendable {
    case timedOut
    case interrupted
}
