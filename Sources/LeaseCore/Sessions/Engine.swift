// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Everything that decides: who gets which connection, what passes, how a lease begins and ends, what is cleaned,
/// when time is up. Pure: it is told what happened and when, and reaches the outside by its `World`.
///
/// The shell calls it (bytes came, a socket has room or ended, a connect is through, time has come), and afterwards
/// takes its notices: what is to be logged, counted or done outside by and by. A world's method never calls it.
///
/// Invariants: `servers[s].client == c` exactly if `clients[c].server == s`; a client that waits has no server; a
/// server has a lease exactly as long as the scheduler says so.
package struct Engine: ~Copyable {
    package let world: any World
    package internal(set) var now: Instant
    package internal(set) var settings: EngineSettings
    package var scheduler: Scheduler
    var effects: [SchedulerEffect] = []
    var isRunningEffects = false
    package internal(set) var clients = SessionTable<ClientID, ClientSession>()
    package internal(set) var servers = SessionTable<ServerID, ServerSession>()
    package internal(set) var pools = PoolRecords()
    package var statements = StatementTable()
    package var profiles = ProfileTable()
    var outputs = Outputs()
    /// For the shell, in their order.
    package internal(set) var notices: [EngineNotice] = []
    /// Clients that may go on after what is running.
    var resumable: [ClientID] = []
    var looks = DeadlineHeap()
    var cancels = CancelQueue()
    var freeClients = ClientSlots()
    /// Who may pin how many leases, and who waits for that.
    package internal(set) var pins = PinLedger()
    var listeners = Listeners()
    /// Those who are sent away; nil: nobody has been.
    var departures: Departures?

    /// What a turn of the relay writes, reused from turn to turn.
    struct Outputs: ~Copyable {
        var toServer = RelayOutput()
        var toClient = RelayOutput()
    }

    package init(
        world: any World, settings: EngineSettings, policy: BrokerPolicy, seed: UInt64, now: Instant
    ) {
        self.world = world
        self.settings = settings
        self.now = now
        scheduler = Scheduler(policy: BrokerPolicy(), seed: seed)
        statements.memory.limit = settings.statementMemory
        scheduler.handle(.policyChanged(policy), now: now, into: &effects)
        scheduler.handle(.groupOpened(.ofHubs, GroupPolicy()), now: now, into: &effects)
    }

    // MARK: Time

    /// The next call of `timeReached` that is wanted; nil: only an event can change anything.
    ///
    /// Mutating only so that the compiler does not copy the whole engine to ask it.
    package var nextDeadline: Instant? {
        mutating get { earliestDeadline }
    }

    @inline(__always)
    private var earliestDeadline: Instant? {
        guard let look = looks.first, look < .endOfTime else { return scheduler.nextDeadline }
        guard let other = scheduler.nextDeadline else { return look }
        return min(look, other)
    }

    /// The clock has come to this moment.
    package mutating func timeReached(_ now: Instant) {
        self.now = now
        if let deadline = scheduler.nextDeadline, deadline <= now { post(.deadlineReached) }
        for _ in 0..<Scheduler.deadlinesAtOnce {
            guard let token = looks.popDue(now) else { return }
            look(at: SessionToken(token))
        }
    }

    /// A client or a server is looked at then, if not before.
    @inline(__always)
    mutating func look(at server: ServerID, by deadline: Instant) {
        let held = servers.address(of: server)
        guard deadline < held.pointee.moments.nextLook else { return }
        held.pointee.moments.nextLook = deadline
        looks.set(SessionToken(server).token, at: deadline)
    }

    @inline(__always)
    mutating func look(at client: ClientID, by deadline: Instant) {
        guard deadline < clients[client].moments.nextLook else { return }
        clients[client].moments.nextLook = deadline
        looks.set(SessionToken(client).token, at: deadline)
    }

    private mutating func look(at token: SessionToken) {
        switch token {
        case .client(let slot):
            guard let client = clients.id(at: slot) else {
                lookAtHub(slot)
                return
            }
            clients[client].moments.nextLook = .endOfTime
            look(at: client)
        case .server(let slot):
            guard let server = servers.id(at: slot) else { return }
            servers[server].moments.nextLook = .endOfTime
            look(at: server)
        }
    }

    /// True if the deadline has passed; else the server is looked at then.
    mutating func isDue(_ deadline: Instant?, _ server: ServerID) -> Bool {
        guard let deadline else { return false }
        if deadline <= now { return true }
        look(at: server, by: deadline)
        return false
    }

    mutating func isDue(_ deadline: Instant?, _ client: ClientID) -> Bool {
        guard let deadline else { return false }
        if deadline <= now { return true }
        look(at: client, by: deadline)
        return false
    }

    // MARK: Events and effects

    /// Tells the scheduler, and carries out what it orders. Orders that come while orders are carried out
    /// wait their turn.
    mutating func post(_ event: SchedulerEvent) {
        scheduler.handle(event, now: now, into: &effects)
        runEffects()
    }

    /// A pool, a group, a policy or an operator's wish has changed.
    package mutating func order(_ event: SchedulerEvent, now: Instant) {
        self.now = now
        post(event)
        noteForHub(event)
    }

    mutating func runEffects() {
        guard !isRunningEffects, !effects.isEmpty else { return }
        isRunningEffects = true
        var index = 0
        while index < effects.count {
            let effect = effects[index]
            index += 1
            run(effect)
        }
        effects.removeAll(keepingCapacity: true)
        isRunningEffects = false
    }

    private mutating func run(_ effect: SchedulerEffect) {
        switch effect {
        case .grant(let client, let server, let lease, _): grant(client, server, lease)
        case .openServer(let id, let pool, let profile): openServer(id, pool, profile)
        case .closeServer(let id, let reason): closeServer(id, reason)
        case .validateServer(let id): validate(id)
        case .resetServer(let id): clean(id)
        case .reject(let client, let rejection): reject(client, rejection)
        case .watchLeases(let pool): watchLeases(pool, true)
        case .unwatchLeases(let pool): watchLeases(pool, false)
        case .reclaimParked(let pool): reclaimParked(for: pool)
        case .recallLease(let id): recall(id, .noLongerWanted)
        case .shareWanted, .notifyWaiter, .poolLocked, .reserveLent, .poolRelieved,
            .poolPhaseChanged,
            .connectFailed, .poolStarted, .poolStartFailed, .poolPaused:
            notices.append(.scheduler(effect))
        }
    }

    /// Some client may go on: call `resumeClients` before waiting.
    package var hasResumable: Bool { !resumable.isEmpty }

    /// The same. Mutating for the same reason as `nextDeadline`.
    package mutating func mayResume() -> Bool { !resumable.isEmpty }

    /// What has come up since; the shell deals with it in this order, and `forget`s clients that are closed.
    package mutating func takeNotices() -> [EngineNotice] {
        guard !notices.isEmpty else { return [] }
        let taken = notices
        notices.removeAll(keepingCapacity: true)
        return taken
    }
}

/// What the engine is told of the configuration.
package struct EngineSettings: Equatable, Sendable {
    package enum ClientGone: Equatable, Sendable { case finish, cancel }

    package var clientGone = ClientGone.finish
    package var serverResetQuery: String?
    package var serverCheckQuery: String?
    /// For a check query, which stands for a connect. nil: the time of a reset.
    package var serverConnectTimeout: Duration?
    package var clientWriteTimeout: Duration?
    /// In lower case.
    package var trackedParameters: Set<String> = []
    package var statementMemory = 256 << 20
    package var directLeases = true
    /// How often the broker looks whether a direct lease lies parked; nil: none is.
    package var parkTimeout: Duration?
    package var sessionState = SessionStatePolicy.keep
    package var isolation = LeaseIsolation.tracked
    /// A client is told, once, that its lease is pinned.
    package var pinNotice = true
    /// What the process numbers that clients are told have in them; 0: nothing.
    package var peerID: UInt16 = 0

    package init() {}
}

/// Whose deadline it is.
enum SessionToken {
    case client(Int)
    case server(Int)

    init(_ client: ClientID) { self = .client(Int(client.slot)) }
    init(_ server: ServerID) { self = .server(Int(server.slot)) }
    init(_ token: DeadlineToken) {
        let slot = token.rawValue / 2
        self = token.rawValue.isMultiple(of: 2) ? .client(slot) : .server(slot)
    }

    var token: DeadlineToken {
        switch self {
        case .client(let slot): DeadlineToken(rawValue: slot * 2)
        case .server(let slot): DeadlineToken(rawValue: slot * 2 + 1)
        }
    }
}

/// Identities for clients. A slot's generation grows with each that it is given to.
struct ClientSlots {
    private var generations: [UInt32] = []
    private var free: [UInt32] = []

    mutating func take() -> ClientID {
        if let slot = free.popLast() {
            return ClientID(slot: slot, generation: generations[Int(slot)])
        }
        generations.append(1)
        return ClientID(slot: UInt32(generations.count - 1), generation: 1)
    }

    mutating func giveBack(_ id: ClientID) {
        generations[Int(id.slot)] = id.generation == .max ? 1 : id.generation + 1
        free.append(id.slot)
    }
}

/// The pools, by slot and by number.
package struct PoolRecords: ~Copyable {
    private var records = SessionTable<PoolSlot, LeasePool>()
    private var slots: [PoolID: PoolSlot] = [:]
    private var free: [UInt32] = []
    private var lastGeneration: UInt32 = 0
    private var slotsGiven: UInt32 = 0

    init() {}

    /// nil for a pool that is gone.
    package func slot(of pool: PoolID) -> PoolSlot? { slots[pool] }

    package var all: [PoolSlot] { Array(slots.values) }

    /// By address: what a `_read` yields that cannot be copied is copied bit by bit into the coroutine's frame
    /// by a debug build of 6.3.1, and read there when the frame is freed (found by the address sanitizer).
    package subscript(slot: PoolSlot) -> LeasePool {
        @inline(__always) unsafeAddress { UnsafePointer(records.address(of: slot)) }
        @inline(__always) unsafeMutableAddress { records.address(of: slot) }
    }

    @inline(__always)
    func address(of slot: PoolSlot) -> UnsafeMutablePointer<LeasePool> {
        records.address(of: slot)
    }

    mutating func open(_ id: PoolID, _ terms: PoolTerms) {
        precondition(slots[id] == nil, "a pool is opened twice")
        lastGeneration &+= 1
        if lastGeneration == 0 { lastGeneration = 1 }
        let slot = PoolSlot(slot: free.popLast() ?? slotsGiven, generation: lastGeneration)
        slotsGiven = max(slotsGiven, slot.slot + 1)
        slots[id] = slot
        records.insert(LeasePool(id: id, terms: terms), at: slot)
    }

    mutating func change(_ slot: PoolSlot, _ terms: PoolTerms) {
        let next = records.remove(slot).under(terms)
        records.insert(next, at: slot)
    }

    mutating func remove(_ id: PoolID) {
        guard let slot = slots.removeValue(forKey: id) else { return }
        _ = records.remove(slot)
        free.append(slot.slot)
    }
}
