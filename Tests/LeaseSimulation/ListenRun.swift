// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// The engine as it ships, between clients that listen and notify and a PostgreSQL that knows what each of them must be
/// told; chance decides who goes on, where bytes are cut, what dies, and what operators do.
///
/// What is told must have been committed while its client listened, in order and once; what was committed before a
/// batch was sent is there when the batch is answered. What is missing must be followed by a warning.
package struct ListenRun: ~Copyable {
    let seed: UInt64
    let trace: ((String) -> Void)?
    var random: SeededGenerator
    let world: ListenWorld
    var engine: Engine
    let cluster = ListenCluster()
    let parameters = ParameterSet([("server_version", "17.0")])
    let times = GroupTimes(group: "all")
    var now = Instant(nanoseconds: 1_000_000_000)
    var clients: [ListenClient] = []
    var pools: [PoolID] = []
    var hasTroubles: Bool
    var isWinding = false
    var violation: String?
    var payloads = 0
    /// Who holds which backend, as the engine last said.
    let holders = Holders()

    final class Holders {
        var ofProcess: [Int32: ListenClient] = [:]
    }

    package static func run(
        seed: UInt64, steps: Int, trace: ((String) -> Void)? = nil
    ) -> String? {
        var run = ListenRun(seed: seed, trace: trace)
        return run.run(steps)
    }

    private init(seed: UInt64, trace: ((String) -> Void)?) {
        self.seed = seed
        self.trace = trace
        random = SeededGenerator(seed: seed)
        world = ListenWorld(seed: seed)
        hasTroubles = seed.isMultiple(of: 2)
        var settings = EngineSettings()
        settings.serverResetQuery = "DISCARD ALL"
        engine = Engine(
            world: world, settings: settings, policy: BrokerPolicy(), seed: seed, now: now)
        let holders = holders
        cluster.holder = { holders.ofProcess[$0.process]?.index }
        cluster.committed = { backend, actions, place in
            holders.ofProcess[backend.process]?.committed(actions, at: place)
        }
    }

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    func note(_ text: @autoclosure () -> String) { trace?(text()) }

    private mutating func run(_ steps: Int) -> String? {
        engine.order(.groupOpened(GroupID(1), GroupPolicy()), now: now)
        for number in 1...2 as ClosedRange<UInt32> {
            let bound = chance(50) ? 0 : 100
            let mode = RelayMode(
                pooling: .transaction, maxPreparedStatements: bound, maxMessageSize: 1 << 20)
            let pool = PoolID(number)
            var policy = PoolPolicy(size: Int.random(in: 2...4, using: &random))
            policy.retryMinimum = .milliseconds(20)
            policy.lifetime = chance(30) ? .milliseconds(300) : nil
            engine.openPool(
                pool,
                PoolTerms(
                    database: "d", mode: mode, limits: LeaseLimits(), connectQuery: nil,
                    serverKey: 1), policy, startup: nil, now: now)
            pools.append(pool)
            deal()
        }
        for _ in 0..<Int.random(in: 2...6, using: &random) { comes() }
        for _ in 0..<steps where violation == nil { step() }
        windUp()
        return violation.map { "listen seed \(seed): \($0)" }
    }

    // MARK: Steps

    private mutating func step() {
        if chance(20) { pass(.microseconds(Int64.random(in: 0...400, using: &random))) }
        if !isWinding { somethingHappens() }
        let choices = choices()
        guard let choice = choices.randomElement(using: &random) else {
            if engine.hasResumable {
                resume()
            } else if let deadline = engine.nextDeadline {
                pass(max(.zero, deadline - now))
            } else {
                pass(.milliseconds(1))
            }
            return
        }
        choice.carryOut(&self)
        if chance(70) { resume() }
    }

    private mutating func pass(_ time: Duration) {
        now = now + time
        if let deadline = engine.nextDeadline, deadline <= now {
            engine.timeReached(now)
            deal()
        }
    }

    private mutating func resume() {
        while engine.hasResumable, violation == nil {
            engine.resumeClients(now: now)
            deal()
        }
    }

    private mutating func somethingHappens() {
        if chance(1), clients.count < 12 { comes() }
        if chance(1), let client = living.randomElement(using: &random), clients.count > 2 {
            leaves(client)
        }
        guard hasTroubles else { return }
        switch Int.random(in: 0..<400, using: &random) {
        case 0:
            let open = world.servers.keys.sorted { $0.slot < $1.slot }
            guard let id = open.randomElement(using: &random), let socket = world.servers[id],
                socket.isConnected
            else { return }
            note("server \(id) dies")
            socket.backend.isDead = true
            if chance(50) { socket.backend.output = [] }
        case 1:
            let pool = pools.randomElement(using: &random)!
            note("\(pool) reconnects")
            engine.order(.poolReconnectRequested(pool), now: now)
            deal()
        case 2:
            let pool = pools.randomElement(using: &random)!
            note("\(pool) is paused, and resumed")
            engine.order(.poolPauseRequested(pool), now: now)
            deal()
            if chance(50) { pass(.milliseconds(3)) }
            engine.order(.poolResumed(pool), now: now)
            deal()
        default: break
        }
    }

    private var living: [ListenClient] { clients.filter { $0.isLoggedIn && !$0.isGone } }

    private enum Choice {
        case clientSends(ListenClient)
        case clientReads(ListenClient)
        case brokerReads(ListenClient)
        case clientHasRoom(ListenClient)
        case deliver(ListenWorld.Server)
        case work(ListenWorld.Server, ServerID)
        case tells(ListenBackend)
        case brokerReadsServer(ServerID, ListenWorld.Server)
        case serverHasRoom(ServerID)

        func carryOut(_ run: inout ListenRun) {
            switch self {
            case .clientSends(let client): run.send(client)
            case .clientReads(let client): run.read(client)
            case .brokerReads(let client): run.receive(from: client)
            case .clientHasRoom(let client):
                run.engine.clientWritable(client.id, now: run.now)
                run.deal()
            case .deliver(let socket):
                socket.backend.input += run.take(&socket.wire)
            case .work(let socket, let id): run.work(socket, id)
            case .tells(let backend): backend.tell()
            case .brokerReadsServer(let id, let socket): run.receive(from: id, socket)
            case .serverHasRoom(let id):
                run.engine.serverWritable(id, now: run.now)
                run.deal()
            }
        }
    }

    private func choices() -> [Choice] {
        var choices: [Choice] = []
        for client in clients where !client.isGone {
            if !client.inbox.isEmpty { choices.append(.clientReads(client)) }
            if client.isLoggedIn, !client.hasLeft, client.awaits.isEmpty,
                !isWinding || client.status != .idle
            {
                choices.append(.clientSends(client))
            }
            if !client.outbox.isEmpty || client.hasLeft { choices.append(.brokerReads(client)) }
            if world.roomOfClients.contains(client.id) { choices.append(.clientHasRoom(client)) }
        }
        for id in world.servers.keys.sorted(by: { $0.slot < $1.slot }) {
            guard let socket = world.servers[id], socket.isConnected, !socket.isClosed else {
                continue
            }
            let isDead = socket.backend.isDead
            if !isDead {
                if !socket.wire.isEmpty { choices.append(.deliver(socket)) }
                if !socket.backend.input.isEmpty { choices.append(.work(socket, id)) }
                if socket.backend.hasNews { choices.append(.tells(socket.backend)) }
            }
            if socket.interest.contains(.bytes), isDead || !socket.backend.output.isEmpty {
                choices.append(.brokerReadsServer(id, socket))
            }
            if world.roomOfServers.contains(id) { choices.append(.serverHasRoom(id)) }
        }
        return choices
    }

    private mutating func take(_ bytes: inout [UInt8]) -> [UInt8] {
        let count = chance(70) ? bytes.count : Int.random(in: 0...bytes.count, using: &random)
        let taken = Array(bytes.prefix(count))
        bytes.removeFirst(count)
        return taken
    }

    // MARK: The shell

    private mutating func deal() {
        repeat {
            for notice in engine.takeNotices() { deal(with: notice) }
        } while !engine.notices.isEmpty
    }

    private mutating func deal(with notice: EngineNotice) {
        switch notice {
        case .openServer(let id, let pool, _):
            let socket = ListenWorld.Server(ListenBackend(cluster), pool: pool)
            world.servers[id] = socket
            socket.isConnected = true
            engine.serverConnected(
                id, process: socket.backend.process, parameters: parameters, now: now)
        case .closeServer(let id, _, _, _):
            world.servers[id]?.isClosed = true
            if !engine.isLingering(id) { engine.serverGone(id, now: now) }
        case .serverForgotten(let id): world.servers[id] = nil
        case .sendCancel(let id): engine.cancelFinished(id, now: now)
        case .mayBeServed(let id):
            engine.serve(id, told: parameters, startupValues: nil, greeting: [], now: now)
            world.clients[id]?.isLoggedIn = true
        case .rejected(let id, _):
            engine.answer(
                id, with: .error(.tooManyConnections, "rejected"), now: now)
        case .clientClosed(let id, let reason):
            note("client \(world.clients[id]?.index ?? -1) is closed: \(reason)")
            if let client = world.clients[id] {
                if !client.hasLeft {
                    violation = "client \(client.index) was ended: \(reason)"
                }
                client.isGone = true
            }
            world.clients[id] = nil
            engine.forget(id)
        case .cleaningFailed(_, let what, let error):
            violation = "\(what) failed: \(error.message)"
        case .serverBroke(let id, let reason): violation = "server \(id) broke: \(reason)"
        default: break
        }
    }

    private mutating func comes() {
        let pool = pools.randomElement(using: &random)!
        let id = engine.accept(isUnix: true, loginDeadline: nil, now: now)
        let client = ListenClient(index: clients.count, id: id)
        clients.append(client)
        world.clients[id] = client
        engine.admit(
            id, to: engine.pools.slot(of: pool)!, group: GroupID(1), times: times,
            owner: OwnerKey(processID: Int32(client.index + 1)), user: nil, peer: nil,
            settings: [], isUnusable: false, pending: [], now: now)
        deal()
    }

    private func leaves(_ client: ListenClient) {
        note("client \(client.index) leaves")
        client.hasLeft = true
    }

    private mutating func receive(from client: ListenClient) {
        switch engine.reading(of: client.id) {
        case .now:
            if client.hasLeft {
                engine.clientInputEnded(client.id, now: now)
            } else {
                take(&client.outbox).withUnsafeBytes {
                    engine.clientBytes(client.id, $0, now: now)
                }
            }
        case .atItsEnd: engine.clientInputEnded(client.id, now: now)
        case .later, .forTheShell:
            if client.hasLeft { engine.close(client.id, because: "it is gone", now: now) }
        }
        deal()
    }

    private mutating func receive(from id: ServerID, _ socket: ListenWorld.Server) {
        guard case .now = engine.reading(of: id) else { return }
        let bytes = take(&socket.backend.output)
        if !bytes.isEmpty {
            note("server \(id) -> \(RelayTranscript.ofServer(bytes))")
            bytes.withUnsafeBytes { engine.serverBytes(id, $0, now: now) }
        } else if socket.backend.isDead, socket.backend.output.isEmpty {
            engine.serverClosed(id, "the server closed the connection", now: now)
        }
        deal()
    }

    private mutating func work(_ socket: ListenWorld.Server, _ id: ServerID) {
        var holder: ListenClient?
        if engine.servers.contains(id), let client = engine.servers[id].client {
            holder = world.clients[client]
        }
        holders.ofProcess[socket.backend.process] = holder
        let input = socket.backend.input
        let place = cluster.log.count
        guard socket.backend.step() else { return }
        note(
            "server \(id) at \(place) runs \(RelayTranscript.ofClient(Array(input.prefix(input.count - socket.backend.input.count))))"
        )
    }

    // MARK: Clients

    private mutating func send(_ client: ListenClient) {
        var bytes: [UInt8] = []
        var texts: [String] = []
        if isWinding {
            texts = ["ROLLBACK"]
            append(texts[0], client, to: &bytes)
        } else if client.isInDoubt {
            texts = [client.status == .idle ? "UNLISTEN *" : "ROLLBACK"]
            client.clearsDoubt = client.status == .idle
            append(texts[0], client, to: &bytes)
        } else {
            for _ in 0..<(chance(80) ? 1 : 3) {
                let text = statement(for: client)
                texts.append(text)
                append(text, client, to: &bytes)
            }
        }
        note("client \(client.index): \(texts.joined(separator: " | "))")
        client.sent = texts.joined(separator: " | ")
        client.outbox += bytes
    }

    private mutating func append(_ text: String, _ client: ListenClient, to bytes: inout [UInt8]) {
        client.awaits.append(cluster.log.count)
        guard chance(40), !text.contains(";") else {
            bytes.appendQuery(text)
            return
        }
        let name = chance(50) ? "" : "s\(payloads)"
        payloads += 1
        bytes.appendParse(name: name, query: text)
        bytes.appendBind(statement: name)
        bytes.appendExecute()
        if !name.isEmpty, chance(60) { bytes.appendCloseStatement(name: name) }
        bytes.appendSync()
    }

    private mutating func statement(for client: ListenClient) -> String {
        let channel = ["a", "b", "c"].randomElement(using: &random)!
        payloads += 1
        let notify = "NOTIFY \(channel), p\(payloads)"
        if client.status == .idle {
            switch Int.random(in: 0..<12, using: &random) {
            case 0, 1: return "LISTEN \(channel)"
            case 2: return "UNLISTEN \(chance(30) ? "*" : channel)"
            case 3, 4: return "BEGIN"
            case 5: return "LISTEN \(channel);\(notify)"
            case 6: return "LISTEN \(channel);FAIL"
            case 7: return "BEGIN;LISTEN \(channel);COMMIT;\(notify)"
            case 8: return chance(40) ? "DISCARD ALL" : "SELECT one"
            case 9: return "SELECT one from somewhere where it is"
            default: return notify
            }
        }
        switch Int.random(in: 0..<12, using: &random) {
        case 0, 1: return "LISTEN \(channel)"
        case 2: return "UNLISTEN \(chance(30) ? "*" : channel)"
        case 3: return "SAVEPOINT s\(Int.random(in: 0...1, using: &random))"
        case 4: return "ROLLBACK TO s\(Int.random(in: 0...1, using: &random))"
        case 5: return "RELEASE s\(Int.random(in: 0...1, using: &random))"
        case 6: return chance(30) ? "FAIL" : "SELECT one"
        case 7: return "ROLLBACK"
        case 8, 9: return "COMMIT"
        case 10: return "LISTEN \(channel);COMMIT;\(notify)"
        default: return notify
        }
    }

    private mutating func read(_ client: ListenClient) {
        while client.inbox.count >= MessageHeader.size, violation == nil {
            let header = client.inbox.withUnsafeBytes { MessageHeader($0, at: 0) }
            let end = MessageHeader.size + header.bodyLength
            guard client.inbox.count >= end else { return }
            let message = Array(client.inbox[..<end])
            client.inbox.removeFirst(end)
            note("client \(client.index) <- \(RelayTranscript.ofServer(message))")
            let body = Array(message[MessageHeader.size...])
            heard(client, BackendKind(rawValue: header.kind), body)
        }
    }

    private mutating func heard(_ client: ListenClient, _ kind: BackendKind, _ body: [UInt8]) {
        switch kind {
        case .notificationResponse:
            let (process, channel, payload) = body.withUnsafeBytes { body in
                let message = NotificationMessage(body: body)!
                let words = message.words.split(separator: 0, omittingEmptySubsequences: false)
                return (
                    message.processID, String(decoding: words[0], as: UTF8.self),
                    String(decoding: words[1], as: UTF8.self)
                )
            }
            if let wrong = client.receive(
                process, channel, payload, cluster.log, mayMissItsOwn: hasTroubles)
            {
                violation = "client \(client.index): \(wrong)"
            }
        case .noticeResponse:
            let fields = body.withUnsafeBytes { ErrorFields(body: $0) }
            if fields?.sqlState == .warning {
                if !hasTroubles { violation = "a warning without a reason" }
                client.forgivenUpTo = cluster.log.count
            }
        case .errorResponse:
            let fields = body.withUnsafeBytes { ErrorFields(body: $0) }
            if let state = fields?.sqlState, state.rawValue.hasPrefix("08") { client.doubt() }
        case .readyForQuery:
            guard let sent = client.awaits.first else {
                violation = "client \(client.index) is ready when it asked for nothing"
                return
            }
            client.awaits.removeFirst()
            client.status = TransactionStatus(rawValue: body[0])!
            guard client.status == .idle else { return }
            if !hasTroubles, let place = client.missing(before: sent, in: cluster.log) {
                violation =
                    "client \(client.index) was not told of \(cluster.log[place]), committed before \(client.sent)"
            }
            if client.isInDoubt, client.awaits.isEmpty, client.clearsDoubt {
                client.isInDoubt = false
                client.forgivenUpTo = cluster.log.count
                client.intervals = []
            }
            client.seen = sent
        default: break
        }
    }

    // MARK: The end

    private mutating func windUp() {
        isWinding = true
        settle("the end of what was begun") { run in
            run.clients.allSatisfy {
                $0.isGone || $0.hasLeft || ($0.awaits.isEmpty && $0.inbox.isEmpty)
            } && run.choices().isEmpty && !run.engine.hasResumable
        }
        for client in clients where !client.isGone && !client.hasLeft && violation == nil {
            note("client \(client.index) ends")
            client.sent = "the end"
            client.awaits.append(cluster.log.count)
            client.outbox.appendQuery("SELECT one")
        }
        settle("the last answers") { run in
            run.clients.allSatisfy { $0.isGone || $0.hasLeft || $0.awaits.isEmpty }
        }
        settle("what waits to be told") { $0.choices().isEmpty && !$0.engine.hasResumable }
        for client in clients where !client.isGone && !client.hasLeft && violation == nil {
            if let place = client.missing(before: cluster.log.count, in: cluster.log) {
                violation =
                    "client \(client.index) was never told of \(cluster.log[place]), nor that it may have missed it"
            }
        }
        for client in clients where !client.isGone { leaves(client) }
        settle("everyone's leave") { $0.engine.clients.count == 0 }
        for id in world.servers.keys where violation == nil && engine.listeners(on: id) != nil {
            settle("the end of listening") { $0.engine.listeners(on: id) == nil }
        }
        settle("clean connections") { $0.choices().isEmpty }
        for socket in world.servers.values where !socket.backend.listening.isEmpty {
            violation = violation ?? "a connection listens, and nobody does"
        }
        for pool in pools where violation == nil {
            engine.order(.poolClosed(pool), now: now)
            deal()
        }
        settle("closed connections") { $0.engine.servers.count == 0 }
    }

    private var stuck: String {
        var words: [String] = []
        for client in clients where !client.isGone && engine.clients.contains(client.id) {
            words.append(
                "client \(client.index) awaits \(client.awaits.count), pending"
                    + " \(RelayTranscript.ofClient(engine.clients[client.id].pending)), outbox"
                    + " \(RelayTranscript.ofClient(client.outbox)), waiting"
                    + " \(engine.clients[client.id].isWaiting), server"
                    + " \(engine.clients[client.id].server.map { "\($0)" } ?? "none"), listening"
                    + " \(engine.listeningState(of: client.id))")
        }
        return words.joined(separator: "; ")
    }

    private mutating func settle(
        _ what: String, until isDone: (borrowing ListenRun) -> Bool
    ) {
        var left = 20_000
        while violation == nil, !isDone(self) {
            step()
            left -= 1
            if left == 0 { violation = "it does not come to \(what): \(stuck)" }
        }
    }
}
