// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire
import Testing

@testable import Broker

@Suite struct StatisticsHistoryTests {
    private let pool = PoolID(1)

    private func counted(_ queries: Int) -> PoolStatistics {
        var statistics = PoolStatistics()
        statistics.queries = queries
        statistics.transactions = queries / 2
        statistics.queryTime = Int64(queries) * 2_000_000
        statistics.waitTime = Int64(queries) * 1_000_000
        statistics.bytesReceived = queries * 1_000_000_000_000
        return statistics
    }

    private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

    @Test func averagesGoBackToTheEndBeforeTheLast() {
        var history = StatisticsHistory()
        history.begin(at(100))
        #expect(history.sinceBefore(pool, counted(5)) == counted(5))
        #expect(history.spanSinceBefore(at(110)) == .seconds(10))
        history.roll(now: at(160), current: [pool: counted(60)])
        // One period has ended: everything since the start still counts.
        #expect(history.sinceBefore(pool, counted(70)) == counted(70))
        #expect(history.sinceLatest([pool: counted(70)]) == counted(10))
        history.roll(now: at(220), current: [pool: counted(100)])
        #expect(history.sinceBefore(pool, counted(110)) == counted(50))
        #expect(history.spanSinceBefore(at(230)) == .seconds(70))
        #expect(history.rolledAt == at(220))
    }

    @Test func aPoolThatIsNewBeganAtNothing() {
        var history = StatisticsHistory()
        history.begin(at(0))
        history.roll(now: at(60), current: [pool: counted(4)])
        history.roll(now: at(120), current: [pool: counted(4)])
        #expect(history.sinceBefore(PoolID(2), counted(3)) == counted(3))
        #expect(history.sinceLatest([pool: counted(4), PoolID(2): counted(3)]) == counted(3))
    }
}
