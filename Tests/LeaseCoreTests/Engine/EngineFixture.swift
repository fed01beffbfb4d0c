// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// The engine in a world whose sockets take everything, and a shell that does at once what it is told to do: servers
/// connect, clients are let in, what is closed is gone. What is asked of PostgreSQL besides is kept for the test.
final class EngineFixture {
    final class QuietWorld: World {
        var toServers: [ServerID: [UInt8]] = [:]
        var toClients: [ClientID: [UInt8]] = [:]
        var serverInterest: [ServerID: ServerInterest] = [:]
        var clientInterest: [ClientID: ClientInterest] = [:]
        var shutDowns: [ServerID] = []

        func write(_ bytes: UnsafeRawBufferPointer, to client: ClientID) -> WriteOutcome {
            toClients[client, default: []] += bytes
            return .taken(bytes.count)
        }
        func write(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> WriteOutcome {
            toServers[server, default: []] += bytes
            return .taken(bytes.count)
        }
        func watch(_ client: ClientID, for interest: ClientInterest) {
            clientInterest[client] = interest
        }
        func watch(_ server: ServerID, for interest: ServerInterest) {
            serverInterest[server] = interest
        }
        func isHungUp(_ client: ClientID) -> Bool { true }
        func handOut(
            _ server: ServerID, to client: ClientID, _ bytes: UnsafeRawBufferPointer, parking: Bool
        ) -> Int? { nil }
        func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect? { .switchedOff }
        func shutDown(_ server: ServerID, isShared: Bool) { shutDowns.append(server) }
        func randomNumber() -> UInt64 { 4 }
    }

    let world = QuietWorld()
    private let held: Cell<Engine>
    var engine: Engine {
        _read { yield held.value }
        _modify { yield &held.value }
    }
    var now = Instant(nanoseconds: 1_000_000_000)
    private let group = GroupID(1)
    private let times = GroupTimes(group: "all")
    private let parameters = ParameterSet([("server_version", "17.0")])
    /// Cancels that are on their way, in their order.
    var cancels: [ServerID] = []
    var forgotten: [ServerID] = []
    /// Those that were closed, and whether they were to be told goodbye.
    var closed: [ServerID: Bool] = [:]

    /// Those that may not pin their lease, and why.
    var refused: [(client: ClientID, refusal: PlaceRefusal)] = []
    /// Those that were told that they wait to pin theirs, at which place.
    var told: [(client: ClientID, place: Int)] = []

    init() {
        held = Cell(
            Engine(
                world: world, settings: EngineSettings(), policy: BrokerPolicy(), seed: 1, now: now)
        )
        engine.order(.groupOpened(group, GroupPolicy()), now: now)
    }

    var cancelsWaiting: [PoolID: Int] { engine.cancelsWaiting }
    func awaitsCancel(_ server: ServerID) -> Bool { engine.awaitsCancel(server) }
    func isKnown(_ server: ServerID) -> Bool { engine.servers.contains(server) }
    func isKnown(_ pool: PoolID) -> Bool { engine.pools.slot(of: pool) != nil }

    func isKnown(_ client: ClientID) -> Bool { engine.clients.contains(client) }
    func server(of client: ClientID) -> ServerID? { engine.clients[client].server }
    func isWaiting(_ client: ClientID) -> Bool { engine.clients[client].isWaiting }
    func pending(of client: ClientID) -> Int { engine.clients[client].pending.count }
    func querySince(_ server: ServerID) -> Instant? { engine.servers[server].clock?.querySince }
    func isOwing(_ server: ServerID) -> Bool { engine.servers[server].stream.isOwing }
    func pinReasons(of server: ServerID) -> PinReasons? { engine.servers[server].pin?.reasons }
    func activity(of server: ServerID) -> String { engine.servers[server].activity }
    func waitersToPin(in pool: PoolID) -> [ClientID] { engine.pinWaiters(of: pool).map(\.client) }
    var places: Int { engine.pins.places.count }

    /// A pool of the one PostgreSQL.
    func openPool(
        _ number: UInt32, size: Int = 4, maxPins: Int? = nil, limits: LeaseLimits = LeaseLimits(),
        sessionState: SessionStatePolicy? = nil, pooling: RelayMode.Pooling = .transaction
    ) -> PoolID {
        let mode = RelayMode(
            pooling: pooling, maxPreparedStatements: 0, maxMessageSize: 1 << 20)
        var terms = PoolTerms(
            database: "database \(number)", mode: mode, limits: limits, connectQuery: nil,
            serverKey: 1, maxPins: maxPins)
        terms.sessionState = sessionState
        let pool = PoolID(number)
        engine.openPool(pool, terms, PoolPolicy(size: size), startup: nil, now: now)
        settle()
        return pool
    }

    /// A client that is let in, and whose query runs.
    func busyClient(of pool: PoolID) -> (client: ClientID, server: ServerID) {
        let client = self.client(of: pool)
        send(query, from: client)
        guard let server = engine.clients[client].server else {
            fatalError("a pool with room gives no server")
        }
        return (client, server)
    }

    func client(of pool: PoolID, settings: [ProfileEntry] = []) -> ClientID {
        guard let slot = engine.pools.slot(of: pool) else { fatalError("the pool is not open") }
        let client = engine.accept(isUnix: true, loginDeadline: nil, now: now)
        engine.admit(
            client, to: slot, group: group, times: times, owner: OwnerKey(processID: 1), user: nil,
            peer: nil, settings: settings, isUnusable: false, pending: [], now: now)
        settle()
        return client
    }

    let query: [UInt8] = {
        var bytes: [UInt8] = []
        bytes.appendQuery("SELECT pg_sleep(60)")
        return bytes
    }()

    func send(_ bytes: [UInt8], from client: ClientID) {
        bytes.withUnsafeBytes { engine.clientBytes(client, $0, now: now) }
        settle()
    }

    /// The server says this.
    func answer(_ bytes: [UInt8], from server: ServerID) {
        bytes.withUnsafeBytes { engine.serverBytes(server, $0, now: now) }
        settle()
    }

    func wait(_ time: Duration) {
        now = now + time
        engine.timeReached(now)
        settle()
    }

    /// What the shell does before it waits.
    func settle() {
        repeat {
            engine.resumeClients(now: now)
            for notice in engine.takeNotices() { deal(with: notice) }
        } while engine.hasResumable || !engine.notices.isEmpty
    }

    private func deal(with notice: EngineNotice) {
        switch notice {
        case .openServer(let id, _, _):
            engine.serverConnected(id, process: 1, parameters: parameters, now: now)
        case .mayBeServed(let client):
            engine.serve(client, told: parameters, startupValues: nil, greeting: [], now: now)
        case .closeServer(let id, _, let isClean, _):
            closed[id] = isClean
            if !engine.isLingering(id) { engine.serverGone(id, now: now) }
        case .serverForgotten(let id): forgotten.append(id)
        case .sendCancel(let id): cancels.append(id)
        case .clientClosed(let client, _): engine.forget(client)
        case .placeRefused(let client, let refusal): refused.append((client, refusal))
        case .placeAwaited(let client, _, let place, _): told.append((client, place))
        default: break
        }
    }
}
