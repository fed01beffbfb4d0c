import BrokerConfiguration
import LeaseCore
import Logging
import PostgresWire

/// What runs out outside the scheduler: logins, connects, limits of leases, clients that do not read.
///
/// Nothing is kept in a list of its own: whoever sets a deadline says when to look, and the look finds
/// what is due and when to look again.
extension Broker {
    /// Servers whose next bytes TLS has decrypted already: no event announces them.
    func readOn() {
        let waiting = readable
        readable = []
        for id in waiting {
            guard let server = server(id), server.phase == .ready else { continue }
            receive(from: server)
        }
    }

    func keepHouse(_ now: Instant) {
        for server in Array(servers.values) { look(at: server, now) }
        for client in Array(clients.all) { look(at: client, now) }
        lookAtStatistics(now)
        lookAtConsoleWaits(now)
        lookAtShutdown(now)
    }

    /// True if the deadline has passed; else it will be looked at then.
    private func isDue(_ deadline: Instant?, _ now: Instant) -> Bool {
        guard let deadline else { return false }
        if deadline <= now { return true }
        housekeeping(by: deadline)
        return false
    }

    // MARK: Servers

    private func look(at server: ServerConnection, _ now: Instant) {
        guard server.phase != .closed else {
            if isDue(server.cancelDeadline, now) { linger(server) }
            if isDue(server.farewell?.deadline, now) { endFarewell(server) }
            return
        }
        if isDue(server.connectDeadline, now) {
            server.connectDeadline = nil
            connectTimedOut(server)
            return
        }
        if isDue(server.loginLookAt, now) {
            server.loginLookAt = nil
            continueConnect(server)
            return
        }
        if isDue(server.drainDeadline, now) {
            server.drainDeadline = nil
            endDrain(server)
            return
        }
        if isDue(server.cancelDeadline, now) { cancelReturned(server) }
        if server.returning != nil {
            if isDue(server.resetDeadline, now) {
                giveUp(server, "what the client left running did not end in time")
                return
            }
        } else if server.stream.brokerQuery == nil {
            server.resetDeadline = nil
        } else if isDue(server.resetDeadline, now) {
            server.resetDeadline = nil
            serverEnded(server, "the server did not answer a reset or check query in time")
            return
        }
        if server.isLeased, let client = server.client { look(at: server, heldBy: client, now) }
    }

    private func endDrain(_ server: ServerConnection) {
        logger.warning(
            "server did not end what a vanished client left running",
            metadata: ["server.id": "\(server.id)", "server.pid": "\(server.backendProcessID)"])
        if var orphan = server.orphan.take() {
            server.stream.dropAll(&orphan, statements: &statements)
            orphan.releaseAll(in: &statements)
        }
        // Whatever still runs must not outlive the connection.
        cutOff(server)
        endLease(server, .broken)
    }

    private func look(at server: ServerConnection, heldBy client: ClientSession, _ now: Instant) {
        let limits = server.pool.limits
        let isIdle = !server.stream.isOwing
        if let limit = limits.leaseWarning, !server.wasWarnedAbout,
            isDue(server.leaseSince + limit, now)
        {
            server.wasWarnedAbout = true
            noteLeak(server, client, limit)
            logger.warning(
                "lease is held for long",
                metadata: describe(
                    client,
                    with: [
                        "lease.id": "\(server.lease!)", "server.pid": "\(server.backendProcessID)",
                        "held_us": "\((now - server.leaseSince).wholeMicroseconds)",
                        "activity": "\(server.activity)",
                    ]))
        }
        let checks: [(cause: RevocationCause, limit: Duration?, since: Instant?)] = [
            // Its time begins when the client is told that it has the lease.
            (.hold, client.call == nil ? server.explicit?.terms.hold : nil, server.explicit?.since),
            (.leaseTimeout, limits.lease, server.leaseSince),
            (
                .transactionTimeout, limits.transaction,
                server.stream.isBusy ? server.transactionSince : nil
            ),
            (.queryTimeout, limits.query, isIdle ? nil : server.querySince),
            (
                .idleTransactionTimeout, limits.idleTransaction,
                isIdle && server.stream.isBusy ? server.idleSince : nil
            ),
        ]
        for check in checks {
            guard let limit = check.limit else { continue }
            guard let since = check.since else {
                // It may begin at any time.
                housekeeping(by: now + limit)
                continue
            }
            if isDue(since + limit, now) {
                revoke(server, client, check.cause, limit, lasted: now - since)
                return
            }
        }
        if client.peer != nil, server.pool.mode.pooling != .session,
            isDue(server.leaseSince + Self.peerWatchAfter, now)
        {
            watchPeer(of: client)
        }
    }

    /// Takes a lease away. The client is told which limit it was, at once if it waits for an
    /// answer, else with its next statement; its session goes on.
    func revoke(
        _ server: ServerConnection, _ client: ClientSession, _ cause: RevocationCause,
        _ value: Duration, lasted: Duration
    ) {
        let limit = cause.words
        let error = PgError.error(
            .idleSessionTimeout, "lease revoked: \(limit) of \(Self.brief(value)) reached",
            detail:
                "It had lasted \(Self.brief(lasted)) (\(server.activity)); \(Self.whatBecame(of: server)).",
            hint: Self.adviceAfter(cause, isExplicit: server.explicit != nil))
        logger.warning(
            "lease revoked",
            metadata: describe(
                client,
                with: [
                    "lease.id": "\(server.lease!)", "limit": "\(limit)",
                    "lasted_us": "\(lasted.wholeMicroseconds)", "activity": "\(server.activity)",
                ]))
        takeAway(server, client, error, cause)
    }

    /// What the end of a lease does to what was begun in it.
    static func whatBecame(of server: ServerConnection) -> String {
        if server.isDirect { return "a transaction that was open is rolled back" }
        return server.stream.isBusy
            ? "the transaction was rolled back" : "no transaction was open"
    }

    private static func adviceAfter(_ cause: RevocationCause, isExplicit: Bool) -> String {
        let limit = cause.words
        switch cause {
        case .queryTimeout: return "Make the statement faster or smaller, or raise \(limit)."
        case .transactionTimeout, .idleTransactionTimeout:
            return "Shorten the work between BEGIN and COMMIT, or raise \(limit)."
        default:
            return isExplicit
                ? "Return the lease sooner, or raise \(limit)."
                : "Shorten the work between BEGIN and COMMIT, or raise \(limit)."
        }
    }

    /// Ends a lease against its client's will, and tells it with this error.
    func takeAway(
        _ server: ServerConnection, _ client: ClientSession, _ error: PgError,
        _ cause: RevocationCause
    ) {
        noteRevocation(cause, "\(error.message). \(error.detail ?? "")", of: client, server.lease)
        // A message that is half sent cannot be followed by one of ours.
        let isTorn =
            client.stream.passing.isHalfPassed || !server.outbound.isEmpty
            || server.stream.brokerQuery != nil
        let isOver = server.isDirect || isTorn
        if isOver {
            cutOff(server)
        } else if server.stream.isOwing {
            sendCancel(server, then: {})
        }
        var bytes: [UInt8] = []
        let isSession = server.pool.mode.pooling == .session
        let outcome = server.stream.lose(
            &client.stream, error: error, isHeld: server.explicit != nil && client.call == nil,
            statements: &statements, toClient: &bytes)
        detach(server, client)
        client.awaitsQuiet = false
        server.isUnknown = !isOver
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

    private func look(at client: ClientSession, _ now: Instant) {
        switch client.phase {
        case .startup, .authenticating:
            if isDue(client.login?.deadline, now) {
                refuse(
                    client,
                    .fatal(
                        .protocolViolation, "login took too long",
                        detail:
                            "client_login_timeout is \(settings.clientLoginTimeout.map(Self.seconds) ?? "off").",
                        hint: "Connect again; the network or the client was too slow."),
                    as: .loginTimeout)
                return
            }
        case .learning:
            if isDue(client.connectedAt + Self.learningTime, now) {
                // The server hangs: one wait is enough, the next logins need not try.
                client.pool?.hasGivenUpLearning = true
                finishLogin(client)
            }
        case .ready:
            lookAtIdle(client, now)
        case .awaitingServer, .console, .closing, .closed:
            break
        }
        guard client.phase != .closed else { return }
        if let stalled = client.stalledSince, let timeout = settings.clientWriteTimeout,
            isDue(stalled + timeout, now)
        {
            logger.warning(
                "client does not read its answers",
                metadata: describe(
                    client,
                    with: [
                        "unsent_bytes": "\(client.outbound.count)",
                        "client_write_timeout": "\(Self.seconds(timeout))",
                    ]))
            let reason = "client_write_timeout: nothing was read for \(Self.seconds(timeout))"
            noteRevocation(.clientWriteTimeout, reason, of: client, client.server?.lease)
            close(client, because: reason)
            return
        }
        if let orphanedAt = client.orphanedAt, let server = client.server {
            lookAtOrphan(client, orphanedAt, server, now)
        }
    }

    /// Its process is gone. What the server still does for it may be for a child that waits for the
    /// answer: only one that could speak and does not, or does not read, has vanished.
    private func lookAtOrphan(
        _ client: ClientSession, _ orphanedAt: Instant, _ server: ServerConnection, _ now: Instant
    ) {
        let isServed =
            server.stream.isOwing && !server.stream.isReadingRows && client.outbound.isEmpty
        let silentSince = max(orphanedAt, client.lastActivity)
        if isServed {
            housekeeping(by: now + Self.orphanGrace)
        } else if isDue(silentSince + Self.orphanGrace, now) {
            noteRevocation(
                .processGone, "lease taken back: the client's process is gone", of: client,
                server.lease)
            close(client, because: "its process is gone")
        }
    }

    private func lookAtIdle(_ client: ClientSession, _ now: Instant) {
        guard let limit = client.pool?.limits.clientIdle else { return }
        guard client.server == nil, !client.isWaiting else {
            // It may become idle at any time.
            housekeeping(by: now + limit)
            return
        }
        guard isDue(client.lastActivity + limit, now) else { return }
        let idle = Self.seconds(now - client.lastActivity)
        noteRevocation(
            .clientIdleTimeout,
            "client ended: client_idle_timeout of \(Self.seconds(limit)) reached, idle for \(idle)",
            of: client, nil)
        refuse(
            client,
            .fatal(
                .idleSessionTimeout, "idle for longer than client_idle_timeout",
                detail: "client_idle_timeout is \(Self.seconds(limit)); it was idle for \(idle).",
                hint: "Connect again when there is work, or raise client_idle_timeout."))
    }
}
