// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire
import Testing

@testable import BrokerConsole

@Suite struct StatisticsAverageTests {
    private func counted(_ queries: Int) -> PoolStatistics {
        var statistics = PoolStatistics()
        statistics.queries = queries
        statistics.transactions = queries / 2
        statistics.queryTime = Int64(queries) * 2_000_000
        statistics.waitTime = Int64(queries) * 1_000_000
        statistics.bytesReceived = queries * 1_000_000_000_000
        return statistics
    }

    @Test func ratesAndTimes() {
        let average = StatisticsAverage(counted(120), over: .seconds(60))
        #expect(average.queries == 2)
        #expect(average.transactions == 1)
        #expect(average.queryTime == 2_000)
        #expect(average.waitTime == 2_000)
        #expect(average.bytesReceived == 2_000_000_000_000)
        let none = StatisticsAverage(PoolStatistics(), over: .zero)
        #expect(none.queries == 0 && none.queryTime == 0)
    }

    @Test func theLineOfPgbouncer() {
        #expect(
            StatisticsAverage(counted(120), over: .seconds(60)).logLine
                == "stats: 1 xacts/s, 2 queries/s, 0 client parses/s, 0 server parses/s, 0 binds/s, 0 client logins/s, "
                + "in 2000000000000 B/s, out 0 B/s, xact 0 us, query 2000 us, wait 2000 us")
    }
}

@Suite struct ConsoleIdentityTests {
    @Test func numbersLeadBack() {
        for id in [
            ClientID(slot: 0, generation: 1), ClientID(slot: 9_999, generation: 1),
            ClientID(slot: 0xF_FFFF, generation: .max),
        ] {
            #expect(ClientID(consoleNumber: id.consoleNumber) == id)
        }
        #expect(ClientID(consoleNumber: 0) == nil)
        #expect(ClientID(consoleNumber: -1) == nil)
        #expect(ClientID(consoleNumber: .max) == nil)
    }

    @Test func pointersDiffer() {
        #expect(ClientID(slot: 1, generation: 1).consolePointer == "0xc100000100000001")
        #expect(ServerID(slot: 1, generation: 1).consolePointer == "0x5e00000100000001")
    }

    @Test func waitingTimesAreTakenApart() {
        let wait = Duration.microseconds(2_000_003).secondsAndMicroseconds
        #expect(wait.seconds == 2 && wait.microseconds == 3)
        #expect(Duration.seconds(-1).secondsAndMicroseconds == (0, 0))
    }

    @Test func momentsAreUTC() throws {
        let clock = ConsoleClock(
            loop: Instant(nanoseconds: 5_000_000_000),
            wall: UTCTime(seconds: 1_795_453_200, nanoseconds: 0))
        let text = clock.text(Instant(nanoseconds: 5_000_000_000))
        #expect(text == "2026-11-23 17:00:00 UTC")
        // A day and its earlier half: the date goes back by one.
        let before = clock.text(Instant(nanoseconds: 5_000_000_000 - 86_400_000_000_000))
        #expect(before == "2026-11-22 17:00:00 UTC")
        #expect(
            UTCTime(seconds: 1_795_453_200, nanoseconds: 123_999_999).consoleText
                == "2026-11-23 17:00:00.123 UTC")
    }
}

@Suite struct ConsoleRowsTests {
    @Test func nullsAndNumbers() {
        var rows = ConsoleRows([ConsoleColumn("a", .text), ConsoleColumn("b", .int8)])
        rows.add {
            $0.text(nil)
            $0.integer(nil as Int64?)
        }
        rows.add {
            $0.text("a\u{0}b")
            $0.integer(Int64.min)
        }
        let answers = ConsoleClientStub.answers(rows.bytes)
        #expect(rows.count == 2)
        #expect(answers.texts == [[nil, nil], ["ab", "-9223372036854775808"]])
    }

    @Test func cellsComeBackAsTheyWereWritten() {
        var rows = ConsoleRows(.texts("a") + .integers("b", "c"))
        rows.add {
            $0.text("x\u{E4}")
            $0.integer(-5)
            $0.integer(Int64?.none)
        }
        rows.add {
            $0.text(nil)
            $0.integer(7)
            $0.integer(8)
        }
        var read: [[String?]] = []
        rows.eachRow { read.append($0.map { $0.map { String(decoding: $0, as: UTF8.self) } }) }
        #expect(read == [["xä", "-5", nil], [nil, "7", "8"]])
    }
}
