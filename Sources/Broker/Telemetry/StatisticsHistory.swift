// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// What each pool had counted at the last two ends of `stats_period`, so that averages can be told.
///
/// Averages go back to the end before the last one, as pgbouncer's: they cover between one and two
/// periods, and never a moment too short to mean anything. Invariant: `before` is not later than
/// `latest`.
struct StatisticsHistory {
    /// What was counted until a moment. A pool that is not in it had counted nothing.
    private struct Snapshot {
        var at: Instant
        var pools: [PoolID: PoolStatistics] = [:]
        var console = PoolStatistics()
    }

    private var before: Snapshot?
    private var latest: Snapshot?
    /// The console's own traffic: it is no pool, and has a row all the same.
    var console = PoolStatistics()

    /// When the last period ended; nil before `begin`.
    var rolledAt: Instant? { latest?.at }

    /// Nothing has been counted before this moment.
    mutating func begin(_ start: Instant) {
        let empty = Snapshot(at: start)
        before = empty
        latest = empty
    }

    /// A period has ended.
    mutating func roll(now: Instant, current: [PoolID: PoolStatistics]) {
        before = latest
        latest = Snapshot(at: now, pools: current, console: console)
    }

    /// What a pool counted since averages go back, if it has counted `current` until now.
    func sinceBefore(_ pool: PoolID, _ current: PoolStatistics) -> PoolStatistics {
        current - (before?.pools[pool] ?? PoolStatistics())
    }

    var consoleSinceBefore: PoolStatistics { console - (before?.console ?? PoolStatistics()) }

    /// How far averages go back.
    func spanSinceBefore(_ now: Instant) -> Duration { before.map { now - $0.at } ?? .zero }

    /// What all pools counted since the last period's end.
    func sinceLatest(_ current: [PoolID: PoolStatistics]) -> PoolStatistics {
        var sum = PoolStatistics()
        for (pool, statistics) in current {
            sum += statistics - (latest?.pools[pool] ?? PoolStatistics())
        }
        return sum
    }
}
