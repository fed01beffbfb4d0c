// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import Glibc

extension UTCTime {
    static func now() -> UTCTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UTCTime(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }
}
