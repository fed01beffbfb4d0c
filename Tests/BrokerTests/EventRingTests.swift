// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import Testing

@testable import Broker

@Suite struct EventRingTests {
    private var ring = EventRing()

    private static func at(_ seconds: Int) -> Instant { .zero + .seconds(seconds) }

    private mutating func record(
        _ kind: EventKind = .exhausted, pool: UInt32 = 1, cause: String = "deadline",
        message: String = "said", at seconds: Int
    ) {
        var incident = Incident(kind: kind, level: .warning, message: message, cause: cause)
        incident.pool = pool
        ring.record(
            incident, at: UTCTime(seconds: 1_000 + seconds, nanoseconds: 0),
            now: Self.at(seconds))
    }

    @Test mutating func theSameAgainIsCounted() {
        for second in 0..<5 { record(message: "\(second)", at: second) }
        #expect(ring.entries.count == 1)
        #expect(ring.entries[0].count == 5)
        #expect(ring.entries[0].time.seconds == 1_000)
        #expect(ring.entries[0].last == Self.at(4))
        #expect(ring.entries[0].incident.message == "4")
    }

    @Test mutating func manyInOneTurnAreOnlyCounted() {
        let first = ring.countAgain(.exhausted, pool: 1, cause: "deadline", now: Self.at(0))
        record(at: 0)
        let second = ring.countAgain(.exhausted, pool: 1, cause: "deadline", now: Self.at(0))
        let later = ring.countAgain(.exhausted, pool: 1, cause: "deadline", now: Self.at(1))
        let other = ring.countAgain(.exhausted, pool: 2, cause: "deadline", now: Self.at(0))
        #expect([first, second, later, other] == [false, true, false, false])
        #expect(ring.entries.map(\.count) == [2])
    }

    @Test mutating func whatDiffersIsAnEventOfItsOwn() {
        record(at: 0)
        record(cause: "queue_full", at: 0)
        record(pool: 2, at: 0)
        record(.leak, at: 0)
        record(at: 0)
        #expect(ring.entries.map(\.count) == [2, 1, 1, 1])
        #expect(ring.entries.map(\.id) == [1, 2, 3, 4])
    }

    @Test mutating func afterAPauseItIsAnotherEvent() {
        record(at: 0)
        record(at: 10)
        record(at: 21)
        #expect(ring.entries.map(\.count) == [2, 1])
    }

    /// The next attempt to connect may be a quarter of a minute away.
    @Test mutating func anOutageIsOneEvent() {
        for minute in 0..<10 { record(.connectFailed, at: minute * 45) }
        #expect(ring.entries.map(\.count) == [10])
    }

    @Test mutating func aLongIncidentIsToldAgain() {
        for second in stride(from: 0, through: 1_200, by: 5) { record(at: second) }
        #expect(ring.entries.count == 2)
        #expect(ring.entries.map(\.count).reduce(0, +) == 241)
    }

    @Test mutating func theOldestGivesWayAndTheSpaceStays() {
        let kinds: [EventKind] = [.leak, .revoked, .operatorAction, .serverLost]
        for number in 0..<3_000 { record(kinds[number % 4], cause: "\(number)", at: number) }
        #expect(ring.entries.count == EventRing.capacity)
        #expect(ring.entries.first?.id == Int64(2_489))
        #expect(ring.entries.last?.id == 3_000)
        // What gave way is not counted on any more.
        record(.leak, cause: "0", at: 3_000)
        #expect(ring.entries.last?.id == 3_001)
    }

    @Test mutating func aStormOfOneKindLeavesTheOthers() {
        record(.reload, at: 0)
        record(.poolLock, at: 0)
        for number in 0..<5_000 { record(.clientRefused, pool: UInt32(number), at: 1) }
        #expect(ring.entries.count == EventRing.capacityOfKind + 2)
        #expect(ring.entries.prefix(2).map(\.incident.kind) == [.reload, .poolLock])
        #expect(ring.entries.map(\.id) == ring.entries.map(\.id).sorted())
        // The newest of the storm is still found after others were taken out of the middle.
        record(.clientRefused, pool: 4_999, at: 2)
        #expect(ring.entries.last?.count == 2)
    }
}

@Suite struct TallyTests {
    @Test func everyCauseHasACount() {
        var tally = Tally<RevocationCause>()
        tally.count(.hold)
        tally.count(.hold)
        tally.count(.killLease)
        #expect(tally[.hold] == 2 && tally[.queryTimeout] == 0 && tally[.killLease] == 1)
        #expect(tally.byName.count == RevocationCause.allCases.count)
        #expect(tally.byName.first { $0.name == "kill_lease" }?.count == 1)
    }
}
