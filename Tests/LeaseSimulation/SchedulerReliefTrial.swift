// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A measurement: threads that take lease upon lease, each in the middle of the transaction of the
/// one before, from a pool that is too small for all of them. How much reserve does it take until
/// all of them come to their end? `scripts/simulate --relief` prints it.
package struct ReliefTrial: ~Copyable {
    private enum Action {
        case event(SchedulerEvent)
        case begins(Int)
        /// The thread's request arrives.
        case requests(Int, chain: Int)
        /// The statement that tries a new session is answered: its lease is over.
        case isTried(Int, chain: Int)
        /// All that the thread sent is answered: the lease rests.
        case rests(Int, chain: Int, isOpening: Bool)
        case works(Int, chain: Int)
        /// The thread goes on: with one more lease, or one less.
        case goesOn(Int, chain: Int)
    }

    private struct Held {
        var session: Int
        var server: ServerID
        var lease: LeaseID
        var restsSince: Instant?
    }

    private enum Step { case open, close }

    private struct Worker {
        var process: Int32
        var thread: UInt64?
        var isNewcomer = false
        var isShort = false
        var chain = 0
        /// What is still to do, last first.
        var script: [Step] = []
        var hasFailed = false
        var held: [Held] = []
        /// The session that it waits with, and whether that is to be tried first.
        var session = -1
        var isTrying = false
    }

    /// A client's session: the slot of its `ClientID`.
    private struct Session {
        var worker: Int
        var generation: UInt32 = 0
        var useSince = Instant.zero
        /// When its last lease ended, as long as that tells a new use from the one before.
        var triedAt: Instant?
    }

    private static let connectTime = Duration.milliseconds(6)
    private static let loginTime = Duration.microseconds(700)

    /// Told of every request, grant and return, and of what the scheduler does about locks.
    package var trace: ((String) -> Void)?

    private let setting: ReliefSetting
    private var scheduler: Scheduler
    private var random: SeededGenerator
    private var timeline = Timeline<Action>()
    private var now = Instant(nanoseconds: 1_000_000_000)
    private var workers: [Worker] = []
    private var sessions: [Session] = []
    private var closedSessions: [Int] = []
    /// Idle sessions of each process' own pool, the one that was given back last behind.
    private var idleSessions: [Int32: [Int]] = [:]
    /// When the lock of a process' own pool is free.
    private var poolFreeAt: [Int32: Instant] = [:]
    private var isWatched = false
    private let began = Instant(nanoseconds: 1_000_000_000)
    private var result = ReliefResult()

    package init(_ setting: ReliefSetting, seed: UInt64) {
        self.setting = setting
        scheduler = Scheduler(policy: BrokerPolicy(), seed: seed)
        random = SeededGenerator(seed: seed)
    }

    package mutating func run(for duration: Duration) -> ReliefResult {
        let end = now + duration
        send(.groupOpened(GroupID(0), GroupPolicy(maxLeases: setting.cap)))
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
        workers[worker].isShort = isNew && isLikely(setting.shortPerCent)
        let begins = setting.isBurst ? after(.microseconds(200)) : after(setting.pause)
        timeline.add(.begins(worker), at: moment ?? begins)
    }

    private mutating func planNewcomers(until end: Instant) {
        guard setting.newcomersPerSecond > 0 else { return }
        var moment = now
        var stranger: Int32 = 1000
        while moment < end {
            let pause = 2_000_000_000 / setting.newcomersPerSecond
            moment = moment.advanced(by: Int64(Double.random(in: 0...pause, using: &random)))
            var process = Int32.random(in: 1...Int32(setting.processes), using: &random)
            if isLikely(setting.strangersPerCent) {
                stranger += 1
                process = stranger
            }
            addWorker(of: process, isNew: true, at: moment)
        }
    }

    private mutating func isLikely(_ perCent: Int) -> Bool {
        perCent > 0 && Int.random(in: 0..<100, using: &random) < perCent
    }

    private mutating func after(_ mean: Duration) -> Instant {
        let most = Double(mean.wholeNanoseconds) * 2
        var pause = Double.random(in: 0...most, using: &random)
        if setting.isUneven, isLikely(3) { pause += Double.random(in: 0...40e6, using: &random) }
        return now.advanced(by: Int64(pause))
    }

    /// A thread whose next step is one more lease thinks before that.
    private mutating func beforeNextLevel(_ worker: Int) -> Instant {
        let moment = after(.microseconds(500))
        guard case .open = workers[worker].script.last else { return moment }
        return paused(moment)
    }

    private mutating func paused(_ moment: Instant) -> Instant {
        let longest = setting.levelPause.wholeNanoseconds
        guard longest > 0 else { return moment }
        return moment.advanced(by: Int64.random(in: 0...longest, using: &random))
    }

    // MARK: Threads

    private mutating func act(_ action: Action) {
        switch action {
        case .event(let event): send(event)
        case .begins(let worker): begin(worker)
        case .requests(let worker, let chain) where workers[worker].chain == chain:
            request(worker)
        case .isTried(let worker, let chain) where workers[worker].chain == chain:
            let tried = workers[worker].held.removeLast()
            send(.leaseReturned(tried.server, .clean, profile: .serverDefault))
            workers[worker].isTrying = false
            tell(worker, "has tried")
            sessions[tried.session].triedAt = now
            let pauses = setting.habit == .usesOnce
            timeline.add(
                .requests(worker, chain: chain),
                at: pauses ? paused(after(.microseconds(500))) : after(.microseconds(500)))
        case .rests(let worker, let chain, let isOpening) where workers[worker].chain == chain:
            rest(worker)
            if isOpening {
                timeline.add(.works(worker, chain: chain), at: after(.microseconds(200)))
            } else {
                timeline.add(.goesOn(worker, chain: chain), at: beforeNextLevel(worker))
            }
        case .works(let worker, let chain) where workers[worker].chain == chain:
            work(worker)
            timeline.add(
                .rests(worker, chain: chain, isOpening: false), at: after(.milliseconds(2)))
        case .goesOn(let worker, let chain) where workers[worker].chain == chain: goOn(worker)
        case .requests, .isTried, .rests, .works, .goesOn: break
        }
    }

    private mutating func begin(_ worker: Int) {
        workers[worker].chain += 1
        workers[worker].hasFailed = false
        var depth = setting.depth
        if setting.isMixed { depth = Int.random(in: 1...depth, using: &random) }
        if workers[worker].isShort { depth = 1 }
        var steps = [Step.open]
        if setting.hasLeaf, depth > 1 { steps += [.open, .close] }
        steps += Array(repeating: .open, count: depth - 1)
        steps += Array(repeating: .close, count: depth)
        workers[worker].script = steps.reversed()
        goOn(worker)
    }

    private mutating func goOn(_ worker: Int) {
        switch workers[worker].script.popLast() {
        case .open: takeSession(worker)
        case .close: giveBack(worker)
        case nil:
            if !workers[worker].hasFailed { result.chains += 1 }
            result.took = now - began
            if !workers[worker].isNewcomer, !setting.isBurst {
                timeline.add(.begins(worker), at: after(setting.pause))
            }
        }
    }

    /// One at a time in a process of fresh sessions: a login is made under the lock of its pool.
    private mutating func takeSession(_ worker: Int) {
        let process = workers[worker].process
        var moment = max(now, poolFreeAt[process] ?? now)
        let idle = idleSessions[process]?.popLast()
        let session = idle ?? newSession()
        sessions[session].worker = worker
        sessions[session].useSince = moment
        sessions[session].triedAt = nil
        if setting.sessions == .fresh, idle == nil {
            moment = moment + Self.loginTime
            poolFreeAt[process] = moment
        }
        workers[worker].isTrying = setting.habit != .nothing
        workers[worker].session = session
        timeline.add(.requests(worker, chain: workers[worker].chain), at: moment)
    }

    private mutating func newSession() -> Int {
        if let reused = closedSessions.popLast() {
            sessions[reused].generation += 1
            return reused
        }
        sessions.append(Session(worker: 0))
        return sessions.count - 1
    }

    private mutating func endUse(of session: Int, by process: Int32) {
        if setting.sessions == .kept || idleSessions[process, default: []].isEmpty {
            idleSessions[process, default: []].append(session)
        } else {
            closedSessions.append(session)
        }
    }

    /// A use goes on after a statement that tried the session, not after a transaction or a pause
    /// (`Engine.noteUse`).
    private mutating func noteUse(_ session: Int) {
        guard let tried = sessions[session].triedAt else { return }
        if setting.habit != .tries || now - tried > .milliseconds(50) {
            sessions[session].useSince = now
        }
        sessions[session].triedAt = nil
    }

    private mutating func request(_ worker: Int) {
        noteUse(workers[worker].session)
        let session = sessions[workers[worker].session]
        let client = ClientID(
            slot: UInt32(workers[worker].session), generation: session.generation)
        tell(worker, workers[worker].isTrying ? "asks to try" : "asks")
        send(
            .leaseRequested(
                LeaseRequest(
                    client: client, pool: PoolID(0), group: GroupID(0),
                    owner: OwnerKey(
                        processID: workers[worker].process, thread: workers[worker].thread),
                    profile: .serverDefault, requiresProfile: false,
                    deadline: now + setting.deadline,
                    since: now, useSince: session.useSince)))
    }

    private mutating func rest(_ worker: Int) {
        guard let last = workers[worker].held.last else { return }
        workers[worker].held[workers[worker].held.count - 1].restsSince = now
        tell(worker, "rests")
        if isWatched { send(.leaseBecameIdle(last.server, last.lease, since: now)) }
    }

    private mutating func work(_ worker: Int) {
        guard let last = workers[worker].held.last else { return }
        workers[worker].held[workers[worker].held.count - 1].restsSince = nil
        if isWatched { send(.leaseBecameBusy(last.server, last.lease)) }
    }

    /// The innermost lease first, each with its COMMIT.
    private mutating func giveBack(_ worker: Int) {
        work(worker)
        if let last = workers[worker].held.popLast() {
            endUse(of: last.session, by: workers[worker].process)
            tell(worker, "gives back")
            send(.leaseReturned(last.server, .clean, profile: .serverDefault))
        }
        timeline.add(
            .goesOn(worker, chain: workers[worker].chain), at: after(.microseconds(300)))
    }

    /// An error: everything it holds is rolled back, and it tries again.
    private mutating func fail(_ worker: Int) {
        workers[worker].chain += 1
        workers[worker].hasFailed = true
        workers[worker].script = Array(repeating: .close, count: workers[worker].held.count)
        endUse(of: workers[worker].session, by: workers[worker].process)
        timeline.add(
            .goesOn(worker, chain: workers[worker].chain), at: after(.microseconds(300)))
    }

    // MARK: The scheduler's shell

    private func tell(_ worker: Int, _ what: @autoclosure () -> String) {
        guard let trace else { return }
        let milliseconds = (now - began).wholeNanoseconds / 10_000
        trace(
            "\(Double(milliseconds) / 100) ms: thread \(worker), "
                + "\(workers[worker].held.count) held, session \(workers[worker].session): \(what())"
        )
    }

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
        case .grant(let client, let server, let lease, _): granted(client, server, lease)
        case .reject(let client, let rejection):
            if case .poolLock = rejection.cause {
                result.lockRejections += 1
            } else {
                result.deadlineRejections += 1
            }
            fail(sessions[Int(client.slot)].worker)
        case .watchLeases: watch()
        case .unwatchLeases: isWatched = false
        case .poolLocked: result.locks += 1
        case .reserveLent(_, let client, _, _):
            result.lent += 1
            tell(sessions[Int(client.slot)].worker, "lent the reserve")
        case .poolRelieved(_, _, let after, _, _):
            result.longestLock = max(result.longestLock, after)
        case .shareWanted, .notifyWaiter, .poolPhaseChanged, .connectFailed, .poolStarted,
            .poolStartFailed,
            .poolPaused, .reclaimParked, .recallLease:
            break
        }
    }

    private mutating func granted(_ client: ClientID, _ server: ServerID, _ lease: LeaseID) {
        let worker = sessions[Int(client.slot)].worker
        let chain = workers[worker].chain
        tell(worker, "granted")
        workers[worker].held.append(
            Held(session: Int(client.slot), server: server, lease: lease))
        if workers[worker].isTrying {
            timeline.add(.isTried(worker, chain: chain), at: after(.microseconds(300)))
        } else {
            timeline.add(
                .rests(worker, chain: chain, isOpening: true), at: after(.microseconds(200)))
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
