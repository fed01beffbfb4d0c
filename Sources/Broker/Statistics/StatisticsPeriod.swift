import BrokerConfiguration
import BrokerConsole
import LeaseCore
import Logging

/// The end of each `stats_period`.
extension Broker {
    /// Called whenever something is looked at; does nothing before a period has ended.
    func lookAtStatistics(_ now: Instant) {
        if history.rolledAt == nil { history.begin(startedAt) }
        let period = settings.statsPeriod
        let due = (history.rolledAt ?? startedAt) + period
        guard due <= now else {
            housekeeping(by: due)
            return
        }
        let current = poolStatistics
        if settings.logStats {
            let average = StatisticsAverage(
                history.sinceLatest(current), over: now - (history.rolledAt ?? startedAt))
            logger.info("\(average.logLine)")
        }
        history.roll(now: now, current: current)
        housekeeping(by: now + period)
    }

    private var poolStatistics: [PoolID: PoolStatistics] { poolsByID.mapValues(\.statistics) }
}
