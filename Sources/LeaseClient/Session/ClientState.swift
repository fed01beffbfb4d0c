// SPDX-License-Identifier: Apache-2.0

import LibPQ
import PostgresWire
import Synchronization

/// What a client owns in one process: its connections that are at rest, and the slots that bound
/// them.
///
/// Invariant: slots in use and idle connections together never exceed `maximumConnections`; an idle
/// connection holds no lease; nobody waits while a slot is free.
final class ClientState: Sendable {
    /// What a slot is used for, for the error of those who wait for one.
    struct Use: Sendable {
        var purpose: String
        var since: ContinuousClock.Instant
    }

    private struct Pool {
        var isClosed = false
        var idle: [Session] = []
        var uses: [Int: Use] = [:]
        /// Slots given away whose use is not told yet.
        var promised = 0
        var lastSlot = 0
        var waiters: [SlotWaiter] = []
        /// Those before it have been answered.
        var firstWaiter = 0
        var threads: [ThreadExecutor] = []
        /// Those who pause between two attempts: they hear of the end only.
        var pausing: [ObjectIdentifier: SlotWaiter] = [:]
        /// Every connection that is open, for a forked child to let go of.
        var sessions: [ObjectIdentifier: Session] = [:]

        mutating func dropAnswered() {
            guard firstWaiter > 64, firstWaiter * 2 > waiters.count else { return }
            waiters.removeFirst(firstWaiter)
            firstWaiter = 0
        }
    }

    /// Local waits end after this time when the caller gave none: the broker's own default.
    static let longestLocalWait: Duration = .seconds(120)

    let parameters: ConnectionParameters
    let configuration: LeaseConfiguration
    /// Whether this process may park its leases.
    let parks: Bool
    private let pool = Mutex(Pool())

    init(_ parameters: ConnectionParameters, _ configuration: LeaseConfiguration) {
        self.parameters = parameters
        self.configuration = configuration
        parks = configuration.parking == .whenPossible && ParkingPage.isPossible
    }

    deinit { close() }

    /// The state of a forked child: nothing that it inherited is used, and not a byte is sent on it.
    func renewedAfterFork() -> ClientState {
        // A thread of the parent may have held the lock at the fork; then the descriptors stay open
        // here, unused.
        let inherited = pool.withLockIfAvailable { pool -> [Session] in
            defer {
                pool.sessions = [:]
                pool.idle = []
                pool.threads = []
                pool.isClosed = true
            }
            return Array(pool.sessions.values)
        }
        for session in inherited ?? [] { session.connection.abandon() }
        if inherited == nil {
            // Its end would wait for that lock for ever.
            _ = Unmanaged.passRetained(self)
        }
        return ClientState(parameters, configuration)
    }

    // MARK: Slots

    /// A slot at once, or a place in the line.
    enum Turn {
        case slot(Session?)
        case wait(SlotWaiter)
    }

    func takeTurn(isBlocking: Bool) throws(LeaseError) -> Turn {
        let turn = pool.withLock { pool -> Turn? in
            if pool.isClosed { return nil }
            if pool.uses.count + pool.promised < configuration.maximumConnections {
                pool.promised += 1
                return .slot(pool.idle.popLast())
            }
            let waiter = SlotWaiter(isBlocking: isBlocking)
            pool.waiters.append(waiter)
            return .wait(waiter)
        }
        guard let turn else { throw .closed }
        return turn
    }

    /// Says what a slot is used for; the number is for `giveBack`.
    func began(_ use: Use) -> Int {
        pool.withLock { pool in
            pool.promised -= 1
            pool.lastSlot += 1
            pool.uses[pool.lastSlot] = use
            return pool.lastSlot
        }
    }

    /// Gives a slot back, with its connection when that can be used again.
    func giveBack(_ slot: Int, _ session: Session?) {
        let (rest, isClosed) = pool.withLock { pool -> (Session?, Bool) in
            pool.uses[slot] = nil
            while pool.firstWaiter < pool.waiters.count {
                let waiter = pool.waiters[pool.firstWaiter]
                pool.firstWaiter += 1
                pool.dropAnswered()
                if waiter.settle(.slot(session)) {
                    pool.promised += 1
                    return (nil, false)
                }
            }
            if pool.isClosed { return (session, true) }
            if let session { pool.idle.append(session) }
            return (nil, false)
        }
        if isClosed, let rest { close(rest) }
    }

    /// A waiter that gave up, and yet was given a slot at the same moment.
    func giveBackUnused(_ session: Session?) {
        giveBack(began(Use(purpose: "", since: .now)), session)
    }

    // MARK: Connections

    func opened(_ session: Session) {
        session.connection.onNotice = configuration.onNotice.map { handler in
            { handler(PostgresError($0)) }
        }
        pool.withLock { $0.sessions[ObjectIdentifier(session)] = session }
    }

    func close(_ session: Session) {
        _ = pool.withLock { $0.sessions.removeValue(forKey: ObjectIdentifier(session)) }
        session.connection.close()
    }

    // MARK: Threads of the async form

    func takeThread() throws(LeaseError) -> ThreadExecutor {
        if let thread = pool.withLock({ $0.threads.popLast() }) { return thread }
        guard let thread = ThreadExecutor() else {
            throw .usage("the system has no thread left for a lease: raise ulimit -u")
        }
        return thread
    }

    func giveBack(_ thread: ThreadExecutor) {
        let isClosed = pool.withLock { pool in
            if !pool.isClosed { pool.threads.append(thread) }
            return pool.isClosed
        }
        if isClosed { thread.stop() }
    }

    // MARK: The end

    /// Closes what is at rest; what is in use follows when it comes back.
    func close() {
        let (idle, threads, waiters) = pool.withLock { pool in
            defer {
                pool.isClosed = true
                pool.idle = []
                pool.threads = []
                pool.waiters = []
                pool.pausing = [:]
                pool.firstWaiter = 0
            }
            return (
                pool.idle, pool.threads,
                pool.waiters[pool.firstWaiter...] + Array(pool.pausing.values)
            )
        }
        for session in idle { close(session) }
        for thread in threads { thread.stop() }
        for waiter in waiters { _ = waiter.settle(.closed) }
    }

    /// False when the client is closed already.
    func watchForEnd(_ waiter: SlotWaiter) -> Bool {
        pool.withLock { pool in
            if !pool.isClosed { pool.pausing[ObjectIdentifier(waiter)] = waiter }
            return !pool.isClosed
        }
    }

    func stopWatching(_ waiter: SlotWaiter) {
        pool.withLock { $0.pausing[ObjectIdentifier(waiter)] = nil }
    }

    /// Who holds this client's own slots, the longest first.
    func exhaustion(waited: Duration) -> LeaseError {
        let uses = pool.withLock { Array($0.uses.values) }.sorted { $0.since < $1.since }
        let holders = uses.prefix(10).map { use in
            Holder(
                processID: Int(currentProcessID()), program: ProgramName.current,
                heldFor: use.since.duration(to: .now), activity: "this process",
                purpose: use.purpose)
        }
        return .exhausted(
            LeaseError.Exhaustion(
                waited: waited, attempts: 1, holders: holders,
                message: "all \(configuration.maximumConnections) connections of this client are "
                    + "in use",
                detail: HolderList.line(
                    holders.map {
                        HolderText(
                            .process(Int64($0.processID)), program: $0.program,
                            heldFor: $0.heldFor, activity: $0.activity, purpose: $0.purpose)
                    }),
                hint: "Raise maximumConnections, or hold leases for a shorter time.",
                isLocal: true))
    }
}

/// What this program is called.
enum ProgramName {
    static var current: String {
        let path = CommandLine.arguments.first ?? ""
        return path.split(separator: "/").last.map(String.init) ?? "swift"
    }
}
