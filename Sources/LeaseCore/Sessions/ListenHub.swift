// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The hubs: their leases, their rounds, and what they are told.
extension Engine {
    /// The hub of this pool, made for the first client that listens.
    mutating func hub(of pool: PoolSlot) -> PoolHub {
        if let hub = pools[pool].hub { return hub }
        let hub = PoolHub(pool: pool, identity: freeClients.take())
        pools[pool].hub = hub
        listeners.hubs[hub.identity] = pool
        return hub
    }

    /// Why no connection of this pool may listen beside those that its transactions need; nil: one may, or does.
    func reasonNotToListen(in pool: PoolSlot) -> PgError? {
        if case .listening? = pools[pool].hub?.phase { return nil }
        let bounds = scheduler.bounds(of: pools[pool].id)
        if bounds.size < 2 {
            return ListenErrors.tooFewConnections("pool_size", bounds.size, taken: 0)
        }
        var ofDatabase = 0
        var ofUser = 0
        var all = 0
        for other in listeners.hubs.values where other != pool {
            guard case .listening? = pools[other].hub?.phase else { continue }
            let keys = scheduler.bounds(of: pools[other].id)
            all += 1
            if keys.databaseKey == bounds.databaseKey { ofDatabase += 1 }
            if keys.userKey == bounds.userKey { ofUser += 1 }
        }
        let limits: [(String, Int?, Int)] = [
            ("max_db_connections", bounds.database, ofDatabase),
            ("max_user_connections", bounds.user, ofUser),
            ("max_server_connections", bounds.broker, all),
        ]
        for (setting, limit, taken) in limits {
            if let limit, limit < taken + 2 {
                return ListenErrors.tooFewConnections(setting, limit, taken: taken)
            }
        }
        return nil
    }

    // MARK: The lease

    /// A client waits for the hub's next round.
    mutating func wish(_ wish: PoolHub.Wish, _ client: ClientID, _ hub: PoolHub) {
        hub.next.append((client, wish))
        drive(hub)
    }

    /// Does what is to be done next: ask for a connection, send a round, or let go.
    mutating func drive(_ hub: PoolHub) {
        let isWanted = !hub.table.isUnwanted || !hub.next.isEmpty
        if hub.server == nil, !hub.isStopped {
            chooseFounder(hub)
            if hub.founder != nil { return }
        }
        switch hub.phase {
        case .absent:
            if isWanted, !hub.isStopped { ask(hub) }
        case .asking, .waiting:
            break
        case .listening(let server):
            guard hub.round == nil, !hub.isLeaving else { return }
            if !isWanted || hub.isStopped || hub.mustReconnect {
                leave(hub, server)
            } else if hub.table.hasChanges || !hub.next.isEmpty || !hub.isProven {
                sendRound(hub, server)
            }
        }
    }

    /// One of those that wait with a lease goes on: its connection will listen.
    private mutating func chooseFounder(_ hub: PoolHub) {
        guard hub.founder == nil else { return }
        for (place, waiting) in hub.next.enumerated() {
            guard case .message = waiting.wish, clients.contains(waiting.client),
                let server = clients[waiting.client].server, !servers[server].isDirect,
                let listening = clients[waiting.client].stream.listening,
                case .waiting = listening.gate
            else { continue }
            hub.next.remove(at: place)
            if case .asking = hub.phase { post(.requestWithdrawn(hub.identity)) }
            hub.phase = .absent
            hub.founder = waiting.client
            // What has waited comes before what its server tells itself from now on.
            if !servers[server].stream.passing.isHalfPassed { flush(waiting.client, listening) }
            listening.founding = (
                processID(toldTo: waiting.client), servers[server].facts.backendProcessID
            )
            fulfil(.message, of: waiting.client, refusedBy: nil)
            return
        }
    }

    /// The founder's lease is over: the connection listens to what the client does already, and goes on as the hub's.
    /// False if it cannot.
    mutating func foundHub(_ server: ServerID, of pool: PoolSlot) -> Bool {
        guard let hub = pools[pool].hub, hub.server == nil, !hub.isStopped,
            servers[server].stream.conditionOnReturn != .broken,
            !hub.table.isUnwanted || !hub.next.isEmpty,
            let lease = scheduler.transferLease(
                of: server, to: hub.identity, .hub, group: .ofHubs, now: now, into: &effects)
        else { return false }
        forgetLease(on: servers.address(of: server))
        beginHub(hub, server, lease)
        runEffects()
        return true
    }

    private mutating func ask(_ hub: PoolHub) {
        hub.phase = .asking
        post(
            .leaseRequested(
                LeaseRequest(
                    client: hub.identity, pool: pools[hub.pool].id, group: .ofHubs, owner: .hub,
                    profile: .serverDefault, requiresProfile: false, deadline: .endOfTime,
                    since: now)))
    }

    /// True if the lease is a hub's.
    mutating func hubGranted(_ identity: ClientID, _ server: ServerID, _ lease: LeaseID) -> Bool {
        guard let pool = listeners.hubs[identity], let hub = pools[pool].hub,
            case .asking = hub.phase
        else { return false }
        beginHub(hub, server, lease)
        return true
    }

    private mutating func beginHub(_ hub: PoolHub, _ server: ServerID, _ lease: LeaseID) {
        servers[server].begin(
            ServerSession.HeldLease(id: lease, client: nil, since: now, waited: 0))
        servers[server].isHub = true
        hub.phase = .listening(server)
        hub.isProven = false
        look(at: server, by: now + heartbeat)
        drive(hub)
    }

    mutating func hubRejected(_ identity: ClientID, _ rejection: Rejection) {
        guard let pool = listeners.hubs[identity], let hub = pools[pool].hub,
            case .asking = hub.phase
        else { return }
        hub.phase = .waiting(until: now + pauseBetweenRequests)
        look(atHub: hub, by: now + pauseBetweenRequests)
        let error: PgError
        switch rejection.cause {
        case .connectFailed(let failure): error = ListenErrors.unreachable(failure.error)
        case .poolClosed: error = ListenErrors.poolClosed
        case .deadline, .queueFull, .poolPaused, .poolLock: error = ListenErrors.notInTime(.zero)
        }
        fulfilAll(exchange(&hub.next, with: []), refusedBy: error)
        if hub.table.isUnwanted { hub.phase = .absent }
    }

    private mutating func fulfilAll(
        _ wishes: [(client: ClientID, wish: PoolHub.Wish)], refusedBy error: PgError?
    ) {
        for (client, wish) in wishes { fulfil(wish, of: client, refusedBy: error) }
    }

    private mutating func look(atHub hub: PoolHub, by deadline: Instant) {
        looks.set(SessionToken(hub.identity).token, at: deadline)
    }

    // MARK: Rounds

    private mutating func sendRound(_ hub: PoolHub, _ server: ServerID) {
        var text: [UInt8] = []
        if !hub.isProven {
            text += Array(Self.firstText.utf8)
        }
        let changes = hub.table.takeChanges()
        if !changes.isEmpty, !text.isEmpty { text.append(UInt8(ascii: ";")) }
        text += changes
        hub.round = PoolHub.Round(wishes: exchange(&hub.next, with: []), sentAt: now)
        send(text, of: hub, to: server)
    }

    /// What an earlier client left on the connection is none of the hub's, but for what it listens to.
    private static let firstText =
        "CLOSE ALL;RESET SESSION AUTHORIZATION;RESET ALL;DEALLOCATE ALL;SELECT pg_catalog.pg_advisory_unlock_all();"
        + "DISCARD TEMP;SET statement_timeout TO 0;SET application_name TO 'pglease LISTEN'"

    private mutating func send(_ text: [UInt8], of hub: PoolHub, to server: ServerID) {
        var bytes: [UInt8] = []
        bytes.appendMessage(kind: FrontendKind.query.rawValue) {
            $0 += text
            $0.append(0)
        }
        look(at: server, by: now + answerTime)
        if !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
        }
    }

    /// Nobody listens any more, or nobody may.
    private mutating func leave(_ hub: PoolHub, _ server: ServerID) {
        hub.isLeaving = true
        hub.round = PoolHub.Round(sentAt: now)
        if !hub.table.isUnwanted, hub.deafSince == nil { hub.deafSince = now }
        keepWishes(exchange(&hub.next, with: []), hub)
        send(Array("UNLISTEN *".utf8), of: hub, to: server)
    }

    private mutating func roundAnswered(_ hub: PoolHub, _ server: ServerID) {
        guard let round = hub.round else {
            serverEnded(server, "the server was ready when nothing was asked")
            return
        }
        hub.round = nil
        let error = exchange(&hub.error, with: nil)
        if hub.isLeaving {
            letGo(hub, server)
            return
        }
        if let error {
            // Nothing of it was done. Who waited for a LISTEN is told; the rest is tried again.
            hub.table.forgetAsked()
            fulfilAll(round.wishes, refusedBy: ListenErrors.unreachable(error))
            if !hub.isProven || !hub.table.isUnwanted { startAgain(hub, server) }
            drive(hub)
            return
        }
        hub.answeredRoundAt = round.sentAt
        hub.isProven = true
        if let since = hub.deafSince {
            hub.deafSince = nil
            tellMissed(hub, since)
        }
        fulfilAll(round.wishes, refusedBy: nil)
        drive(hub)
    }

    /// Its connection does not do: after a pause another one is asked for.
    private mutating func startAgain(_ hub: PoolHub, _ server: ServerID) {
        if !hub.table.isUnwanted, hub.deafSince == nil { hub.deafSince = now }
        hub.phase = .waiting(until: now + pauseBetweenRequests)
        look(atHub: hub, by: now + pauseBetweenRequests)
        forget(hub)
        giveBack(server)
    }

    private mutating func giveBack(_ server: ServerID) {
        servers[server].isHub = false
        servers[server].stream.leaveUnknown()
        endLease(server, .dirty)
    }

    private mutating func letGo(_ hub: PoolHub, _ server: ServerID) {
        hub.isLeaving = false
        hub.phase = .absent
        forget(hub)
        giveBack(server)
        drive(hub)
    }

    /// The connection is gone from it.
    private func forget(_ hub: PoolHub) {
        hub.isProven = false
        hub.mustReconnect = false
        hub.error = nil
        hub.isLeaving = false
        hub.table.forgetAsked()
    }

    /// The connection that listened is lost.
    mutating func hubLost(of pool: PoolSlot, _ server: ServerID, _ reason: String) {
        guard let hub = pools[pool].hub, hub.server == server else { return }
        if !hub.table.isUnwanted, hub.deafSince == nil { hub.deafSince = now }
        if !hub.table.isUnwanted {
            notices.append(
                .listeningLost(pools[pool].id, clients: hub.clients.count, reason: reason))
        }
        hub.phase = .absent
        forget(hub)
        let wishes = (hub.round?.wishes ?? []) + hub.next
        hub.round = nil
        hub.next = []
        keepWishes(wishes, hub)
        drive(hub)
    }

    /// Who waits for a LISTEN waits on, for the next connection; who waits for what was notified has nothing to wait
    /// for.
    private mutating func keepWishes(
        _ wishes: [(client: ClientID, wish: PoolHub.Wish)], _ hub: PoolHub
    ) {
        for (client, wish) in wishes {
            switch wish {
            case .message, .found: hub.next.append((client, wish))
            case .lease, .ready: fulfil(wish, of: client, refusedBy: nil)
            }
        }
    }

    // MARK: What it hears

    mutating func hubBytes(_ server: ServerID, _ bytes: UnsafeRawBufferPointer) {
        guard let hub = pools[servers[server].pool].hub, hub.server == server else {
            preconditionFailure("a connection listens for nobody")
        }
        var offset = 0
        while bytes.count - offset >= MessageHeader.size {
            let header = MessageHeader(bytes, at: offset)
            guard header.bodyLength >= 0, header.bodyLength <= longestMessage else {
                serverEnded(server, "the server sent a message of impossible length")
                return
            }
            let end = offset + MessageHeader.size + header.bodyLength
            if end > bytes.count { break }
            let body = UnsafeRawBufferPointer(
                rebasing: bytes[(offset + MessageHeader.size)..<end])
            offset = end
            hubMessage(BackendKind(rawValue: header.kind), body, hub, server)
            // It may be lost, or let go: what is behind that says nothing.
            guard hub.server == server, servers.contains(server), servers[server].isHub else {
                return
            }
        }
        keepRest(of: bytes, from: offset, server)
    }

    private var longestMessage: Int { 1 << 20 }

    private mutating func hubMessage(
        _ kind: BackendKind, _ body: UnsafeRawBufferPointer, _ hub: PoolHub, _ server: ServerID
    ) {
        switch kind {
        case .notificationResponse:
            guard let message = NotificationMessage(body: body) else {
                serverEnded(server, "the server sent a notification that cannot be read")
                return
            }
            hubHeard(message, hub)
        case .readyForQuery:
            roundAnswered(hub, server)
        case .errorResponse:
            guard let fields = ErrorFields(body: body) else {
                serverEnded(server, "the server sent an error that cannot be read")
                return
            }
            if fields.severity == .fatal || fields.severity == .panic {
                servers[server].fatal = fields.pgError
                serverEnded(server, "the server ended the connection")
            } else {
                hub.error = fields.pgError
            }
        case .parameterStatus:
            guard let parameter = ParameterStatusBody(body: body) else { return }
            noteRole(parameter.name, parameter.value, of: server)
            changeParameters(of: server, [(parameter.name, parameter.value)])
        case .noticeResponse, .commandComplete, .emptyQueryResponse, .rowDescription, .dataRow:
            break
        default:
            serverEnded(
                server,
                "the server sent a message of type \(kind.rawValue) that nothing had asked for")
        }
    }

    /// Passes a notification on to everyone that wants it.
    private mutating func hubHeard(_ message: NotificationMessage, _ hub: PoolHub) {
        guard let number = hub.table.number(of: message.channel) else { return }
        let owner = listeners.owner(
            ofProcess: message.processID, at: pools[hub.pool].terms.serverKey)
        let process = owner.map { processID(toldTo: $0) } ?? message.processID
        var bytes: [UInt8] = []
        bytes.appendNotification(processID: process, words: message.words)
        for client in hub.table.clients(of: number) {
            if owner == nil, process == processID(toldTo: client) {
                // A backend that has the client's number by chance: it is not the client itself.
                var others: [UInt8] = []
                others.appendNotification(processID: 0, words: message.words)
                tell(client, others, of: number)
            } else {
                tell(client, bytes, of: number)
            }
        }
    }

    /// What a client of a transaction pool is told as its backend's process.
    ///
    /// Among peers it has the peer's number where pgbouncer's cancel keys have it: in the second byte its lower
    /// half, in the third its upper one.
    package func processID(toldTo client: ClientID) -> Int32 {
        Self.processID(toldTo: client, of: settings.peerID)
    }

    package static func processID(toldTo client: ClientID, of peer: UInt16 = 0) -> Int32 {
        let number = client.slot &+ 1
        let peer = UInt32(peer)
        if peer == 0 { return Int32(bitPattern: number) }
        return Int32(
            bitPattern: (number >> 8 & 0x7f) << 24 | (peer & 0xff) << 16 | (peer >> 8) << 8
                | (number & 0xff))
    }

    private mutating func tellMissed(_ hub: PoolHub, _ since: Instant) {
        let time = now - since
        let clients = hub.clients
        notices.append(
            .listeningAgain(pools[hub.pool].id, clients: clients.count, deaf: time))
        tellAll(clients, ListenErrors.missed(time))
    }

    private mutating func tellAll(_ clients: Set<ClientID>, _ warning: PgError) {
        var bytes: [UInt8] = []
        bytes.appendNoticeResponse(warning)
        for client in clients where self.clients[client].stream.listening?.isListening == true {
            tell(client, bytes, of: nil)
        }
    }

    // MARK: Time and operators

    /// How long a round may take: one that listens to very many channels again takes PostgreSQL seconds.
    private var answerTime: Duration { .seconds(60) }
    /// How often an idle hub is asked whether it is still there.
    private var heartbeat: Duration { .seconds(30) }
    private var pauseBetweenRequests: Duration { .seconds(1) }

    mutating func lookAtHub(on server: ServerID) {
        guard let hub = pools[servers[server].pool].hub, hub.server == server else { return }
        if let round = hub.round {
            if isDue(round.sentAt + answerTime, server) {
                serverEnded(server, "the server did not answer LISTEN in time")
            }
        } else if isDue(hub.answeredRoundAt + heartbeat, server) {
            look(at: server, by: now + heartbeat)
            sendRound(hub, server)
        }
    }

    mutating func lookAtHub(_ slot: Int) {
        for (identity, pool) in listeners.hubs where Int(identity.slot) == slot {
            guard let hub = pools[pool].hub, case .waiting(let until) = hub.phase else { return }
            if until > now {
                look(atHub: hub, by: until)
                return
            }
            hub.phase = .absent
            drive(hub)
            return
        }
    }

    /// What operators and the configuration want of a pool's connections holds for the one that listens.
    mutating func noteForHub(_ event: SchedulerEvent) {
        switch event {
        case .poolPauseRequested(let pool): stopHub(of: pool)
        case .poolClosed(let pool):
            stopHub(of: pool)
            if let slot = pools.slot(of: pool), let hub = pools[slot].hub {
                fulfilAll(exchange(&hub.next, with: []), refusedBy: ListenErrors.poolClosed)
            }
        case .poolResumed(let pool):
            guard let slot = pools.slot(of: pool), let hub = pools[slot].hub else { return }
            hub.isStopped = false
            drive(hub)
        case .poolReconnectRequested(let pool):
            if let slot = pools.slot(of: pool) { moveHub(of: slot) }
        default: break
        }
    }

    /// Its connection is to be another one.
    mutating func moveHub(of pool: PoolSlot) {
        guard let hub = pools[pool].hub, hub.server != nil else { return }
        hub.mustReconnect = true
        drive(hub)
    }

    private mutating func stopHub(of pool: PoolID) {
        guard let slot = pools.slot(of: pool), let hub = pools[slot].hub else { return }
        hub.isStopped = true
        if case .asking = hub.phase {
            hub.phase = .absent
            post(.requestWithdrawn(hub.identity))
        }
        drive(hub)
    }

    /// The pool is another size: it may have no connection to spare any more.
    mutating func reviewHub(of pool: PoolSlot) {
        guard let hub = pools[pool].hub, case .listening = hub.phase,
            scheduler.bounds(of: pools[pool].id).size < 2
        else { return }
        tellAll(
            hub.clients,
            ListenErrors.stopped(ListenErrors.tooFewConnections("pool_size", 1, taken: 0)))
        stopHub(of: pools[pool].id)
    }

    mutating func forgetHub(of pool: PoolID) {
        guard let slot = pools.slot(of: pool), let hub = pools[slot].hub else { return }
        pools[slot].hub = nil
        listeners.hubs[hub.identity] = nil
        looks.remove(SessionToken(hub.identity).token)
        freeClients.giveBack(hub.identity)
    }

    /// How many clients the connection listens for; nil: it does not.
    package func listeners(on server: ServerID) -> Int? {
        guard servers.contains(server), servers[server].isHub else { return nil }
        return pools[servers[server].pool].hub?.clients.count
    }
}
