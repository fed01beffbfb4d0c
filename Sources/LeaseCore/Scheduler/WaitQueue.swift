// SPDX-License-Identifier: Apache-2.0

/// The waiters of one group in one pool, oldest first, and what the group holds there.
struct GroupQueue {
    let group: Int
    var weight: Int
    /// Leases that the group holds in this pool.
    var leases = 0
    /// Waiters that a connection on its way was found for, in the pass `plannedIn`.
    var planned = 0
    var plannedIn: UInt64 = 0

    var head: Int32 = -1
    var tail: Int32 = -1
    var count = 0

    /// Neighbours among the pool's queues that have waiters.
    var nextActive = -1
    var previousActive = -1

    init(group: Int, weight: Int) {
        self.group = group
        self.weight = weight
    }
}

/// A pool's queue: first in first out in a group, weighted round robin between the groups that
/// wait.
///
/// Invariant: a group is in the ring exactly while it has waiters; `cursor` is the group whose
/// turn it is, with `credits` grants left, or -1 when nobody waits.
struct WaitQueue {
    var queues: [GroupQueue] = []
    private var queueOfGroup: [Int32] = []
    private(set) var cursor = -1
    private(set) var credits = 0
    private(set) var activeCount = 0
    private(set) var count = 0
    /// Of the groups' queues in which a place was asked for since they were last empty.
    private var ranks: [Int: QueueRanks] = [:]
    /// How many waiters were passed to find places: what a crowd costs is counted by the tests.
    private(set) var steps: UInt64 = 0

    /// How many of the group in this queue wait.
    @inline(__always)
    func count(in queue: Int) -> Int { queues[queue].count }

    func existingIndex(ofGroup group: Int) -> Int? {
        guard group < queueOfGroup.count, queueOfGroup[group] >= 0 else { return nil }
        return Int(queueOfGroup[group])
    }

    @inline(__always)
    mutating func index(ofGroup group: Int, weight: Int) -> Int {
        if let index = existingIndex(ofGroup: group) { return index }
        while queueOfGroup.count <= group { queueOfGroup.append(-1) }
        queues.append(GroupQueue(group: group, weight: weight))
        queueOfGroup[group] = Int32(queues.count - 1)
        return queues.count - 1
    }

    mutating func setWeight(_ weight: Int, ofGroup group: Int) {
        guard let index = existingIndex(ofGroup: group) else { return }
        queues[index].weight = weight
        if cursor == index { credits = min(credits, weight) }
    }

    /// Adds a waiter behind those of its group that began to wait no later.
    mutating func insert(_ waiter: Int, in slots: inout [Waiter]) {
        let queue = slots[waiter].queue
        let since = slots[waiter].since
        var after = queues[queue].tail
        if after >= 0, slots[Int(after)].since > since {
            after = -1
            var candidate = queues[queue].head
            while candidate >= 0, slots[Int(candidate)].since <= since {
                after = candidate
                candidate = slots[Int(candidate)].next
            }
        }
        let isLast = after == queues[queue].tail
        link(waiter, after: after, in: &slots)
        if !ranks.isEmpty {
            if isLast, let rank = ranks[queue]?.append() {
                slots[waiter].rank = rank
            } else {
                ranks[queue] = nil
            }
        }
        queues[queue].count += 1
        count += 1
        if queues[queue].count == 1 { activate(queue) }
    }

    mutating func remove(_ waiter: Int, in slots: inout [Waiter]) {
        let queue = slots[waiter].queue
        let next = slots[waiter].next
        let previous = slots[waiter].previous
        if !ranks.isEmpty { ranks[queue]?.remove(slots[waiter].rank) }
        if previous >= 0 { slots[Int(previous)].next = next } else { queues[queue].head = next }
        if next >= 0 { slots[Int(next)].previous = previous } else { queues[queue].tail = previous }
        slots[waiter].next = -1
        slots[waiter].previous = -1
        queues[queue].count -= 1
        count -= 1
        if queues[queue].count == 0 {
            if !ranks.isEmpty { ranks[queue] = nil }
            deactivate(queue)
        }
    }

    /// A waiter of this group is about to be served: its turn is used up by one. Groups between
    /// the one whose turn it was and this one could not be served, and lose their turn.
    @inline(__always)
    mutating func useTurn(of queue: Int) {
        if cursor != queue {
            cursor = queue
            credits = queues[queue].weight
        }
        credits -= 1
        if credits <= 0 { passTurn() }
    }

    /// How many waiters would be served before this one, and itself, if every group could be.
    mutating func place(of waiter: Int, in slots: inout [Waiter]) -> Int {
        let own = slots[waiter].queue
        if ranks[own] == nil { ranks[own] = number(own, in: &slots) }
        let before = ranks[own]!.count(before: slots[waiter].rank, &steps)
        return place(position: before, queue: own)
    }

    private mutating func number(_ queue: Int, in slots: inout [Waiter]) -> QueueRanks {
        var rank: Int32 = 0
        var candidate = queues[queue].head
        while candidate >= 0 {
            slots[Int(candidate)].rank = rank
            rank += 1
            steps &+= 1
            candidate = slots[Int(candidate)].next
        }
        return QueueRanks(count: Int(rank))
    }

    /// The place of the waiter at this position, counted from 0, of a group's queue.
    func place(position: Int, queue own: Int) -> Int {
        let usedTurns = queues[cursor].weight - credits
        let turns = position + (own == cursor ? usedTurns : 0)
        let rounds = turns / queues[own].weight
        var ahead = position
        var isBefore = true
        var queue = cursor
        for _ in 0..<activeCount {
            if queue == own {
                isBefore = false
            } else {
                var served = queues[queue].weight * (rounds + (isBefore ? 1 : 0))
                if queue == cursor { served -= usedTurns }
                ahead += min(queues[queue].count, max(0, served))
            }
            queue = queues[queue].nextActive
        }
        return ahead + 1
    }

    private mutating func link(_ waiter: Int, after: Int32, in slots: inout [Waiter]) {
        let queue = slots[waiter].queue
        let next = after >= 0 ? slots[Int(after)].next : queues[queue].head
        slots[waiter].previous = after
        slots[waiter].next = next
        if after >= 0 {
            slots[Int(after)].next = Int32(waiter)
        } else {
            queues[queue].head = Int32(waiter)
        }
        if next >= 0 {
            slots[Int(next)].previous = Int32(waiter)
        } else {
            queues[queue].tail = Int32(waiter)
        }
    }

    /// Puts the group at the end of the ring: just before the one whose turn it is.
    private mutating func activate(_ queue: Int) {
        activeCount += 1
        guard cursor >= 0 else {
            queues[queue].nextActive = queue
            queues[queue].previousActive = queue
            cursor = queue
            credits = queues[queue].weight
            return
        }
        let last = queues[cursor].previousActive
        queues[queue].nextActive = cursor
        queues[queue].previousActive = last
        queues[last].nextActive = queue
        queues[cursor].previousActive = queue
    }

    private mutating func deactivate(_ queue: Int) {
        activeCount -= 1
        let next = queues[queue].nextActive
        let previous = queues[queue].previousActive
        if next == queue {
            cursor = -1
            credits = 0
        } else {
            queues[previous].nextActive = next
            queues[next].previousActive = previous
            if cursor == queue {
                cursor = next
                credits = queues[next].weight
            }
        }
        queues[queue].nextActive = -1
        queues[queue].previousActive = -1
    }

    private mutating func passTurn() {
        cursor = queues[cursor].nextActive
        credits = queues[cursor].weight
    }
}
