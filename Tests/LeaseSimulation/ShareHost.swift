// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A sidecar under a shared bound: the shipped share machine, and in place of its pools a few counts.
struct ShareHost {
    /// One run of the process; another one after each end.
    var holder: Int
    var share: BoundShare
    var weight = 1
    /// How many connections its clients would use now.
    var demand = 0
    /// Its backends: those that are open, by whom they serve.
    var idle: [Int] = []
    var busy: [Int] = []
    /// Attempts under way, none of them a backend before its end.
    var connecting = 0
    /// Attempts of an earlier number were given up.
    var attempts = 0
    /// Closed here, and perhaps not yet gone there.
    var ending: [Int] = []
    var closing: Int { ending.count }

    var isRunning = true
    var isLeaving = false
    /// It leaves for good: another one is in its place.
    var isRetired = false
    var startedAt = Instant.zero
    /// SIGSTOP: what comes meanwhile is found at the end of it.
    var stoppedUntil = Instant.zero
    /// No packet comes or goes.
    var cutUntil = Instant.zero
    /// Its clock: seconds of its own for each true one, and where it began.
    var clockRate = 1.0
    var clockOffset: Int64 = 0
    /// The connection that asked last, kept until the first of its own stands.
    var witness: Int?
    /// Since when it waits beside free places.
    var waitsSince: Instant?
    /// The moment its next look is planned for.
    var plannedAt: Instant?

    init(holder: Int, seed: UInt64, asksApart: Bool) {
        self.holder = holder
        share = BoundShare(seed: seed, asksApart: asksApart)
    }

    var open: Int { idle.count + busy.count }
    var staying: Int { open + connecting }
    var used: Int { staying + closing }
    /// With the connection that asks.
    var places: Int { used + (share.isAsking ? 1 : 0) }

    func local(_ now: Instant) -> Instant {
        Instant(nanoseconds: clockOffset + Int64(Double(now.nanoseconds) * clockRate))
    }

    func global(_ local: Instant) -> Instant {
        if local.nanoseconds == .max { return local }
        let passed = Double(local.nanoseconds - clockOffset) / clockRate
        // A microsecond more than the arithmetic can lose.
        return Instant(nanoseconds: Int64(passed.rounded(.up)) + 1000)
    }

    func isReachable(_ now: Instant) -> Bool {
        isRunning && stoppedUntil <= now && cutUntil <= now
    }
}

/// How rough a run is.
package struct ShareWeather: Sendable {
    package var hosts: Int
    package var total: Int
    package var spare = 2
    /// Of a thousand questions: lost, answered and the answer lost, late by up to three periods.
    package var lost = 20
    package var unanswered = 20
    package var late = 10
    /// Seconds between two troubles; 0: none.
    package var calm = 5.0
    package var differentWeights = false
    /// The askers have a role of their own, with the spare places as its CONNECTION LIMIT.
    package var asksApart = false
    /// Leases of up to so many seconds.
    package var longestLease = 20.0

    package init(hosts: Int, total: Int) {
        self.hosts = hosts
        self.total = total
    }
}

/// What a run found out.
package struct ShareReport: Sendable {
    package var questions = 0
    package var levellings = 0
    package var mostAlive = 0
    /// With those that ask.
    package var mostTogether = 0
    /// Questions on spare places, and those for which PostgreSQL had no room.
    package var onSpare = 0
    package var crowdedOut = 0
    /// Moments at which askers without a limit took more than the spare places.
    package var momentsOver = 0
    /// The longest from a start to the first connection, in seconds.
    package var longestStart = 0.0
    /// Three periods: the level is settled anew, others learn that they are due less when they ask, and give back when a
    /// lease ends; and a question may be lost.
    package static let longestStartAllowed = 15.0

    /// What was promised and not kept.
    package var missed: String? {
        if longestStart > Self.longestStartAllowed {
            return "a new one had to wait \(longestStart) s"
        }
        guard let fairAfter, fairAfter <= 5 else {
            return "fair after \(fairAfter.map { "\($0)" } ?? "more than 30") periods"
        }
        // The period of up to a hundred is five seconds.
        guard longestBesideFree > 2 * period / 5 else { return nil }
        return "\(longestBesideFree) s beside free places"
    }
    /// Periods until everybody had its fair part after the last trouble; nil: not within thirty.
    package var fairAfter: Double?
    package var seconds = 0.0
    package var period = 0.0
    /// The longest that one waited while there were free places all the time, in seconds.
    package var longestBesideFree = 0.0
}
