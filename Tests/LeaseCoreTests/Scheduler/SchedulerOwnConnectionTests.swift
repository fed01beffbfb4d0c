// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// A process that leases directly again and again stays with the connection that it had.
struct SchedulerOwnConnectionTests {
    /// A pool of two: one connection of the process is being cleaned, the other is anybody's.
    private func harness() -> (SchedulerHarness, own: ServerID, free: ServerID) {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let own = harness.handOut(1, to: 1)
        let free = harness.lease(2)
        harness.giveBack(free)
        harness.giveBack(own, .dirty)
        #expect(harness.state(own) == .resetting)
        return (harness, own, free)
    }

    @Test func itWaitsForItsOwnThatIsBeingCleaned() {
        var (harness, own, free) = harness()
        #expect(harness.request(3, peer: 1, toHandOut: true).isEmpty)
        let effects = harness.send(.resetSucceeded(own, profile: ProfileID(0)))
        #expect(granted(effects).values.first == own)
        #expect(harness.state(free) == .idle)
    }

    @Test func itTakesAnotherAfterAMoment() {
        var (harness, own, free) = harness()
        #expect(harness.request(3, peer: 1, toHandOut: true).isEmpty)
        #expect(granted(harness.advance(.milliseconds(10))).values.first == free)
        #expect(harness.state(own) == .resetting)
    }

    @Test func itTakesAnotherWhenItsOwnIsLost() {
        var (harness, own, free) = harness()
        #expect(harness.request(3, peer: 1, toHandOut: true).isEmpty)
        #expect(granted(harness.send(.resetFailed(own))).values.first == free)
    }

    @Test func twoClientsDoNotWaitForOne() {
        var (harness, own, free) = harness()
        #expect(harness.request(3, peer: 1, toHandOut: true).isEmpty)
        #expect(granted(harness.request(4, peer: 1, toHandOut: true)).values.first == free)
        let effects = harness.send(.resetSucceeded(own, profile: ProfileID(0)))
        #expect(granted(effects).values.first == own)
    }

    @Test func nothingIsTakenFromAnotherProcessMeanwhile() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let own = harness.handOut(1, to: 1)
        let other = harness.handOut(2, to: 2)
        harness.giveBack(other)
        harness.giveBack(own, .dirty)
        #expect(harness.request(3, peer: 1, toHandOut: true).isEmpty)
        #expect(
            granted(harness.send(.resetSucceeded(own, profile: ProfileID(0)))).values.first == own)
        #expect(harness.pool().handsOutAgainAt == nil)
    }

    @Test func whoDoesNotWantTheDescriptorDoesNotWait() {
        var (harness, _, free) = harness()
        #expect(granted(harness.request(3, peer: 1)).values.first == free)
    }
}
