// SPDX-License-Identifier: Apache-2.0

/// A pool whose leases wait for each other: each is held by somebody who waits for one more.
package struct PoolLock: Equatable, Sendable {
    package enum Grade: Int, Comparable, Sendable {
        /// Every holder is at rest in its transaction, and its process waits.
        case suspected
        /// Every holder is a thread that waits.
        case certain

        package static func < (left: Grade, right: Grade) -> Bool { left.rawValue < right.rawValue }
    }

    /// One lease of the cycle, and the request that its holder waits with (one of its process, if
    /// the thread is not known).
    package struct Link: Equatable, Sendable {
        package var lease: LeaseID
        package var server: ServerID
        package var holder: ClientID
        package var owner: OwnerKey
        package var heldSince: Instant
        package var waitsAs: ClientID?
    }

    package var pool: PoolID
    package var grade: Grade
    /// The group whose cap it is about; nil: the pool's size.
    package var group: GroupID?
    package var links: [Link]
}

/// What the leases that wait for each other have used up: all of a pool, or what a group's cap leaves
/// its clients.
struct LockScope: Equatable {
    var pool: Int
    /// nil: it is the pool's size.
    var group: Int?
}

/// What a pool knows of the lock among its leases. One at a time is relieved, as the reserve is one.
struct LockState {
    /// The waiter that a connection of the reserve is on its way for, or -1.
    var favoured: Int32 = -1
    /// The shell reports which of the leases rest.
    var isWatched = false
    /// Since when it is locked, not counting the moments in which somebody was just helped.
    var since: Instant?
    var grade = PoolLock.Grade.suspected
    /// The group whose cap it is about; nil: the pool's size.
    var group: Int?
    /// When it was last seen to be so.
    var seenAt = Instant.zero
    /// What the last look saw: nil: nothing; else what `group` says.
    var lastSeen: Int??
    /// What was done about it.
    var lent = 0
    var rejected = 0
    /// The chain of leases that is helped first, until it ends.
    var chain: HelpedChain?
    var ties = ThreadTies()
    /// Which of its processes' threads may ask next.
    var going = GoingThreads()
    /// When a lease last came back.
    var returnedAt = Instant.zero
    /// How its processes' threads pause before they ask for one more; kept from one lock to the next.
    var rhythms = ThreadRhythms()
    /// No look at the waiters before this moment: the last one was at many.
    var nextLook = Instant.zero

    init() {}

    /// After a lock: what was learnt of the processes, and what goes on, stays.
    init(after lock: LockState) {
        isWatched = lock.isWatched
        going = lock.going
        rhythms = lock.rhythms
        nextLook = lock.nextLook
    }
}

/// Leases that rest, as the shell reported them, by server slot. Kept beside the slots, because
/// only a pool that stands still needs it.
struct RestingLeases {
    private var entries: [Int: (lease: LeaseID, since: Instant)] = [:]

    mutating func begin(_ server: Int, _ lease: LeaseID, since: Instant) {
        entries[server] = (lease, since)
    }

    mutating func end(_ server: Int) { entries[server] = nil }

    /// Since when this lease rests; nil: it does not, or nobody looks.
    func since(_ server: Int, _ lease: LeaseID) -> Instant? {
        guard let entry = entries[server], entry.lease == lease else { return nil }
        return entry.since
    }
}
