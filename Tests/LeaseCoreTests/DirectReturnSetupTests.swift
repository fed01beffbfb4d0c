// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What is put in force again behind the reset of a connection that a client had directly.
@Suite struct DirectReturnSetupTests {
    typealias Fixture = DirectReturnFixture

    private static let setup = "set profile 7 none"

    private static func fixture(reset: String = "discard all") -> Fixture {
        Fixture(reset: reset, setup: setup)
    }

    @Test func itGoesInTheSameFlight() {
        var fixture = Self.fixture()
        fixture.leave { $0.appendQuery("set mark a") }
        fixture.begin()
        fixture.run()
        #expect(fixture.sent == ["CopyFail"] + fixture.attempt(1))
        #expect(fixture.sent.last == "Query(set profile 7 none)")
        #expect(fixture.outcome == .clean && fixture.isTrue && fixture.machine.isSetUp)
        #expect(fixture.machine.parameters.last?.value == "7")
    }

    @Test(arguments: DirectReturnTests.leftovers)
    func whateverWasLeft(_ left: DirectReturnTests.Leftover) {
        for pieces in [1, 2, 7, 50, Int.max] {
            var fixture = Self.fixture()
            fixture.leave(left.write)
            fixture.begin()
            fixture.run(pieces: pieces)
            #expect(fixture.outcome == .clean && fixture.machine.isSetUp, "\(pieces)")
            #expect(fixture.isTrue, "\(pieces)")
            #expect(fixture.backend.committed == left.committed, "\(pieces)")
        }
    }

    @Test func whatFailsLeavesItClean() {
        var fixture = Fixture(reset: "discard all", setup: "fail s")
        fixture.leave { $0.appendQuery("set mark a") }
        fixture.begin()
        fixture.run(pieces: 5)
        #expect(fixture.outcome == .clean && fixture.isTrue && !fixture.machine.isSetUp)
    }

    @Test func aLateCancelHitsIt() {
        var fixture = Self.fixture()
        fixture.begin()
        // The CopyFail, the marked query, the Sync, the reset.
        for _ in 0..<4 { _ = fixture.backend.step() }
        fixture.backend.cancels = 1
        fixture.run(pieces: 9)
        #expect(fixture.outcome == .clean && fixture.isTrue && !fixture.machine.isSetUp)
        #expect(fixture.backend.profile == "0")
    }

    /// It was put in force, but over something unknown: that counts as nothing.
    @Test func behindAResetThatFailsItIsWorthNothing() {
        var fixture = Self.fixture(reset: "fail r")
        fixture.leave { $0.appendQuery("set mark a") }
        fixture.begin()
        fixture.run(pieces: 3)
        #expect(fixture.outcome == .settled(.idle) && !fixture.machine.isSetUp)
        #expect(fixture.isTrue)
    }

    @Test func withoutAResetThereIsNone() {
        var fixture = Fixture(setup: Self.setup)
        fixture.begin()
        fixture.run()
        #expect(fixture.outcome == .settled(.idle) && !fixture.machine.isSetUp)
        #expect(fixture.sent.count == 3 && fixture.backend.profile == "0")
    }

    @Test func lateCancelsCostAttempts() {
        for cancels in 1...2 {
            var fixture = Self.fixture()
            fixture.leave { $0.appendQuery("begin") }
            fixture.backend.cancels = cancels
            fixture.begin()
            fixture.run(pieces: 9)
            #expect(fixture.outcome == .clean && fixture.isTrue, "\(cancels)")
        }
    }
}
