// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A measurement: processes whose threads lease directly from one pool, again and again. How many
/// leases are direct, and how often is a connection closed because it was another process's?
/// `scripts/simulate --contention` prints it.
package struct ContentionTrial: ~Copyable {
    package struct Setting {
        package var processes: Int
        package var threads: Int
        /// Between a return and the next request.
        package var think: Duration
        package var connections = 10
        package var hold: Duration = .milliseconds(4)

        package init(processes: Int, threads: Int, think: Duration) {
            self.processes = processes
            self.threads = threads
            self.think = think
        }
    }

    package struct Result {
        package var leases = 0
        package var direct = 0
        package var taken = 0
        package var seconds = 0.0
        /// Microseconds, of every lease.
        package var waits: [Int64] = []

        package var directShare: Double { Double(direct) / Double(max(1, leases)) }
        package var takenPerSecond: Double { Double(taken) / seconds }
        package var leasesPerSecond: Double { Double(leases) / seconds }
        /// In milliseconds.
        package func wait(percentile: Double) -> Double {
            let sorted = waits.sorted()
            if sorted.isEmpty { return 0 }
            return Double(sorted[Int(Double(sorted.count - 1) * percentile)]) / 1000
        }
    }

    private enum Action {
        case event(SchedulerEvent)
        case threadAsks(Int)
        case threadReturns(Int, ServerID, isDirect: Bool)
    }

    /// A fork, a login and the first answers, as seen on one machine.
    private static let connectTime = Duration.milliseconds(6)
    private static let closeTime = Duration.microseconds(300)
    private static let resetTime = Duration.microseconds(150)
    /// What a lease through the relay takes longer.
    private static let relayFactor = 1.5

    private let setting: Setting
    private let handsOutAlways: Bool
    private var scheduler: Scheduler
    private var random: SeededGenerator
    private var timeline = Timeline<Action>()
    private var now = Instant(nanoseconds: 1_000_000_000)
    private var effects: [SchedulerEffect] = []
    private var generations: [UInt32]
    private var result = Result()

    /// With `handsOutAlways` the scheduler's advice is not asked.
    package init(_ setting: Setting, seed: UInt64, handsOutAlways: Bool = false) {
        self.setting = setting
        self.handsOutAlways = handsOutAlways
        scheduler = Scheduler(policy: BrokerPolicy(), seed: seed)
        random = SeededGenerator(seed: seed)
        generations = Array(repeating: 0, count: setting.processes * setting.threads)
    }

    package mutating func run(for duration: Duration) -> Result {
        let end = now + duration
        send(.groupOpened(GroupID(0), GroupPolicy()))
        send(.poolOpened(PoolID(0), PoolPolicy(size: setting.connections), startup: nil))
        for thread in generations.indices { plan(.threadAsks(thread), in: setting.think) }
        while let next = timeline.next, next < end {
            if let deadline = scheduler.nextDeadline, deadline <= next {
                now = max(now, deadline)
                send(.deadlineReached)
                continue
            }
            now = next
            switch timeline.pop()! {
            case .event(let event): send(event)
            case .threadAsks(let thread): ask(thread)
            case .threadReturns(let thread, let server, let isDirect):
                send(.leaseReturned(server, isDirect ? .dirty : .clean, profile: .serverDefault))
                plan(.threadAsks(thread), in: setting.think)
            }
        }
        result.seconds = Double(duration.wholeMicroseconds) / 1_000_000
        return result
    }

    /// After a time that is exponentially distributed about this mean.
    private mutating func plan(_ action: Action, in mean: Duration, factor: Double = 1) {
        let chance = Double.random(in: 0.0001..<1, using: &random)
        let scaled = Double(mean.wholeNanoseconds) * factor * -Self.logarithm(chance)
        timeline.add(action, at: now.advanced(by: Int64(scaled)))
    }

    /// The natural logarithm of a number from 0 to 1, exact enough for a waiting time.
    private static func logarithm(_ value: Double) -> Double {
        let exponent = Double(value.exponent)
        let ratio = (value.significand - 1) / (value.significand + 1)
        let square = ratio * ratio
        let series = ratio * (1 + square * (1 / 3 + square * (1 / 5 + square / 7)))
        return exponent * 0.693_147_180_559_945 + 2 * series
    }

    private mutating func ask(_ thread: Int) {
        generations[thread] += 1
        let process = UInt32(thread / setting.threads)
        send(
            .leaseRequested(
                LeaseRequest(
                    client: ClientID(slot: UInt32(thread), generation: generations[thread]),
                    pool: PoolID(0), group: GroupID(0), owner: OwnerKey(processID: Int32(process)),
                    profile: .serverDefault, requiresProfile: false, deadline: now + .seconds(60),
                    since: now, peer: PeerID(process))))
    }

    private mutating func send(_ event: SchedulerEvent) {
        effects.removeAll(keepingCapacity: true)
        scheduler.handle(event, now: now, into: &effects)
        let ordered = effects
        for effect in ordered { act(on: effect) }
    }

    private mutating func act(on effect: SchedulerEffect) {
        switch effect {
        case .openServer(let server, _, _):
            timeline.add(.event(.serverConnected(server)), at: now + Self.connectTime)
        case .closeServer(let server, let reason):
            if reason == .confined { result.taken += 1 }
            timeline.add(.event(.serverClosed(server)), at: now + Self.closeTime)
        case .resetServer(let server):
            timeline.add(
                .event(.resetSucceeded(server, profile: .serverDefault)), at: now + Self.resetTime)
        case .validateServer(let server):
            timeline.add(.event(.validationSucceeded(server)), at: now + Self.resetTime)
        case .grant(let client, let server, _, let waited):
            begin(client, server, waited)
        case .reject, .shareWanted, .notifyWaiter, .poolPhaseChanged, .connectFailed, .poolStarted,
            .poolStartFailed, .poolPaused, .watchLeases, .unwatchLeases, .poolLocked, .reserveLent,
            .poolRelieved, .reclaimParked, .recallLease:
            break
        }
    }

    private mutating func begin(_ client: ClientID, _ server: ServerID, _ waited: Duration) {
        let peer = PeerID(client.slot / UInt32(setting.threads))
        let isDirect = handsOutAlways || scheduler.mayHandOut(server, to: peer, now: now)
        if isDirect { send(.serverHandedOut(server, to: peer)) }
        result.leases += 1
        if isDirect { result.direct += 1 }
        result.waits.append(waited.wholeMicroseconds)
        plan(
            .threadReturns(Int(client.slot), server, isDirect: isDirect), in: setting.hold,
            factor: isDirect ? 1 : Self.relayFactor)
    }
}
