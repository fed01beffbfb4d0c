// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibSSL
import LibUV
import Logging
import PostgresWire

/// What the engine has to say: what is to be done outside, and what is to be counted, logged and told.
extension Broker {
    func deal(with notice: EngineNotice) {
        switch notice {
        case .openServer(let id, let pool, let profile): openServer(id, pool, profile)
        case .closeServer(let id, let reason, let isClean, let awaitsEnd):
            closeServer(id, reason, isClean: isClean, awaitsEnd: awaitsEnd)
        case .serverForgotten(let id): forgotten(id)
        case .sendCancel(let id): sendCancel(id)
        case .mayBeServed(let id): with(id, finishLogin)
        case .attend(let id): with(id, attend)
        case .rejected(let id, let rejection): with(id) { rejected($0, rejection) }
        case .processToWatch(let id): with(id, watchPeer)
        case .reminder(let id): reminded(of: id)
        case .connectTimedOut(let id): if let server = server(id) { connectTimedOut(server) }
        case .loginTimedOut(let id): with(id, loginTimedOut)
        case .clientClosed(let id, let reason): with(id) { closed($0, reason) }
        case .clientRefused(let id, let error, let wasLoggingIn):
            with(id) { refused($0, error, wasLoggingIn: wasLoggingIn) }
        case .clientStalled(let id, let unsent, let timeout):
            with(id) { stalled($0, unsent, timeout) }
        case .protocolError: counters.protocolErrors += 1
        case .requestRetried(let client, let server): retried(client, server)
        case .leaseRevoked(let report, let cause, let error, let words):
            revoked(report, cause, error, words)
        case .leasePinned(let report, let reasons): pinned(report, reasons)
        case .leaseUnpinned(let report): unpinned(report)
        case .databaseWanted(let client, let database): freeDatabase(database, for: client)
        case .placeRefused(let client, let refusal): refusePlace(client, refusal)
        case .placeAwaited(let client, let reasons, let place, let waited):
            tellOfWait(client, reasons, place: place, waited: waited)
        case .leaseHeldLong(let report, let limit): heldLong(report, limit)
        case .leaseBegan(_, _, let isDirect):
            counters.explicitLeases += 1
            if isDirect { counters.directLeases += 1 }
        case .leaseNotDirect(let client, let lease, let reason):
            with(client) { client in
                logger.debug(
                    "lease is not direct",
                    metadata: describe(
                        client, with: ["lease.id": "\(lease)", "reason": "\(reason.rawValue)"]))
            }
        case .directLeaseBegan(let id): with(id) { $0.process?.hasHadDirect = true }
        case .parkableLeaseBegan: counters.parkableLeases += 1
        case .parkedLeaseReclaimed(let report, let cause): reclaimed(report, cause)
        case .serverAdmitted(let id): if let server = server(id) { admitted(server) }
        case .serverUnfit(let id, let failure):
            if let server = server(id) { unfit(server, failure) }
        case .serverBroke, .serverLost, .serverNotMended, .drainTimedOut, .cleaningFailed:
            noteTrouble(notice)
        case .listeningLost(let pool, let clients, let reason):
            listeningLost(pool, clients, reason)
        case .listeningAgain(let pool, let clients, let deaf):
            listeningAgain(pool, clients, deaf)
        case .serverMisplaced(let id, let reason): misplaced(id, reason)
        case .scheduler(let effect): deal(with: effect)
        }
    }

    private func with(_ id: ClientID, _ body: (ClientConnection) -> Void) {
        if let client = clients[id], !client.isClosed { body(client) }
    }

    private func deal(with effect: SchedulerEffect) {
        switch effect {
        case .notifyWaiter(let client, let place, let waited):
            notify(client, place: place, waited: waited)
        case .poolPhaseChanged(let pool, let phase): phaseChanged(pool, phase)
        case .connectFailed(let pool, let failure, let attempt, let retryIn):
            logConnectFailure(pool, failure, attempt: attempt, retryIn: retryIn)
        case .poolStarted(let pool): poolStarted(pool)
        case .poolStartFailed(let pool, let failure, let attempts):
            poolStartFailed(pool, failure, attempts: attempts)
        case .poolPaused(let pool): poolPaused(pool)
        case .shareWanted(let key): shareWanted(key)
        case .poolLocked(let lock): poolLocked(lock)
        case .reserveLent(let pool, let client, let reserve, let alreadyLent):
            reserveLent(pool, to: client, outOf: reserve, alreadyLent: alreadyLent)
        case .poolRelieved(let pool, let group, let duration, let lent, let rejected):
            poolRelieved(pool, group, after: duration, lent: lent, rejected: rejected)
        case .openServer, .closeServer, .validateServer, .resetServer, .grant, .reject,
            .watchLeases, .unwatchLeases, .reclaimParked, .recallLease:
            preconditionFailure("the engine carries this out itself")
        }
    }

    // MARK: Clients

    private func closed(_ client: ClientConnection, _ reason: String) {
        let wasLoggedIn = client.login == nil
        client.isClosed = true
        client.watcher?.close()
        client.watcher = nil
        client.parking?.close()
        client.parking = nil
        client.encryption?.stream.close()
        client.encryption = nil
        Descriptor.close(client.descriptor)
        client.unread = []
        if case .awaitsUs? = client.login?.exchange { abandonQuestion(of: client.id) }
        client.login = nil
        let connectedAt = engine.clients[client.id].moments.connectedAt
        if wasLoggedIn || client.hasArrived, settings.logDisconnections, !client.isOurs {
            let age = now - connectedAt
            logger.info(
                wasLoggedIn ? "client left" : "client left before it was logged in",
                metadata: describe(
                    client,
                    with: [
                        "reason": "\(reason)", "age_us": "\(age.wholeMicroseconds)",
                        LogLine.wordsKey: closing(client, reason, age),
                    ]))
        }
        if !client.isOurs { directory.clientCounts.depart(hasArrived: client.hasArrived) }
        if client.console != nil {
            client.console = nil
            directory.clientCounts.leave(database: client.database, user: client.user)
        }
        forget(client)
        engine.forget(client.id)
        world.clients.remove(client.id)
        clientCountChanged()
    }

    private func refused(_ client: ClientConnection, _ error: PgError, wasLoggingIn: Bool) {
        let cause = client.refusalCause
        client.refusalCause = nil
        // What it asked for says why it failed.
        if client.isOurs { return }
        if wasLoggingIn { noteRefusal(cause ?? RefusalCause(error.sqlState), error, of: client) }
        guard settings.logPoolerErrors else { return }
        logger.warning(
            "client refused",
            metadata: describe(
                client,
                with: [
                    "sqlstate": "\(error.sqlState.rawValue)", "reason": "\(error.message)",
                    LogLine.wordsKey: poolerError(client, error),
                ]))
    }

    private func stalled(_ client: ClientConnection, _ unsent: Int, _ timeout: Duration) {
        logger.warning(
            "client does not read its answers",
            metadata: describe(
                client,
                with: [
                    "unsent_bytes": "\(unsent)", "client_write_timeout": "\(timeout.inSeconds)",
                ]))
    }

    private func loginTimedOut(_ client: ClientConnection) {
        refuse(
            client,
            .fatal(
                .protocolViolation, "client_login_timeout",
                detail:
                    "Login took too long: client_login_timeout is \(settings.clientLoginTimeout.map(\.inSeconds) ?? "off").",
                hint: "Connect again; the network or the client was too slow."),
            as: .loginTimeout)
    }

    private func retried(_ client: ClientID, _ server: ServerID) {
        counters.retriedRequests += 1
        logger.info(
            "server was dead, request goes to another",
            metadata: ["server.id": "\(server)", "client.id": "\(client)"])
    }

    // MARK: Leases

    private func revoked(
        _ report: LeaseReport, _ cause: RevocationCause, _ error: PgError?, _ words: String
    ) {
        guard let client = report.client.flatMap({ clients[$0] }) else { return }
        noteRevocation(cause, words, of: client, report.lease)
        guard let error, cause != .killLease else { return }
        logger.warning(
            "lease revoked",
            metadata: describe(
                client, purpose: report.purpose,
                with: [
                    LogLine.wordsKey: poolerError(client, error),
                    "lease.id": "\(report.lease.map { "\($0)" } ?? "")",
                    "limit": "\(cause.words)",
                    "lasted_us": "\(report.held.wholeMicroseconds)",
                    "activity": "\(report.activity)",
                ]))
    }

    private func reclaimed(_ report: LeaseReport, _ cause: ReclaimCause) {
        counters.reclaims.count(cause)
        guard let client = report.client.flatMap({ clients[$0] }) else { return }
        logger.debug(
            "parked lease reclaimed",
            metadata: describe(
                client, purpose: report.purpose,
                with: [
                    "lease.id": "\(report.lease.map { "\($0)" } ?? "")",
                    "cause": "\(cause.rawValue)",
                ]))
    }

    private func heldLong(_ report: LeaseReport, _ limit: Duration) {
        guard let client = report.client.flatMap({ clients[$0] }) else { return }
        noteLeak(report, client, limit)
        let process = report.server.flatMap { server($0)?.backendProcessID } ?? 0
        logger.warning(
            "lease is held for long",
            metadata: describe(
                client, purpose: report.purpose,
                with: [
                    "lease.id": "\(report.lease.map { "\($0)" } ?? "")",
                    "server.pid": "\(process)", "held_us": "\(report.held.wholeMicroseconds)",
                    "activity": "\(report.activity)",
                ]))
    }

    // MARK: Servers

    private func admitted(_ server: ServerConnection) {
        let pool = server.pool
        let lastFailure = pool.lastFailure
        pool.connectSucceeded()
        logger.debug(
            "server connected",
            metadata: [
                "server.id": "\(server.id)", "server.pid": "\(server.backendProcessID)",
                "database": "\(pool.database)", "user": "\(pool.user)",
                "connect_us": "\((now - server.openedAt).wholeMicroseconds)",
            ])
        if let lastFailure { noteRecovery(of: pool, from: lastFailure) }
    }

    private func unfit(_ server: ServerConnection, _ failure: ConnectFailure) {
        counters.connectFailures.count(ConnectFailureClass(failure))
        // What a session client itself asked for in its startup packet concerns nobody else.
        if server.startupProfile == .serverDefault || failure.kind != .permanent {
            server.pool.connectFailed(failure, now)
        }
        closeSocket(of: server, isClean: false)
    }

    private func noteTrouble(_ notice: EngineNotice) {
        switch notice {
        case .serverBroke(let id, let reason):
            logger.warning(
                "server broke the protocol",
                metadata: ["server.id": "\(id)", "reason": "\(reason)"])
        case .serverLost(let id, let report, let reason): lost(id, report, reason)
        case .serverNotMended(let id, let reason):
            logger.warning(
                "a connection came back in an unrecoverable state",
                metadata: [
                    "server.id": "\(id)", "server.pid": "\(process(of: id))",
                    "reason": "\(reason)",
                ])
        case .drainTimedOut(let id):
            logger.warning(
                "server did not end what a vanished client left running",
                metadata: ["server.id": "\(id)", "server.pid": "\(process(of: id))"])
        case .cleaningFailed(let id, let what, let error):
            logger.warning(
                "\(what) failed",
                metadata: [
                    "server.id": "\(id)", "sqlstate": "\(error.sqlState.rawValue)",
                    "reason": "\(error.message)",
                ])
            if let server = server(id) { noteResetFailure(server, what, error) }
        default: break
        }
    }

    private func forgotten(_ id: ServerID) {
        if engine.awaitsCancel(id), let handle = server(id)?.cancelHandle {
            jobs.cancelsBeyondTheEnd[id] = handle
        }
        world.servers.remove(id)
    }

    private func process(of id: ServerID) -> Int32 {
        engine.servers.contains(id) ? engine.servers[id].facts.backendProcessID : 0
    }

    private func lost(_ id: ServerID, _ report: LeaseReport?, _ reason: String) {
        guard let server = server(id) else { return }
        noteLoss(server, report, reason)
        var metadata: Logger.Metadata = [
            "server.id": "\(id)", "server.pid": "\(process(of: id))",
            "database": "\(server.pool.database)", "reason": "\(reason)",
        ]
        guard let report else {
            logger.info("server lost", metadata: metadata)
            return
        }
        metadata["lease.id"] = "\(report.lease.map { "\($0)" } ?? "")"
        metadata["client.id"] = "\(report.client.map { "\($0)" } ?? "gone")"
        logger.warning("server lost in a lease", metadata: metadata)
    }

    // MARK: Words

    func describeLogin(_ client: ClientConnection) -> Logger.Metadata {
        guard let encryption = client.encryption else { return describe(client) }
        return describe(client, with: ["tls": "\(encryption.stream.summary)"])
    }

    func describe(
        _ client: ClientConnection, purpose: String? = nil, with more: Logger.Metadata = [:]
    ) -> Logger.Metadata {
        var metadata = more
        metadata["client.id"] = "\(client.id)"
        if let peer = client.peer { metadata["client.pid"] = "\(peer.processID)" }
        if !client.user.isEmpty { metadata["user"] = "\(client.user)" }
        if !client.database.isEmpty { metadata["database"] = "\(client.database)" }
        if !client.applicationName.isEmpty {
            metadata["application"] = "\(client.applicationName)"
        } else if let program = client.process?.program {
            metadata["program"] = "\(program)"
        }
        if let purpose = purpose ?? client.server?.explicit?.terms.purpose {
            metadata["lease.purpose"] = "\(purpose)"
        }
        return metadata
    }
}
