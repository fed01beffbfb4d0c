// SPDX-License-Identifier: Apache-2.0

/// How a pool pauses between failing attempts to connect: exponentially longer, with full jitter,
/// from its shortest to its longest pause.
struct Backoff {
    /// Failed attempts in a row; attempts that were under way together count as one.
    private(set) var attempts = 0
    /// No attempt before this moment.
    private(set) var until = Instant.zero
    private(set) var failure: ConnectFailure?
    private(set) var failedAt = Instant.zero

    @inline(__always)
    var isQuiet: Bool { attempts == 0 }

    /// The last failure was that PostgreSQL is full.
    var isSaturated: Bool { failure?.kind == .saturated }

    func allowsAttempt(_ now: Instant) -> Bool { attempts == 0 || until <= now }

    /// An attempt that was under way when an earlier one failed tells nothing new.
    func knowsAlready(attemptBegunAt begun: Instant) -> Bool {
        attempts > 0 && begun <= failedAt
    }

    mutating func fail(_ failure: ConnectFailure, now: Instant, pause: Int64) {
        attempts += 1
        self.failure = failure
        failedAt = now
        until = now.adding(pause)
    }

    /// The reason is newer, the pause stays.
    mutating func update(_ failure: ConnectFailure) { self.failure = failure }

    mutating func succeed() { self = Backoff() }

    /// An operator acted: the next attempt need not wait.
    mutating func cutShort() { until = .zero }

    /// A pause for the attempt after the next failure.
    func nextPause(
        minimum: Duration, maximum: Duration, using random: inout SeededGenerator
    ) -> Int64 {
        let shortest = max(1_000_000, minimum.wholeNanoseconds)
        let longest = max(shortest, maximum.wholeNanoseconds)
        let (scaled, overflow) = shortest.multipliedReportingOverflow(
            by: Int64(1) << Int64(min(attempts + 1, 32)))
        let ceiling = overflow ? longest : min(longest, scaled)
        return random.nanoseconds(in: shortest...ceiling)
    }
}

/// A cold start under way: how many attempts its schedule has left.
struct StartupProgress {
    let schedule: StartupSchedule
    private(set) var attempts = 0

    init(schedule: StartupSchedule) { self.schedule = schedule }

    /// Counts a failed attempt; the pause before the next one, or nil when it was the last.
    mutating func fail() -> Int64? {
        attempts += 1
        guard attempts < schedule.attempts else { return nil }
        var pause = Double(schedule.delay.wholeNanoseconds)
        let longest = Double(schedule.maximumDelay.wholeNanoseconds)
        for _ in 1..<attempts where pause < longest { pause *= max(1, schedule.factor) }
        return Int64(min(pause, longest))
    }
}
