/// How a waiter stands among those who may be helped.
private struct Claim {
    /// Its process holds leases of the pool that may be its thread's.
    var mayHold = false
    /// How many leases of the pool its thread holds: known, or guessed from when it came.
    var held = 0
    var since: Instant

    /// Who holds most comes first: it is nearest to its end, and gives back most. Then the newest:
    /// in a locked process only the thread that was let go last can come with a new request.
    func comesBefore(_ other: Claim) -> Bool {
        held == other.held ? since >= other.since : held > other.held
    }
}

/// What a thread asked for: what it holds by now, or still waits for.
private enum Asked: Hashable {
    case lease(Int)
    case waiter(Int)
}

/// Who is helped first when the leases of a pool wait for each other: who holds most, then the
/// newest.
///
/// Measured with `scripts/simulate --relief`: ten connections, 32 threads in four processes that
/// begin one chain of nested leases after another, and 50 newcomers a second. The least reserve
/// with which nobody got an error, and the chains a second:
///
///     depth            1         2        3        4        5
///     threads known    0, 1452   1, 1056  2, 391   3, 211   3, 143
///     not known        0, 1452   2, 776   3, 185   4, 71    more than 8
///
/// (Two runs of 10 s, deadlines of 3 s. One run of 30 s needed 4 at a known depth of 5.)
///
/// Other orders were tried in one run of 30 s each, with deadlines of 10 s and a simpler guess, so
/// their figures compare only roughly. Among the waiters of processes that hold leases, the newest
/// first, whatever it holds: N - 1 where threads are known, a tenth to a fifth fewer chains; more
/// than 8 from depth 2 on where they are not. The oldest first: more than 8 from depth 3 on. What
/// comes back while a lock is relieved goes to holders first: else there were half as many chains.
extension Scheduler {
    /// The first of the waiters that may have a lease within this capacity and may be a holder; or,
    /// with `certainly`, is known or guessed to be one.
    func firstToHelp(_ pool: Int, capacity: Int, certainly: Bool) -> Int? {
        let askers = guessAskers(pool)
        var chosen: Int?
        var chosenClaim = Claim(since: .zero)
        forEachWaiter(of: pool) { waiter in
            let queue = waiters.slots[waiter].queue
            guard mayLease(pool, queue, capacity: capacity, ConnectPlan(number: 0)) else { return }
            let claim = claim(of: waiter, pool, askers)
            guard certainly ? claim.held > 0 : claim.mayHold else { return }
            if chosen == nil || claim.comesBefore(chosenClaim) {
                chosen = waiter
                chosenClaim = claim
            }
        }
        return chosen
    }

    private func claim(of waiter: Int, _ pool: Int, _ askers: [Asked: Int]) -> Claim {
        var claim = Claim(since: waiters.slots[waiter].since)
        let owner = waiters.slots[waiter].owner
        for slot in servers.slots where slot.pool == pool && slot.state == .leased {
            let holder = slot.lease!.owner
            if holder.isSameThread(as: owner) { claim.held += 1 }
            if holder.mayBeSameThread(as: owner) { claim.mayHold = true }
        }
        if claim.held > 0 { return claim }
        var request = Asked.waiter(waiter)
        while let server = askers[request] {
            claim.held += 1
            request = .lease(server)
        }
        return claim
    }

    /// Where threads are not known: which resting lease's thread made which request. A thread that
    /// asks for one more does so within a moment of the other's rest, while others come whenever
    /// they like: so the shortest pauses are paired first, each lease and each request once.
    private func guessAskers(_ pool: Int) -> [Asked: Int] {
        var pairs: [(pause: Int64, asked: Asked, server: Int)] = []
        for server in servers.slots.indices where servers.slots[server].pool == pool {
            guard let lease = servers.slots[server].lease,
                let rests = restingLeases.since(server, lease.id)
            else { continue }
            func consider(_ asked: Asked, _ owner: OwnerKey, _ since: Instant) {
                let pause = since.nanoseconds - rests.nanoseconds
                guard pause >= 0, pause <= longestPauseBeforeAsking,
                    owner.mayBeSameThread(as: lease.owner), !owner.isSameThread(as: lease.owner)
                else { return }
                pairs.append((pause, asked, server))
            }
            forEachWaiter(of: pool) { waiter in
                let slot = waiters.slots[waiter]
                consider(.waiter(waiter), slot.owner, slot.since)
            }
            for other in servers.slots.indices
            where other != server && servers.slots[other].pool == pool {
                guard let held = servers.slots[other].lease else { continue }
                consider(.lease(other), held.owner, requestedAt(other, held.id))
            }
        }
        pairs.sort { $0.pause < $1.pause }
        var askers: [Asked: Int] = [:]
        var hasAsked: Set<Int> = []
        for pair in pairs where askers[pair.asked] == nil && !hasAsked.contains(pair.server) {
            askers[pair.asked] = pair.server
            hasAsked.insert(pair.server)
        }
        return askers
    }

    private var longestPauseBeforeAsking: Int64 { 20_000_000 }

    private func requestedAt(_ server: Int, _ lease: LeaseID) -> Instant {
        restingLeases.requestedAt(server, lease) ?? servers.slots[server].since
    }
}
