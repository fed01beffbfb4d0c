// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// What a shell does: sockets, connects, logins, cancels, and the words of refusals.
extension EngineRun {
    // MARK: Around each call of the engine

    mutating func before() {
        for socket in servers { socket.sentBefore = socket.wire.count }
    }

    mutating func after() {
        observe()
        guard !isDealing else { return }
        isDealing = true
        repeat {
            for notice in engine.takeNotices() where violation == nil { deal(with: notice) }
        } while !engine.notices.isEmpty && violation == nil
        isDealing = false
    }

    private func client(_ id: ClientID) -> EngineClient? { indices[id].map { clients[$0] } }

    private mutating func deal(with notice: EngineNotice) {
        switch notice {
        case .openServer(let id, let pool, let profile): open(id, pool, profile)
        case .closeServer(let id, let reason, let isClean, let awaitsEnd):
            close(id, reason, isClean: isClean, awaitsEnd: awaitsEnd)
        case .serverForgotten(let id): world.servers[id] = nil
        case .sendCancel(let id): sendCancel(id)
        case .mayBeServed(let id): if let client = client(id) { serve(client) }
        case .attend(let id): violation = "the shell is to speak with client \(id)"
        case .rejected(let id, let rejection):
            if let client = client(id) { reject(client, rejection) }
        case .processToWatch(let id): engine.processIsWatched(id, true)
        case .reminder(let id):
            if let socket = world.servers[id], socket.isClosedByBroker { farewellEnds(socket) }
        case .connectTimedOut(let id):
            note("connect of server \(id) takes too long")
            connectFails(id, ConnectFailure(kind: .transient, error: Self.unreachable))
        case .loginTimedOut(let id): violation = "login of \(id) took too long"
        case .clientClosed(let id, let reason): closed(id, reason)
        case .clientRefused(let id, let error, _):
            if let client = client(id) {
                note("client \(client.index) is refused: \(error.message)")
                client.expect([error.sqlState.rawValue])
                if error.message == Self.goAway.message { sentAway(client) }
                checkRefusal(of: client, error)
            }
        case .clientStalled(let id, _, _):
            if let client = client(id) {
                client.mayEnd = true
                if plan.settings.clientWriteTimeout == nil {
                    violation = "client \(client.index) is said not to read"
                }
            }
        case .leaseRevoked(let report, let cause, _, let words): revoked(report, cause, words)
        case .serverLost(let id, let report, let reason): lost(id, report, reason)
        case .serverBroke(let id, let reason):
            if world.servers[id].map({ $0.isFaulty || $0.isTorn }) != true {
                violation = "server \(id) is said to have broken the protocol: \(reason)"
            }
        case .serverNotMended(let id, let reason): notMended(id, reason)
        case .drainTimedOut(let id):
            if world.servers[id].map({ mayBeSilent($0) }) != true {
                violation = "server \(id) is said not to have ended what a client left running"
            }
        case .cleaningFailed(let id, let what, let error):
            note("\(what) failed on \(id): \(error.message)")
            if world.servers[id].map({ $0.isFaulty || $0.isTorn || $0.wasCancelled }) != true,
                !plan.trouble.contains(.cleaningFails)
            {
                violation = "\(what) failed on server \(id): \(error.message)"
            }
        case .serverMisplaced(let id, let reason):
            violation = "server \(id) is said to be another one than is wanted: \(reason)"
        case .serverUnfit(let id, _): closeSocket(id, isClean: false)
        case .requestRetried(let id, let server):
            note("client \(indices[id] ?? -1) goes on with another server than \(server)")
        case .protocolError: violation = "a client is said to have broken the protocol"
        case .leaseBegan(let id, let lease, let isDirect):
            note("client \(indices[id] ?? -1) has its lease \(lease!), direct: \(isDirect)")
        case .leaseNotDirect(_, _, let reason): note("not direct: \(reason.rawValue)")
        case .databaseWanted(let id, _): engine.databaseIsFree(id, now: now)
        case .placeRefused(let id, let refusal):
            if let client = client(id) { refusePlace(client, id, refusal) }
        case .placeAwaited(let id, let reasons, let place, _):
            note(
                "client \(indices[id] ?? -1) waits to pin its lease for \(reasons.names), at \(place)"
            )
        case .leasePinned(let report, let reasons):
            note("the lease \(report.lease!) is pinned: \(reasons.names)")
        case .leaseUnpinned(let report): note("the lease \(report.lease!) is pinned no more")
        case .parkedLeaseReclaimed(let report, let cause):
            note("the parked lease \(report.lease!) is reclaimed: \(cause.rawValue)")
        case .leaseHeldLong, .directLeaseBegan, .parkableLeaseBegan, .serverAdmitted,
            .listeningLost, .listeningAgain,
            .scheduler:
            break
        }
    }

    private mutating func refusePlace(
        _ client: EngineClient, _ id: ClientID, _ refusal: PlaceRefusal
    ) {
        note("client \(client.index) may not pin its lease: \(refusal.bound)")
        client.expect([SQLState.tooManyConnections.rawValue])
        let error = PgError.error(.tooManyConnections, "no place to pin a lease")
        if refusal.waited == nil {
            engine.refuse(id, error, now: now)
        } else {
            engine.refusePlace(id, with: error, now: now)
        }
    }

    // MARK: Clients

    mutating func clientComes() {
        guard !isWinding, emptyBy == nil else { return }
        let index = clients.count
        let pool = Int.random(in: 0..<pools.count, using: &random)
        let number = Int.random(in: 0..<plan.zones, using: &random)
        let zone = number == 0 ? "0" : "z\(number)"
        let program = RelayProgram(
            client: index, mode: pools[pool].terms.mode, zone: zone,
            seed: seed &+ UInt64(index / max(1, plan.clientCount)) &* 15,
            hasShortLeases: plan.trouble.contains(.limits),
            usesLeases: !pools[pool].terms.isReplication,
            parks: plan.settings.parkTimeout != nil && index % 3 != 0)
        let socket = ClientSocket(
            capacity: [60, 500, 100_000].randomElement(using: &random)!)
        // A few share a process.
        var process = PeerID(UInt32(plan.trouble.contains(.processesEnd) ? index / 2 : index) + 1)
        if endedPeers.contains(process) { process = PeerID(UInt32(10_000 + index)) }
        before()
        let id = engine.accept(isUnix: chance(80), loginDeadline: nil, now: now)
        world.clients[id] = socket
        socket.interest = .bytes
        let client = EngineClient(
            index: index, pool: pool, zone: zone, peer: process, program: program, id: id,
            socket: socket)
        client.program.alter(schema)
        clients.append(client)
        indices[id] = index
        note("client \(index) is \(id), of pool \(pool), zone \(zone)")
        guard let slot = engine.pools.slot(of: pools[pool].id) else {
            violation = "pool \(pool) is gone"
            return
        }
        let group = Int.random(in: 0..<plan.groups.count, using: &random)
        engine.admit(
            id, to: slot, group: GroupID(UInt32(group + 1)), times: groupTimes[group],
            owner: OwnerKey(processID: Int32(process.rawValue)), user: 1, peer: process,
            settings: zone == "0" ? [] : [ProfileEntry(name: "timezone", value: zone)],
            isUnusable: false, pending: [], now: now)
        after()
    }

    private mutating func serve(_ client: EngineClient) {
        guard engine.clients.contains(client.id) else { return }
        switch engine.clients[client.id].phase {
        case .learning, .awaitingServer: break
        case .login, .console, .ready, .replicating, .closing, .closed: return
        }
        guard let slot = engine.clients[client.id].pool else { return }
        let isSession = pools[client.pool].terms.mode.pooling == .session
        let parameters: ParameterSet
        if isSession, let server = engine.clients[client.id].server {
            parameters = engine.servers[server].profile.parameters
            if pools[client.pool].terms.isReplication, !servedOnce.insert(server).inserted {
                violation = "server \(server) has replicated before"
            }
        } else {
            parameters = engine.expectedParameters(
                of: client.id, in: slot, assumed: Self.parameters(zone: "0"))
        }
        var bytes: [UInt8] = []
        bytes.appendAuthenticationOk()
        for parameter in parameters.values {
            bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
        bytes.appendReadyForQuery(.idle)
        before()
        let values = engine.startupValues(of: client.id, parameters)
        engine.serve(
            client.id, told: parameters, startupValues: values, greeting: bytes, now: now)
        after()
    }

    static func parameters(zone: String) -> ParameterSet {
        ParameterSet([("server_version", "15.0"), ("TimeZone", zone)])
    }

    private mutating func reject(_ client: EngineClient, _ rejection: Rejection) {
        note("client \(client.index) is rejected: \(rejection.cause)")
        checkRejection(of: client, rejection)
        let error: PgError
        switch rejection.cause {
        case .deadline, .queueFull: error = .error(.tooManyConnections, "no server became free")
        case .connectFailed(let failure): error = failure.error
        case .poolPaused: error = .error(.cannotConnectNow, "paused")
        case .poolClosed: error = .fatal(.adminShutdown, "closed")
        case .poolLock: error = .error(.deadlockDetected, "locked")
        }
        client.expect([error.sqlState.rawValue])
        before()
        if engine.clients.contains(client.id),
            engine.clients[client.id].phase == .awaitingServer
                || rejection.cause == .poolClosed
        {
            client.mayEnd = true
            engine.refuse(client.id, error, now: now)
        } else {
            engine.answer(client.id, with: error, now: now)
        }
        after()
    }

    private mutating func closed(_ id: ClientID, _ reason: String) {
        world.clients[id]?.isClosedByBroker = true
        if let client = client(id) {
            note("the session of client \(client.index) is closed: \(reason)")
            let hasLeft = client.isLeaving || client.socket.isClosed
            if !hasLeft, !client.mayEnd {
                violation = "the session of client \(client.index) ends: \(reason)"
            }
            indices[id] = nil
        }
        world.clients[id] = nil
        engine.forget(id)
    }

    // MARK: Servers

    static let unreachable = PgError.error(.connectionNotEstablished, "unreachable")

    private mutating func open(_ id: ServerID, _ pool: PoolID, _ profile: ProfileID) {
        let entries = engine.profiles.entries(of: profile)
        let socket = ServerSocket(
            id: id, pool: pool, zone: entries.first { $0.name == "timezone" }?.value ?? "0",
            capacity: [80, 600, 100_000].randomElement(using: &random)!)
        socket.backend.schema = schema
        world.servers[id] = socket
        servers.append(socket)
        note("server \(id) of \(pool) is opened")
        checkOpening(of: socket)
        plan(.connectEnds(socket), within: 3_000)
    }

    mutating func connectEnds(_ socket: ServerSocket) {
        guard engine.servers.contains(socket.id), !socket.isClosedByBroker else { return }
        if !isWinding, plan.trouble.contains(.connectsFail), chance(30) {
            if chance(30) {
                note("connect of server \(socket.id) hangs")
                return
            }
            let kind: ConnectFailure.Kind = chance(70) ? .transient : .saturated
            note("connect of server \(socket.id) fails, \(kind)")
            connectFails(socket.id, ConnectFailure(kind: kind, error: Self.unreachable))
            return
        }
        socket.isConnected = true
        before()
        engine.serverConnected(
            socket.id, process: Int32(socket.id.slot),
            parameters: Self.parameters(zone: socket.zone),
            now: now)
        after()
    }

    private mutating func connectFails(_ id: ServerID, _ failure: ConnectFailure) {
        before()
        engine.serverConnectFailed(id, failure, now: now)
        after()
    }

    /// Lets go of the socket; the backend goes on with what it has, as nobody tells it otherwise.
    private mutating func closeSocket(_ id: ServerID, isClean: Bool) {
        guard let socket = world.servers[id], !socket.isClosedByBroker else { return }
        socket.isClosedByBroker = true
        socket.hangsUntil = .zero
        socket.backend.output = []
        if !socket.isConnected { socket.backend.isDead = true }
        let underWay = socket.backend.input + socket.wire
        // What a replication client sent runs to its end, as on its own connection.
        let isQuiet =
            servedOnce.contains(id) ? Self.endsWhole(underWay) : Self.asksNothing(underWay)
        if isClean, !socket.isEnded, !isQuiet {
            violation = "server \(id) is closed as quiet, and has messages to read"
        }
    }

    private mutating func close(
        _ id: ServerID, _ reason: CloseReason, isClean: Bool, awaitsEnd: Bool
    ) {
        note("server \(id) is closed: \(reason.rawValue)")
        closeSocket(id, isClean: isClean)
        guard let socket = world.servers[id] else { return }
        if awaitsEnd {
            engine.remind(of: id, at: now + .seconds(1))
            // Sometimes it hangs, and has its time.
            if !plan.trouble.contains(.serversHang) || chance(70) {
                plan(.serverEnds(socket), within: 2_000)
            }
        } else if !engine.isLingering(id) {
            before()
            engine.serverGone(id, now: now)
            after()
        }
    }

    mutating func farewellEnds(_ socket: ServerSocket) {
        guard engine.servers.contains(socket.id) else { return }
        before()
        engine.serverGone(socket.id, now: now)
        after()
    }

    // MARK: Cancels

    private mutating func sendCancel(_ id: ServerID) {
        note("a cancel is sent to server \(id)")
        if let socket = servers.first(where: { $0.id == id }) {
            let arrival = now + time(upTo: chance(20) ? 30_000 : 1_000)
            timeline.add(.cancelArrives(socket), at: arrival)
            timeline.add(.cancelEnds(id), at: arrival + time(upTo: 2_000))
        } else {
            plan(.cancelEnds(id), within: 2_000)
        }
    }

    /// It ends what runs, and does nothing to a server that runs nothing.
    mutating func cancelArrives(at socket: ServerSocket) {
        var running = socket.backend
        running.cancels = 1
        while running.step() {}
        note(
            "the cancel comes to server \(socket.id), which \(running.cancels == 0 ? "runs" : "rests")"
        )
        guard running.cancels == 0 else { return }
        socket.wasCancelled = true
        socket.backend.cancels = 1
        checkCancel(at: socket)
    }

    mutating func cancelEnds(_ id: ServerID) {
        before()
        engine.cancelFinished(id, now: now)
        after()
    }
}
