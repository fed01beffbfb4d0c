// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// A scheduler under test with an oracle beside it: every effect of every test is judged.
struct SchedulerHarness {
    private let held: Cell<Scheduler>
    var scheduler: Scheduler {
        _read { yield held.value }
        nonmutating _modify { yield &held.value }
    }
    var oracle: EffectOracle
    var now = Instant(nanoseconds: 1_000_000_000)
    /// Everything that was ever ordered, in order.
    var history: [SchedulerEffect] = []

    init(policy: BrokerPolicy = BrokerPolicy(), groups: [GroupPolicy] = [GroupPolicy()]) {
        held = Cell(Scheduler(policy: policy, seed: 7))
        oracle = EffectOracle(policy: policy)
        for (number, group) in groups.enumerated() {
            send(.groupOpened(GroupID(UInt32(number)), group))
        }
    }

    @discardableResult
    mutating func send(_ event: SchedulerEvent) -> [SchedulerEffect] {
        var effects: [SchedulerEffect] = []
        oracle.observe(event, now: now)
        scheduler.handle(event, now: now, into: &effects)
        do {
            for effect in effects { try oracle.check(effect, now: now) }
            try scheduler.checkInvariants()
        } catch {
            Issue.record("after \(event): \(error)")
        }
        history += effects
        return effects
    }

    /// Moves the clock, and calls the scheduler at each of its deadlines on the way.
    @discardableResult
    mutating func advance(_ duration: Duration) -> [SchedulerEffect] {
        let end = now + duration
        var effects: [SchedulerEffect] = []
        while let deadline = scheduler.nextDeadline, deadline <= end {
            now = max(now, deadline)
            effects += send(.deadlineReached)
        }
        now = end
        return effects
    }

    @discardableResult
    mutating func open(
        _ pool: UInt32 = 0, size: Int = 2, startup: StartupSchedule? = nil,
        _ change: (inout PoolPolicy) -> Void = { _ in }
    ) -> [SchedulerEffect] {
        var policy = PoolPolicy(size: size)
        policy.notifyAfter = nil
        change(&policy)
        return send(.poolOpened(PoolID(pool), policy, startup: startup))
    }

    @discardableResult
    mutating func request(
        _ client: UInt32, pool: UInt32 = 0, group: UInt32 = 0, profile: UInt32 = 0,
        requires: Bool = false, within wait: Duration = .seconds(60),
        waitingFor past: Duration = .zero, peer: UInt32? = nil, owner: OwnerKey? = nil,
        toHandOut: Bool = false, inUseFor use: Duration? = nil
    ) -> [SchedulerEffect] {
        let since = Instant(nanoseconds: now.nanoseconds - past.wholeNanoseconds)
        var request = LeaseRequest(
            client: Self.client(client), pool: PoolID(pool), group: GroupID(group),
            owner: owner ?? OwnerKey(processID: Int32(client)), profile: ProfileID(profile),
            requiresProfile: requires, deadline: since + wait, since: since,
            peer: peer.map { PeerID($0) })
        request.wantsHandOut = toHandOut
        if let use {
            request.useSince = Instant(nanoseconds: now.nanoseconds - use.wholeNanoseconds)
        }
        return send(.leaseRequested(request))
    }

    /// Opens what the scheduler ordered in these effects.
    @discardableResult
    mutating func connect(_ effects: [SchedulerEffect]) -> [SchedulerEffect] {
        var following: [SchedulerEffect] = []
        for server in opened(effects) { following += send(.serverConnected(server)) }
        return following
    }

    /// A lease for this client, on a connection opened for it.
    mutating func lease(
        _ client: UInt32, pool: UInt32 = 0, group: UInt32 = 0, peer: UInt32? = nil
    ) -> ServerID {
        var effects = request(client, pool: pool, group: group, peer: peer)
        effects += connect(effects)
        guard let server = granted(effects)[Self.client(client)] else {
            Issue.record("client \(client) got nothing: \(effects)")
            return ServerID(slot: .max, generation: 0)
        }
        return server
    }

    /// A lease for this client, whose connection is handed to its process.
    mutating func handOut(
        _ client: UInt32, pool: UInt32 = 0, to peer: UInt32
    ) -> ServerID {
        let server = lease(client, pool: pool, peer: peer)
        send(.serverHandedOut(server, to: PeerID(peer)))
        return server
    }

    func mayHandOut(_ server: ServerID, to peer: UInt32) -> Bool {
        scheduler.mayHandOut(server, to: PeerID(peer), now: now)
    }

    @discardableResult
    mutating func giveBack(
        _ server: ServerID, _ condition: ServerCondition = .clean, profile: UInt32 = 0
    ) -> [SchedulerEffect] {
        send(.leaseReturned(server, condition, profile: ProfileID(profile)))
    }

    func state(_ server: ServerID) -> ServerState? { scheduler.summary(of: server)?.state }
    func pool(_ number: UInt32 = 0) -> PoolSummary { scheduler.summary(of: PoolID(number))! }

    static func client(_ number: UInt32) -> ClientID { ClientID(slot: number, generation: 1) }
}

// MARK: Reading effects

func opened(_ effects: [SchedulerEffect]) -> [ServerID] {
    effects.compactMap { if case .openServer(let server, _, _) = $0 { server } else { nil } }
}

func closed(_ effects: [SchedulerEffect]) -> [ServerID: CloseReason] {
    var reasons: [ServerID: CloseReason] = [:]
    for case .closeServer(let server, let reason) in effects { reasons[server] = reason }
    return reasons
}

func granted(_ effects: [SchedulerEffect]) -> [ClientID: ServerID] {
    var servers: [ClientID: ServerID] = [:]
    for case .grant(let client, let server, _, _) in effects { servers[client] = server }
    return servers
}

/// The clients' numbers in the order of their grants.
func grantOrder(_ effects: [SchedulerEffect]) -> [UInt32] {
    effects.compactMap { if case .grant(let client, _, _, _) = $0 { client.slot } else { nil } }
}

func rejected(_ effects: [SchedulerEffect]) -> [ClientID: Rejection] {
    var rejections: [ClientID: Rejection] = [:]
    for case .reject(let client, let rejection) in effects { rejections[client] = rejection }
    return rejections
}

/// Failures to connect, as the shell reports them.
enum Failures {
    static let refused = ConnectFailure(
        kind: .transient, error: .fatal(SQLState(rawValue: "08001"), "connection refused"))
    static let full = ConnectFailure(
        kind: .saturated, error: .fatal(SQLState(rawValue: "53300"), "too many clients"))
    static let password = ConnectFailure(
        kind: .permanent, error: .fatal(SQLState(rawValue: "28P01"), "wrong password"))
    static let parameter = ConnectFailure(
        kind: .permanent, error: .fatal(SQLState(rawValue: "42704"), "no such parameter"))
}
