// SPDX-License-Identifier: Apache-2.0

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
        guard let pool = directory.pools[poolID] else {
            preconditionFailure(
                "the scheduler opens a server of a pool that the shell does not know")
        }
        let server = ServerConnection(
            id: id, pool: pool, broker: self, startupProfile: profile, now: now)
        world.servers.insert(server, at: id)
        withPassword(for: server) { [weak self] in self?.makePlan($0) }
    }

    /// Where it may lead, by what is known now.
    func makePlan(_ server: ServerConnection) {
        if mayBeAnother(server.pool) {
            giveUp(server, Self.isAnother)
            return
        }
        let id = server.id
        let plan: HostPlan
        do throws(ConnectionStringError) {
            plan = try HostPlan(parameters: connectParameters(server))
        } catch {
            connectFailed(server, Self.badParameters(error.message))
            return
        }
        resolve(plan, from: 0, answers: []) { [weak self] answers in
            self?.connect(plan, answers, id)
        }
    }

    /// Resolves the names of the plan one after the other.
    func resolve(
        _ plan: HostPlan, from index: Int, answers: [[String]],
        then continuation: @escaping ([[String]]) -> Void
    ) {
        guard index < plan.lookups.count else {
            continuation(answers)
            return
        }
        let lookup = plan.lookups[index]
        lookUp(NameLookups.Name(host: lookup.host, port: lookup.port)) { [weak self] addresses in
            self?.resolve(plan, from: index + 1, answers: answers + [addresses], then: continuation)
        }
    }

    private func connect(_ plan: HostPlan, _ answers: [[String]], _ id: ServerID) {
        // It may have been given up meanwhile.
        guard let server = server(id), server.isConnecting else { return }
        let addresses = plan.addresses(with: answers)
        guard !addresses.isEmpty else {
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
        let place = place(of: server.pool.entry, plan)
        let route = ServerRoute(place, plan, addresses)
        server.route = route
        note(route.hosts, of: place, pool: server.pool)
        beginWalk(server)
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
        if mayBeAnother(server.pool) {
            giveUp(server, Self.isAnother)
            return
        }
        if sharedBound(of: server.pool) != nil { housekeeping(by: now) }
        server.watcher = try? FileWatcher(loop: loop, descriptor: connection.descriptor)
        server.watcher?.delegate = server
        if let bytes = settings.tcpSocketBuffer, !Descriptor.isUnixSocket(connection.descriptor) {
            // A connection that is lost already says so at the first read.
            try? Descriptor.setBuffers(connection.descriptor, Int32(bytes))
        }
        counters.serverConnects += 1
        server.begin()
        server.loginNotices = connection.loginNotices
        engine.remind(of: server.id, at: nil)
        engine.serverConnected(
            server.id, process: connection.backendProcessID,
            parameters: reportedParameters(connection), now: now)
        dealWithNotices()
        arrived(server)
    }

    private func reportedParameters(_ connection: PostgresConnection) -> ParameterSet {
        var values: [(name: String, value: String)] = []
        var names = PostgresConnection.reportedParameters
        for extra in settings.trackExtraParameters where !names.contains(extra) {
            names.append(extra)
        }
        for name in names {
            if let value = connection.parameterStatus(name) { values.append((name, value)) }
        }
        return ParameterSet(values)
    }

    // MARK: Failure

    private static let isAnother = ConnectFailure(
        kind: .transient,
        error: .error(
            .connectionFailure, "PostgreSQL was started anew, and what it had shared out is void"))

    func connectFailed(_ server: ServerConnection, _ failure: ConnectFailure) {
        if failure.kind == .transient { connectionLost(in: server.pool) }
        if goesOn(server, after: failure) || triesAnotherPassword(server, after: failure) { return }
        giveUp(server, failure)
    }

    // MARK: Parameters

    /// libpq's keywords for a new connection of this pool.
    private func connectParameters(_ server: ServerConnection) -> ConnectionParameters {
        let pool = server.pool
        var parameters: ConnectionParameters = configuration.connectionParameters(
            for: pool.entry, database: pool.entry.serverDatabase(requested: pool.database),
            user: pool.user, password: textPassword(of: server)
        ).map { ($0.keyword, $0.value) }
        // A session is its client's: without a name it has none.
        if pool.mode.pooling != .session {
            parameters.append(("fallback_application_name", "pglease"))
        }
        if let kind = pool.replication { makeWalsender(kind, &parameters) }
        Self.addSettings(
            pool.entry.startupParameters.map { ($0.keyword, $0.value) }, to: &parameters)
        Self.addSettings(
            engine.profiles.entries(of: server.startupProfile).map { ($0.name, $0.value) },
            to: &parameters)
        return parameters
    }

    /// GUCs of the startup packet: two have keywords of their own in libpq, the others go into `options`.
    static func addSettings(
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

    /// Lets go of everything but the slot, which the engine still counts.
    func closeSocket(of server: ServerConnection, isClean: Bool) {
        guard !server.isClosed else { return }
        // What a client may have left running on it is still to be cancelled.
        if !isClean, server.cancelHandle == nil {
            server.cancelHandle = server.connection?.makeCancelHandle()
        }
        server.isClosed = true
        server.watcher?.close()
        server.watcher = nil
        server.connection?.close(sendTerminate: isClean, isShared: server.wasHandedOut)
        server.connection = nil
        explorationEnded(by: server, nil)
    }

    func closeServer(_ id: ServerID, _ reason: CloseReason, isClean: Bool, awaitsEnd: Bool) {
        guard let server = server(id) else { return }
        if reason.isLoss { connectionLost(in: server.pool) }
        if awaitsEnd, let connection = server.connection {
            let time =
                sharedBound(of: server.pool) == nil ? Self.farewellTime : Self.sharedFarewellTime
            server.farewell = Farewell(
                of: connection.descriptor, loop: loop, deadline: now + time)
        }
        closeSocket(of: server, isClean: isClean)
        logger.debug(
            "server closed",
            metadata: [
                "server.id": "\(id)", "server.pid": "\(server.backendProcessID)",
                "reason": "\(reason.rawValue)", "database": "\(server.pool.database)",
            ])
        if let farewell = server.farewell {
            engine.remind(of: id, at: farewell.deadline)
            farewell.wait { [weak self] in self?.endFarewell(server) }
        } else if !engine.isLingering(id) {
            engine.serverGone(id, now: now)
            dealWithNotices()
        }
    }

    /// A server that hangs keeps its place that long.
    private static let farewellTime = Duration.seconds(1)
    /// Where others would be given that place: PostgreSQL hears of it when a cut is over, and TCP has tried again.
    private static let sharedFarewellTime = Duration.seconds(300)

    /// What was put off has come: the rest of a login's message, or the end of a farewell.
    func reminded(of id: ServerID) {
        guard let server = server(id) else { return }
        if server.farewell != nil {
            endFarewell(server)
        } else if server.isConnecting, !losesPatience(server) {
            continueConnect(server)
        }
    }

    /// It is gone, or has had its time.
    private func endFarewell(_ server: ServerConnection) {
        server.farewell?.close()
        server.farewell = nil
        engine.serverGone(server.id, now: now)
        dealWithNotices()
        // A question may wait for its place.
        if sharedBound(of: server.pool) != nil { housekeeping(by: now) }
    }
}
