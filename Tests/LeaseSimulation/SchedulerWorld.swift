// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A fake world around one scheduler: databases that accept, refuse, hang, die and saturate;
/// clients that come, cancel, vanish and hold for long; operators that reload, pause and reconnect.
/// Each event goes to the scheduler and the oracle, each effect is judged and then acted on.
struct SchedulerWorld: ~Copyable {
    enum Action {
        case event(SchedulerEvent)
        case clientComes(Int)
        case clientReturns(ClientID, ServerID)
        case clientIsHandedOut(ClientID, ServerID)
        case leaseRests(ClientID, ServerID)
        case operatorActs
        case serverDies
        case processEnds
    }

    struct WorldServer {
        var pool: PoolID
        var isDead = false
        var isOpen = false
    }

    struct WorldClient {
        var generation: UInt32 = 0
        var isBusy = false
        /// Its process, as its last request named it.
        var peer: PeerID?
    }

    let policies: WorldPolicies
    var scheduler: Scheduler
    var oracle: EffectOracle
    var random: SeededGenerator
    var timeline = Timeline<Action>()
    var now = Instant(nanoseconds: 1_000_000_000)
    var effects: [SchedulerEffect] = []

    var databases: [PoolID: WorldDatabase] = [:]
    var hosts = [WorldHost(), WorldHost()]
    /// The scheduler is told which pools share a host.
    let sharesFences: Bool
    /// Connections that were refused for want of room.
    var refusals = 0
    var livePools: [PoolID] = []
    var poolCount: UInt32 = 0
    let groupCount: UInt32
    var servers: [ServerID: WorldServer] = [:]
    var clients: [WorldClient]
    var processes: [WorldProcess]
    var peerCount: UInt32 = 0
    var reconnects = 0
    /// Its shell hands connections out whatever the scheduler advises.
    let ignoresContention: Bool
    /// Nothing new goes wrong, and no client comes, from the moment it is set.
    var isHealing = false
    var usesProfiles: Bool

    /// Threads take one lease in the middle of another, and their shell knows the threads or not.
    let nestsLeases: Bool
    let knowsThreads: Bool
    var restingSince: [ServerID: (client: ClientID, since: Instant)] = [:]

    var grants = 0
    var locks = 0
    var lent = 0
    var rejections = 0
    var events = 0
    /// Called with each event and effect, for `--trace`.
    var trace: ((String) -> Void)?

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        policies = WorldPolicies(using: &random, sharesBound: seed % 4 == 0)
        let policy = WorldPolicies.broker(using: &random)
        scheduler = Scheduler(policy: policy, seed: random.next())
        oracle = EffectOracle(policy: policy)
        clients = Array(
            repeating: WorldClient(), count: Int.random(in: 3...25, using: &random))
        groupCount = UInt32.random(in: 1...4, using: &random)
        usesProfiles = WorldPolicies.chance(0.4, &random)
        ignoresContention = WorldPolicies.chance(0.5, &random)
        sharesFences = WorldPolicies.chance(0.7, &random)
        nestsLeases = WorldPolicies.chance(0.5, &random)
        knowsThreads = WorldPolicies.chance(0.5, &random)
        processes = Self.processes(using: &random)
        for process in processes.indices { beginProcess(process) }
    }

    /// The scheduler's own account, for a trace that ends in a violation.
    func describe(into trace: (String) -> Void) {
        trace("policy \(oracle.broker)")
        for pool in scheduler.poolSummaries { trace("\(pool)") }
        for server in scheduler.serverSummaries { trace("\(server)") }
        for pool in livePools { for waiter in scheduler.waiters(of: pool) { trace("\(waiter)") } }
    }

    // MARK: Running

    /// Runs this many events of turmoil, then heals the world and waits until all is answered.
    mutating func run(steps: Int) throws(Violation) {
        try begin()
        while events < steps { try step() }
        try heal()
    }

    private mutating func begin() throws(Violation) {
        for group in 0..<groupCount {
            try send(.groupOpened(GroupID(group), WorldPolicies.group(using: &random)))
        }
        for _ in 0..<Int.random(in: 1...4, using: &random) { try openPool() }
        for client in clients.indices { plan(.clientComes(client), within: 500) }
        plan(.operatorActs, within: 3000)
        plan(.serverDies, within: 3000)
        plan(.processEnds, within: 3000)
    }

    /// The next thing that happens: in the world, or the scheduler's own deadline.
    mutating func step() throws(Violation) {
        let worldNext = timeline.next
        if let deadline = scheduler.nextDeadline, deadline <= worldNext ?? deadline {
            // The loop may be a little late.
            let late =
                Int64.random(in: 0...1, using: &random)
                * Int64.random(
                    in: 0...20_000_000, using: &random)
            var at = max(now, deadline) + .nanoseconds(late)
            if let worldNext { at = min(at, max(worldNext, deadline)) }
            now = max(now, at)
            try send(.deadlineReached)
            return
        }
        guard let worldNext, let action = timeline.pop() else {
            throw Violation("nothing is left to happen")
        }
        now = max(now, worldNext)
        switch action {
        case .event(let event): try deliver(event)
        case .clientComes(let slot): try clientComes(slot)
        case .clientReturns(let client, let server): try clientReturns(client, server)
        case .clientIsHandedOut(let client, let server): try clientIsHandedOut(client, server)
        case .leaseRests(let client, let server): try leaseRests(client, server)
        case .operatorActs: try operatorActs()
        case .serverDies: serverDies()
        case .processEnds: try processEnds()
        }
    }

    /// A PostgreSQL that is full is not asked without end.
    private func checkRefusals() throws(Violation) {
        let seconds = (now.nanoseconds - 1_000_000_000) / 1_000_000_000
        let most = 100 + 40 * Int(seconds)
        try oracle.require(refusals <= most, "\(refusals) refusals in \(seconds) s")
    }

    mutating func plan(_ action: Action, within milliseconds: Int) {
        let nanoseconds = Int64.random(in: 0...Int64(milliseconds) * 1_000_000, using: &random)
        timeline.add(action, at: now + .nanoseconds(nanoseconds))
    }

    mutating func plan(_ event: SchedulerEvent, after delay: Duration) {
        timeline.add(.event(event), at: now + delay)
    }

    /// One event to the scheduler and the oracle; what comes of it is judged.
    mutating func send(_ event: SchedulerEvent) throws(Violation) {
        events += 1
        trace?("\(now.nanoseconds / 1_000) us  \(event)")
        oracle.observe(event, now: now)
        effects.removeAll(keepingCapacity: true)
        scheduler.handle(event, now: now, into: &effects)
        let ordered = effects
        for effect in ordered {
            trace?("        -> \(effect)")
            try oracle.check(effect, now: now)
        }
        do throws(BrokenInvariant) {
            try scheduler.checkInvariants()
        } catch {
            throw Violation(error.reason)
        }
        for effect in ordered { act(on: effect) }
        var backingOff: Set<PoolID> = []
        for pool in livePools {
            guard let summary = scheduler.summary(of: pool) else { continue }
            if summary.nextAttempt != nil || summary.isFenced || summary.isUnproven {
                backingOff.insert(pool)
            }
        }
        try checkRefusals()
        for pool in oracle.pools where !pool.value.hasStarted { backingOff.insert(pool.key) }
        try oracle.checkRest(
            now: now, nextDeadline: scheduler.nextDeadline, backingOff: backingOff)
    }
}
