// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The system's clock as PostgreSQL counts it on the wire.
enum PostgresClock {
    /// 2000-01-01 00:00 UTC, in seconds of Unix time.
    private static let epoch: Int64 = 946_684_800

    /// Microseconds from 2000-01-01 00:00 UTC.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec) - epoch) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}
