// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What the engine has to say to the shell: things to do outside, and incidents to log and count. Taken after each
/// call; a session that one is about may be gone from the engine by then, not from the shell.
package enum EngineNotice {
    // MARK: To be done

    case openServer(ServerID, PoolID, ProfileID)
    /// Close it, then call `serverGone`; with `awaitsEnd` only once PostgreSQL has ended it. `isClean`: nothing
    /// is on its way, so it is told goodbye.
    case closeServer(ServerID, CloseReason, isClean: Bool, awaitsEnd: Bool)
    /// Its slot is free.
    case serverForgotten(ServerID)
    /// Ask PostgreSQL to cancel what it runs, then call `cancelFinished`.
    case sendCancel(ServerID)
    /// Its server or its pool's parameters are there: log it in, by `serve`.
    case mayBeServed(ClientID)
    /// It may go on, and the shell speaks with it.
    case attend(ClientID)
    /// Its request was refused: say in which words, by `answer` or `refuse`.
    indirect case rejected(ClientID, Rejection)
    /// It may not pin its lease: say so in which words, by `refusePlace`, or by `refuse` if it is pinned already.
    indirect case placeRefused(ClientID, PlaceRefusal)
    /// It is about to drop, rename or copy this database: close what is connected to it and does nothing, then call
    /// `databaseIsFree`.
    case databaseWanted(ClientID, database: String)
    /// It has waited for a while to pin its lease: tell it so.
    case placeAwaited(ClientID, PinReasons, place: Int, waited: Duration)
    /// It has held its lease for a while: see to it that the end of its process is noticed.
    case processToWatch(ClientID)
    case reminder(ServerID)
    case connectTimedOut(ServerID)
    case loginTimedOut(ClientID)

    // MARK: Incidents

    /// The session is over: close its socket.
    case clientClosed(ClientID, reason: String)
    indirect case clientRefused(ClientID, PgError, wasLoggingIn: Bool)
    case clientStalled(ClientID, unsent: Int, Duration)
    case protocolError
    case requestRetried(ClientID, ServerID)
    indirect case leaseRevoked(LeaseReport, RevocationCause, PgError?, String)
    case leaseHeldLong(LeaseReport, limit: Duration)
    /// Its client keeps it for what it has in the session.
    indirect case leasePinned(LeaseReport, PinReasons)
    case leaseUnpinned(LeaseReport)
    case leaseBegan(ClientID, LeaseID?, isDirect: Bool)
    case leaseNotDirect(ClientID, LeaseID, NotDirect)
    case directLeaseBegan(ClientID)
    /// Its client may park it.
    case parkableLeaseBegan(ClientID)
    /// It lay parked, and was taken: its client does not know yet.
    case parkedLeaseReclaimed(LeaseReport, ReclaimCause)
    case serverAdmitted(ServerID)
    indirect case serverUnfit(ServerID, ConnectFailure)
    case serverBroke(ServerID, reason: String)
    case serverLost(ServerID, LeaseReport?, reason: String)
    case serverNotMended(ServerID, reason: String)
    case drainTimedOut(ServerID)
    indirect case cleaningFailed(ServerID, what: String, PgError)
    /// It is not what `target_session_attrs` asks for any more: find the right one, and call `strand`.
    case serverMisplaced(ServerID, reason: String)

    /// The connection that listens for the pool's clients is gone; so many listen.
    case listeningLost(PoolID, clients: Int, reason: String)
    /// It is back: they were told that notifications may have been missed.
    case listeningAgain(PoolID, clients: Int, deaf: Duration)

    // MARK: Of the scheduler

    indirect case scheduler(SchedulerEffect)
}

/// A lease at the moment of an incident.
package struct LeaseReport {
    package var lease: LeaseID?
    package var client: ClientID?
    package var server: ServerID?
    package var held: Duration
    package var activity: String
    package var purpose: String?
}

/// Why a lease was taken away, or a session ended: the limit that it ran into.
package enum RevocationCause: String, CaseIterable, Sendable {
    /// HOLD of a LEASE.
    case hold
    case leaseTimeout = "lease_timeout"
    case transactionTimeout = "transaction_timeout"
    case queryTimeout = "query_timeout"
    case idleTransactionTimeout = "idle_transaction_timeout"
    /// It was pinned, and nothing ran.
    case pinTimeout = "pin_timeout"
    /// It held nothing: its session ended.
    case clientIdleTimeout = "client_idle_timeout"
    /// It did not read its answers.
    case clientWriteTimeout = "client_write_timeout"
    case killLease = "kill_lease"
    /// Its server's host is not the right one any more.
    case failover
    /// Its process is gone, and a child that has the socket stays silent.
    case processGone = "process_gone"

    /// As the client asked for it, or as the configuration calls it.
    package var words: String {
        switch self {
        case .hold: "HOLD"
        case .killLease: "KILL LEASE"
        case .processGone: "the end of its process"
        case .leaseTimeout, .transactionTimeout, .queryTimeout, .idleTransactionTimeout,
            .pinTimeout, .clientIdleTimeout, .clientWriteTimeout, .failover:
            rawValue
        }
    }
}

/// Why a parked lease was taken.
package enum ReclaimCause: String, CaseIterable, Sendable {
    /// Somebody waited for it.
    case waiter
    /// Its time was over: `park_timeout`, or a limit that would have ended it in use.
    case timeout
    /// Its connection is to be closed: the pool is paused, changed or closed, or an operator wanted it.
    case noLongerWanted = "no_longer_wanted"
    /// Its server connection ended.
    case serverLost = "server_lost"
    /// Its client's session ended.
    case clientGone = "client_gone"
}
