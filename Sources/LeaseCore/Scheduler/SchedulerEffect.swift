// SPDX-License-Identifier: Apache-2.0

/// What the scheduler orders the shell to do. Run first in, first out, after `handle` returned; an
/// effect never calls the scheduler, it posts an event.
///
/// Cases with much in them are indirect: a grant, which comes with nearly every query, is copied as its
/// few words.
package enum SchedulerEffect: Equatable, Sendable {
    /// Open a connection of this pool with this startup profile (session pools; else the server's
    /// defaults).
    case openServer(ServerID, PoolID, ProfileID)
    /// Close it, whatever it does (a connect in progress too), then post `serverClosed`.
    case closeServer(ServerID, CloseReason)
    /// Send `server_check_query`, and post `validationSucceeded` or `validationFailed`.
    case validateServer(ServerID)
    /// Send `server_reset_query`, and post `resetSucceeded` or `resetFailed`.
    case resetServer(ServerID)

    /// The client holds the server from now on.
    case grant(ClientID, ServerID, LeaseID, waited: Duration)
    indirect case reject(ClientID, Rejection)
    /// After `query_wait_notify`: a NOTICE with the place in the queue, 1 is next.
    case notifyWaiter(ClientID, place: Int, waited: Duration)

    /// Nothing has moved in this pool for a while, and those who hold its leases may be those who
    /// wait: until `unwatchLeases`, post `leaseBecameIdle` and `leaseBecameBusy` of its leases, at
    /// once for those that rest already.
    case watchLeases(PoolID)
    case unwatchLeases(PoolID)
    /// Somebody waits in this pool whom a parked lease would serve: take those that `nextToReclaim` names.
    case reclaimParked(PoolID)
    /// This lease may be parked, and its connection is to be closed when it comes free: take it if it lies parked,
    /// else see to it that it is not parked any more.
    case recallLease(ServerID)
    /// Its leases wait for each other: said once, and once more when it becomes certain.
    indirect case poolLocked(PoolLock)
    /// This waiter is lent a connection of the reserve, before those who came earlier. It may exceed
    /// its group's cap.
    case reserveLent(PoolID, to: ClientID, outOf: Int, alreadyLent: Int)
    /// The lock is over, and what was lent is back. `group`: it was one of this group's cap.
    case poolRelieved(PoolID, group: GroupID?, after: Duration, lent: Int, rejected: Int)

    /// A shared bound keeps a pool from opening what it would; said once until `shareChanged`.
    case shareWanted(UInt32)

    case poolPhaseChanged(PoolID, PoolPhase)
    /// Opening failed; the next try is after `retryIn` (nil: no retry until a client asks).
    indirect case connectFailed(PoolID, ConnectFailure, attempt: Int, retryIn: Duration?)
    case poolStarted(PoolID)
    indirect case poolStartFailed(PoolID, ConnectFailure, attempts: Int)
    case poolPaused(PoolID)
}

/// Why a server connection was closed, as the console and the log say it.
package enum CloseReason: String, Equatable, Sendable {
    case idleTimeout = "idle timeout"
    case lifetime = "lifetime over"
    case lost = "connection lost"
    case broken = "returned broken"
    case connectFailed = "connect failed"
    case validationFailed = "validation failed"
    case resetFailed = "reset failed"
    case evicted = "evicted for another pool or profile"
    case surplus = "over the pool's size"
    /// It was not open before this host's share of a bound had to be asked for again.
    case unshared = "share of the bound ran out"
    case paused = "pool paused"
    case reconnect = "reconnect asked for"
    case stranded = "its host is not the right one any more"
    case poolClosed = "pool removed"
    /// It was confined to another process than the one that needed the room, or its process is gone.
    case confined = "confined to another process"
    /// A connect in progress: another pool's waiter needs its room.
    case unneeded = "nobody waits for it any more"
    /// It was for one client (`PoolPolicy.servesOnce`).
    case served = "its client has left"
}

/// Why a waiter was answered with an error instead of a lease.
package struct Rejection: Equatable, Sendable {
    package enum Cause: Equatable, Sendable {
        /// The deadline passed while the pool (or what bounds it) was full.
        case deadline(WaitLimit)
        /// `max_waiting` clients wait already.
        case queueFull(limit: Int)
        /// No connection could be opened: by the deadline (transient), or at once (permanent).
        case connectFailed(ConnectFailure)
        case poolPaused
        case poolClosed
        /// Everybody who holds what it waits for waits too, and there is no reserve (left): it was
        /// the youngest.
        case poolLock(PoolLock)
    }

    package var cause: Cause
    package var waited: Duration
    /// Place in the queue when it ended, 1 is next; 0 if it never entered the queue.
    package var place: Int
    /// Who waited in this pool then, this one included.
    package var waiting: Int
    /// At the deadline: every holder was at rest in its transaction, and its process waited.
    package var suspectsLock: Bool

    package init(
        cause: Cause, waited: Duration, place: Int, waiting: Int, suspectsLock: Bool = false
    ) {
        self.cause = cause
        self.waited = waited
        self.place = place
        self.waiting = waiting
        self.suspectsLock = suspectsLock
    }
}

/// The bound that a waiter waited for: what an operator would have to raise.
package enum WaitLimit: Equatable, Sendable {
    case poolSize(Int)
    case databaseConnections(Int)
    case userConnections(Int)
    case serverConnections(Int)
    /// This host's part of a shared bound.
    case share(Int)
    case groupLeases(Int)
    /// Kept for other groups' `min_leases`.
    case groupGuarantees
    /// There was room, but no connection was ready in time.
    case connecting
}

package enum PoolPhase: String, Equatable, Sendable {
    case running, failing, paused, stopped
}
