// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A value that every process has for itself: after fork the child gets one of its own, whatever the
/// parent's threads were doing with theirs at that moment.
///
/// A lock that one of them held would stay locked in the child for ever. The only lock here bears
/// its holder's process id, so the child knows one that nobody will ever release.
@safe
package final class ProcessLocal<Value: Sendable>: @unchecked Sendable {
    private let holder = Atomic<Int32>(0)
    // Guarded by `holder`.
    private var owner: Int32
    private var value: Value
    private let renew: @Sendable (_ inherited: Value) -> Value

    /// `renew` makes the child's value and lets go of what it inherited.
    package init(_ value: Value, renew: @escaping @Sendable (_ inherited: Value) -> Value) {
        owner = getpid()
        self.value = value
        self.renew = renew
    }

    package var current: Value {
        let process = getpid()
        lock(process)
        defer { holder.store(0, ordering: .releasing) }
        if owner != process {
            value = renew(value)
            owner = process
        }
        return value
    }

    /// The lock is held for a few instructions, so it spins.
    private func lock(_ process: Int32) {
        while true {
            let (gotIt, seen) = holder.compareExchange(
                expected: 0, desired: process, ordering: .acquiringAndReleasing)
            if gotIt { return }
            if seen != process, seen != 0 {
                let (tookIt, _) = holder.compareExchange(
                    expected: seen, desired: process, ordering: .acquiringAndReleasing)
                if tookIt { return }
            }
            sched_yield()
        }
    }
}
