// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore

/// What runs out outside the engine: periods of statistics, waits of operators, a shutdown.
extension Broker {
    func keepHouse(_ now: Instant) {
        lookAtStatistics(now)
        lookAtShares(now)
        lookAtVacated(now)
        lookAtIdlePools(now)
        lookAtConsoleWaits(now)
        lookAtLoan()
        lookAtShares()
        lookAtAnnouncement(now)
        lookAtReplacement(now)
        peers.look(now, self)
        lookAtShutdown(now)
        lookAtHosts(now)
        lookAtNames(now)
    }
}
