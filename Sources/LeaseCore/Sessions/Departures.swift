// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// Clients that are sent away: all of them at a drain, those that keep a connection to be closed at a RECONNECT. Each has
/// a turn of its own within the time that there is, so that they do not all come again at once; when its turn has
/// come, it goes at the next end of a transaction. What it has sent by then and what has not run, will not run.
///
/// | the client | it goes |
/// |---|---|
/// | between transactions (also in a session pool, also one that listens) | in its turn, but not in the first second of its session |
/// | in a transaction, or while a statement runs | in its turn, at the end of the transaction |
/// | waits for a connection, or has sent half a message | is served; when the time is over, goes without |
/// | holds a connection by LEASE, or is pinned | when the time is over, at the end of a transaction |
/// | has its connection directly | with LEASE RETURN: whether a transaction is open, nobody here can know |
/// | is logging in | when it is logged in, in its turn; when the time is over, goes without |
/// | has said goodbye, speaks with the console | not: it ends by itself, or with the broker |
struct Departures {
    let began: Instant
    let until: Instant
    /// What they are told.
    let error: PgError
    /// Whoever comes is sent away, too. Else: those whose connection is to be closed, for as long as they hold it.
    let isOfAll: Bool

    /// Turns are spread evenly, whatever slots are taken: multiples of the golden ratio.
    func turn(of client: ClientID) -> Instant {
        let fraction = (UInt64(client.slot) &* 0x9E37_79B9_7F4A_7C15) >> 32
        let span = Double(until.nanoseconds - began.nanoseconds)
        return began.advanced(by: Int64(span * Double(fraction) / 4_294_967_296))
    }
}

/// Where a client stands that is to be sent away.
enum Departure: UInt8 {
    case stays
    /// Its turn will come.
    case called
    /// Its turn has come: it goes as soon as it may.
    case due
}

extension Engine {
    /// Sends all clients away within this time, and whoever is still let in.
    package mutating func sendClientsAway(within time: Duration, _ error: PgError, now: Instant) {
        self.now = now
        departures = Departures(began: now, until: now + time, error: error, isOfAll: true)
        for client in clients.ids { callAway(client) }
    }

    /// Sends those away that keep connections of this pool which are to be closed.
    package mutating func sendHoldersAway(
        from pool: PoolID, within time: Duration, _ error: PgError, now: Instant
    ) {
        self.now = now
        guard departures?.isOfAll != true else { return }
        departures = Departures(began: now, until: now + time, error: error, isOfAll: false)
        for server in servers.ids where isToBeClosed(server) {
            guard let client = servers[server].client, pools[servers[server].pool].id == pool else {
                continue
            }
            callAway(client)
        }
    }

    /// It has come while all are sent away.
    mutating func callAwayIfAllGo(_ client: ClientID) {
        if departures?.isOfAll == true { callAway(client) }
    }

    private mutating func callAway(_ client: ClientID) {
        switch clients[client].phase {
        case .console, .closing, .closed: return
        case .login, .learning, .awaitingServer, .ready, .replicating: break
        }
        clients[client].flags.departure = .called
        look(at: client, by: now)
    }

    /// It has a lease no more, or what it sent is answered: it may be able to go now.
    @inline(never)
    mutating func mayDepart(_ client: ClientID) { look(at: client, by: now) }

    mutating func lookAtDeparture(_ client: ClientID) {
        guard let departures else { return }
        if clients[client].flags.departure == .called {
            let young = clients[client].moments.connectedAt + departureGrace
            let turn = min(departures.until, max(departures.turn(of: client), young))
            guard isDue(turn, client) else { return }
            clients[client].flags.departure = .due
        }
        switch departure(of: client, departures) {
        case .now: refuse(client, departures.error)
        case .atLast:
            if isDue(departures.until, client) {
                refuse(client, departures.error)
            } else {
                watchForMessages(client)
            }
        case .atItsEnd: watchForMessages(client)
        case .never: clients[client].flags.departure = .stays
        }
    }

    /// A session is not ended before it has had the time for a first transaction.
    private var departureGrace: Duration { .seconds(1) }

    private enum Moment {
        case now
        /// When the time is over.
        case atLast
        /// What it does will end, and be looked at then.
        case atItsEnd
        case never
    }

    private func departure(of client: ClientID, _ departures: Departures) -> Moment {
        switch clients[client].phase {
        case .console, .closing, .closed: return .never
        // A stream of replication has no end of its own.
        case .login, .learning, .awaitingServer, .replicating: return .atLast
        case .ready: break
        }
        if clients[client].goodbye != nil { return .atItsEnd }
        let hasAsked =
            clients[client].isWaiting || clients[client].call != nil
            || clients[client].request.awaitsWords || !clients[client].pending.isEmpty
            || pins.isWaiting(client)
        guard let server = clients[client].server else {
            if !departures.isOfAll { return .never }
            return hasAsked ? .atLast : .now
        }
        if !departures.isOfAll, !isToBeClosed(server) { return .never }
        if servers[server].isDirect || isInTransaction(server, client) { return .atItsEnd }
        return hasAsked || servers[server].isExplicit || servers[server].pin != nil ? .atLast : .now
    }

    /// Something runs, is on its way, or would be rolled back.
    private func isInTransaction(_ server: ServerID, _ client: ClientID) -> Bool {
        servers[server].stream.isBusy || servers[server].stream.brokerQuery != nil
            || servers[server].stream.passing.bytesLeft > 0
            || clients[client].stream.passing.isHalfPassed
            || !servers[server].outbound.isEmpty || !servers[server].prelude.isEmpty
            || servers[server].profile.holdsClientBytes
    }

    private func isToBeClosed(_ server: ServerID) -> Bool {
        scheduler.summary(of: server)?.isToBeClosed == true
    }

    /// One whose turn has come is not read on while an answer is due: a pipeline that is never empty comes to an end.
    @inline(__always)
    func isHeldForDeparture(_ client: ClientID, _ server: ServerID) -> Bool {
        clients[client].flags.departure == .due && !servers[server].isDirect
            && servers[server].stream.willAnswer(without: clients[client].stream.passing)
    }
}
