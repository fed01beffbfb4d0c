// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Server connections from the scheduler's order to open one until its slot is free.
extension Engine {
    // MARK: Opening

    mutating func openServer(_ id: ServerID, _ pool: PoolID, _ profile: ProfileID) {
        guard let slot = pools.slot(of: pool) else {
            preconditionFailure(
                "the scheduler opens a server of a pool that the engine does not know")
        }
        profiles.retain(profile)
        servers.insert(ServerSession(id: id, pool: slot, startup: profile, now: now), at: id)
        if sessionState(of: slot) != .drop, !pools[slot].isSession {
            servers[id].stream.functions = pools[slot].functions
        }
        if let timeout = settings.serverConnectTimeout {
            servers[id].moments.connectDeadline = now + timeout
            look(at: id, by: now + timeout)
        }
        notices.append(.openServer(id, pool, profile))
    }

    /// The connection is there, and the server has let us in with these parameters.
    package mutating func serverConnected(
        _ server: ServerID, process: Int32, parameters: ParameterSet, now: Instant
    ) {
        self.now = now
        servers[server].moments.connectedAt = now
        servers[server].moments.lastUsed = now
        servers[server].facts.backendProcessID = process
        servers[server].profile.parameters = parameters
        learnParameters(of: server, under: servers[server].profile.startup)
        servers[server].phase = .preparing
        watch(server, for: .bytes)
        if let query = pools[servers[server].pool].terms.connectQuery {
            ask(server, .connect, [query])
        } else {
            admit(server)
        }
    }

    mutating func connectQueryAnswered(_ server: ServerID, _ error: PgError?) {
        guard let error else {
            admit(server)
            return
        }
        unfit(
            server,
            ConnectFailure(
                kind: .permanent,
                error: .error(
                    error.sqlState, "connect_query failed: \(error.message)", detail: error.detail,
                    hint: "Correct connect_query of this database in [databases].")))
    }

    /// The connection is fit for use.
    private mutating func admit(_ server: ServerID) {
        let pool = servers[server].pool
        servers[server].phase = .ready
        servers[server].moments.connectDeadline = nil
        // What connect_query changed is what its clients are told.
        learnParameters(of: server, under: servers[server].profile.startup)
        pools[pool].hasGivenUpLearning = false
        pools[pool].times.connect.record(
            now.nanoseconds - servers[server].moments.openedAt.nanoseconds)
        notices.append(.serverAdmitted(server))
        serveLearners(of: pool)
        post(.serverConnected(server))
    }

    /// Those whose login has waited for a server to say what it is, or for none to come.
    private mutating func serveLearners(of pool: PoolSlot) {
        let waiting = exchange(&pools[pool].awaitingParameters, with: [])
        for client in waiting where clients[client].phase == .learning {
            notices.append(.mayBeServed(client))
        }
    }

    /// It could not be opened, or is of no use.
    package mutating func serverConnectFailed(
        _ server: ServerID, _ failure: ConnectFailure, now: Instant
    ) {
        self.now = now
        guard servers.contains(server), servers[server].phase != .closed else { return }
        unfit(server, failure)
    }

    private mutating func unfit(_ server: ServerID, _ failure: ConnectFailure) {
        notices.append(.serverUnfit(server, failure))
        let pool = servers[server].pool
        release(server)
        serveLearners(of: pool)
        post(.serverConnectFailed(server, failure))
    }

    /// Wants to hear of it then, by a notice; nil: no more.
    package mutating func remind(of server: ServerID, at moment: Instant?) {
        guard servers.contains(server) else { return }
        servers[server].moments.reminder = moment
        if let moment { look(at: server, by: moment) }
    }

    // MARK: Losing

    /// The connection ended, or cannot be trusted any more.
    mutating func serverEnded(_ server: ServerID, _ reason: String) {
        switch servers[server].phase {
        case .connecting, .closed:
            return
        case .preparing:
            unfit(
                server,
                ConnectFailure(
                    kind: .transient,
                    error: .error(
                        .connectionNotEstablished, servers[server].fatal?.message ?? reason,
                        detail: "It ended while connect_query ran.")))
        case .ready:
            if servers[server].mayBeParked {
                let words = servers[server].fatal?.message ?? reason
                // Nobody uses it: its client will ask for another one.
                if reclaim(server, .serverLost, .broken) {
                    notices.append(.serverLost(server, nil, reason: words))
                    return
                }
                if let client = servers[server].client { stopParking(server, client) }
            }
            if servers[server].isLeased {
                lostInLease(server, reason)
            } else {
                notices.append(
                    .serverLost(server, nil, reason: servers[server].fatal?.message ?? reason))
                post(.serverLost(server))
            }
        }
    }

    private mutating func lostInLease(_ server: ServerID, _ reason: String) {
        if servers[server].passage != nil {
            passageEnded(server, reason)
            return
        }
        let words = servers[server].fatal?.message ?? reason
        let pool = servers[server].pool
        let isSession = pools[pool].isSession
        let error = LeaseErrors.lost(
            reason, fatal: servers[server].fatal,
            process: servers[server].facts.backendProcessID,
            database: pools[pool].terms.database, isSession: isSession)
        notices.append(.serverLost(server, report(on: server), reason: words))
        guard let client = servers[server].client else {
            let isHub = servers[server].isHub
            servers[server].isHub = false
            endLease(server, .broken)
            if isHub { hubLost(of: pool, server, words) }
            return
        }
        var bytes: [UInt8] = []
        let outcome = servers[server].stream.lose(
            &clients[client].stream, error: error,
            isHeld: (servers[server].isExplicit && clients[client].call == nil)
                || hasState(server),
            statements: &statements, toClient: &bytes)
        let hasToldItsEnd = servers[server].stream.hasToldItsEnd
        detach(server, client)
        clients[client].flags.awaitsQuiet = false
        endLease(server, .broken)
        if clients[client].call != nil, outcome == .goesOn, !isSession {
            // It has not been told of this lease yet: another server will do.
            requestLease(client, since: clients[client].request.since)
        } else if outcome == .ends {
            close(client, because: "its server was lost in the middle of a message")
        } else if isSession {
            if hasToldItsEnd { end(client, because: words) } else { refuse(client, error) }
        } else if bytes.isEmpty, clients[client].request.lossesInSetup >= Self.mostLossesInSetup {
            // Nothing of its own has come to a server: the next one would be lost as well.
            refuse(client, error)
        } else {
            if bytes.isEmpty { clients[client].request.lossesInSetup += 1 }
            bytes.withUnsafeBytes { send($0, to: client) }
            queueToResume(client)
        }
    }

    private static var mostLossesInSetup: UInt8 { 4 }

    // MARK: Closing

    /// Lets go of everything but the slot, which the scheduler still counts.
    private mutating func release(_ server: ServerID) {
        guard servers[server].phase != .closed else { return }
        // What a client may have left running on it must not outlive it.
        if servers[server].recovery.isUnknown { cutOff(server) }
        servers[server].phase = .closed
        servers[server].stream.releaseAll(in: &statements)
        servers[server].upkeep = ServerSession.Upkeep()
        servers[server].recovery.returning = nil
        servers[server].recovery.cancelDeadline = nil
        servers[server].moments.connectDeadline = nil
        servers[server].moments.reminder = nil
        profiles.release(servers[server].profile.current)
        servers[server].profile.current = .serverDefault
        if let pending = servers[server].profile.pending { profiles.release(pending) }
        servers[server].profile.pending = nil
        forgetRestoring(server)
        servers[server].outbound = OutboundBuffer()
        servers[server].carry = []
        servers[server].prelude = []
    }

    mutating func closeServer(_ server: ServerID, _ reason: CloseReason) {
        placeEnds(on: server)
        let isClean =
            servers[server].phase == .ready && servers[server].stream.isQuiet
            && servers[server].outbound.isEmpty && !servers[server].recovery.isUnknown
            && reason.leavesItQuiet
        let awaitsEnd = isClean && reason.leavesPlaceToAnother
        release(server)
        notices.append(
            .closeServer(server, reason, isClean: isClean, awaitsEnd: awaitsEnd))
        if !awaitsEnd, servers[server].recovery.cancelsToCome > 0 { lingerOn(server) }
    }

    /// A query that was sent just before the end may not have begun when the first cancel came, and would go
    /// on although nobody listens: it is cancelled again, and the connection counted until then.
    mutating func lingerOn(_ server: ServerID) {
        guard servers[server].recovery.cancelsToCome > 0 else {
            serverGone(server)
            return
        }
        let steps = lingering
        let next = now + steps[steps.count - servers[server].recovery.cancelsToCome]
        servers[server].recovery.cancelsToCome -= 1
        servers[server].recovery.cancelDeadline = next
        look(at: server, by: next)
    }

    mutating func linger(_ server: ServerID) {
        servers[server].recovery.cancelDeadline = nil
        cancel(server, then: .linger(server))
    }

    /// Whether what runs on it is still being cancelled: then the engine itself ends it.
    package func isLingering(_ server: ServerID) -> Bool {
        servers[server].recovery.cancelsToCome > 0
            || servers[server].recovery.cancelDeadline != nil
    }

    /// It is closed, and PostgreSQL has let go of it: its place is another's.
    package mutating func serverGone(_ server: ServerID, now: Instant) {
        self.now = now
        guard servers.contains(server) else { return }
        serverGone(server)
    }

    private mutating func serverGone(_ server: ServerID) {
        looks.remove(SessionToken(server).token)
        _ = servers.remove(server)
        notices.append(.serverForgotten(server))
        post(.serverClosed(server))
    }
}

extension CloseReason {
    /// Nothing is on its way to it if its stream says so. One that was lost or came back broken may have half a
    /// message, which a goodbye would complete.
    var leavesItQuiet: Bool { self != .lost && self != .broken }

    /// PostgreSQL's end of it is waited for. What is cut off in the middle of something may go on for long, and
    /// where everything ends nothing takes the place.
    var leavesPlaceToAnother: Bool {
        switch self {
        case .idleTimeout, .lifetime, .evicted, .surplus, .paused, .reconnect, .stranded,
            .confined, .served:
            true
        case .lost, .broken, .connectFailed, .validationFailed, .resetFailed, .poolClosed,
            .unneeded, .unshared:
            false
        }
    }
}
