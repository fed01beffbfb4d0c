// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// What the broker keeps to tell operators of, besides its counters. Nothing of it decides anything.
struct Telemetry {
    let startedAt: Instant
    var events = EventRing()
    var lockNumbers = LockNumbers()
    var history = StatisticsHistory()
}
