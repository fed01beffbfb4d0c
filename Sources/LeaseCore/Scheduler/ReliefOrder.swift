// SPDX-License-Identifier: Apache-2.0

/// How a waiter stands among those who may be helped.
struct Claim {
    /// What speaks for its thread's holding a lease of the pool.
    enum Evidence: Int, Comparable {
        /// Its process holds one that may be its thread's.
        case process
        /// It took its session into use just after a lease of its process came to rest.
        case pause
        /// The thread is known.
        case thread

        static func < (left: Evidence, right: Evidence) -> Bool { left.rawValue < right.rawValue }
    }

    var waiter: Int
    var evidence: Evidence
    /// How many leases of the pool its thread holds, and the outermost use of a session among them.
    var held: Int
    var root: SessionUse
    /// It belongs to the chain that is being helped.
    var isOfChain: Bool
    /// It came when all other threads of the process waited whose chain is being helped.
    var isNext = false
    var useSince: Instant
    var since: Instant
    /// Its process's threads pause for so long between two leases that a moment says nothing.
    var isOfSlowProcess = false
    /// When it is helped, if nothing moves until then.
    var due = Instant.zero

    var isLikelyHolder: Bool { isNext || evidence > .process }

    /// The thread that was helped goes first, until its leases are back: whoever else got a
    /// connection of the reserve would keep it, and wait for one more. Then who holds most: it is
    /// nearest to its end, and gives back most. Then the oldest where a pause says that it holds
    /// something, so that nobody waits too long; else the newest: in a locked process only the
    /// thread that was let go last can come with a new request, and who came first held nothing then.
    func comesBefore(_ other: Claim) -> Bool {
        if isNext != other.isNext { return isNext }
        if (evidence == .process) != (other.evidence == .process) { return evidence > .process }
        if isOfChain != other.isOfChain { return isOfChain }
        if held != other.held { return held > other.held }
        if evidence != other.evidence { return evidence > other.evidence }
        if evidence == .pause, !isOfSlowProcess { return since < other.since }
        if useSince != other.useSince { return useSince > other.useSince }
        return since >= other.since
    }
}

/// Who is helped first when the leases of a pool wait for each other.
///
/// Where threads are not known, one chain is finished before another is helped: a thread that goes on may
/// pause while no lease of it rests (after a statement that tried its session), and whoever was helped
/// meanwhile got what finishes it. So all of its process must wait, as far as that is counted
/// (`GoingThreads`), or have been silent for as long as its threads pause (`ThreadRhythm`).
///
/// Measured with `scripts/simulate --bursts`: 11 threads on 5 + 3 connections and 14 on 10 + 3, the same
/// under caps of 4 and 9, pauses of up to 0, 5, 30, 100 and 300 ms, four habits of trying a session: 0 of
/// 3200 bursts stood still until the deadline (before, up to 16 of 20 of those that pause behind a trial).
///
/// Measured with `scripts/simulate --relief`: ten connections, 32 threads in four processes that take
/// one chain of nested leases after another (and one leaf beside it), 20 newcomers a second, four
/// runs of 10 s, deadlines of 5 s. The least reserve with which nobody got an error, and chains a
/// second; `fresh`: sessions like those of psycopg2's pool, a new one for nearly every lease, tried
/// with a statement first; `kept`: sessions stay and are taken again.
///
///     depth                               1        2         3         4         5
///     a chain of each thread every 0.5 s (with room for most of them)
///     threads known                       0, 82    0, 80     0, 81     1, 79     3, 80
///     not known, sessions kept            0, 82    0, 80     0, 81     4, 63     > 6, 18
///     not known, fresh                    0, 82    0, 79     0, 77     5, 61     > 6, 12
///     every 20 ms (without a pause worth the name)
///     threads known                       0, 1384  1, 505    2, 270    3, 167    4, 120
///     not known, sessions kept            0, 1384  3, 204    6, 111    6, 58     > 6, 26
///     not known, fresh                    0, 1329  3, 163    5, 63     6, 42     > 6, 17
///
/// Waiting for who may just pause costs where chains are four and five deep and begin seldom: without
/// it they needed 3 (kept, 65 a second) and 4 (fresh, 74), and 37 and 26 came to their end of the
/// deepest. It saves where they are two and three deep and begin at once: there no reserve up to 6 sufficed for
/// kept sessions (133 and 51 a second).
extension Scheduler {
    /// By process, the first of its waiters that may have a lease within this capacity and may be a
    /// holder; or, with `certainly`, is known or guessed to be one. `overCap`: how far it may exceed its
    /// group's cap.
    func bestClaims(
        _ still: Standstill, capacity: Int, overCap: Int, certainly: Bool
    ) -> [Int32: Claim] {
        let pool = still.scope.pool
        var chosen: [Int32: Claim] = [:]
        var slow: [Int32: Bool] = [:]
        var queue = -1
        var mayHave = false
        for waiter in still.waiters {
            if waiters.slots[waiter].queue != queue {
                queue = waiters.slots[waiter].queue
                mayHave = mayLease(
                    pool, queue, capacity: capacity, ConnectPlan(number: 0), overCap: overCap)
            }
            guard mayHave, var claim = claim(of: waiter, still) else { continue }
            if certainly, !claim.isLikelyHolder { continue }
            let process = waiters.slots[waiter].owner.processID
            claim.isOfSlowProcess = slow[process] ?? isSlow(process, still)
            slow[process] = claim.isOfSlowProcess
            if chosen[process].map({ claim.comesBefore($0) }) ?? true { chosen[process] = claim }
        }
        return chosen
    }

    /// nil: its thread holds nothing of the pool.
    private func claim(of waiter: Int, _ still: Standstill) -> Claim? {
        let slot = waiters.slots[waiter]
        let use = SessionUse(client: slot.client, since: slot.useSince)
        let root = still.ties.root(of: use)
        var claim = Claim(
            waiter: waiter, evidence: .process, held: still.leasesHeld(by: slot.owner), root: root,
            isOfChain: root == pools[still.scope.pool].lock.chain?.root, useSince: slot.useSince,
            since: slot.since)
        claim.isNext = isNextStep(slot, in: still.scope.pool)
        if claim.held > 0 {
            claim.evidence = .thread
            return claim
        }
        var present = use
        while let parent = still.ties.parents[present] {
            claim.held += 1
            claim.evidence = .pause
            present = parent
        }
        let mayHold = claim.isOfChain || claim.isNext || still.mayHold(slot)
        return claim.held > 0 || mayHold ? claim : nil
    }

    /// Whether it came last of all threads of the process whose chain is helped, and all of them wait.
    private func isNextStep(_ waiter: Waiter, in pool: Int) -> Bool {
        let lock = pools[pool].lock
        let process = waiter.owner.processID
        guard waiter.owner.thread == nil, lock.chain?.process == process,
            lock.going.count(of: process) == 0
        else { return false }
        return waiter.since >= lock.going.stirredAt(process)
    }

    private func isSlow(_ process: Int32, _ still: Standstill) -> Bool {
        let learnt = pools[still.scope.pool].lock.rhythms[process]?.patience
        return (learnt ?? shownPatience(process, still)) > 100_000_000
    }

    /// As long as too little is known of the process.
    private func cautiousPatience(_ process: Int32, _ still: Standstill) -> Int64 {
        if still.processes[process]?.isAwaited ?? false { return ThreadRhythm.longestPatience }
        let learnt = pools[still.scope.pool].lock.rhythms.cautious(process)
        return max(learnt, shownPatience(process, still))
    }

    /// Twice as long as any of the requests took that have come.
    private func shownPatience(_ process: Int32, _ still: Standstill) -> Int64 {
        let newest = still.processes[process]?.newestRequest ?? .zero
        return min(ThreadRhythm.longestPatience, 2 * newest.nanoseconds(since: still.movedAt))
    }

    /// From when on none of its threads is expected to ask any more: all of them wait.
    private func quietAt(_ process: Int32, _ still: Standstill) -> Instant {
        let lock = pools[still.scope.pool].lock
        if lock.going.count(of: process) == 0 { return .zero }
        let heard = max(
            lock.going.stirredAt(process), still.processes[process]?.movedAt ?? .zero)
        let patience =
            lock.rhythms[process]?.patience
            ?? cautiousPatience(process, still)
        return heard.adding(patience)
    }

    /// When this one is helped, if nothing moves until then.
    ///
    /// A chain that was helped goes on at once. Another is helped when no thread of its process may
    /// still come with the next request of the chain before, or with its own: such a request would be
    /// taken for that of whoever was helped, and get what finishes one. The fewer connections of
    /// the reserve are left, the dearer is one that goes to a thread which holds nothing.
    func helpIsDue(_ claim: Claim, _ still: Standstill) -> Instant {
        if claim.evidence == .thread || claim.isNext { return .zero }
        let scope = still.scope
        let lock = pools[scope.pool].lock
        let limits = pools[scope.pool].limits
        let process = waiters.slots[claim.waiter].owner.processID
        var due = quietAt(process, still)
        if claim.isOfChain { return due }
        let lent = lentNow(scope)
        if lent > 0, let chain = lock.chain { due = max(due, quietAt(chain.process, still)) }
        let isLast = lent >= limits.lockReserve - 1
        var delay = limits.lockDelay
        if claim.evidence == .process {
            if isLast { delay *= 10 }
        } else if lent <= 0 {
            delay = lock.chain == nil ? 0 : delay / 5
        } else if isLast, claim.held < 2 {
            delay *= 10
        }
        return max(due, still.movedAt.adding(delay))
    }

    /// How many connections are out beyond the pool's size, or leases beyond the group's cap.
    func lentNow(_ scope: LockScope) -> Int {
        let overSize = pools[scope.pool].counts.leased - pools[scope.pool].limits.size
        guard let group = scope.group, let cap = groups[group].policy.maxLeases else {
            return max(0, overSize)
        }
        return max(0, overSize, groups[group].leases - cap)
    }

    // MARK: What is learnt

    /// This waiter gets a lease because of this claim.
    mutating func noteHelp(_ claim: Claim, _ still: Standstill, isLent: Bool) {
        guard claim.evidence != .thread else { return }
        let pool = still.scope.pool
        let slot = waiters.slots[claim.waiter]
        let use = SessionUse(client: slot.client, since: slot.useSince)
        if let parent = still.ties.parents[use] {
            pools[pool].lock.ties.tie(use, to: parent)
        } else if claim.isNext, let tip = pools[pool].lock.chain?.tip, holdsLease(tip, still) {
            pools[pool].lock.ties.tie(use, to: tip)
        }
        if claim.isOfChain || claim.isNext, let root = pools[pool].lock.chain?.root,
            claim.isOfChain || holdsLease(root, still)
        {
            pools[pool].lock.chain!.tip = use
            if use != root { pools[pool].lock.chain!.hasGrown = true }
        } else if isLent || claim.isNext {
            pools[pool].lock.chain = HelpedChain(
                process: slot.owner.processID, root: claim.root,
                isHelpedItself: claim.root == use, tip: use)
        }
    }

    private func holdsLease(_ use: SessionUse, _ still: Standstill) -> Bool {
        still.leases.contains { server in
            let lease = servers.slots[server].lease!
            return lease.client == use.client && lease.useSince == use.since
        }
    }

    /// While a pool is locked: a lease of it is back.
    mutating func leaseEnded(_ lease: Lease, in pool: Int, _ now: Instant) {
        let use = SessionUse(client: lease.client, since: lease.useSince)
        pools[pool].lock.returnedAt = now
        pools[pool].lock.ties.leaseEnded(use, now)
        guard let chain = pools[pool].lock.chain else { return }
        if chain.root == use, chain.endsWithRoot {
            pools[pool].lock.chain = nil
            pools[pool].lock.going.leaves(chain.process)
        } else if chain.tip == use, let parent = pools[pool].lock.ties.parents[use] {
            pools[pool].lock.chain!.tip = parent
        }
    }
}
