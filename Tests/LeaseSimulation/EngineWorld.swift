// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The engine's outside: fake sockets, of which each takes and gives as much at once as chance will have it.
///
/// Never calls the engine. Who does is `EngineRun`.
final class EngineWorld: World {
    var clients: [ClientID: ClientSocket] = [:]
    var servers: [ServerID: ServerSocket] = [:]
    var random: SeededGenerator
    /// Some write takes less than there is.
    let takesLess: Bool
    let directLeases: Bool
    /// A clock that all sockets share.
    var now = Instant.zero
    /// Set by whoever notices a broken promise.
    var violation: String?
    /// What others do between a step of the broker's on a page and its next.
    var meanwhile: (() -> Void)?
    /// Told what the engine sends to servers.
    var trace: ((String) -> Void)?

    init(seed: UInt64, takesLess: Bool, directLeases: Bool) {
        random = SeededGenerator(seed: seed ^ 0x5DEE_CE66)
        self.takesLess = takesLess
        self.directLeases = directLeases
    }

    func write(_ bytes: UnsafeRawBufferPointer, to client: ClientID) -> WriteOutcome {
        guard let socket = clients[client] else { return .gone }
        if socket.isClosedByBroker {
            violation = "bytes for client \(client), whose socket is closed"
        }
        if socket.isClosed { return .gone }
        let count = taken(of: bytes.count, room: socket.room(at: now))
        socket.inbox += bytes.prefix(count)
        return .taken(count)
    }

    func write(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> WriteOutcome {
        guard let socket = servers[server] else { return .gone }
        if socket.isClosedByBroker {
            violation = "bytes for server \(server), whose socket is closed"
        }
        if socket.descriptorOf != nil {
            violation = "bytes for server \(server), which a client has"
        }
        if socket.isEnded { return .gone }
        // An empty socket takes something.
        let isEmpty = socket.wire.isEmpty && socket.backend.input.isEmpty
        let count = max(
            taken(of: bytes.count, room: socket.room(at: now)),
            isEmpty ? min(1, socket.room(at: now)) : 0)
        socket.wire += bytes.prefix(count)
        socket.takenInLease += count
        if let trace {
            trace("to server \(server), \(count) of: \(RelayTranscript.ofClient(Array(bytes)))")
        }
        return .taken(count)
    }

    private func taken(of count: Int, room: Int) -> Int {
        let most = min(count, room)
        guard takesLess, most > 0, Int.random(in: 0..<100, using: &random) < 12 else { return most }
        return Int.random(in: 0...most, using: &random)
    }

    func watch(_ client: ClientID, for interest: ClientInterest) {
        clients[client]?.interest = interest
    }

    func watch(_ server: ServerID, for interest: ServerInterest) {
        servers[server]?.interest = interest
    }

    func isHungUp(_ client: ClientID) -> Bool { clients[client]?.isClosed ?? true }

    func handOut(
        _ server: ServerID, to client: ClientID, _ bytes: UnsafeRawBufferPointer, parking: Bool
    ) -> Int? {
        guard let target = servers[server], let socket = clients[client], !socket.isClosed else {
            return nil
        }
        let count = taken(of: bytes.count, room: socket.room(at: now))
        guard count > 0 else { return nil }
        if target.descriptorOf != nil { violation = "server \(server) is handed out twice" }
        socket.inbox += bytes.prefix(count)
        socket.isParkable = parking
        socket.descriptor = target
        target.descriptorOf = client
        return count
    }

    func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect? {
        directLeases ? nil : .switchedOff
    }

    func allowParking(_ client: ClientID, thread: String?, purpose: String?) -> Bool {
        guard let socket = clients[client] else { return false }
        socket.isBellRung = false
        socket.isTokenIn = false
        socket.saysMayPark = true
        return true
    }

    func forbidParking(_ client: ClientID, watching: Bool) {
        clients[client]?.saysMayPark = false
        clients[client]?.isBellWatched = watching
        meanwhile?()
    }

    func takeToken(of client: ClientID) -> Bool {
        guard let socket = clients[client], socket.isTokenIn else { return false }
        let wasAllowed = socket.saysMayPark
        meanwhile?()
        socket.saysMayPark = false
        meanwhile?()
        guard socket.isTokenIn else {
            socket.saysMayPark = wasAllowed
            return false
        }
        for server in servers.values where server.descriptorOf == client {
            server.descriptorOf = nil
        }
        return true
    }

    func isTokenIn(of client: ClientID) -> Bool { clients[client]?.isTokenIn ?? false }

    func useOnPage(of client: ClientID) -> (thread: String?, purpose: String?) { (nil, nil) }

    func shutDown(_ server: ServerID, isShared: Bool) {
        servers[server]?.isShutDown = true
        servers[server]?.descriptorOf = nil
    }

    func randomNumber() -> UInt64 { random.next() }
}

/// A client's connection to the broker.
final class ClientSocket {
    /// Sent, and not read by the broker.
    var outbox: [UInt8] = []
    /// Written by the broker, and not read by the client.
    var inbox: [UInt8] = []
    var interest = ClientInterest(rawValue: 0)
    /// The client writes nothing more.
    var hasEndedWriting = false
    /// The client has closed it; `isReset`: the broker is told so by an error.
    var isClosed = false
    var isReset = false
    var isClosedByBroker = false
    /// Takes nothing until then.
    var stalledUntil = Instant.zero
    /// So many bytes may be on their way.
    let capacity: Int
    /// The server that the client was handed.
    var descriptor: ServerSocket?
    /// What it was handed it may park: its token, and the broker's word.
    var isParkable = false
    var isTokenIn = false
    var saysMayPark = false
    /// The engine is told when the client rings.
    var isBellWatched = false
    var isBellRung = false

    init(capacity: Int) { self.capacity = capacity }

    func room(at now: Instant) -> Int { now < stalledUntil ? 0 : max(0, capacity - inbox.count) }
}

/// A connection to a server, and the backend at its other end.
final class ServerSocket {
    let id: ServerID
    let pool: PoolID
    /// What it was opened with.
    let zone: String
    var backend: RelayBackend
    /// On its way to the backend.
    var wire: [UInt8] = []
    var interest = ServerInterest(rawValue: 0)
    var isConnected = false
    var isClosedByBroker = false
    /// Nothing passes any more, in neither direction.
    var isShutDown = false
    /// The backend does nothing until then.
    var hangsUntil = Instant.zero
    var stalledUntil = Instant.zero
    /// That it died is seen by reading from then on; by writing at once.
    var endSeenFrom = Instant.zero
    let capacity: Int
    /// Who has the descriptor.
    var descriptorOf: ClientID?
    /// The process that has had it: nobody else may be given the connection.
    var confinedTo: PeerID?

    // What the checks know of it.
    /// The lease that was seen last, and the client (of the run) that held it.
    var lease: LeaseID?
    var holder: Int?
    /// Bytes in `wire` before the engine was called.
    var sentBefore = 0
    /// Bytes that it took in this lease.
    var takenInLease = 0
    /// It hung, or time was lost, since it was granted: it need not have answered in time.
    var isLate = false
    /// Half a message was left on it, in either direction: nobody can say what comes of that.
    var isTorn = false
    /// A cancel came while it ran something.
    var wasCancelled = false
    /// It was killed, or said what nobody asked for: the engine may give it up.
    var isFaulty = false

    init(id: ServerID, pool: PoolID, zone: String, capacity: Int) {
        self.id = id
        self.pool = pool
        self.zone = zone
        self.capacity = capacity
        backend = RelayBackend(zone: zone)
    }

    func room(at now: Instant) -> Int { now < stalledUntil ? 0 : max(0, capacity - wire.count) }

    /// The other end is gone: writing fails, and reading comes to an end.
    var isEnded: Bool { backend.isDead || isShutDown }
}
