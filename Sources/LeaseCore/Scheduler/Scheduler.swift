// SPDX-License-Identifier: Apache-2.0

/// Every decision about server connections and who gets them: opens and closes them, queues
/// clients, grants leases. It does no I/O and asks no clock: events and the time come in, effects
/// go out, `nextDeadline` says when it wants to be called without an event.
///
/// Invariants (recomputed by `checkInvariants`): a connection has at most one lease; connections in
/// any state, closing ones included, never exceed a bound that was in force when the last of them
/// was opened; a client waits in at most one queue; no waiter that may have an idle connection
/// waits while there is one.
package struct Scheduler: ~Copyable {
    var policy: BrokerPolicy
    var random: SeededGenerator

    var servers = ServerSlots()
    var waiters = WaiterSlots()
    var pools = PoolTable()
    var groups = GroupLedger()
    var bounds = SharedBounds()
    var deadlines = DeadlineHeap()
    var restingLeases = RestingLeases()

    /// Pools that a bound they share holds back.
    var heldBackCount = 0
    /// Leases that their clients may park, and those of them that were asked back.
    var parking = ParkingCounts()
    var nextLease: UInt64 = 1
    /// Counts calls of `handle`, and passes over a queue.
    var callNumber: UInt64 = 0
    var passNumber: UInt64 = 0

    /// Events for a connection that is gone, or that came too late to matter.
    package internal(set) var staleEvents: UInt64 = 0
    /// Waiters that were visited to find out about locks and whom to help.
    package internal(set) var lockVisits: UInt64 = 0
    /// Check every count after every event: for tests and simulation.
    package var checksInvariants = false

    package init(policy: BrokerPolicy, seed: UInt64) {
        self.policy = policy
        random = SeededGenerator(seed: seed)
    }

    /// When `deadlineReached` is due; nil: only an event can change anything.
    package var nextDeadline: Instant? {
        guard let first = deadlines.first, first < .endOfTime else { return nil }
        return first
    }

    /// `leaseRequested` without an event around it: it comes with nearly every query.
    package mutating func handle(
        leaseRequested request: LeaseRequest, now: Instant, into effects: inout [SchedulerEffect]
    ) {
        callNumber &+= 1
        requestLease(request, now, &effects)
        if checksInvariants { check() }
    }

    /// `leaseReturned` without an event around it, for the same reason.
    package mutating func handle(
        leaseReturned server: ServerID, _ condition: ServerCondition, profile: ProfileID,
        now: Instant, into effects: inout [SchedulerEffect]
    ) {
        callNumber &+= 1
        if condition != .clean || !returnPlainly(server, profile, now) {
            returnLease(server, condition, profile, now, &effects)
        }
        if checksInvariants { check() }
    }

    package mutating func handle(
        _ event: SchedulerEvent, now: Instant, into effects: inout [SchedulerEffect]
    ) {
        callNumber &+= 1
        switch event {
        case .leaseRequested(let request): requestLease(request, now, &effects)
        case .leaseReturned(let server, let condition, let profile):
            returnLease(server, condition, profile, now, &effects)
        case .requestWithdrawn(let client): withdraw(client, now, &effects)
        case .deadlineReached: reachDeadlines(now, &effects)

        case .serverHandedOut(let server, let peer): serverHandedOut(server, to: peer)
        case .leaseMayBeParked(let server): leaseMayBeParked(server)
        case .leaseRecalled(let server, let lease, let thread):
            leaseRecalled(server, lease, thread, now, &effects)
        case .leaseBecameIdle(let server, let lease, let since):
            leaseBecameIdle(server, lease, since, now, &effects)
        case .leaseBecameBusy(let server, let lease): leaseBecameBusy(server, lease)
        case .peerGone(let peer): peerGone(peer, now, &effects)

        case .serverConnected(let server): serverConnected(server, now, &effects)
        case .serverConnectFailed(let server, let failure):
            serverConnectFailed(server, failure, now, &effects)
        case .validationSucceeded(let server):
            serverProven(server, after: .validating, profile: nil, now, &effects)
        case .validationFailed(let server):
            serverUseless(server, after: .validating, .validationFailed, now, &effects)
        case .resetSucceeded(let server, let profile):
            serverProven(server, after: .resetting, profile: profile, now, &effects)
        case .resetFailed(let server):
            serverUseless(server, after: .resetting, .resetFailed, now, &effects)
        case .serverLost(let server): serverLost(server, now, &effects)
        case .cancelStarted(let server): cancelStarted(server, now)
        case .cancelFinished(let server): cancelFinished(server, now, &effects)
        case .serverClosed(let server): serverClosed(server, now, &effects)

        case .poolOpened(let pool, let policy, let startup):
            openPool(pool, policy, startup, now, &effects)
        case .poolChanged(let pool, let policy): changePool(pool, policy, now, &effects)
        case .poolClosed(let pool): closePool(pool, now, &effects)
        case .groupOpened(let group, let policy):
            groups.open(group, policy)
            guaranteesChanged(now, &effects)
        case .groupChanged(let group, let policy): changeGroup(group, policy, now, &effects)
        case .policyChanged(let policy):
            self.policy = policy
            shedOverBroker(now, &effects)
            settleAll(now, &effects)
        case .shareChanged(let key, let allowance, let isVoid):
            changeShare(key, allowance, isVoid: isVoid, now, &effects)
        case .shareFailed(let key, let failure): failShare(key, failure, &effects)
        case .poolPauseRequested(let pool): pausePool(pool, now, &effects)
        case .poolResumed(let pool): resumePool(pool, now, &effects)
        case .poolReconnectRequested(let pool): reconnectPool(pool, now, &effects)
        case .serversStranded(let servers): strand(servers, now, &effects)
        }
        if checksInvariants { check() }
    }

    func check() {
        do throws(BrokenInvariant) {
            try checkInvariants()
        } catch {
            contractBroken(error.reason)
        }
    }

    // MARK: Look-up

    /// The slot of a pool. Its number must have been opened; nil: it is gone.
    @inline(__always)
    func poolIndex(_ pool: PoolID) -> Int? { pools.index(of: pool) }

    /// The slot of a server in an event; nil, and counted, when it is gone.
    @inline(__always)
    mutating func live(_ server: ServerID) -> Int? {
        if let index = servers.index(of: server) { return index }
        staleEvents &+= 1
        return nil
    }

    @inline(__always)
    func state(of index: Int) -> ServerState {
        guard let state = servers.slots[index].state else {
            contractBroken("slot \(index) is free")
        }
        return state
    }

    func illegal(_ event: String, _ index: Int) -> Never {
        contractBroken("\(event) of server \(servers.id(index)), which is \(state(of: index))")
    }

    mutating func nextPass() -> UInt64 {
        passNumber &+= 1
        return passNumber
    }
}
