// SPDX-License-Identifier: Apache-2.0

/// What a deadline belongs to: a slot of one of the scheduler's tables.
struct DeadlineToken: Equatable {
    enum Kind: Int { case waiter, server, pool, lock }

    let rawValue: Int

    init(_ kind: Kind, _ slot: Int) { rawValue = slot * 4 + kind.rawValue }

    init(rawValue: Int) { self.rawValue = rawValue }

    var kind: Kind {
        guard let kind = Kind(rawValue: rawValue % 4) else { contractBroken("no such deadline") }
        return kind
    }

    var slot: Int { rawValue / 4 }
}

/// A binary heap of moments, at most one for each token, that can be moved and removed by token.
///
/// Invariant: `positions[token]` is where the token stands in `entries`, or -1.
struct DeadlineHeap {
    private struct Entry {
        var at: Instant
        var token: Int
    }

    private var entries: [Entry] = []
    private var positions: [Int32] = []

    var first: Instant? { entries.first?.at }

    func deadline(of token: DeadlineToken) -> Instant? {
        guard token.rawValue < positions.count else { return nil }
        let position = Int(positions[token.rawValue])
        return position < 0 ? nil : entries[position].at
    }

    func contains(_ token: DeadlineToken) -> Bool {
        token.rawValue < positions.count && positions[token.rawValue] >= 0
    }

    /// Sets the token's moment, or moves it.
    mutating func set(_ token: DeadlineToken, at moment: Instant) {
        let raw = token.rawValue
        while positions.count <= raw { positions.append(-1) }
        let position = Int(positions[raw])
        if position < 0 {
            entries.append(Entry(at: moment, token: raw))
            positions[raw] = Int32(entries.count - 1)
            siftUp(entries.count - 1)
        } else {
            let earlier = moment < entries[position].at
            entries[position].at = moment
            if earlier { siftUp(position) } else { siftDown(position) }
        }
    }

    mutating func remove(_ token: DeadlineToken) {
        guard contains(token) else { return }
        removeEntry(at: Int(positions[token.rawValue]))
    }

    /// Takes out the earliest token if its moment has come.
    mutating func popDue(_ now: Instant) -> DeadlineToken? {
        guard let first = entries.first, first.at <= now else { return nil }
        removeEntry(at: 0)
        return DeadlineToken(rawValue: first.token)
    }

    private mutating func removeEntry(at position: Int) {
        positions[entries[position].token] = -1
        let last = entries.removeLast()
        guard position < entries.count else { return }
        entries[position] = last
        positions[last.token] = Int32(position)
        siftUp(position)
        siftDown(Int(positions[last.token]))
    }

    private mutating func siftUp(_ start: Int) {
        var position = start
        while position > 0 {
            let parent = (position - 1) / 2
            guard entries[position].at < entries[parent].at else { return }
            swapEntries(position, parent)
            position = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var position = start
        while true {
            let left = position * 2 + 1
            guard left < entries.count else { return }
            let right = left + 1
            let child =
                right < entries.count && entries[right].at < entries[left].at ? right : left
            guard entries[child].at < entries[position].at else { return }
            swapEntries(position, child)
            position = child
        }
    }

    private mutating func swapEntries(_ one: Int, _ other: Int) {
        entries.swapAt(one, other)
        positions[entries[one].token] = Int32(one)
        positions[entries[other].token] = Int32(other)
    }

    func checkInvariants() throws(BrokenInvariant) {
        for (position, entry) in entries.enumerated() {
            try demand(Int(positions[entry.token]) == position, "deadline heap lost a position")
            let parent = (position - 1) / 2
            try demand(
                position == 0 || entries[parent].at <= entry.at, "deadline heap out of order")
        }
        try demand(
            positions.count { $0 >= 0 } == entries.count, "deadline heap has a position too many")
    }
}
