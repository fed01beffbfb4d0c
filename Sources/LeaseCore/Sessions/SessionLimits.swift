// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What runs out: logins, connects, limits of leases, clients that do not read.
///
/// Each session has one deadline in the heap, the next that may matter; the look finds what is due and when to look
/// again.
extension Engine {
    // MARK: Servers

    mutating func look(at server: ServerID) {
        if isDue(servers[server].moments.reminder, server) {
            servers[server].moments.reminder = nil
            notices.append(.reminder(server))
        }
        if servers[server].phase == .closed {
            if isDue(servers[server].recovery.cancelDeadline, server) { linger(server) }
            return
        }
        if servers[server].isHub {
            lookAtHub(on: server)
            return
        }
        if isDue(servers[server].moments.connectDeadline, server) {
            servers[server].moments.connectDeadline = nil
            notices.append(.connectTimedOut(server))
            return
        }
        if isDue(servers[server].nextCancel, server) {
            servers[server].holding.nextCancel = nil
            cancelLeft(on: server)
        }
        if isDue(servers[server].drainDeadline, server) {
            endDrain(server)
            return
        }
        if isDue(servers[server].recovery.cancelDeadline, server) { cancelReturned(server) }
        if servers[server].recovery.returning != nil {
            if isDue(servers[server].upkeep.deadline, server) {
                giveUp(server, "what the client left running did not end in time")
                return
            }
        } else if servers[server].stream.brokerQuery == nil {
            servers[server].upkeep.deadline = nil
        } else if isDue(servers[server].upkeep.deadline, server) {
            servers[server].upkeep.deadline = nil
            serverEnded(server, "the server did not answer a reset or check query in time")
            return
        }
        if let client = servers[server].client { look(at: server, heldBy: client) }
    }

    private mutating func endDrain(_ server: ServerID) {
        notices.append(.drainTimedOut(server))
        if let client = servers[server].client {
            // It said goodbye to its walsender, which goes on.
            detach(server, client)
            end(client, because: "client said goodbye")
        }
        if let orphan = servers[server].orphan {
            servers[server].orphan = nil
            servers[server].stream.dropAll(&orphan.stream, statements: &statements)
            orphan.stream.releaseAll(in: &statements)
        }
        // Whatever still runs must not outlive the connection.
        cutOff(server)
        endLease(server, .broken)
    }

    private mutating func look(at server: ServerID, heldBy client: ClientID) {
        guard let since = servers[server].leasedSince else { return }
        if lookAtParked(server) { return }
        let pool = servers[server].pool
        let limits = pools[pool].limits
        if let limit = limits.leaseWarning, servers[server].lease?.wasWarnedAbout == false,
            let used = useSince(server), isDue(used + limit, server)
        {
            servers[server].holding.wasWarnedAbout = true
            notices.append(.leaseHeldLong(report(on: server), limit: limit))
        }
        for check in checks(of: server, heldBy: client, limits) {
            guard let limit = check.limit else { continue }
            guard let began = check.since else {
                // It may begin at any time.
                look(at: server, by: now + limit)
                continue
            }
            if isDue(began + limit, server) {
                revoke(server, client, check.cause, limit, lasted: now - began)
                return
            }
        }
        if !clients[client].flags.isProcessWatched, !clients[client].flags.hasOutlivedItsProcess,
            !pools[pool].isSession, isDue(since + LeaseLimits.processWatchAfter, server)
        {
            notices.append(.processToWatch(client))
        }
    }

    private func checks(
        of server: ServerID, heldBy client: ClientID, _ limits: LeaseLimits
    ) -> [(cause: RevocationCause, limit: Duration?, since: Instant?)] {
        let isIdle = !servers[server].stream.isOwing
        let isBusy = servers[server].stream.isBusy
        let clock = servers[server].clock
        let explicit = servers[server].explicit
        return [
            // Its time begins when the client is told that it has the lease.
            (.hold, clients[client].call == nil ? explicit?.terms.hold : nil, explicit?.since),
            (.leaseTimeout, limits.lease, useSince(server)),
            (.transactionTimeout, limits.transaction, isBusy ? clock?.transactionSince : nil),
            (.queryTimeout, limits.query, isIdle ? nil : clock?.querySince),
            (
                .idleTransactionTimeout, limits.idleTransaction,
                isIdle && isBusy ? clock?.idleSince : nil
            ),
            (
                .pinTimeout, servers[server].pin == nil ? nil : limits.pin,
                isIdle && !isBusy ? clock?.idleSince : nil
            ),
        ]
    }

    func report(on server: ServerID) -> LeaseReport {
        // Closures over an engine that cannot be copied crash the optimizer of 6.3.1.
        var held = Duration.zero
        if let since = servers[server].leasedSince { held = now - since }
        return LeaseReport(
            lease: servers[server].leaseID, client: servers[server].client, server: server,
            held: held, activity: servers[server].activityInWords,
            purpose: servers[server].explicit?.terms.purpose)
    }

    /// Takes a lease away. The client is told which limit it was, at once if it waits for an
    /// answer, else with its next statement; its session goes on.
    private mutating func revoke(
        _ server: ServerID, _ client: ClientID, _ cause: RevocationCause, _ limit: Duration,
        lasted: Duration
    ) {
        let error = LeaseErrors.revoked(
            cause, limit, lasted: lasted, activity: servers[server].activityInWords,
            outcome: outcome(for: server), isExplicit: servers[server].isExplicit)
        guard cause != .pinTimeout else {
            // What the session holds goes with the lease: it cannot go on as if it were there.
            notices.append(
                .leaseRevoked(
                    report(on: server), cause, error, "\(error.message). \(error.detail ?? "")"))
            refuse(client, error)
            return
        }
        takeAway(server, client, error, cause)
    }

    /// An operator ends the lease; the client's session goes on. False if it is over.
    package mutating func killLease(_ lease: LeaseID, now: Instant) -> Bool {
        self.now = now
        var held: ServerID?
        for server in servers.ids where servers[server].leaseID == lease { held = server }
        if let server = held, servers[server].isHub {
            serverEnded(server, "an operator ended its lease")
            return true
        }
        guard let server = held, let client = servers[server].client else { return false }
        // Nobody uses it: it goes, and whoever parked it asks for another one.
        if reclaim(server, .noLongerWanted) { return true }
        let report = report(on: server)
        let error = LeaseErrors.killed(
            lasted: report.held, activity: report.activity, outcome: outcome(for: server))
        takeAway(server, client, error, .killLease)
        return true
    }

    /// What the end of a lease does to what was begun in it.
    private func outcome(for server: ServerID) -> String {
        if servers[server].isDirect { return "a transaction that was open is rolled back" }
        if servers[server].stream.isOwing {
            return "what ran is cancelled, and rolled back unless a COMMIT was under way"
        }
        return servers[server].stream.isBusy
            ? "the transaction was rolled back" : "no transaction was open"
    }

    /// Ends a lease against its client's will, and tells it with this error.
    mutating func takeAway(
        _ server: ServerID, _ client: ClientID, _ error: PgError, _ cause: RevocationCause
    ) {
        notices.append(
            .leaseRevoked(
                report(on: server), cause, error, "\(error.message). \(error.detail ?? "")"))
        if servers[server].passage != nil {
            refuse(client, error)
            return
        }
        stopParking(server, client)
        // A message that is half sent cannot be followed by one of ours. Behind what a cancel hits the rest of a pipeline
        // would run, although its client is told that it does not.
        let isTorn =
            clients[client].stream.passing.isHalfPassed || !servers[server].outbound.isEmpty
            || servers[server].stream.brokerQuery != nil || !servers[server].runsItsLast
        let isOver = servers[server].isDirect || isTorn
        if isOver {
            cutOff(server)
        } else if servers[server].stream.isOwing {
            cancel(server)
        }
        var bytes: [UInt8] = []
        let isSession = pools[servers[server].pool].isSession
        let outcome = servers[server].stream.lose(
            &clients[client].stream, error: error,
            isHeld: (servers[server].isExplicit && clients[client].call == nil)
                || hasState(server),
            statements: &statements, toClient: &bytes)
        detach(server, client)
        clients[client].flags.awaitsQuiet = false
        servers[server].recovery.isUnknown = !isOver
        endLease(server, isOver ? .broken : .dirty)
        if outcome == .goesOn { failLeaseCall(client, error) }
        if outcome == .ends {
            close(client, because: error.message)
        } else if isSession {
            refuse(client, error)
        } else {
            bytes.withUnsafeBytes { send($0, to: client) }
            queueToResume(client)
        }
    }

    // MARK: Clients

    mutating func look(at client: ClientID) {
        switch clients[client].phase {
        case .login:
            if isDue(clients[client].moments.loginDeadline, client) {
                clients[client].moments.loginDeadline = nil
                notices.append(.loginTimedOut(client))
                return
            }
        case .learning:
            if isDue(clients[client].moments.connectedAt + learningTime, client),
                let pool = clients[client].pool
            {
                // The server hangs: one wait is enough, the next logins need not try.
                pools[pool].hasGivenUpLearning = true
                pools[pool].awaitingParameters.removeAll { $0 == client }
                notices.append(.mayBeServed(client))
            }
        case .ready:
            if pins.isWaiting(client) { lookAtWait(forPlace: client) } else { lookAtIdle(client) }
            if clients[client].stream.listening != nil { lookAtListening(client) }
        case .awaitingServer, .replicating, .console, .closing, .closed:
            break
        }
        if clients[client].flags.departure != .stays { lookAtDeparture(client) }
        guard clients[client].phase != .closed else { return }
        if let stalled = clients[client].moments.stalledSince,
            let timeout = settings.clientWriteTimeout, isDue(stalled + timeout, client)
        {
            endStalled(client, timeout)
            return
        }
        if let orphanedAt = clients[client].moments.orphanedAt,
            let server = clients[client].server
        {
            lookAtOrphan(client, orphanedAt, server)
        }
    }

    private mutating func endStalled(_ client: ClientID, _ timeout: Duration) {
        notices.append(
            .clientStalled(client, unsent: clients[client].outbound.count, timeout))
        let reason = "client_write_timeout: nothing was read for \(timeout.inSeconds)"
        noteEnd(of: client, .clientWriteTimeout, reason)
        close(client, because: reason)
    }

    /// A session ends, or its lease does, because of the client itself.
    private mutating func noteEnd(
        of client: ClientID, _ cause: RevocationCause, _ words: String
    ) {
        var report = LeaseReport(client: client, held: .zero, activity: "idle")
        if let server = clients[client].server { report = self.report(on: server) }
        notices.append(.leaseRevoked(report, cause, nil, words))
    }

    /// Its process is gone. What the server still does for it may be for a child that waits for the
    /// answer: only one that could speak and does not, or does not read, has vanished.
    private mutating func lookAtOrphan(
        _ client: ClientID, _ orphanedAt: Instant, _ server: ServerID
    ) {
        let isServed =
            servers[server].stream.isOwing && !servers[server].stream.isReadingRows
            && clients[client].outbound.isEmpty
        let silentSince = max(orphanedAt, clients[client].moments.lastActivity)
        if isServed {
            look(at: client, by: now + orphanGrace)
        } else if isDue(silentSince + orphanGrace, client) {
            endOfGone(client)
        }
    }

    private mutating func endOfGone(_ client: ClientID) {
        noteEnd(of: client, .processGone, "lease taken back: the client's process is gone")
        close(client, because: "its process is gone")
    }

    /// How long the socket of a process that is gone may stay silent in a lease.
    private var orphanGrace: Duration { .seconds(1) }

    /// The shell watches the client's process, or does so no more.
    package mutating func processIsWatched(_ client: ClientID, _ isWatched: Bool) {
        guard clients.contains(client) else { return }
        clients[client].flags.isProcessWatched = isWatched
    }

    /// The process of these clients has ended. Its children may go on with the sockets that they inherited: only one
    /// that stays silent loses its lease. What it was handed directly is shut down.
    package mutating func processEnded(
        _ peer: PeerID, watched: [ClientID], wasHandedOut: Bool, now: Instant
    ) {
        self.now = now
        for client in watched where clients.contains(client) {
            clients[client].flags.isProcessWatched = false
            orphaned(client)
        }
        guard wasHandedOut else { return }
        for server in servers.ids where servers.contains(server) && servers[server].isDirect {
            guard let client = servers[server].client, clients[client].membership?.peer == peer
            else { continue }
            endOfGone(client)
        }
        for client in clients.ids where clients[client].membership?.peer == peer {
            clients[client].membership?.peer = nil
        }
        post(.peerGone(peer))
    }

    /// A child may go on with the socket; who has spoken since is left alone for good.
    package mutating func clientIsOrphaned(_ client: ClientID, now: Instant) {
        self.now = now
        if clients.contains(client) { orphaned(client) }
    }

    private mutating func orphaned(_ client: ClientID) {
        guard clients[client].moments.orphanedAt == nil,
            !clients[client].flags.hasOutlivedItsProcess
        else { return }
        clients[client].moments.orphanedAt = now
        look(at: client, by: now + orphanGrace)
    }

    private mutating func lookAtIdle(_ client: ClientID) {
        guard let pool = clients[client].pool, let limit = pools[pool].limits.clientIdle else {
            return
        }
        guard clients[client].server == nil, !clients[client].isWaiting else {
            // It may become idle at any time.
            look(at: client, by: now + limit)
            return
        }
        guard isDue(clients[client].moments.lastActivity + limit, client) else { return }
        let idle = now - clients[client].moments.lastActivity
        noteEnd(
            of: client, .clientIdleTimeout,
            "client ended: client_idle_timeout of \(limit.inSeconds) reached, idle for \(idle.inSeconds)"
        )
        refuse(client, LeaseErrors.idle(limit: limit, for: idle))
    }
}
