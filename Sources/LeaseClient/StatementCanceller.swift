// SPDX-License-Identifier: Apache-2.0

import LibPQ
import Synchronization

/// The right to cancel what a lease's connection runs, from any thread. Lives for one lease: after
/// it, nothing happens.
public final class StatementCanceller: Sendable {
    private let running = Mutex<Interruption?>(nil)

    init() {}

    /// Cancels the statement that runs now; it throws ``LeaseError/Code/cancelled``. Nothing happens when
    /// none runs. Never blocks.
    public func cancel() { running.withLock { $0?.request() } }

    func began(_ interruption: Interruption) { running.withLock { $0 = interruption } }

    func ended() { running.withLock { $0 = nil } }
}
