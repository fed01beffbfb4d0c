// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV

/// One turn of the loop, and when the next one is due.
///
/// Invariant: the timer is armed for the earliest of the engine's deadlines and the broker's own.
struct LoopTurn {
    enum Readable {
        case server(ServerID)
        case client(ClientID)
    }

    /// The clock as it was first read in this turn.
    var time: Instant?
    var timer: LoopTimer?
    /// Notices are being dealt with: what comes up meanwhile waits until they are.
    var isDealing = false
    /// Connections whose next bytes no event announces.
    var readable: [Readable] = []
    var ends = ClientEnds()

    /// Something waits for the next turn.
    var hasMore: Bool { !readable.isEmpty || !ends.isEmpty }

    /// The next time that something outside the engine may have run out.
    private var houseDue: Instant?

    mutating func keepHouse(by deadline: Instant) {
        if let houseDue, houseDue <= deadline { return }
        houseDue = deadline
    }

    /// True once for what is due.
    mutating func isHouseDue(_ now: Instant) -> Bool {
        guard let due = houseDue, due <= now else { return false }
        houseDue = nil
        return true
    }

    /// For the engine's next deadline, or the broker's own, if that is earlier.
    ///
    /// Mutating only so that the compiler does not copy the turn to ask it.
    mutating func arm(for deadline: Instant?) {
        var next = deadline
        if let houseDue, next.map({ houseDue < $0 }) ?? true { next = houseDue }
        if let next {
            if timer?.deadline != next.nanoseconds { timer?.arm(at: next.nanoseconds) }
        } else {
            timer?.disarm()
        }
    }
}
