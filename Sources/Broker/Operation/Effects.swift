// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// What happens to pools and to those who wait, in words.
extension Broker {
    func poolPaused(_ id: PoolID) {
        guard let pool = directory.pools[id] else { return }
        logger.notice(
            "pool paused", metadata: ["database": "\(pool.database)", "user": "\(pool.user)"])
    }

    func phaseChanged(_ id: PoolID, _ phase: PoolPhase) {
        guard let pool = directory.pools[id] else { return }
        if phase == .stopped, pool.isClosed {
            directory.pools.forget(pool)
            forgetIfUnused(pool)
        }
        logger.debug(
            "pool phase",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)",
                "phase": "\(phase.rawValue)",
            ])
    }

    /// One warning for an incident, each further attempt at debug level.
    func logConnectFailure(
        _ id: PoolID, _ failure: ConnectFailure, attempt: Int, retryIn: Duration?
    ) {
        guard let pool = directory.pools[id] else { return }
        noteConnectFailure(pool, failure, retryIn: retryIn)
        let isStarting =
            life.startup?.pending.contains(pool.key) == true
        logger.log(
            level: attempt <= 1 || isStarting ? .warning : .debug, "server connect failed",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)", "attempt": "\(attempt)",
                "sqlstate": "\(failure.error.sqlState.rawValue)",
                "reason": "\(failure.error.message)",
                "retry_in": "\(retryIn.map(Self.seconds) ?? "when asked for")",
            ])
    }

    // MARK: Waiters

    func notify(_ id: ClientID, place: Int, waited: Duration) {
        guard let client = clients[id], let pool = client.pool, client.phase == .ready else {
            return
        }
        var bytes: [UInt8] = []
        bytes.appendNoticeResponse(
            PgError(
                severity: .notice, sqlState: .successfulCompletion,
                message:
                    "waiting for a server connection for \(Self.seconds(waited)), place \(place) in the queue",
                detail: holders(of: pool),
                hint:
                    "query_wait_timeout ends the wait\(pool.limits.queryWait.map { " after " + Self.seconds($0) } ?? " never")."
            ))
        send(bytes, to: client)
    }

    func reject(_ client: ClientConnection, _ rejection: Rejection) {
        counters.rejectionsByCause.count(RejectionCause(rejection.cause))
        guard let pool = client.pool else { return }
        let error = rejectionError(rejection, pool, of: client)
        noteRejection(rejection, error, of: client)
        if settings.logPoolerErrors {
            logger.warning(
                "lease refused",
                metadata: describe(
                    client,
                    with: [
                        "sqlstate": "\(error.sqlState.rawValue)", "reason": "\(error.message)",
                        "waited_us": "\(rejection.waited.wholeMicroseconds)",
                        LogLine.wordsKey: poolerError(client, error),
                    ]))
        }
        if client.phase == .awaitingServer || rejection.cause == .poolClosed {
            refuse(client, error, as: .noServer)
        } else {
            engine.answer(client.id, with: error, now: now)
            dealWithNotices()
        }
    }

    private func rejectionError(
        _ rejection: Rejection, _ pool: DatabasePool, of client: ClientConnection
    ) -> PgError {
        let wait = client.call?.terms.wait
        let isImpatient = wait == .zero
        let waited = Self.seconds(rejection.waited)
        let name = Self.oneLine("\"\(pool.database)\" (user \"\(pool.user)\")")
        switch rejection.cause {
        case .deadline(let limit):
            let inVain = "no server connection became free within \(waited)"
            return .error(
                .tooManyConnections,
                isImpatient
                    ? "no server connection is free, and the request was not to wait for one"
                    : wait == nil ? "query_wait_timeout" : inVain,
                detail:
                    "\(wait == nil ? Self.sentence(inVain) : "")\(describe(limit, pool, client))\(isImpatient ? "" : " Waited \(waited) at place \(rejection.place) of \(rejection.waiting).")\(rejection.suspectsLock ? Self.suspicion : "")\n\(holders(of: pool))",
                hint: Self.adviceToWaiter(isLocked: rejection.suspectsLock, wait: wait)
            )
        case .queueFull(let limit):
            return .error(
                .tooManyConnections, "too many clients wait for a server connection",
                detail: "max_waiting is \(limit).\n\(holders(of: pool))",
                hint:
                    "Shorten the transactions of the holders, or raise max_waiting or the pool's size."
            )
        case .connectFailed(let failure):
            var error = failure.error
            // A session's client is told what its own connection would have told it.
            if pool.mode.pooling == .session, failure.kind == .permanent { return error }
            error.severity = .error
            let waiting = failure.kind == .permanent ? "" : " after \(waited)"
            error.message = "cannot connect to the server of \(name)\(waiting): \(error.message)"
            if error.hint == nil {
                error.hint =
                    failure.kind == .permanent
                    ? "Waiting will not help: correct the database's line in [databases], or the role or database on the server."
                    : "The broker keeps trying: ask again once the server is back."
            }
            return error
        case .poolPaused:
            return .error(
                .cannotConnectNow, "database \"\(pool.database)\" is paused",
                detail: "Waited \(waited).\n\(holders(of: pool))",
                hint: "RESUME \(pool.database) in the console lets it go on.")
        case .poolLock(let lock):
            return poolLockError(lock, pool, waited: rejection.waited)
        case .poolClosed:
            return .fatal(
                .adminShutdown, "database configuration changed",
                detail: "The configuration of database \"\(pool.database)\" has changed.",
                hint: "Connect again.")
        }
    }

    private static func sentence(_ text: String) -> String {
        "\(text.prefix(1).uppercased())\(text.dropFirst()). "
    }

    private static func adviceToWaiter(isLocked: Bool, wait: Duration?) -> String {
        if isLocked { return adviceOnLocks }
        if wait == .zero {
            return "WAIT says how long to wait; without it query_wait_timeout does."
        }
        let deadline = wait == nil ? "query_wait_timeout" : "WAIT"
        return "Shorten the transactions of the holders, or raise the limit or \(deadline)."
    }

    private func describe(_ limit: WaitLimit, _ pool: DatabasePool, _ client: ClientConnection)
        -> String
    {
        let name = Self.oneLine("\"\(pool.database)\" (user \"\(pool.user)\")")
        switch limit {
        case .poolSize(let size):
            let held = engine.scheduler.summary(of: pool.id)?.counts.leased ?? 0
            let use = held < size ? "taken" : "in use"
            return
                "All \(size) connections of pool \(name) are \(use) (pool_size)\(count(held, of: size))"
        case .databaseConnections(let limit): return "max_db_connections is \(limit)."
        case .userConnections(let limit): return "max_user_connections is \(limit)."
        case .serverConnections(let limit): return "max_server_connections is \(limit)."
        case .share(let limit):
            return "This host may have \(limit) connections under shared_bound: SHOW SHARES."
        case .groupLeases(let limit):
            let held = client.group.map { engine.scheduler.leases(of: $0.id) } ?? limit
            return "max_leases of this client's group is \(limit)\(count(held, of: limit))"
        case .groupGuarantees:
            return "The free connections of pool \(name) are kept for other groups (min_leases)."
        case .connecting: return "Pool \(name) has room, but no connection was ready in time."
        }
    }

    /// How many leases are held in truth, where that is another number than the limit: those beyond it
    /// were lent to relieve a lock.
    private func count(_ held: Int, of limit: Int) -> String {
        let leases = held == 1 ? "1 lease is held" : "\(held) leases are held"
        if held > limit {
            return ", and \(held - limit) of reserve_pool_size besides: \(leases)."
        }
        return held == limit
            ? "." : ": \(leases), the other connections are being checked, cleaned or closed."
    }

    /// Who has held the longest, for errors and notices.
    func holders(of pool: DatabasePool) -> String {
        if let told = pool.holdersTold, told.at == now { return told.text }
        let text = describeHolders(of: pool)
        pool.holdersTold = (now, text)
        return text
    }

    /// The grammar is HolderList's; where nobody holds anything, why nobody gets anything either.
    private func describeHolders(of pool: DatabasePool) -> String {
        let now = now
        let leased = servers.values.filter { $0.pool === pool && $0.isLeased && $0.client != nil }
            .sorted { $0.leaseSince < $1.leaseSince }
        let stop = reasonNothingIsGranted(in: pool)
        guard !leased.isEmpty else {
            let reason = stop ?? "its connections are being opened, checked or cleaned."
            return "No lease is held in this pool: \(reason)"
        }
        let named = leased.prefix(Self.holdersNamed).compactMap { holder($0, now) }
        let line = HolderList.line(named, more: leased.count - named.count)
        return stop.map { "No lease is granted: \($0)\n\(line)" } ?? line
    }

    func holder(_ server: ServerConnection, _ now: Instant) -> HolderText? {
        guard let client = server.client else { return nil }
        return HolderText(
            client.who, program: client.shownName, heldFor: now - server.leaseSince,
            activity: server.activityInWords, thread: server.explicit?.terms.thread,
            purpose: server.explicit?.terms.purpose)
    }

    /// An operator's stop, or the server's own words; nil when nothing stops the pool. One line.
    private func reasonNothingIsGranted(in pool: DatabasePool) -> String? {
        if let stop = operators.stops.stop(of: pool.database) {
            return Self.oneLine(
                "\(stop.subject) has been paused for \(Self.seconds(now - stop.since)) by \(stop.actor)."
            )
        }
        guard let (failure, since) = outage(of: pool) else { return nil }
        let state =
            failure.kind == .saturated
            ? "PostgreSQL has refused further connections" : "PostgreSQL has been out of reach"
        let message = SecretRedaction.redact(failure.error.message)
        return Self.oneLine("\(state) for \(Self.seconds(now - since)): \(message)")
    }

    /// Why this pool has no connection, and since when it has had none.
    private func outage(of pool: DatabasePool) -> (ConnectFailure, Instant)? {
        guard let failure = pool.lastFailure, let since = pool.failingSince,
            (engine.scheduler.summary(of: pool.id)?.counts.connected ?? 0) == 0
        else { return nil }
        return (failure, since)
    }

    static let holdersNamed = 5

    /// Who a client is, in short: `pid 4711 "backfill"`, by its program where it has no name.
    func name(of client: ClientConnection) -> String {
        HolderList.name(client.who, client.shownName)
    }

    /// "12.3 s", for people.
    static func seconds(_ duration: Duration) -> String {
        duration.inSeconds
    }
}
