import LeaseCore

/// A measurement: threads that take lease upon lease, each in the middle of the transaction of the
/// one before, from a pool that is too small for all of them. How much reserve does it take until
/// all of them come to their end? `scripts/simulate --relief` prints it.
package struct ReliefTrial {
    package struct Setting {
        package var depth = 3
        /// Chains of every depth up to this one.
        package var isMixed = false
        package var threadsAreKnown = true
        package var processes = 4
        package var threadsPerProcess = 8
        package var connections = 10
        package var reserve = 3
        /// Threads that come besides, for one chain each.
        package var newcomersPerSecond = 0.0
        /// Of these, so many in a hundred are of a process of their own.
        package var strangersPerCent = 0

        package init() {}
    }

    package struct Result {
        package var chains = 0
        package var locks = 0
        package var lent = 0
        package var lockRejections = 0
        package var deadlineRejections = 0
        package var mostLeased = 0
        package var longestLock = Duration.zero

        package init() {}
    }

    private enum Action {
        case event(SchedulerEvent)
        case begins(Int)
        /// The query of this level is answered: the lease rests.
        case rests(Int, chain: Int)
        /// The thread goes on: with the next level, or back.
        case goesOn(Int, chain: Int)
        case givesBack(Int, chain: Int)
    }

    private struct Held {
        var server: ServerID
        var lease: LeaseID
        var restsSince: Instant?
    }

    private struct Worker {
        var process: Int32
        var thread: UInt64?
        var isNewcomer = false
        var chain = 0
        var depth = 0
        var held: [Held] = []
    }

    private static let deadline = Duration.seconds(3)
    private static let connectTime = Duration.milliseconds(6)
    private static let levels = 6

    private let setting: Setting
    private var scheduler: Scheduler
    private var random: SeededGenerator
    private var timeline = Timeline<Action>()
    private var now = Instant(nanoseconds: 1_000_000_000)
    private var workers: [Worker] = []
    private var isWatched = false
    private var requests: UInt32 = 0
    private var result = Result()

    package init(_ setting: Setting, seed: UInt64) {
        self.setting = setting
        scheduler = Scheduler(policy: BrokerPolicy(), seed: seed)
        random = SeededGenerator(seed: seed)
    }

    package mutating func run(for duration: Duration) -> Result {
        let end = now + duration
        send(.groupOpened(GroupID(0), GroupPolicy()))
        var policy = PoolPolicy(size: setting.connections)
        policy.reserveSize = setting.reserve
        policy.notifyAfter = nil
        send(.poolOpened(PoolID(0), policy, startup: nil))
        for process in 0..<setting.processes {
            for _ in 0..<setting.threadsPerProcess {
                addWorker(of: Int32(process + 1), isNew: false)
            }
        }
        planNewcomers(until: end)
        while true {
            let next = timeline.next ?? end
            if let deadline = scheduler.nextDeadline, deadline <= min(next, end) {
                now = max(now, deadline)
                send(.deadlineReached)
            } else if next < end, let action = timeline.pop() {
                now = next
                act(action)
            } else {
                break
            }
        }
        return result
    }

    private mutating func addWorker(of process: Int32, isNew: Bool, at moment: Instant? = nil) {
        let thread = setting.threadsAreKnown ? UInt64(workers.count) : nil
        workers.append(Worker(process: process, thread: thread, isNewcomer: isNew))
        let worker = workers.count - 1
        timeline.add(.begins(worker), at: moment ?? after(.milliseconds(20)))
    }

    private mutating func planNewcomers(until end: Instant) {
        guard setting.newcomersPerSecond > 0 else { return }
        var moment = now
        var stranger: Int32 = 1000
        while moment < end {
            let pause = 2_000_000_000 / setting.newcomersPerSecond
            moment = moment.advanced(by: Int64(Double.random(in: 0...pause, using: &random)))
            var process = Int32.random(in: 1...Int32(setting.processes), using: &random)
            if Int.random(in: 0..<100, using: &random) < setting.strangersPerCent {
                stranger += 1
                process = stranger
            }
            addWorker(of: process, isNew: true, at: moment)
        }
    }

    private mutating func after(_ mean: Duration) -> Instant {
        let most = Double(mean.wholeNanoseconds) * 2
        return now.advanced(by: Int64(Double.random(in: 0...most, using: &random)))
    }

    // MARK: Threads

    private mutating func act(_ action: Action) {
        switch action {
        case .event(let event): send(event)
        case .begins(let worker):
            workers[worker].chain += 1
            workers[worker].depth =
                setting.isMixed ? Int.random(in: 1...setting.depth, using: &random) : setting.depth
            ask(worker)
        case .rests(let worker, let chain):
            guard workers[worker].chain == chain, let last = workers[worker].held.last else {
                return
            }
            workers[worker].held[workers[worker].held.count - 1].restsSince = now
            if isWatched { send(.leaseBecameIdle(last.server, last.lease, since: now)) }
            timeline.add(.goesOn(worker, chain: chain), at: after(.microseconds(500)))
        case .goesOn(let worker, let chain):
            guard workers[worker].chain == chain else { return }
            if workers[worker].held.count < workers[worker].depth {
                ask(worker)
            } else {
                result.chains += 1
                giveBack(worker, chain: chain)
            }
        case .givesBack(let worker, let chain): giveBack(worker, chain: chain)
        }
    }

    private mutating func ask(_ worker: Int) {
        requests += 1
        let slot = UInt32(worker * Self.levels + workers[worker].held.count)
        send(
            .leaseRequested(
                LeaseRequest(
                    client: ClientID(slot: slot, generation: requests), pool: PoolID(0),
                    group: GroupID(0),
                    owner: OwnerKey(
                        processID: workers[worker].process, thread: workers[worker].thread),
                    profile: .serverDefault, requiresProfile: false, deadline: now + Self.deadline,
                    since: now)))
    }

    /// The innermost lease first, each with its COMMIT.
    private mutating func giveBack(_ worker: Int, chain: Int) {
        guard workers[worker].chain == chain else { return }
        guard let last = workers[worker].held.popLast() else {
            if !workers[worker].isNewcomer {
                timeline.add(.begins(worker), at: after(.milliseconds(20)))
            }
            return
        }
        if isWatched { send(.leaseBecameBusy(last.server, last.lease)) }
        send(.leaseReturned(last.server, .clean, profile: .serverDefault))
        timeline.add(.givesBack(worker, chain: chain), at: after(.microseconds(300)))
    }

    /// An error: everything it holds is rolled back, and it tries again.
    private mutating func fail(_ worker: Int) {
        workers[worker].chain += 1
        let chain = workers[worker].chain
        timeline.add(.givesBack(worker, chain: chain), at: after(.microseconds(300)))
    }

    // MARK: The scheduler's shell

    private mutating func send(_ event: SchedulerEvent) {
        var effects: [SchedulerEffect] = []
        scheduler.handle(event, now: now, into: &effects)
        for effect in effects { act(on: effect) }
        result.mostLeased = max(
            result.mostLeased, scheduler.summary(of: PoolID(0))?.counts.leased ?? 0)
    }

    private mutating func act(on effect: SchedulerEffect) {
        switch effect {
        case .openServer(let server, _, _):
            timeline.add(.event(.serverConnected(server)), at: now + Self.connectTime)
        case .closeServer(let server, _):
            timeline.add(.event(.serverClosed(server)), at: now + .microseconds(300))
        case .resetServer(let server):
            timeline.add(.event(.resetSucceeded(server, profile: .serverDefault)), at: now)
        case .validateServer(let server):
            timeline.add(.event(.validationSucceeded(server)), at: now)
        case .grant(let client, let server, let lease, _):
            let worker = Int(client.slot) / Self.levels
            workers[worker].held.append(Held(server: server, lease: lease))
            timeline.add(
                .rests(worker, chain: workers[worker].chain), at: after(.milliseconds(2)))
        case .reject(let client, let rejection):
            if case .poolLock = rejection.cause {
                result.lockRejections += 1
            } else {
                result.deadlineRejections += 1
            }
            fail(Int(client.slot) / Self.levels)
        case .watchLeases: watch()
        case .unwatchLeases: isWatched = false
        case .poolLocked: result.locks += 1
        case .reserveLent: result.lent += 1
        case .poolRelieved(_, let after, _, _):
            result.longestLock = max(result.longestLock, after)
        case .notifyWaiter, .poolPhaseChanged, .connectFailed, .poolStarted, .poolStartFailed,
            .poolPaused:
            break
        }
    }

    private mutating func watch() {
        isWatched = true
        for worker in workers.indices {
            for held in workers[worker].held {
                guard let since = held.restsSince else { continue }
                timeline.add(
                    .event(.leaseBecameIdle(held.server, held.lease, since: since)), at: now)
            }
        }
    }
}
