// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// What a `ReliefTrial` tries: who comes, with what kind of sessions, to which pool.
package struct ReliefSetting {
    /// The client's own pool of sessions, from which a thread takes one for each lease.
    package enum Sessions: Sendable {
        /// Sessions stay open, and any that is idle is taken (psycopg 3's pool, most others).
        case kept
        /// A new session for nearly every lease, closed afterwards; one stays idle. Logins take
        /// turns at the pool's lock (psycopg2's pool with min 1, as the first user has it).
        case fresh
    }

    /// What a thread does with a session that it has just taken, before the transaction that it is for.
    package enum Habit: Sendable, CaseIterable {
        case nothing
        /// A statement of its own tries whether the session still works (the first user's pool).
        case tries
        /// The same in a transaction that is rolled back.
        case triesInTransaction
        /// A transaction of its own, then the thread pauses as between two levels.
        case usesOnce
    }

    package var depth = 3
    /// Chains of every depth up to this one.
    package var isMixed = false
    /// Besides its chain, the outermost lease's thread takes one that it gives back at once.
    package var hasLeaf = false
    package var threadsAreKnown = true
    package var sessions = Sessions.kept
    /// Now and then a thread does not get its turn for some ten milliseconds.
    package var isUneven = false
    package var processes = 4
    /// Between a thread's chains, on average.
    package var pause = Duration.milliseconds(20)
    /// Between a lease and the next one that is nested in it, at most; evenly spread.
    package var levelPause = Duration.zero
    /// Every thread takes one chain, all at once, and no more.
    package var isBurst = false
    /// The cap of the group that all of them are in.
    package var cap: Int?
    package var habit = Habit.nothing
    package var threadsPerProcess = 8
    package var connections = 10
    package var deadline = Duration.seconds(5)
    package var reserve = 3
    /// Threads that come besides, for one chain each.
    package var newcomersPerSecond = 0.0
    /// Of these, so many in a hundred are of a process of their own.
    package var strangersPerCent = 0
    /// Of these, so many in a hundred take one lease only.
    package var shortPerCent = 0

    package init() {}

    /// Threads of one process, all of which begin a chain at once.
    package struct Burst: CustomStringConvertible, Sendable {
        package var threads: Int
        package var connections: Int
        package var cap: Int?

        package var description: String {
            "\(threads) threads on \(connections)\(cap.map { ", cap \($0)" } ?? "")"
        }
    }

    package static let bursts = [
        Burst(threads: 11, connections: 5), Burst(threads: 14, connections: 10),
        Burst(threads: 11, connections: 5, cap: 4), Burst(threads: 14, connections: 10, cap: 9),
    ]

    /// A burst of threads that nobody knows apart, with sessions like those of psycopg2's pool.
    package init(_ burst: Burst, pausing pause: Duration, habit: Habit) {
        isBurst = true
        processes = 1
        threadsPerProcess = burst.threads
        connections = burst.connections
        cap = burst.cap
        levelPause = pause
        threadsAreKnown = false
        sessions = .fresh
        self.habit = habit
        deadline = .seconds(30)
    }
}

package struct ReliefResult: Equatable {
    package var chains = 0
    package var locks = 0
    package var lent = 0
    package var lockRejections = 0
    package var deadlineRejections = 0
    package var mostLeased = 0
    package var longestLock = Duration.zero
    /// When the last chain came to its end, from the beginning.
    package var took = Duration.zero

    package var errors: Int { lockRejections + deadlineRejections }

    package init() {}
}
