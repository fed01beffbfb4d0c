// SPDX-License-Identifier: Apache-2.0

/// One use of a session by one thread: from its login, or from the first request after it was given
/// back to the client's own pool.
struct SessionUse: Hashable {
    var client: ClientID
    var since: Instant
}

/// Whose leases are lent the reserve until they are back.
struct HelpedChain: Equatable {
    var process: Int32
    /// The outermost use of it that is known.
    var root: SessionUse
    /// The root was helped itself: it may ask several times (a check, then its transaction), unless more
    /// was nested in it.
    var isHelpedItself: Bool
    var hasGrown = false
    /// The innermost use of it that holds a lease, or held one last.
    var tip: SessionUse

    /// No more is to come of it once the root's lease is back.
    var endsWithRoot: Bool { !isHelpedItself || hasGrown }
}

/// What was seen of threads that did not say who they are, while their pool is locked: which use of
/// a session is nested in which other one's lease.
///
/// Invariant: no use is nested, however deep, in itself.
struct ThreadTies {
    /// Beyond so many all are forgotten, and guessed again.
    private static let most = 4096

    private(set) var parents: [SessionUse: SessionUse] = [:]
    /// When a use nested in this one last gave its lease back: then its thread went on.
    private var heardOf: [SessionUse: Instant] = [:]

    mutating func tie(_ use: SessionUse, to parent: SessionUse) {
        var ancestor: SessionUse? = parent
        while let present = ancestor {
            if present == use { return }
            ancestor = parents[present]
        }
        if parents.count >= Self.most { self = ThreadTies() }
        parents[use] = parent
    }

    /// This use's lease is back: nothing is nested in it any more, and its parent's thread goes on.
    mutating func leaseEnded(_ use: SessionUse, _ now: Instant) {
        if let parent = parents[use] { heardOf[parent] = now }
        heardOf[use] = nil
        if parents.values.contains(use) { parents = parents.filter { $0.value != use } }
    }

    /// When something was seen of this use's thread, if its lease rests since `rest`; the last is last.
    func signs(of use: SessionUse, restingSince rest: Instant) -> [Instant] {
        guard let heard = heardOf[use], heard > rest else { return [rest] }
        return [rest, heard]
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
    /// began to rest, and mostly at once, while others come whenever they like. So a use that
    /// began before the rest is never nested in it, and the shortest pauses are tied first: each
    /// use to one lease, each lease to one use. A lease that is left over is one whose thread has
    /// not asked for another yet.
    func guessTies(_ still: inout Standstill) {
        let lock = pools[still.scope.pool].lock
        let known = lock.ties
        let resting = still.leases.compactMap { server -> RestingUse? in
            let lease = servers.slots[server].lease!
            return restingLeases.since(server, lease.id).map { since in
                let use = SessionUse(client: lease.client, since: lease.useSince)
                return RestingUse(use: use, owner: lease.owner, since: since)
            }
        }
        guard let firstRest = resting.map(\.since).min() else { return }
        let asking = usesBegun(since: firstRest, still)
        var ties = ThreadTies()
        var taken: Set<SessionUse> = []
        for asked in asking {
            guard let parent = known.parents[asked.use] else { continue }
            ties.tie(asked.use, to: parent)
            taken.insert(parent)
        }
        var pairs: [(pause: Int64, use: SessionUse, parent: SessionUse)] = []
        for parent in resting where !taken.contains(parent.use) {
            let longest = longestPause(before: parent, lock)
            // Of those that came at once after it, the other leases take one each at most.
            for moment in known.signs(of: parent.use, restingSince: parent.since) {
                var left = resting.count
                var index = asking.firstIndex(since: moment)
                while left > 0, index < asking.count {
                    let asked = asking[index]
                    index += 1
                    let pause = asked.use.since.nanoseconds - moment.nanoseconds
                    if pause > longest { break }
                    guard ties.parents[asked.use] == nil,
                        parent.mayHaveAsked(as: asked.use, asked.owner)
                    else { continue }
                    pairs.append((pause, asked.use, parent.use))
                    left -= 1
                }
            }
        }
        pairs.sort { $0.pause < $1.pause }
        for pair in pairs where ties.parents[pair.use] == nil && !taken.contains(pair.parent) {
            ties.tie(pair.use, to: pair.parent)
            taken.insert(pair.parent)
        }
        still.ties = ties
        for parent in resting where parent.owner.thread == nil && !taken.contains(parent.use) {
            still.processes[parent.owner.processID]!.isAwaited = true
        }
    }

    /// Uses of sessions that may be nested in a lease that rests since then, the oldest first.
    private func usesBegun(since first: Instant, _ still: Standstill) -> [AskingUse] {
        var asking: [AskingUse] = []
        for server in still.leases {
            let lease = servers.slots[server].lease!
            guard lease.useSince >= first else { continue }
            let use = SessionUse(client: lease.client, since: lease.useSince)
            asking.append(AskingUse(use: use, owner: lease.owner))
        }
        for waiter in still.waiters {
            let slot = waiters.slots[waiter]
            guard slot.useSince >= first else { continue }
            let use = SessionUse(client: slot.client, since: slot.useSince)
            asking.append(AskingUse(use: use, owner: slot.owner))
        }
        asking.sort { $0.use.since < $1.use.since }
        return asking
    }

    /// Threads of a busy process take turns, also at the lock of their pool of sessions. Nobody but the
    /// thread that was helped last can go on, so its next request may come as late as it likes.
    private func longestPause(before parent: RestingUse, _ lock: LockState) -> Int64 {
        if lock.chain?.tip == parent.use { return 2_000_000_000 }
        return max(50_000_000, lock.rhythms[parent.owner.processID]?.patience ?? 500_000_000)
    }
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

/// A use of a session that a lease is held or asked for with.
private struct AskingUse {
    let use: SessionUse
    let owner: OwnerKey
}

extension [AskingUse] {
    /// The first that began then or later; they are in order.
    fileprivate func firstIndex(since moment: Instant) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].use.since < moment { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
