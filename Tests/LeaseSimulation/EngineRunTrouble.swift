// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// What goes wrong, and what operators do.
extension EngineRun {
    mutating func operatorActs() {
        guard !isWinding else { return }
        plan(.operatorActs, within: 40_000)
        let index = Int.random(in: 0..<pools.count, using: &random)
        let pool = pools[index].id
        switch Int.random(in: 0..<5, using: &random) {
        case 0 where !pools[index].isPaused:
            note("\(pool) is paused")
            pools[index].isPaused = true
            order(.poolPauseRequested(pool))
        case 0, 1:
            note("\(pool) is resumed")
            pools[index].isPaused = false
            order(.poolResumed(pool))
        case 2:
            policy.maxServerConnections = chance(50) ? nil : Int.random(in: 2...6, using: &random)
            note(
                "the broker has now \(policy.maxServerConnections.map { "\($0)" } ?? "any") connections"
            )
            before()
            engine.change(plan.settings, policy, now: now)
            after()
        case 3:
            // In turns, so that a seed draws what it always drew.
            reconnects += 1
            if reconnects.isMultiple(of: 2) {
                strand(pool)
            } else {
                note("\(pool) is to reconnect")
                order(.poolReconnectRequested(pool))
            }
        default:
            pools[index].policy.size = Int.random(in: 1...4, using: &random)
            note("\(pool) has now \(pools[index].policy.size) connections")
            before()
            engine.changePool(pool, pools[index].terms, pools[index].policy, now: now)
            after()
        }
    }

    /// One of the pool's hosts is not the right one any more. Who keeps a connection to it is sent away.
    private mutating func strand(_ pool: PoolID) {
        guard let slot = engine.pools.slot(of: pool) else { return }
        let stranded = servers.map(\.id).filter { server in
            engine.servers.contains(server) && engine.servers[server].pool == slot
                && !server.slot.isMultiple(of: 3)
        }
        note("\(pool) leaves \(stranded)")
        strandedServers.formUnion(stranded)
        before()
        engine.strand(stranded, now: now)
        after()
    }

    mutating func troubleComes() {
        guard !isWinding else { return }
        plan(.troubleComes, within: 8_000)
        let kinds = (0..<EngineCase.Trouble.count).map {
            EngineCase.Trouble(rawValue: 1 << UInt32($0))
        }
        .filter { plan.trouble.contains($0) }
        let living = clients.filter { !$0.isGone }
        let open = servers.filter { $0.isConnected && !$0.isClosedByBroker }
        switch kinds.randomElement(using: &random) {
        case .serversDie: if let socket = open.randomElement(using: &random) { kill(socket) }
        case .serversHang:
            if let socket = open.randomElement(using: &random) {
                socket.isLate = true
                socket.hangsUntil = now + time(upTo: chance(20) ? 5_000_000 : 50_000)
            }
        case .serversLie: if let socket = open.randomElement(using: &random) { lie(socket) }
        case .clientsVanish: if let client = living.randomElement(using: &random) { vanish(client) }
        case .cancels:
            for client in living.shuffled(using: &random).prefix(chance(30) ? 5 : 1) {
                cancel(client)
            }
        case .cleaningFails: open.randomElement(using: &random)?.backend.failuresOfCleaning += 1
        case .kills:
            if let client = living.randomElement(using: &random) { killSomething(of: client) }
        case .stalls: stall(living, open)
        case .processesEnd:
            if let client = living.randomElement(using: &random) { endProcess(of: client) }
        default: break
        }
    }

    /// The backend dies, with some of its answers.
    private mutating func kill(_ socket: ServerSocket) {
        guard !socket.backend.isDead else { return }
        note("server \(socket.id) dies")
        socket.isFaulty = true
        socket.endSeenFrom = now + time(upTo: 2_000)
        let output = socket.backend.output
        socket.backend.output = Array(
            output.prefix(Int.random(in: 0...output.count, using: &random)))
        if chance(50), socket.backend.output.count == output.count {
            socket.backend.output.appendErrorResponse(.fatal(.adminShutdown, "shutdown"))
            // A replication client reads it, before anybody else does.
            if servedOnce.contains(socket.id), engine.servers.contains(socket.id),
                let client = engine.servers[socket.id].client.flatMap({ indices[$0] })
            {
                clients[client].expect(["57P01"])
                clients[client].mayEnd = true
            }
        }
        socket.backend.isDead = true
    }

    /// All that the server has to say, and behind it, in the same read, what nobody asked for. Nothing is on its
    /// way there, so it cannot be the answer to anything.
    private mutating func lie(_ socket: ServerSocket) {
        let server = socket.id
        let ready = [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "I")]
        guard engine.servers.contains(server), engine.servers[server].phase == .ready,
            !engine.servers[server].isDirect, !socket.isEnded, !socket.isTorn, !socket.isFaulty,
            socket.wire.isEmpty, socket.backend.input.isEmpty,
            engine.servers[server].outbound.isEmpty,
            socket.backend.status == .idle, !socket.backend.isInTransaction,
            !socket.backend.isSkipping, !engine.servers[server].stream.isSuspect,
            !engine.isFindingOut(server),
            socket.backend.output.isEmpty
                ? !engine.servers[server].stream.isOwing : socket.backend.output.suffix(6) == ready
        else { return }
        if let client = engine.servers[server].client, !engine.clients[client].outbound.isEmpty {
            return
        }
        var words: [UInt8] = []
        switch Int.random(in: 0..<7, using: &random) {
        case 0: words.appendDataRow(texts: ["pglease.stray"])
        case 1: words.appendErrorResponse(.error(.internalError, "pglease.stray"))
        case 2: words.appendErrorResponse(.fatal(.adminShutdown, "stray"))
        case 3: words.appendCommandComplete("STRAY")
        case 4: words.appendReadyForQuery(.idle)
        case 5: words = [UInt8(ascii: "D"), 0]
        default: words.appendParseComplete()
        }
        note("server \(socket.id) lies: \(RelayTranscript.ofServer(words))")
        socket.isFaulty = true
        let bytes = exchange(&socket.backend.output, with: []) + words
        before()
        bytes.withUnsafeBytes { engine.serverBytes(server, $0, now: now) }
        after()
        // Behind a copy that failed this may be the answer to a Sync (see `ServerStream.copyInBegan`).
        guard engine.servers.contains(server), engine.servers[server].phase == .ready,
            words.first != UInt8(ascii: "Z") || !engine.servers[server].stream.isSuspect
        else { return }
        violation = "server \(server) spoke unasked, and serves on"
    }

    /// Somebody asks for the end of what this client does.
    private mutating func cancel(_ client: EngineClient) {
        guard client.isLoggedIn, engine.clients.contains(client.id) else { return }
        note("client \(client.index) is to be cancelled")
        client.expect(["57014"])
        before()
        let canceller = engine.accept(isUnix: true, loginDeadline: nil, now: now)
        world.clients[canceller] = ClientSocket(capacity: 1_000)
        engine.cancelRequested(of: client.id, by: canceller, now: now)
        after()
    }

    private mutating func killSomething(of client: EngineClient) {
        guard engine.clients.contains(client.id) else { return }
        client.expect(["57P01", "57014"])
        client.mayEnd = true
        before()
        if let server = engine.clients[client.id].server,
            let lease = engine.servers[server].leaseID,
            chance(70)
        {
            note("the lease of client \(client.index) is killed")
            _ = engine.killLease(lease, now: now)
        } else {
            note("client \(client.index) is killed")
            engine.refuse(client.id, .fatal(.adminShutdown, "killed"), now: now)
        }
        after()
    }

    private mutating func stall(_ living: [EngineClient], _ open: [ServerSocket]) {
        let until = now + time(upTo: chance(30) ? 2_000_000 : 20_000)
        if chance(60) {
            living.randomElement(using: &random)?.socket.stalledUntil = until
        } else {
            guard let socket = open.randomElement(using: &random) else { return }
            socket.isLate = true
            socket.stalledUntil = until
        }
    }

    /// A process ends: its sockets are closed, unless a child has them.
    private mutating func endProcess(of client: EngineClient) {
        let peers = clients.filter { $0.peer == client.peer && !$0.isGone }
        note("the process of client \(client.index) ends")
        for peer in peers {
            peer.mayEnd = true
            peer.expect(["57P01"])
            if chance(70) { vanish(peer) }
        }
        endedPeers.insert(client.peer)
        before()
        engine.processEnded(
            client.peer, watched: peers.map(\.id), wasHandedOut: true, now: now)
        after()
    }

    /// All that is broken works again, as far as it lasts.
    mutating func heal() {
        for socket in servers {
            socket.backend.failuresOfCleaning = 0
            socket.hangsUntil = .zero
            socket.stalledUntil = .zero
        }
        for client in clients { client.socket.stalledUntil = .zero }
        for index in pools.indices where pools[index].isPaused {
            pools[index].isPaused = false
            order(.poolResumed(pools[index].id))
        }
    }
}
