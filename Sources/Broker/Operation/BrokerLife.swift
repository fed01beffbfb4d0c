// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore

/// Where the broker stands between its start and its end.
///
/// Invariant: clients are let in between the end of `startup` and `isStopped`, and new ones only before `shutdown`.
struct BrokerLife {
    var startup: Startup?
    var shutdown: Shutdown?
    /// It is ready, and says so when the former broker has stopped to accept, or then.
    var announcesBy: Instant?
    /// The loop is told to stop.
    var isStopped = false
    var exitStatus: Int32 = 0
    /// Worker threads are blocked at the end, and exit(3) would wait for them.
    var leavesJobsBehind = false
}

/// Which pools of the configuration have yet to have their first connection, or to fail.
final class Startup {
    let began: Instant
    var expected = 0
    var started = 0
    var failed = 0
    var pending: Set<PoolKey> = []
    /// It begins with a connection that the former broker gives up.
    var awaitsLoan = false
    /// Clients are let in, or never will be.
    var isOver = false

    init(began: Instant) { self.began = began }
}

/// A shutdown under way.
final class Shutdown {
    var mode: ShutdownMode
    /// `shutdown_grace`: then it ends all the same. nil: never.
    var deadline: Instant?
    /// Who came before it began is let in: so many had come.
    var comers = Int.max
    /// Another broker is in its place, and nobody is in a hurry.
    var isReplacement = false

    init(mode: ShutdownMode, deadline: Instant?) {
        self.mode = mode
        self.deadline = deadline
    }
}
