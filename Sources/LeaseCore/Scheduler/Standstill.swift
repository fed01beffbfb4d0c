// SPDX-License-Identifier: Apache-2.0

/// One look at a pool that stands still, or at a group that is at its cap: who holds its leases, who
/// waits that may hold one, and whose session seems to be nested in whose lease.
///
/// Costs one visit of each waiter, whatever the number of leases.
struct Standstill {
    /// A process that holds leases here.
    struct Process {
        /// Leases of threads that are known.
        var heldByThread: [UInt64: Int] = [:]
        /// Since when the lease rests that may be anybody's and rests longest; one that does not rest, or
        /// is not known to, rests since ever.
        var restsOfUnknown = Instant.endOfTime
        var restsOfKnown: [UInt64: Instant] = [:]
        /// The newest request of its waiters.
        var newestRequest = Instant.zero
        /// When the last of its leases here began or came to rest.
        var movedAt = Instant.zero
        /// Some lease of it rests here whose thread seems not to have asked for one more yet.
        var isAwaited = false
    }

    let scope: LockScope
    /// Server slots of the leases, and waiters of their processes, the oldest of each group first.
    var leases: [Int] = []
    var waiters: [Int] = []
    var processes: [Int32: Process] = [:]
    var ties = ThreadTies()
    /// When the last lease began, came to rest or was given back.
    var movedAt = Instant.zero

    /// Whether a lease of its process may be this waiter's thread's, by the moment at which it asked.
    func mayHold(_ waiter: Waiter) -> Bool {
        guard let process = processes[waiter.owner.processID] else { return false }
        if waiter.since >= process.restsOfUnknown { return true }
        guard waiter.owner.thread == nil else { return false }
        return process.restsOfKnown.values.contains { waiter.since >= $0 }
    }

    func leasesHeld(by owner: OwnerKey) -> Int {
        guard let thread = owner.thread, owner.processID != 0 else { return 0 }
        return processes[owner.processID]?.heldByThread[thread] ?? 0
    }
}

extension Scheduler {
    func isMeant(_ server: Int, by scope: LockScope) -> Bool {
        guard servers.slots[server].state == .leased,
            servers.slots[server].lease?.owner.isHub == false
        else { return false }
        guard let group = scope.group else { return servers.slots[server].pool == scope.pool }
        return self.group(ofLeaseOn: server) == group
    }

    func forEachWaiter(in scope: LockScope, _ body: (Int) -> Void) {
        for queue in pools[scope.pool].queue.queues {
            if let group = scope.group, queue.group != group { continue }
            var candidate = queue.head
            while candidate >= 0 {
                body(Int(candidate))
                candidate = waiters.slots[Int(candidate)].next
            }
        }
    }

    mutating func look(at scope: LockScope, _ now: Instant) -> Standstill {
        noteLook(at: scope.pool, now)
        return standstill(scope)
    }

    /// The more there wait, the longer until the next look at them: it takes a small part of the
    /// time, and as much for each of ten thousand waiters as for each of a hundred.
    mutating func noteLook(at pool: Int, _ now: Instant) {
        let count = pools[pool].queue.count
        lockVisits &+= UInt64(count)
        guard count > Self.fewWaiters else { return }
        pools[pool].lock.nextLook = now.adding(Int64(count) * Self.pausePerWaiter)
    }

    private static let fewWaiters = 100
    private static let pausePerWaiter: Int64 = 5_000

    func standstill(_ scope: LockScope) -> Standstill {
        var still = Standstill(scope: scope)
        still.movedAt = pools[scope.pool].lock.returnedAt
        for server in servers.slots.indices where isMeant(server, by: scope) {
            still.leases.append(server)
            add(server, to: &still)
        }
        forEachWaiter(in: scope) { waiter in
            let process = waiters.slots[waiter].owner.processID
            guard let known = still.processes[process] else { return }
            still.waiters.append(waiter)
            let since = waiters.slots[waiter].since
            if since > known.newestRequest { still.processes[process]!.newestRequest = since }
        }
        guessTies(&still)
        return still
    }

    private func add(_ server: Int, to still: inout Standstill) {
        let slot = servers.slots[server]
        let lease = slot.lease!
        let rest = restingLeases.since(server, lease.id)
        var process = still.processes[lease.owner.processID] ?? Standstill.Process()
        process.movedAt = max(process.movedAt, slot.since, rest ?? .zero)
        still.movedAt = max(still.movedAt, process.movedAt)
        if let thread = lease.owner.thread {
            process.heldByThread[thread, default: 0] += 1
            process.restsOfKnown[thread] = min(
                process.restsOfKnown[thread] ?? .endOfTime, rest ?? .zero)
        } else {
            process.restsOfUnknown = min(process.restsOfUnknown, rest ?? .zero)
        }
        still.processes[lease.owner.processID] = process
    }
}
