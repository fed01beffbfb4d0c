/// One use of a session by one thread: from its login, or from the first request after it was given
/// back to the client's own pool.
struct SessionUse: Hashable {
    var client: ClientID
    var since: Instant
}

/// Whose leases are lent the reserve until they are back.
struct HelpedChain: Equatable {
    /// The outermost use of it that is known.
    var root: SessionUse
    /// The root was helped itself: it may ask several times (a check, then its transaction).
    var isHelpedItself: Bool
}

/// What was seen of threads that did not say who they are, while their pool is locked: which use of
/// a session is nested in which other one's lease.
///
/// Invariant: no use is nested, however deep, in itself.
struct ThreadTies {
    private(set) var parents: [SessionUse: SessionUse] = [:]
    /// When a use nested in this one last gave its lease back: then its thread went on.
    private var heardOf: [SessionUse: Instant] = [:]

    mutating func tie(_ use: SessionUse, to parent: SessionUse) {
        var ancestor: SessionUse? = parent
        while let present = ancestor {
            if present == use { return }
            ancestor = parents[present]
        }
        parents[use] = parent
    }

    /// This use's lease is back: nothing is nested in it any more, and its parent's thread goes on.
    mutating func leaseEnded(_ use: SessionUse, _ now: Instant) {
        if let parent = parents[use] { heardOf[parent] = now }
        heardOf[use] = nil
        if parents.values.contains(use) { parents = parents.filter { $0.value != use } }
    }

    /// The last that was seen of this use's thread before a moment, if its lease rests since `rest`.
    func lastSign(of use: SessionUse, restingSince rest: Instant, before moment: Instant) -> Instant
    {
        guard let heard = heardOf[use], heard <= moment else { return rest }
        return max(rest, heard)
    }

    func root(of use: SessionUse) -> SessionUse {
        var root = use
        while let parent = parents[root] { root = parent }
        return root
    }
}

extension Scheduler {
    /// Where threads are not known: which use of a session is nested in which one's resting lease.
    ///
    /// A thread that wants one more lease takes another session into use *after* its last lease
    /// began to rest, and does so at once, while others come whenever they like. So a use that
    /// began before the rest is never nested in it, and the shortest pauses are tied first: each
    /// use to one lease, each lease to one use.
    func guessTies(_ pool: Int) -> ThreadTies {
        let known = pools[pool].lock.ties
        var ties = ThreadTies()
        var resting: [RestingUse] = []
        var asking: [(use: SessionUse, owner: OwnerKey)] = []
        for server in servers.slots.indices where servers.slots[server].pool == pool {
            guard let lease = servers.slots[server].lease else { continue }
            let use = SessionUse(client: lease.client, since: lease.useSince)
            asking.append((use, lease.owner))
            if let since = restingLeases.since(server, lease.id) {
                resting.append(RestingUse(use: use, owner: lease.owner, since: since))
            }
        }
        if resting.isEmpty { return ties }
        forEachWaiter(of: pool) { waiter in
            let slot = waiters.slots[waiter]
            asking.append((SessionUse(client: slot.client, since: slot.useSince), slot.owner))
        }
        var taken: Set<SessionUse> = []
        for (use, _) in asking {
            guard let parent = known.parents[use] else { continue }
            ties.tie(use, to: parent)
            taken.insert(parent)
        }
        var pairs: [(pause: Int64, use: SessionUse, parent: SessionUse)] = []
        for (use, owner) in asking where known.parents[use] == nil {
            for parent in resting where !taken.contains(parent.use) {
                guard parent.mayHaveAsked(as: use, owner) else { continue }
                let sign = known.lastSign(
                    of: parent.use, restingSince: parent.since, before: use.since)
                let pause = use.since.nanoseconds - sign.nanoseconds
                if pause <= longestPauseBeforeAsking { pairs.append((pause, use, parent.use)) }
            }
        }
        pairs.sort { $0.pause < $1.pause }
        for pair in pairs where ties.parents[pair.use] == nil && !taken.contains(pair.parent) {
            ties.tie(pair.use, to: pair.parent)
            taken.insert(pair.parent)
        }
        return ties
    }

    /// Threads of a busy process take turns, also at the lock of their pool of sessions.
    private var longestPauseBeforeAsking: Int64 { 50_000_000 }
}

/// A lease that rests, with the use that holds it.
private struct RestingUse {
    let use: SessionUse
    let owner: OwnerKey
    let since: Instant

    func mayHaveAsked(as other: SessionUse, _ otherOwner: OwnerKey) -> Bool {
        guard other.since >= since, other.client != use.client else { return false }
        return otherOwner.mayBeSameThread(as: owner) && !otherOwner.isSameThread(as: owner)
    }
}
