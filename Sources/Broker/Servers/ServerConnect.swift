import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
import Logging
import PostgresWire

/// Opening server connections: libpq connects and authenticates, step by step on the loop; names
/// are resolved on a worker thread.
extension Broker {
    func openServer(_ id: ServerID, _ poolID: PoolID, _ profile: ProfileID) {
        guard let pool = poolsByID[poolID] else {
            preconditionFailure(
                "the scheduler opens a server of a pool that the shell does not know")
        }
        let server = ServerConnection(
            id: id, pool: pool, broker: self, startupProfile: profile, now: now)
        profiles.retain(profile)
        servers[id.slot] = server
        if let timeout = settings.serverConnectTimeout {
            server.connectDeadline = now + timeout
            housekeeping(by: now + timeout)
        }
        let plan: ConnectPlan
        do throws(ConnectionStringError) {
            plan = try ConnectPlan(parameters: connectParameters(pool, profile))
        } catch {
            connectFailed(server, Self.badParameters(error.message))
            return
        }
        resolve(plan, from: 0, answers: [], for: id)
    }

    /// Resolves the names of the plan one after the other, then connects.
    private func resolve(
        _ plan: ConnectPlan, from index: Int, answers: [[String]], for id: ServerID
    ) {
        guard index < plan.lookups.count else {
            connect(plan, answers, id)
            return
        }
        let lookup = plan.lookups[index]
        lookUp(NameLookups.Name(host: lookup.host, port: lookup.port)) { [weak self] addresses in
            self?.resolve(plan, from: index + 1, answers: answers + [addresses], for: id)
        }
    }

    private func connect(_ plan: ConnectPlan, _ answers: [[String]], _ id: ServerID) {
        // It may have been given up meanwhile.
        guard let server = server(id), server.phase == .connecting else { return }
        guard let parameters = plan.expanded(with: answers) else {
            let hosts = plan.lookups.map(\.host).joined(separator: ", ")
            connectFailed(
                server,
                ConnectFailure(
                    kind: .transient,
                    error: .error(
                        .connectionNotEstablished,
                        "could not translate host name \"\(hosts)\" to an address",
                        hint: "Check the host in [databases] and the name service of this machine.")
                ))
            return
        }
        server.connection = PostgresConnection.start(parameters: parameters)
        watchConnect(server, for: .writing)
    }

    /// Watches the socket that libpq uses now: it may be another one after each step.
    func watchConnect(_ server: ServerConnection, for progress: PostgresConnection.Progress) {
        guard let connection = server.connection, connection.descriptor >= 0 else {
            connectFailed(server, failure(of: server))
            return
        }
        guard let watcher = try? FileWatcher(loop: loop, descriptor: connection.descriptor) else {
            connectFailed(server, failure(of: server))
            return
        }
        watcher.delegate = server
        server.watcher = watcher
        watcher.watch(progress == .writing ? .writable : .readable)
    }

    /// libpq has made a step (`continueConnect`).
    func advanced(
        _ server: ServerConnection, _ connection: PostgresConnection,
        _ progress: PostgresConnection.Progress
    ) {
        switch progress {
        case .reading, .writing: watchConnect(server, for: progress)
        case .connected: connected(server, connection)
        case .failed: connectFailed(server, failure(of: server))
        }
    }

    private func connected(_ server: ServerConnection, _ connection: PostgresConnection) {
        server.watcher = try? FileWatcher(loop: loop, descriptor: connection.descriptor)
        server.watcher?.delegate = server
        server.connectedAt = now
        server.lastUsed = now
        server.backendProcessID = connection.backendProcessID
        counters.serverConnects += 1
        learnParameters(of: server, connection)
        server.watcher?.watch(.readable)
        if let query = server.pool.entry.connectQuery, !query.isEmpty {
            server.phase = .preparing
            ask(server, .connect, [query])
            return
        }
        admit(server)
    }

    /// The connection is fit for use.
    func admit(_ server: ServerConnection) {
        server.phase = .ready
        server.connectDeadline = nil
        let pool = server.pool
        // What connect_query changed is what its clients are told.
        server.parameters = pool.parameters(
            for: server.startupProfile, reported: server.parameters)
        pool.hasGivenUpLearning = false
        pool.times.connect.record(now.nanoseconds - server.openedAt.nanoseconds)
        let lastFailure = pool.lastFailure
        pool.connectSucceeded()
        logger.debug(
            "server connected",
            metadata: [
                "server.id": "\(server.id)", "server.pid": "\(server.backendProcessID)",
                "database": "\(pool.database)", "user": "\(pool.user)",
                "connect_us": "\((now - server.openedAt).wholeMicroseconds)",
            ])
        let waiting = pool.awaitingParameters
        pool.awaitingParameters = []
        for client in waiting { finishLogin(client) }
        post(.serverConnected(server.id))
        if let lastFailure { noteRecovery(of: pool, from: lastFailure) }
    }

    private func learnParameters(of server: ServerConnection, _ connection: PostgresConnection) {
        var values: [(name: String, value: String)] = []
        var names = PostgresConnection.reportedParameters
        for extra in settings.trackExtraParameters where !names.contains(extra) {
            names.append(extra)
        }
        for name in names {
            if let value = connection.parameterStatus(name) { values.append((name, value)) }
        }
        server.parameters = server.pool.parameters(
            for: server.startupProfile, reported: ParameterSet(values))
    }

    // MARK: Failure

    func connectFailed(_ server: ServerConnection, _ failure: ConnectFailure) {
        counters.connectFailures.count(ConnectFailureClass(failure))
        // What a session client itself asked for in its startup packet concerns nobody else.
        if server.startupProfile == .serverDefault || failure.kind != .permanent {
            server.pool.connectFailed(failure, now)
        }
        release(server)
        let waiting = server.pool.awaitingParameters
        server.pool.awaitingParameters = []
        for client in waiting { finishLogin(client) }
        post(.serverConnectFailed(server.id, failure))
    }

    // MARK: Parameters

    /// libpq's keywords for a new connection of this pool.
    private func connectParameters(_ pool: Pool, _ profile: ProfileID) -> ConnectionParameters {
        var parameters: ConnectionParameters = configuration.connectionParameters(
            for: pool.entry, database: pool.entry.serverDatabase(requested: pool.database),
            user: pool.user, password: pool.password
        ).map { ($0.keyword, $0.value) }
        parameters.append(("fallback_application_name", "pglease"))
        addSettings(pool.entry.startupParameters.map { ($0.keyword, $0.value) }, to: &parameters)
        addSettings(profiles.entries(of: profile).map { ($0.name, $0.value) }, to: &parameters)
        return parameters
    }

    /// GUCs of the startup packet: two have keywords of their own in libpq, the others go into `options`.
    private func addSettings(
        _ settings: [(String, String)], to parameters: inout ConnectionParameters
    ) {
        var options = parameters.value(of: "options") ?? ""
        for (name, value) in settings {
            if name == "application_name" || name == "client_encoding" {
                parameters.removeAll { $0.keyword == name }
                parameters.append((name, value))
            } else {
                let escaped = value.flatMap {
                    $0 == "\\" || $0.isWhitespace ? "\\\($0)" : String($0)
                }
                options += (options.isEmpty ? "" : " ") + "-c \(name)=\(String(escaped))"
            }
        }
        guard !options.isEmpty else { return }
        parameters.removeAll { $0.keyword == "options" }
        parameters.append(("options", options))
    }

    // MARK: Closing

    /// Lets go of everything but the slot, which the scheduler still counts.
    func release(_ server: ServerConnection) {
        guard server.phase != .closed else { return }
        // What a client may have left running on it must not outlive it.
        if server.isUnknown { cutOff(server) }
        let isClean = server.phase == .ready && server.stream.isQuiet && server.outbound.isEmpty
        server.phase = .closed
        server.watcher?.close()
        server.watcher = nil
        server.connection?.close(sendTerminate: isClean, isShared: server.wasHandedOut)
        server.connection = nil
        server.stream.releaseAll(in: &statements)
        server.cleaning = nil
        server.orphan?.releaseAll(in: &statements)
        server.orphan = nil
        profiles.release(server.profile)
        server.profile = .serverDefault
        if let pending = server.pendingProfile { profiles.release(pending) }
        server.pendingProfile = nil
        forgetRestoring(server)
        server.outbound = OutboundBuffer()
        server.carry = []
        server.prelude = []
    }

    func closeServer(_ id: ServerID, _ reason: CloseReason) {
        guard let server = server(id) else { return }
        server.farewell = farewell(to: server, reason)
        release(server)
        logger.debug(
            "server closed",
            metadata: [
                "server.id": "\(id)", "server.pid": "\(server.backendProcessID)",
                "reason": "\(reason.rawValue)", "database": "\(server.pool.database)",
            ])
        if let farewell = server.farewell {
            housekeeping(by: farewell.deadline)
            farewell.wait { [weak self] in self?.endFarewell(server) }
        } else if server.cancelsToCome > 0 {
            lingerOn(server)
        } else {
            forget(server)
        }
    }

    /// It is gone, or has had its time.
    func endFarewell(_ server: ServerConnection) {
        server.farewell?.close()
        server.farewell = nil
        forget(server)
    }

    /// A query that was sent just before the end may not have begun when the first cancel came, and would go
    /// on although nobody listens: it is cancelled again, and the connection counted until then.
    private func lingerOn(_ server: ServerConnection) {
        let steps = Self.lingering
        let next = now + steps[steps.count - server.cancelsToCome]
        server.cancelsToCome -= 1
        server.cancelDeadline = next
        housekeeping(by: next)
    }

    func linger(_ server: ServerConnection) {
        server.cancelDeadline = nil
        sendCancel(server) { [weak self] in
            guard let self, self.server(server.id) === server else { return }
            if server.cancelsToCome > 0 { self.lingerOn(server) } else { self.forget(server) }
        }
    }

    /// Between one cancel and the next.
    static let lingering: [Duration] = [.milliseconds(100), .milliseconds(400)]

    private func forget(_ server: ServerConnection) {
        servers[server.id.slot] = nil
        post(.serverClosed(server.id))
    }
}
