// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import Logging

/// The end of each `stats_period`.
extension Broker {
    /// Called whenever something is looked at; does nothing before a period has ended.
    func lookAtStatistics(_ now: Instant) {
        if telemetry.history.rolledAt == nil { telemetry.history.begin(telemetry.startedAt) }
        let period = statisticsPeriod
        let due = (telemetry.history.rolledAt ?? telemetry.startedAt) + period
        guard due <= now else {
            housekeeping(by: due)
            return
        }
        let current = poolStatistics
        if settings.logStats, settings.statsPeriod != nil {
            let average = StatisticsAverage(
                telemetry.history.sinceLatest(current),
                over: now - (telemetry.history.rolledAt ?? telemetry.startedAt))
            logger.info("\(average.logLine)")
        }
        telemetry.history.roll(now: now, current: current)
        housekeeping(by: now + period)
    }

    var statisticsPeriod: Duration { settings.statsPeriod ?? .seconds(60) }

    private var poolStatistics: [PoolID: PoolStatistics] {
        directory.pools.byID.mapValues(\.statistics)
    }
}
