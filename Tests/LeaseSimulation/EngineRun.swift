// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// The engine as it ships, between clients that run made-up programs and servers that answer them, refuse, hang,
/// lie and die; chance decides who goes on, where bytes are cut, what breaks, and how time passes.
///
/// Holds no logic of leases: it brings bytes and events to the engine, carries out its notices as the broker does,
/// and looks whether what clients see is what direct connections would have shown.
struct EngineRun: ~Copyable {
    /// What comes at a moment of its own.
    enum Action {
        case clientComes
        case connectEnds(ServerSocket)
        case cancelArrives(ServerSocket)
        case cancelEnds(ServerID)
        case serverEnds(ServerSocket)
        case operatorActs
        case troubleComes
        case schemaChanges
        case everyoneIsSentAway
    }

    let seed: UInt64
    let plan: EngineCase
    let world: EngineWorld
    var engine: Engine
    var random: SeededGenerator
    var now = Instant(nanoseconds: 1_000_000_000)
    var timeline = Timeline<Action>()
    var clients: [EngineClient] = []
    var indices: [ClientID: Int] = [:]
    /// Those that the engine knows, and those that it has closed while their backends still run something.
    var servers: [ServerSocket] = []
    var isDealing = false
    var isWinding = false
    var reconnects = 0
    var strandedServers: Set<ServerID> = []
    var violation: String?
    var trace: ((String) -> Void)?
    var steps = 0
    /// How often each insert was committed, on whatever server.
    var committed: [String: Int] = [:]
    var schema = 0
    var groupTimes: [GroupTimes] = []
    /// What the pools are now, after reloads.
    var pools: [EngineCase.Pool]
    var policy: BrokerPolicy
    var endedPeers: Set<PeerID> = []
    /// When the last is to have been sent away; nil: nobody is.
    var emptyBy: Instant?
    /// Servers that have had their one client.
    var servedOnce: Set<ServerID> = []

    init(seed: UInt64, trace: ((String) -> Void)? = nil) {
        self.seed = seed
        self.trace = trace
        random = SeededGenerator(seed: seed)
        plan = EngineCase(seed: seed, using: &random)
        pools = plan.pools
        policy = plan.policy
        world = EngineWorld(
            seed: seed, takesLess: plan.takesLess, directLeases: plan.directLeases)
        engine = Engine(
            world: world, settings: plan.settings, policy: plan.policy, seed: seed, now: now)
        world.now = now
        if let trace { world.trace = { trace("        \($0)") } }
    }

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    mutating func time(upTo microseconds: Int64) -> Duration {
        .nanoseconds(Int64.random(in: 0...microseconds * 1_000, using: &random))
    }

    mutating func plan(_ action: Action, within microseconds: Int64) {
        timeline.add(action, at: now + time(upTo: microseconds))
    }

    func note(_ text: @autoclosure () -> String) {
        if let trace {
            trace("\(now.nanoseconds / 1_000 - 1_000_000) us  \(text())")
        }
    }

    // MARK: The run

    /// What went wrong, or nil.
    mutating func run(steps count: Int) -> String? {
        begin()
        while steps < count, violation == nil { step() }
        windUp()
        if violation == nil { goHome() }
        return violation.map { "engine seed \(seed), step \(steps): \($0)" }
    }

    private mutating func begin() {
        note("\(plan)")
        for (number, group) in plan.groups.enumerated() {
            groupTimes.append(GroupTimes(group: "g\(number)"))
            order(.groupOpened(GroupID(UInt32(number + 1)), group))
        }
        for pool in pools { open(pool) }
        for _ in 0..<plan.clientCount { plan(.clientComes, within: 2_000) }
        if plan.hasOperators { plan(.operatorActs, within: 20_000) }
        if !plan.trouble.isEmpty { plan(.troubleComes, within: 5_000) }
        if chance(30) { plan(.schemaChanges, within: 20_000) }
        if plan.drains { plan(.everyoneIsSentAway, within: 60_000) }
    }

    private mutating func open(_ pool: EngineCase.Pool) {
        before()
        engine.openPool(pool.id, pool.terms, pool.policy, startup: nil, now: now)
        after()
    }

    mutating func order(_ event: SchedulerEvent) {
        before()
        engine.order(event, now: now)
        after()
    }

    // MARK: Steps

    mutating func step() {
        steps += 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20: pass(time(upTo: 300))
        case 20 where plan.trouble.contains(.jumps) && !isWinding: jump()
        case 21..<24: goToNext(within: .milliseconds(2))
        default: break
        }
        letTimePass()
        let ready = ready()
        if let choice = ready.randomElement(using: &random) {
            carryOut(choice)
        } else {
            resume()
            goToNext()
        }
        if chance(60) { resume() }
        if let violation = world.violation { self.violation = self.violation ?? violation }
        if violation == nil { check() }
    }

    /// To the next moment at which something comes by itself, if it is no further off.
    private mutating func goToNext(within most: Duration = .seconds(3600)) {
        resume()
        let next = [timeline.next, engine.nextDeadline, nextEndOfPause].compactMap { $0 }.min()
        guard let next, next > now else { return }
        now = min(next, now + most)
        world.now = now
    }

    /// As of a machine that slept: whoever was at work is late.
    private mutating func jump() {
        note("the clock jumps")
        for socket in servers { socket.isLate = true }
        pass(time(upTo: 40_000_000))
    }

    private mutating func pass(_ time: Duration) {
        now = now + time
        world.now = now
    }

    /// The engine's deadline first, as the loop runs its timers first; then what comes now.
    private mutating func letTimePass() {
        if let deadline = engine.nextDeadline, deadline <= now {
            before()
            engine.timeReached(now)
            after()
            checkDeadlines()
        }
        while let next = timeline.next, next <= now, violation == nil, let action = timeline.pop() {
            perform(action)
        }
    }

    private mutating func perform(_ action: Action) {
        switch action {
        case .clientComes: clientComes()
        case .connectEnds(let socket): connectEnds(socket)
        case .cancelArrives(let socket): cancelArrives(at: socket)
        case .cancelEnds(let id): cancelEnds(id)
        case .serverEnds(let socket): farewellEnds(socket)
        case .operatorActs: operatorActs()
        case .troubleComes: troubleComes()
        case .everyoneIsSentAway: sendEveryoneAway()
        case .schemaChanges:
            alter()
            if !isWinding { plan(.schemaChanges, within: 40_000) }
        }
    }

    /// DDL, by somebody else: it is there for all at once.
    private mutating func alter() {
        schema += 1
        note("schema \(schema)")
        for socket in servers { socket.backend.schema = schema }
        for client in clients { client.program.alter(schema) }
    }

    /// Those that may go on do so, as before the loop waits.
    mutating func resume() {
        while engine.hasResumable, violation == nil {
            before()
            engine.resumeClients(now: now)
            after()
        }
    }

    // MARK: The end

    /// Nothing goes wrong any more, and everyone comes to an end with what was begun.
    private mutating func windUp() {
        guard violation == nil else { return }
        note("troubles end")
        isWinding = true
        heal()
        var left = 30_000
        while violation == nil, clients.contains(where: { !$0.isGone && $0.group != nil }) {
            for client in clients where mayLeaveForOthers(client) { leave(client) }
            step()
            left -= 1
            if left == 0 { violation = "it does not come to an end: \(stuck)" }
        }
    }

    /// All clients leave, then the pools close: nothing may be left.
    private mutating func goHome() {
        note("everyone leaves")
        for client in clients where !client.isGone { leave(client) }
        var left = 30_000
        while violation == nil, engine.clients.count > 0 || !engine.cancelsWaiting.isEmpty {
            step()
            left -= 1
            if left == 0 { violation = "clients stay: \(stuck)" }
        }
        for pool in pools where violation == nil { order(.poolClosed(pool.id)) }
        while violation == nil, !servers.isEmpty || engine.servers.count > 0 {
            step()
            left -= 1
            if left == 0 { violation = "servers stay: \(stuckServers)" }
        }
        if violation == nil { checkNothingIsLeft() }
    }

    /// What a session holds others may wait for.
    private func mayLeaveForOthers(_ client: EngineClient) -> Bool {
        client.isLoggedIn && !client.isGone && !client.isLeaving && client.group == nil
            && pools[client.pool].terms.mode.pooling == .session
    }

    private var stuck: String {
        var words: [String] = []
        for client in clients where !client.isGone {
            words.append("client \(client.index): \(describe(client))")
        }
        return words.joined(separator: "; ") + "; " + stuckServers
    }

    private var stuckServers: String {
        var words: [String] = []
        for socket in servers {
            let state =
                engine.servers.contains(socket.id)
                ? "\(engine.servers[socket.id].phase), \(engine.servers[socket.id].activity), leased \(engine.servers[socket.id].isLeased)"
                : "forgotten"
            words.append(
                "server \(socket.id) (\(state)) wire \(RelayTranscript.ofClient(socket.wire)), input"
                    + " \(RelayTranscript.ofClient(socket.backend.input)), output"
                    + " \(RelayTranscript.ofServer(socket.backend.output)), watched \(socket.interest.rawValue)"
            )
        }
        return words.joined(separator: "; ")
    }

    private func describe(_ client: EngineClient) -> String {
        var words = "logged in \(client.isLoggedIn), unsent \(client.unsent.count)"
        if engine.clients.contains(client.id) {
            words +=
                ", \(engine.clients[client.id].phase), waiting \(engine.clients[client.id].isWaiting)"
                + ", at server \(engine.clients[client.id].server.map { "\($0)" } ?? "none")"
                + ", pending \(RelayTranscript.ofClient(engine.clients[client.id].pending))"
        }
        return words
            + ", outbox \(RelayTranscript.ofClient(client.socket.outbox))"
            + ", inbox \(RelayTranscript.ofServer(client.socket.inbox))"
            + ", sent \(RelayTranscript.ofClient(client.sent))"
            + ", received \(RelayTranscript.ofServer(client.received))"
            + ", expected \(client.group?.expected ?? [])"
    }
}
