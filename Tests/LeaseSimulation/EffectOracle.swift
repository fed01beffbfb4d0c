// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// An effect, or a state left behind, that breaks a promise.
package struct Violation: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A second, simple account of what the scheduler may do. It sees events and effects only, keeps
/// them in dictionaries, and refuses an effect that a promise forbids.
///
/// Invariant: it never asks the scheduler.
package struct EffectOracle {
    struct PoolModel {
        var policy: PoolPolicy
        var isPaused = false
        var isClosed = false
        var hasStarted = true
    }

    enum ServerPhase {
        case connecting, ready, validating, leased, resetting, doomed, closing
    }

    struct ServerModel {
        var pool: PoolID
        var phase: ServerPhase
        var openedProfile: ProfileID
        var isDirty = false
        var cancels = 0
        /// It must be closed when its lease ends.
        var isLost = false
        var lastAlive: Instant
        var lease: (id: LeaseID, client: ClientID, group: GroupID, owner: OwnerKey)?
        /// The process that had its descriptor.
        var confinedTo: PeerID?
    }

    struct WaiterModel {
        var request: LeaseRequest
        var arrival: Int
        var arrivedAt: Instant
    }

    var broker: BrokerPolicy
    var pools: [PoolID: PoolModel] = [:]
    var groups: [GroupID: GroupPolicy] = [:]
    var servers: [ServerID: ServerModel] = [:]
    var waiters: [ClientID: WaiterModel] = [:]
    /// Processes that have no session any more.
    var gonePeers: Set<PeerID> = []
    /// Whom a pool's reserve was lent to, and the pools that are being relieved of a lock.
    var lentTo: [PoolID: ClientID] = [:]
    var locked: [PoolID: LockModel] = [:]
    var watchedPools: Set<PoolID> = []
    /// When a pool last took an idle connection from one process for another.
    private var takenAt: [PoolID: Instant] = [:]
    private var arrivals = 0
    private var lastLease: UInt64 = 0
    private var serverEverSeen: Set<ServerID> = []
    /// Of the bound that pools share with other hosts.
    var share = ShareAllowance.nothing

    package init(policy: BrokerPolicy) { broker = policy }

    // MARK: Events

    package mutating func observe(_ event: SchedulerEvent, now: Instant) {
        switch event {
        case .poolOpened(let pool, let policy, let startup):
            pools[pool] = PoolModel(policy: policy, hasStarted: startup == nil)
        case .poolChanged(let pool, let policy): pools[pool]?.policy = policy
        case .poolClosed(let pool): pools[pool]?.isClosed = true
        case .groupOpened(let group, let policy), .groupChanged(let group, let policy):
            groups[group] = policy
        case .policyChanged(let policy): broker = policy
        case .shareChanged(_, let allowance, _): share = allowance
        case .shareFailed: break
        case .poolPauseRequested(let pool): pools[pool]?.isPaused = true
        case .poolResumed(let pool): pools[pool]?.isPaused = false
        case .poolReconnectRequested(let pool): doom { $0.pool == pool }
        case .serversStranded(let stranded): strand(stranded)
        case .deadlineReached: break
        case .leaseRequested(let request):
            arrivals += 1
            waiters[request.client] = WaiterModel(
                request: request, arrival: arrivals, arrivedAt: now)
        case .requestWithdrawn(let client): waiters[client] = nil
        case .leaseReturned(let server, let condition, _): returned(server, condition, now)
        case .leaseBecameIdle, .leaseBecameBusy, .leaseMayBeParked, .leaseRecalled: break
        case .serverHandedOut(let server, let peer): servers[server]?.confinedTo = peer
        case .peerGone(let peer):
            gonePeers.insert(peer)
            doom { $0.confinedTo == peer }
        case .serverConnected(let server), .validationSucceeded(let server):
            becomes(.ready, server, now)
        case .resetSucceeded(let server, _):
            if servers[server]?.phase == .resetting { servers[server]?.isDirty = false }
            becomes(.ready, server, now)
        case .serverConnectFailed(let server, _), .validationFailed(let server),
            .resetFailed(let server):
            becomes(.doomed, server, now)
        case .serverLost(let server):
            if servers[server]?.phase == .leased {
                servers[server]?.isLost = true
            } else {
                becomes(.doomed, server, now)
            }
        case .cancelStarted(let server): servers[server]?.cancels += 1
        case .cancelFinished(let server):
            servers[server]?.cancels -= 1
            if servers[server]?.phase == .ready { servers[server]?.lastAlive = now }
        case .serverClosed(let server): servers[server] = nil
        }
    }

    /// These are closed: at once, or when what they do now is over.
    private mutating func doom(_ isMeant: (ServerModel) -> Bool) {
        for (server, model) in servers where isMeant(model) {
            switch model.phase {
            case .leased: servers[server]?.isLost = true
            case .ready where model.cancels > 0: servers[server]?.isLost = true
            case .closing: break
            case .connecting, .ready, .validating, .resetting, .doomed:
                servers[server]?.phase = .doomed
            }
        }
    }

    /// The same for those that are connected: what is on its way finds the right host by itself.
    private mutating func strand(_ stranded: [ServerID]) {
        for server in stranded {
            guard let model = servers[server] else { continue }
            switch model.phase {
            case .leased: servers[server]?.isLost = true
            case .ready where model.cancels > 0: servers[server]?.isLost = true
            case .connecting, .closing: break
            case .ready, .validating, .resetting, .doomed: servers[server]?.phase = .doomed
            }
        }
    }

    private mutating func becomes(_ phase: ServerPhase, _ server: ServerID, _ now: Instant) {
        guard let model = servers[server], model.phase != .closing else { return }
        servers[server]!.phase = model.isLost ? .doomed : phase
        if phase == .ready { servers[server]!.lastAlive = now }
    }

    private mutating func returned(
        _ server: ServerID, _ condition: ServerCondition, _ now: Instant
    ) {
        guard let model = servers[server], model.phase == .leased else { return }
        servers[server]!.lease = nil
        let always = pools[model.pool]?.policy.alwaysReset ?? false
        servers[server]!.isDirty = condition == .dirty || always
        becomes(condition == .broken ? .doomed : .ready, server, now)
    }

    // MARK: Effects

    package mutating func check(_ effect: SchedulerEffect, now: Instant) throws(Violation) {
        switch effect {
        case .openServer(let server, let pool, let profile):
            try open(server, pool, profile, now)
        case .closeServer(let server, let reason):
            let model = try known(server, effect)
            try require(model.phase != .leased && model.phase != .closing, "\(effect) is \(model)")
            if reason == .confined { try checkConfined(server, model, now) }
            servers[server]!.phase = .closing
        case .validateServer(let server):
            let model = try known(server, effect)
            try require(isFree(model), "\(effect): is \(model)")
            servers[server]!.phase = .validating
        case .resetServer(let server):
            let model = try known(server, effect)
            try require(
                model.phase == .ready && model.isDirty && model.cancels == 0, "\(effect): \(model)")
            servers[server]!.phase = .resetting
        case .grant(let client, let server, let lease, let waited):
            try grant(client, server, lease, waited, now)
        case .reject(let client, let rejection): try reject(client, rejection, now)
        case .notifyWaiter(let client, let place, let waited):
            guard let waiter = waiters[client] else { throw Violation("\(effect): waits not") }
            try require(place >= 1 && place <= waiters.count, "\(effect): no such place")
            try require(waited == now - waiter.request.since, "\(effect): waited wrong")
        case .poolStarted(let pool), .poolStartFailed(let pool, _, _):
            try require(pools[pool]?.hasStarted == false, "\(effect): had started")
            pools[pool]?.hasStarted = true
        case .poolPaused(let pool):
            let isEmpty = !servers.values.contains { $0.pool == pool }
            try require(pools[pool]?.isPaused == true && isEmpty, "\(effect): not paused, or busy")
        case .shareWanted(let key):
            try require(
                pools.values.contains { $0.policy.shareKey == key && !$0.isClosed },
                "\(effect): nobody is under it")
        case .watchLeases(let pool):
            try require(watchedPools.insert(pool).inserted, "\(effect): watched already")
        case .unwatchLeases(let pool):
            try require(watchedPools.remove(pool) != nil, "\(effect): is not watched")
        case .poolLocked(let lock): try locked(lock)
        case .reserveLent(let pool, let client, _, _): try lent(pool, client, now)
        case .poolRelieved(let pool, let group, _, _, _):
            try require(
                locked[pool]?.group == group && locked.removeValue(forKey: pool) != nil,
                "\(effect): was not locked")
        case .recallLease(let server):
            let model = try known(server, effect)
            try require(model.phase == .leased, "\(effect): is not leased")
        case .poolPhaseChanged(let pool, _), .reclaimParked(let pool),
            .connectFailed(let pool, _, _, _):
            try require(pools[pool] != nil, "\(effect): no such pool")
        }
    }

    private func known(
        _ server: ServerID, _ effect: SchedulerEffect
    ) throws(Violation) -> ServerModel {
        guard let model = servers[server] else { throw Violation("\(effect): no such server") }
        return model
    }

    func isFree(_ model: ServerModel) -> Bool {
        model.phase == .ready && !model.isDirty && model.cancels == 0
    }

    private mutating func open(
        _ server: ServerID, _ pool: PoolID, _ profile: ProfileID, _ now: Instant
    ) throws(Violation) {
        try require(serverEverSeen.insert(server).inserted, "server \(server) opened twice")
        let isInUse = servers.keys.contains { $0.slot == server.slot }
        try require(!isInUse, "slot of \(server) is in use")
        guard let model = pools[pool], !model.isClosed, !model.isPaused else {
            throw Violation("server \(server) opened in a pool that is closed or paused")
        }
        servers[server] = ServerModel(
            pool: pool, phase: .connecting, openedProfile: profile, lastAlive: now)
        let reserve = waiters.values.contains {
            $0.request.pool == pool
                && (isEntitledToReserve($0.request, now) || lentTo[pool] == $0.request.client)
        }
        try require(
            room(pool, withReserve: reserve, now) >= 0,
            "server \(server) is over a bound of \(pool)")
        let connecting = servers.values.count { $0.pool == pool && $0.phase == .connecting }
        try require(connecting <= model.policy.connectParallelism, "too many connects at once")
    }

    private mutating func grant(
        _ client: ClientID, _ server: ServerID, _ lease: LeaseID, _ waited: Duration,
        _ now: Instant
    ) throws(Violation) {
        let what = "grant of \(server) to \(client)"
        guard let waiter = waiters[client] else { throw Violation("\(what): does not wait") }
        guard let model = servers[server] else { throw Violation("\(what): no such server") }
        let request = waiter.request
        try require(isFree(model), "\(what): \(model)")
        try require(model.pool == request.pool, "\(what): other pool")
        let isLent = lentTo[request.pool] == client
        try require(
            mayLease(request, now, isLent: isLent),
            "\(what): over a cap, a guarantee or the pool's size")
        if let confinedTo = model.confinedTo {
            try require(confinedTo == request.peer, "\(what): is confined to \(confinedTo)")
            try require(!gonePeers.contains(confinedTo), "\(what): \(confinedTo) is gone")
        }
        try require(canUse(request, model), "\(what): opened with another profile")
        try require(waited == now - request.since, "\(what): waited \(waited)")
        try require(lease.rawValue > lastLease, "\(what): lease number used before")
        try require(now <= request.deadline + .milliseconds(50), "\(what): late")
        if let delay = pools[request.pool]!.policy.checkDelay, model.lastAlive != now {
            try require(now - model.lastAlive < delay, "\(what): idle too long without a check")
        }
        let validating = servers.values.count {
            $0.pool == request.pool && $0.phase == .validating
        }
        let passedOver = waiters.values.count { other in
            other.request.pool == request.pool && other.request.group == request.group
                && (other.request.since, other.arrival) < (request.since, waiter.arrival)
                && canUse(other.request, model) && !mayAwaitOwn(other, now)
        }
        // While a lock is relieved, those who hold something come first.
        let isRelief =
            locked[request.pool].map { holdsOne(request, request.pool, $0) } ?? false
        try require(isRelief || passedOver <= validating, "\(what): passes over \(passedOver)")
        if isLent { lentTo[request.pool] = nil }
        lastLease = lease.rawValue
        servers[server]!.phase = .leased
        servers[server]!.lease = (lease, client, request.group, request.owner)
        waiters[client] = nil
    }

    /// Taken from one process for a waiter of another, or from one that is gone.
    private mutating func checkConfined(
        _ server: ServerID, _ model: ServerModel, _ now: Instant
    ) throws(Violation) {
        guard let confinedTo = model.confinedTo else {
            throw Violation("server \(server) is closed as confined, and is not")
        }
        if gonePeers.contains(confinedTo) { return }
        let isNeeded = waiters.values.contains {
            $0.request.pool == model.pool && $0.request.peer != confinedTo
                && mayLease($0.request, now, isLent: lentTo[model.pool] == $0.request.client)
        }
        try require(isNeeded, "server \(server) is taken from \(confinedTo) for nobody")
        try require(isFree(model), "server \(server) is taken from \(confinedTo): \(model)")
        takenAt[model.pool] = now
    }

    /// Whether the scheduler may advise this of a connection that the process has leased.
    func checkAdvice(
        _ isAdvised: Bool, _ server: ServerID, _ peer: PeerID, now: Instant
    ) throws(Violation) {
        guard let model = servers[server], model.phase == .leased else {
            throw Violation("server \(server) is not leased by \(peer)")
        }
        let what = "advice on \(server) for \(peer)"
        if let confinedTo = model.confinedTo {
            try require(isAdvised == (confinedTo == peer), "\(what): confined to \(confinedTo)")
            return
        }
        guard let taken = takenAt[model.pool] else {
            try require(isAdvised, "\(what): none was taken from anybody")
            return
        }
        try require(!isAdvised || now - taken >= .seconds(1), "\(what): contention a moment ago")
        try require(isAdvised || now - taken < .seconds(60), "\(what): contention long ago")
    }

    private mutating func reject(
        _ client: ClientID, _ rejection: Rejection, _ now: Instant
    ) throws(Violation) {
        let what = "reject of \(client) (\(rejection.cause))"
        guard let waiter = waiters[client] else { throw Violation("\(what): does not wait") }
        let request = waiter.request
        let inPool = waiters.values.count { $0.request.pool == request.pool }
        try require(rejection.waited == now - request.since, "\(what): waited")
        try require(rejection.waiting <= inPool, "\(what): \(rejection.waiting) of \(inPool) wait")
        switch rejection.cause {
        case .deadline, .poolPaused: try require(now >= request.deadline, "\(what): early")
        case .queueFull(let limit):
            try require(waiters.count > limit, "\(what): \(waiters.count) wait")
        case .connectFailed(let failure):
            try require(
                failure.kind == .permanent || now >= request.deadline, "\(what): early")
        case .poolLock(let lock):
            try require(lock.grade == .certain, "\(what): is only suspected")
            try checkCycle(lock)
            try require(
                lock.links.contains { holdsCertainly($0.owner, request.owner) },
                "\(what): holds nothing")
        case .poolClosed: try require(pools[request.pool]?.isClosed != false, "\(what): is open")
        }
        waiters[client] = nil
    }

    func require(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws(Violation) {
        if !holds { throw Violation(otherwise()) }
    }
}
