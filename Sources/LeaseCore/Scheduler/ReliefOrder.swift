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
    var useSince: Instant
    var since: Instant

    /// The thread that was helped goes first, until its leases are back: whoever else got a
    /// connection of the reserve would keep it, and wait for one more. Then who holds most: it is
    /// nearest to its end, and gives back most. Then the oldest where a pause says that it holds
    /// something, so that nobody waits too long; else the newest: in a locked process only the
    /// thread that was let go last can come with a new request.
    func comesBefore(_ other: Claim) -> Bool {
        if (evidence == .process) != (other.evidence == .process) { return evidence > .process }
        if isOfChain != other.isOfChain { return isOfChain }
        if held != other.held { return held > other.held }
        if evidence != other.evidence { return evidence > other.evidence }
        if evidence == .pause { return since < other.since }
        if useSince != other.useSince { return useSince > other.useSince }
        return since >= other.since
    }
}

/// Who is helped first when the leases of a pool wait for each other.
///
/// Measured with `scripts/simulate --relief`: ten connections, 32 threads in four processes that take
/// one chain of nested leases after another (and one leaf beside it), 20 newcomers a second, four
/// runs of 10 s, deadlines of 5 s. The least reserve with which nobody got an error, and chains a
/// second; `fresh`: sessions like those of psycopg2's pool, a new one for nearly every lease, tried
/// with a statement first; `kept`: sessions stay and are taken again.
///
///     depth                               1        2         3         4         5
///     a chain of each thread every 0.5 s (with room for most of them)
///     threads known                       0, 82    0, 80     0, 79     1, 79     2, 80
///     not known, sessions kept            0, 82    0, 80     0, 79     4, 78     5, 47
///     not known, fresh                    0, 82    0, 81     2, 81     5, 76     more than 6
///     every 20 ms (without a pause worth the name)
///     threads known                       0, 1399  1, 502    2, 274    3, 170    4, 122
///     not known, sessions kept            0, 1399  > 6, 117  > 6, 66   6, 70     > 6, 21
///     not known, fresh                    0, 1331  > 6, 70   > 6, 70   > 6, 34   > 6, 3
///
/// Under the last load, at depths 2 and 3, at most five of a reserve of six were ever out: the errors
/// are waiters that others were preferred to for 5 s. Before uses of sessions were told apart (the newest request among
/// those that came within 20 ms of a rest), the same trial at depth 3 made 15 (kept) and 11 (fresh)
/// chains a second with a reserve of 5, all of it out; 66 and 70 now.
extension Scheduler {
    /// The first of the waiters that may have a lease within this capacity and may be a holder; or,
    /// with `certainly`, is known or guessed to be one.
    func firstToHelp(_ pool: Int, capacity: Int, certainly: Bool) -> Claim? {
        let ties = guessTies(pool)
        var chosen: Claim?
        forEachWaiter(of: pool) { waiter in
            let queue = waiters.slots[waiter].queue
            guard mayLease(pool, queue, capacity: capacity, ConnectPlan(number: 0)),
                let claim = claim(of: waiter, pool, ties),
                !certainly || claim.evidence > .process
            else { return }
            if chosen.map({ claim.comesBefore($0) }) ?? true { chosen = claim }
        }
        return chosen
    }

    /// nil: its thread holds nothing of the pool.
    private func claim(of waiter: Int, _ pool: Int, _ ties: ThreadTies) -> Claim? {
        let slot = waiters.slots[waiter]
        let use = SessionUse(client: slot.client, since: slot.useSince)
        let root = ties.root(of: use)
        var claim = Claim(
            waiter: waiter, evidence: .process, held: 0, root: root,
            isOfChain: root == pools[pool].lock.chain?.root, useSince: slot.useSince,
            since: slot.since)
        var mayHold = claim.isOfChain
        for server in servers.slots.indices
        where servers.slots[server].pool == pool && servers.slots[server].state == .leased {
            let lease = servers.slots[server].lease!
            if lease.owner.isSameThread(as: slot.owner) {
                claim.held += 1
                claim.evidence = .thread
            } else if lease.owner.mayBeSameThread(as: slot.owner) {
                mayHold = mayHold || slot.since >= restingLeases.since(server, lease.id) ?? .zero
            }
        }
        if claim.evidence == .thread { return claim }
        var present = use
        while let parent = ties.parents[present] {
            claim.held += 1
            claim.evidence = .pause
            present = parent
        }
        return mayHold || claim.held > 0 ? claim : nil
    }

    /// How long nothing must have moved before this one is helped. Who was helped before may come
    /// again in a moment, and the fewer connections of the reserve are left, the dearer is one that
    /// goes to a thread which holds nothing: it is kept, and ends nothing.
    func patience(_ claim: Claim, _ pool: Int) -> Int64 {
        let lock = pools[pool].lock
        let limits = pools[pool].limits
        if claim.evidence == .thread || claim.isOfChain { return 0 }
        let lent = pools[pool].counts.leased - limits.size
        let isLast = lent >= limits.lockReserve - 1
        if claim.evidence == .process { return (isLast ? 10 : 1) * limits.lockDelay }
        if lent <= 0 { return lock.chain == nil ? 0 : limits.lockDelay / 5 }
        return (isLast && claim.held < 2 ? 10 : 1) * limits.lockDelay
    }

    /// Since when nothing has moved in a pool whose leases all rest.
    func standsStillSince(_ pool: Int) -> Instant {
        var last = pools[pool].lock.returnedAt
        for server in servers.slots.indices where servers.slots[server].pool == pool {
            guard let lease = servers.slots[server].lease else { continue }
            last = max(last, servers.slots[server].since)
            last = max(last, restingLeases.since(server, lease.id) ?? .zero)
        }
        return last
    }

    // MARK: What is learnt

    /// This waiter gets a lease because of this claim.
    mutating func noteHelp(_ claim: Claim, _ pool: Int, isLent: Bool) {
        guard claim.evidence != .thread else { return }
        let slot = waiters.slots[claim.waiter]
        let use = SessionUse(client: slot.client, since: slot.useSince)
        if let parent = guessTies(pool).parents[use] { pools[pool].lock.ties.tie(use, to: parent) }
        guard isLent, pools[pool].lock.chain?.root != claim.root else { return }
        pools[pool].lock.chain = HelpedChain(root: claim.root, isHelpedItself: claim.root == use)
    }

    /// While a pool is locked: a lease of it is back.
    mutating func leaseEnded(_ lease: Lease, in pool: Int, _ now: Instant) {
        let use = SessionUse(client: lease.client, since: lease.useSince)
        pools[pool].lock.returnedAt = now
        pools[pool].lock.ties.leaseEnded(use, now)
        if pools[pool].lock.chain == HelpedChain(root: use, isHelpedItself: false) {
            pools[pool].lock.chain = nil
        }
    }
}
