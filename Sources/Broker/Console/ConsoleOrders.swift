// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import Logging
import PostgresWire

/// What operators have ordered.
struct Operators {
    var stops = OperatorStops()
    /// Pools whose `min_pool_size` rests until then: somebody wants their database.
    var vacated: [PoolID: Instant] = [:]
    /// Console clients whose answer waits for something.
    var waiting: Set<ClientID> = []
}

/// What an administrator has stopped. It outlasts RELOAD, and holds for pools that come later.
struct OperatorStops {
    /// Of all databases.
    var all: OperatorStop?
    var byDatabase: [String: OperatorStop] = [:]
    var disabledDatabases: Set<String> = []

    var pausesAll: Bool { all != nil }

    func isPaused(_ database: String) -> Bool { stop(of: database) != nil }

    /// The stop that came first, if any is in force.
    func stop(of database: String) -> OperatorStop? {
        guard let all else { return byDatabase[database] }
        guard let own = byDatabase[database], own.since < all.since else { return all }
        return own
    }
}

/// A PAUSE or KILL that no RESUME has ended.
struct OperatorStop {
    /// What is stopped, for the beginning of a sentence's part: `database "app"`, `the broker`.
    let subject: String
    /// What stopped it: `PAUSE of "admin"`, `SIGUSR1`.
    let actor: String
    let since: Instant
}

/// PAUSE, RESUME, RECONNECT, DISABLE, ENABLE, KILL and what belongs to them.
extension Broker {
    /// The pools of one database, or all of them.
    private func pools(of database: String?) -> [DatabasePool] {
        directory.pools.inOrder.filter { database == nil || $0.database == database }
    }

    private func requireDatabase(_ name: String?, to verb: String) throws(ConsoleRefusal) {
        guard let name else { return }
        if ConsoleSession.databases.contains(name) {
            throw ConsoleRefusal(.protocolViolation, "cannot \(verb) admin db: \(name)")
        }
        if configuration.database(named: name) != nil { return }
        throw ConsoleRefusal(
            .protocolViolation, "no such database: \(name)",
            hint: "SHOW DATABASES lists them.")
    }

    // MARK: PAUSE and RESUME

    /// Gives nothing out from here on; connections close as they come back.
    func pause(_ database: String?, by actor: String) throws(ConsoleRefusal) -> ConsoleWait {
        try requireDatabase(database, to: "pause")
        if let database {
            guard !operators.stops.isPaused(database) else {
                if operators.stops.byDatabase[database] == nil { stop(database, by: actor) }
                throw ConsoleRefusal(
                    .protocolViolation, "already paused",
                    detail: "Database \(database) is paused.",
                    hint: "RESUME \(database) lets it go on.")
            }
        } else {
            guard !operators.stops.pausesAll else {
                throw ConsoleRefusal(
                    .protocolViolation, "already paused", detail: "The broker is paused.",
                    hint: "RESUME lets it go on.")
            }
        }
        stop(database, by: actor)
        for pool in pools(of: database) { post(.poolPauseRequested(pool.id)) }
        return .paused(database)
    }

    private func stop(_ database: String?, by actor: String) {
        let subject = database.map { "database \"\($0)\"" } ?? "the broker"
        let stop = OperatorStop(subject: subject, actor: actor, since: now)
        if let database {
            operators.stops.byDatabase[database] = operators.stops.byDatabase[database] ?? stop
        } else {
            operators.stops.all = operators.stops.all ?? stop
        }
    }

    func resume(_ database: String?) throws(ConsoleRefusal) {
        try requireDatabase(database, to: "resume")
        if let database {
            guard operators.stops.byDatabase.removeValue(forKey: database) != nil else {
                throw ConsoleRefusal(
                    .protocolViolation, "database \(database) is not paused",
                    hint: operators.stops.pausesAll
                        ? "The broker is paused as a whole: RESUME."
                        : "PAUSE \(database) pauses it.")
            }
        } else {
            guard operators.stops.pausesAll || !operators.stops.byDatabase.isEmpty else {
                throw ConsoleRefusal(
                    .protocolViolation, "pooler is not paused",
                    hint: "PAUSE pauses it.")
            }
            operators.stops.all = nil
            operators.stops.byDatabase.removeAll()
        }
        for pool in pools(of: database) where !operators.stops.isPaused(pool.database) {
            post(.poolResumed(pool.id))
        }
    }

    /// SIGUSR1.
    func pauseOnSignal() {
        logger.notice("SIGUSR1 received")
        do throws(ConsoleRefusal) {
            _ = try pause(nil, by: "SIGUSR1")
            note(.operatorAction, .notice, "PAUSE by SIGUSR1", cause: "PAUSE")
        } catch {
            logger.notice("SIGUSR1 has no effect", metadata: ["reason": "\(error.error.message)"])
        }
    }

    /// SIGUSR2.
    func resumeOnSignal() {
        logger.notice("SIGUSR2 received")
        do throws(ConsoleRefusal) {
            try resume(nil)
            note(.operatorAction, .notice, "RESUME by SIGUSR2", cause: "RESUME")
        } catch {
            logger.notice("SIGUSR2 has no effect", metadata: ["reason": "\(error.error.message)"])
        }
    }

    // MARK: Connections

    func reconnect(_ database: String?) throws(ConsoleRefusal) {
        try requireDatabase(database, to: "reconnect")
        for pool in pools(of: database) { post(.poolReconnectRequested(pool.id)) }
        guard let time = settings.drainIdleClients else { return }
        for pool in pools(of: database) {
            engine.sendHoldersAway(from: pool.id, within: time, Self.reconnecting, now: now)
        }
        dealWithNotices()
    }

    private static let reconnecting = PgError.fatal(
        .adminShutdown, "terminating connection due to administrator command",
        detail:
            "An administrator has ordered RECONNECT, and this session kept its server connection.",
        hint: "Connect again.")

    func connectionsToClose(_ database: String?) throws(ConsoleRefusal) -> ConsoleWait {
        try requireDatabase(database, to: "wait in")
        let marked = servers.values.filter { server in
            (database == nil || server.pool.database == database)
                && engine.scheduler.summary(of: server.id)?.isToBeClosed == true
        }
        return .closed(Set(marked.map(\.id)))
    }

    // MARK: DISABLE and ENABLE

    func setDisabled(_ database: String, _ isDisabled: Bool) throws(ConsoleRefusal) {
        try requireDatabase(database, to: isDisabled ? "disable" : "enable")
        if isDisabled {
            operators.stops.disabledDatabases.insert(database)
        } else {
            operators.stops.disabledDatabases.remove(database)
        }
    }

    // MARK: KILL

    /// Ends all clients of the database and what they run; it stays paused.
    func kill(_ database: String?, by actor: String) throws(ConsoleRefusal) -> ConsoleWait {
        try requireDatabase(database, to: "kill")
        stop(database, by: actor)
        for pool in pools(of: database) { post(.poolPauseRequested(pool.id)) }
        for client in Array(clients.values) {
            guard let pool = client.pool, database == nil || pool.database == database else {
                continue
            }
            ended(client, .killed)
        }
        return .paused(database)
    }

    func killClient(_ number: Int64) throws(ConsoleRefusal) {
        guard let id = ClientID(consoleNumber: number), let client = clients[id], client.isOpen
        else {
            throw ConsoleRefusal(
                .protocolViolation, "client not found",
                detail: "No client has the id \(number).",
                hint: "SHOW CLIENTS has the ids in its last column.")
        }
        refuse(client, Self.killed)
    }

    func killLease(_ number: UInt64) throws(ConsoleRefusal) {
        guard engine.killLease(LeaseID(number), now: now) else {
            throw ConsoleRefusal(
                .protocolViolation, "no lease has the id \(number)",
                hint: "SHOW LEASES has the ids in its first column; it may have been returned.")
        }
        dealWithNotices()
    }

    static let killed = PgError.fatal(
        .adminShutdown, "admin forced disconnect",
        detail: "The connection was ended by an administrator.",
        hint: "Ask the administrator; KILL and KILL_CLIENT end connections.")

    // MARK: Answers that wait

    func isOver(_ wait: ConsoleWait) -> Bool {
        switch wait {
        case .paused(let database):
            turn.ends.isEmpty
                && !servers.values.contains { database == nil || $0.pool.database == database }
        case .closed(let ids):
            !ids.contains { server($0) != nil }
        }
    }

    /// Sends what waited long enough.
    func lookAtConsoleWaits(_ now: Instant) {
        guard !operators.waiting.isEmpty else { return }
        for id in operators.waiting {
            guard let client = clients[id], let wait = client.console?.wait else {
                operators.waiting.remove(id)
                continue
            }
            guard isOver(wait) else { continue }
            operators.waiting.remove(id)
            endWait(of: client, nil)
        }
        // Connections that close are not announced here.
        if !operators.waiting.isEmpty { housekeeping(by: now + Self.consoleWaitStep) }
    }

    /// The command goes on in the background if its client does not wait any longer.
    func endWait(of client: ClientConnection, _ error: PgError?) {
        guard let session = client.console, session.wait != nil else { return }
        session.wait = nil
        var reply = session.heldReply
        session.heldReply = []
        if let error {
            reply = []
            reply.appendErrorResponse(error)
            reply.appendReadyForQuery(.idle)
        }
        telemetry.history.console.bytesSent += reply.count
        send(reply, to: client)
        if !client.unread.isEmpty { attend(client) }
    }

    static let consoleWaitStep = Duration.milliseconds(10)
}
