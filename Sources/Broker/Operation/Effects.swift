import LeaseCore
import LibUV
import Logging
import PostgresWire

/// What the scheduler orders.
extension Broker {
    func run(_ effect: SchedulerEffect) {
        switch effect {
        case .openServer(let id, let pool, let profile): openServer(id, pool, profile)
        case .closeServer(let id, let reason): closeServer(id, reason)
        case .validateServer(let id): validate(id)
        case .resetServer(let id): reset(id)
        case .grant(let client, let server, let lease, let waited):
            grant(client, server, lease, waited: waited)
        case .reject(let client, let rejection): reject(client, rejection)
        case .notifyWaiter(let client, let place, let waited):
            notify(client, place: place, waited: waited)
        case .poolPhaseChanged(let pool, let phase): phaseChanged(pool, phase)
        case .connectFailed(let pool, let failure, let attempt, let retryIn):
            logConnectFailure(pool, failure, attempt: attempt, retryIn: retryIn)
        case .poolStarted(let pool): poolStarted(pool)
        case .poolStartFailed(let pool, let failure, let attempts):
            poolStartFailed(pool, failure, attempts: attempts)
        case .poolPaused(let pool): poolPaused(pool)
        case .watchLeases(let pool): watchLeases(pool, true)
        case .unwatchLeases(let pool): watchLeases(pool, false)
        case .poolLocked(let lock): poolLocked(lock)
        case .reserveLent(let pool, let client, let reserve, let alreadyLent):
            reserveLent(pool, to: client, outOf: reserve, alreadyLent: alreadyLent)
        case .poolRelieved(let pool, let group, let duration, let lent, let rejected):
            poolRelieved(pool, group, after: duration, lent: lent, rejected: rejected)
        }
    }

    private func validate(_ id: ServerID) {
        guard let server = server(id) else { return }
        let deadline = now + (settings.serverConnectTimeout ?? Self.resetTimeout)
        server.resetDeadline = deadline
        housekeeping(by: deadline)
        ask(server, .check, settings.serverCheckQuery ?? "")
    }

    private func reset(_ id: ServerID) {
        guard let server = server(id) else { return }
        if server.isUnknown {
            recover(server)
        } else {
            reset(server)
        }
    }

    func reset(_ server: ServerConnection) {
        guard let query = settings.serverResetQuery, !query.isEmpty else {
            // Nothing may clean it, by configuration: what was left stays.
            server.lastUsed = now
            post(.resetSucceeded(server.id, profile: server.profile))
            return
        }
        server.resetDeadline = now + Self.resetTimeout
        housekeeping(by: now + Self.resetTimeout)
        ask(server, .reset, query)
    }

    /// How long a reset query may take before its connection is given up. A check has the time of
    /// a connect, which it stands for.
    static let resetTimeout = Duration.seconds(10)

    private func poolPaused(_ id: PoolID) {
        guard let pool = poolsByID[id] else { return }
        logger.notice(
            "pool paused", metadata: ["database": "\(pool.database)", "user": "\(pool.user)"])
    }

    private func phaseChanged(_ id: PoolID, _ phase: PoolPhase) {
        guard let pool = poolsByID[id] else { return }
        if phase == .stopped, pool.isClosed { poolsByID[id] = nil }
        logger.debug(
            "pool phase",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)",
                "phase": "\(phase.rawValue)",
            ])
    }

    /// One warning for an incident, each further attempt at debug level.
    private func logConnectFailure(
        _ id: PoolID, _ failure: ConnectFailure, attempt: Int, retryIn: Duration?
    ) {
        guard let pool = poolsByID[id] else { return }
        noteConnectFailure(pool, failure, retryIn: retryIn)
        let isStarting = startup?.isOver == false
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

    private func notify(_ id: ClientID, place: Int, waited: Duration) {
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
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    private func reject(_ id: ClientID, _ rejection: Rejection) {
        guard let client = clients[id], client.isWaiting else { return }
        client.isWaiting = false
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
                    ]))
        }
        if client.phase == .awaitingServer || rejection.cause == .poolClosed {
            refuse(client, error, as: .noServer)
        } else {
            answer(client, with: error)
        }
    }

    /// The batch that waits is answered with this error; the session goes on.
    func answer(_ client: ClientSession, with error: PgError) {
        if client.call != nil {
            failLeaseCall(client, error)
            return
        }
        guard !client.pending.isEmpty else {
            // It has only just asked: its bytes are in the hand of whoever asked for it.
            client.refusal = error
            return
        }
        let bytes = client.pending
        client.pending = []
        bytes.withUnsafeBytes { input in
            let consumed = refuseBatch(input[...], of: client, with: error)
            client.pending = Array(input[consumed...])
        }
        queueToResume(client)
    }

    private func rejectionError(
        _ rejection: Rejection, _ pool: Pool, of client: ClientSession
    ) -> PgError {
        let waited = Self.seconds(rejection.waited)
        let name = "\"\(pool.database)\" (user \"\(pool.user)\")"
        switch rejection.cause {
        case .deadline(let limit):
            return .error(
                .tooManyConnections, "no server connection became free within \(waited)",
                detail:
                    "\(describe(limit, pool, client)) Waited \(waited) at place \(rejection.place) of \(rejection.waiting). \(holders(of: pool))\(rejection.suspectsLock ? Self.suspicion : "")",
                hint: rejection.suspectsLock
                    ? Self.adviceOnLocks
                    : "Shorten the transactions of the holders, or raise the limit or \(client.call?.terms.wait != nil ? "WAIT" : "query_wait_timeout")."
            )
        case .queueFull(let limit):
            return .error(
                .tooManyConnections, "too many clients wait for a server connection",
                detail: "max_waiting is \(limit). \(holders(of: pool))",
                hint:
                    "Shorten the transactions of the holders, or raise max_waiting or the pool's size."
            )
        case .connectFailed(let failure):
            var error = failure.error
            error.severity = .error
            let waiting = failure.kind == .permanent ? "" : " after \(waited)"
            error.message = "cannot connect to the server of \(name)\(waiting): \(error.message)"
            if error.hint == nil {
                error.hint =
                    failure.kind == .permanent
                    ? "Waiting does not mend this: correct the database's line in [databases], or the role or database on the server."
                    : "The broker keeps trying: ask again once the server is back."
            }
            return error
        case .poolPaused:
            return .error(
                .cannotConnectNow, "database \"\(pool.database)\" is paused",
                detail: "Waited \(waited).",
                hint: "RESUME \(pool.database) in the console lets it go on.")
        case .poolLock(let lock):
            return poolLockError(lock, pool, waited: rejection.waited)
        case .poolClosed:
            return .fatal(
                .adminShutdown, "the configuration of database \"\(pool.database)\" has changed",
                hint: "Connect again.")
        }
    }

    private func describe(_ limit: WaitLimit, _ pool: Pool, _ client: ClientSession) -> String {
        let name = "\"\(pool.database)\" (user \"\(pool.user)\")"
        switch limit {
        case .poolSize(let size):
            return
                "All \(size) connections of pool \(name) are in use (pool_size)\(lent(leases(in: pool) - size))."
        case .databaseConnections(let limit): return "max_db_connections is \(limit)."
        case .userConnections(let limit): return "max_user_connections is \(limit)."
        case .serverConnections(let limit): return "max_server_connections is \(limit)."
        case .groupLeases(let limit):
            let held = client.group.map { scheduler.leases(of: $0.id) } ?? 0
            return "max_leases of this client's group is \(limit)\(lent(held - limit))."
        case .groupGuarantees:
            return "The free connections of pool \(name) are kept for other groups (min_leases)."
        case .connecting: return "Pool \(name) has room, but no connection was ready in time."
        }
    }

    private func leases(in pool: Pool) -> Int {
        scheduler.summary(of: pool.id)?.counts.leased ?? 0
    }

    /// What is held beyond a limit, to relieve a lock.
    private func lent(_ count: Int) -> String {
        count > 0 ? ", and \(count) more leases are lent out of reserve_pool_size" : ""
    }

    /// Who has held the longest, for errors and notices.
    func holders(of pool: Pool) -> String {
        if let told = pool.holdersTold, told.at == now { return told.text }
        let text = describeHolders(of: pool)
        pool.holdersTold = (now, text)
        return text
    }

    private func describeHolders(of pool: Pool) -> String {
        let now = now
        let leased = servers.values.filter { $0.pool === pool && $0.isLeased && $0.client != nil }
            .sorted { $0.leaseSince < $1.leaseSince }
        guard !leased.isEmpty else {
            return
                "No lease is held in this pool: its connections are being opened, checked or cleaned."
        }
        let named = leased.prefix(Self.holdersNamed).map { server -> String in
            guard let client = server.client else { return "" }
            // The client modules read this.
            let thread = server.explicit?.terms.thread.map { ", thread \($0)" } ?? ""
            let purpose = server.explicit?.terms.purpose.map { ", for \($0)" } ?? ""
            return
                "\(name(of: client)) for \(Self.seconds(now - server.leaseSince)) (\(server.activity)\(thread)\(purpose))"
        }
        let more =
            leased.count > Self.holdersNamed ? ", and \(leased.count - Self.holdersNamed) more" : ""
        return Self.oneLine("Held by: \(named.joined(separator: ", "))\(more).")
    }

    private static let holdersNamed = 5

    /// Who a client is, in short: `pid 4711 "backfill"`, by its program where it has no name.
    func name(of client: ClientSession) -> String {
        var who = "client \(client.id)"
        if let number = client.processNumber { who = "pid \(number)" }
        let name =
            client.applicationName.isEmpty ? client.process?.program : client.applicationName
        return name.map { "\(who) \"\($0)\"" } ?? who
    }

    /// As `seconds`, with milliseconds of what is shorter than a tenth.
    static func brief(_ duration: Duration) -> String {
        guard duration < .milliseconds(100) else { return seconds(duration) }
        return "\(duration.wholeNanoseconds / 1_000_000) ms"
    }

    /// "12.3 s", for people.
    static func seconds(_ duration: Duration) -> String {
        let tenths = (duration.wholeNanoseconds + 50_000_000) / 100_000_000
        return "\(tenths / 10).\(tenths % 10) s"
    }
}

extension ServerConnection {
    /// What the lease does now.
    var activity: String {
        if isDirect { return "direct" }
        if stream.isOwing { return "active" }
        switch stream.status {
        case .idle: return "idle"
        case .inTransaction: return "idle in transaction"
        case .failed: return "idle in failed transaction"
        }
    }
}
