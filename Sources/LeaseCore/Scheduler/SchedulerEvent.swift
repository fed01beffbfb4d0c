// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What the shell tells the scheduler: past facts.
package enum SchedulerEvent: Sendable {
    // MARK: Pools, groups and the global policy

    /// A pool that clients may ask leases of from now on. With `startup`, one connection is opened
    /// at once and retried by that schedule until `poolStarted` or `poolStartFailed`. A permanent
    /// failure ends it at once.
    indirect case poolOpened(PoolID, PoolPolicy, startup: StartupSchedule?)
    /// New limits for a pool, after a reload. Leases that are out stay; surplus connections close
    /// when they come back.
    indirect case poolChanged(PoolID, PoolPolicy)
    /// The pool is gone from the configuration: waiters are rejected, idle connections closed,
    /// leased ones closed when they come back. Its number is not used again.
    case poolClosed(PoolID)
    case groupOpened(GroupID, GroupPolicy)
    case groupChanged(GroupID, GroupPolicy)
    case policyChanged(BrokerPolicy)
    /// What this broker may have of a bound that many hosts share. `isVoid`: what was allowed before is not good any more,
    /// and attempts that are under way are given up.
    case shareChanged(UInt32, ShareAllowance, isVoid: Bool)
    /// The bound's table refuses to answer, for a reason that waiting does not mend.
    indirect case shareFailed(UInt32, ConnectFailure)

    // MARK: Clients

    case leaseRequested(LeaseRequest)
    /// The client vanished or cancelled while it waited. Nothing if it does not wait (any more).
    case requestWithdrawn(ClientID)
    /// The lease on this server is over. `profile` is what is in force on the server now.
    case leaseReturned(ServerID, ServerCondition, profile: ProfileID)

    /// While its pool is watched (`watchLeases`): the client of this lease lets it rest since then,
    /// in a transaction or in an explicit lease: all that it sent is answered.
    case leaseBecameIdle(ServerID, LeaseID, since: Instant)
    /// While its pool is watched: the client sent something again.
    case leaseBecameBusy(ServerID, LeaseID)
    /// The descriptor of this leased connection goes to that process, which may keep a copy: from
    /// now on the connection is granted to clients of that process only. Ask `mayHandOut` first.
    case serverHandedOut(ServerID, to: PeerID)
    /// The client of this lease may park it: which of its threads uses it is not known from now on. Ask `mayPark`
    /// first.
    case leaseMayBeParked(ServerID)
    /// It was asked for, and was not parked: it comes back at the end of this use, of that thread if it is known.
    case leaseRecalled(ServerID, LeaseID, thread: UInt64?)
    /// The process has no session any more: what is confined to it is closed, a leased one when it
    /// comes back.
    case peerGone(PeerID)

    // MARK: Servers

    case serverConnected(ServerID)
    indirect case serverConnectFailed(ServerID, ConnectFailure)
    case validationSucceeded(ServerID)
    case validationFailed(ServerID)
    /// The connection is as new, with this profile in force.
    case resetSucceeded(ServerID, profile: ProfileID)
    case resetFailed(ServerID)
    /// An idle, validating or resetting connection ended or said something unexpected. (A leased
    /// one comes back by `leaseReturned(.broken)`.)
    case serverLost(ServerID)
    /// A cancel request for what this server runs was sent to PostgreSQL, and has no answer yet:
    /// it must not serve another lease before every one of them is finished.
    case cancelStarted(ServerID)
    case cancelFinished(ServerID)
    /// The shell has closed it, after `closeServer`: the slot is free.
    case serverClosed(ServerID)

    // MARK: Operators

    /// Give nothing out; close connections as they become free. `poolPaused` follows when none is
    /// left.
    case poolPauseRequested(PoolID)
    case poolResumed(PoolID)
    /// Close every connection that is open now, idle ones and connects in progress at once, leased
    /// ones on return. The next attempt to connect need not wait for a pause that is under way.
    case poolReconnectRequested(PoolID)

    /// These connections lead to a host that is not the right one any more: unused ones are closed at once, leased
    /// ones on return. The next attempt to connect need not wait for a pause that is under way.
    case serversStranded([ServerID])

    /// The clock has reached `nextDeadline`.
    case deadlineReached
}

/// A client's wish for a server connection.
package struct LeaseRequest: Sendable {
    package var client: ClientID
    package var pool: PoolID
    package var group: GroupID
    /// The process (and thread, when known) that will hold the lease.
    package var owner: OwnerKey
    /// What should be in force on the connection: one with this profile is preferred.
    package var profile: ProfileID
    /// Session pools: only a connection that was *opened* with this profile will do.
    package var requiresProfile: Bool
    /// When the wait must end, with a grant or an error.
    package var deadline: Instant
    /// When the client began to wait: earlier than `now` for a request that is made again because
    /// the server granted first was dead. Such a request goes to the front of its group.
    package var since: Instant
    /// Since when the session is in use without a pause: its login, or the first request after it
    /// was given back to the client's own pool. What the client's thread did before that, it did
    /// with other sessions.
    package var useSince: Instant
    /// The client's process, if connections may be confined to it; nil: it is given only ones that
    /// are not confined.
    package var peer: PeerID?
    /// The connection is to be handed out: one that the process had before, and that is being cleaned
    /// just now, is worth a moment.
    package var wantsHandOut = false

    package init(
        client: ClientID, pool: PoolID, group: GroupID, owner: OwnerKey, profile: ProfileID,
        requiresProfile: Bool, deadline: Instant, since: Instant, useSince: Instant? = nil,
        peer: PeerID? = nil
    ) {
        self.client = client
        self.pool = pool
        self.group = group
        self.owner = owner
        self.profile = profile
        self.requiresProfile = requiresProfile
        self.deadline = deadline
        self.since = since
        self.useSince = useSince ?? since
        self.peer = peer
    }
}

/// Which process holds or wants a lease, and which of its threads, when the client said so.
package struct OwnerKey: Hashable, Sendable {
    /// As the shell counts processes, for the system's numbers come again; 0 when the client came over TCP and
    /// is not known.
    package var processID: Int32
    package var thread: UInt64?

    package init(processID: Int32, thread: UInt64? = nil) {
        self.processID = processID
        self.thread = thread
    }

    /// Who listens for a pool's clients (`PoolHub`): it waits for nobody, and nobody gains if it lets go.
    package static var hub: OwnerKey { OwnerKey(processID: .min) }

    @inline(__always)
    var isHub: Bool { processID == .min }
}

/// How a server connection came back.
package enum ServerCondition: Equatable, Sendable {
    case clean
    /// State was left behind, or may have been: it is reset before the next lease.
    case dirty
    /// It ended, or its protocol state is unknown: it is closed.
    case broken
}

/// Why a connection could not be opened.
package struct ConnectFailure: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        /// Refused, unreachable, timed out, starting up, shutting down: trying again may help.
        case transient
        /// "Too many connections": the server is there, but full (`scope` says of what).
        case saturated
        /// Password, no such database or role: waiting cannot mend it.
        case permanent
    }

    package var kind: Kind
    /// What a waiter is told: the server's own code and words where there are any.
    package var error: PgError
    /// Of a saturated one: what has no room.
    package var scope: FenceScope

    package init(kind: Kind, error: PgError, scope: FenceScope = .server) {
        self.kind = kind
        self.error = error
        self.scope = scope
    }
}
