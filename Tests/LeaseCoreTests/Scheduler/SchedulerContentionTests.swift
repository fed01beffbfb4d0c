// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// When a pool stops to hand connections out, because processes take them from each other.
struct SchedulerContentionTests {
    @Test func oneThatIsConfinedToTheProcessMayAlwaysBeHandedOutAgain() {
        var harness = SchedulerHarness()
        harness.open(size: 3)
        let server = harness.handOut(1, to: 1)
        #expect(harness.mayHandOut(server, to: 1))
        #expect(!harness.mayHandOut(server, to: 2))
        let second = harness.handOut(2, to: 2)
        harness.giveBack(second)
        _ = harness.lease(3, peer: 3)
        #expect(Self.take(from: second, &harness) != nil)
        #expect(harness.mayHandOut(server, to: 1))
    }

    @Test func whatIsGoneIsNotHandedOut() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        harness.giveBack(server, .broken)
        harness.send(.serverClosed(server))
        #expect(!harness.mayHandOut(server, to: 1))
    }

    /// Clients of two processes on one connection: each hand-out is taken away by the other.
    @Test func thePauseDoublesToAMinuteAndIsForgottenAfterFive() {
        var harness = SchedulerHarness()
        harness.open(size: 1) { policy in
            policy.idleTimeout = nil
            policy.checkDelay = nil
            policy.lifetime = nil
        }
        var server = harness.lease(1, peer: 1)
        var pauses: [Int] = []
        for round in 0..<8 as Range<UInt32> {
            server = Self.takeInTurns(server, round, &harness)
            pauses.append(Self.pause(of: server, &harness))
        }
        #expect(pauses == [1, 2, 4, 8, 16, 32, 60, 60])
        harness.advance(.seconds(300))
        server = Self.takeInTurns(server, 8, &harness)
        #expect(Self.pause(of: server, &harness) == 1)
    }

    @Test func takingMoreDuringThePauseDoesNotDoubleIt() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let servers = [harness.handOut(1, to: 1), harness.handOut(2, to: 1)]
        for server in servers { harness.giveBack(server) }
        _ = Self.take(from: servers[0], &harness)
        harness.advance(.milliseconds(500))
        let server = Self.take(from: servers[1], &harness)!
        #expect(Self.pause(of: server, &harness) == 1)
    }

    @Test func otherPoolsGoOn() {
        var harness = SchedulerHarness()
        harness.open(0, size: 1)
        harness.open(1, size: 1)
        let server = harness.handOut(1, to: 1)
        harness.giveBack(server)
        _ = Self.take(from: server, &harness)
        let other = harness.lease(9, pool: 1, peer: 1)
        #expect(harness.mayHandOut(other, to: 1))
    }

    /// A client of a process of its own comes while this idle connection is the only one to take.
    private static func take(
        from server: ServerID, _ harness: inout SchedulerHarness
    ) -> ServerID? {
        let client = 100 + server.slot
        var effects = harness.request(client, peer: client)
        guard closed(effects)[server] == .confined else { return nil }
        effects = harness.send(.serverClosed(server))
        return granted(harness.connect(effects)).values.first
    }

    /// The connection, leased by the process of this round, is handed out, comes back, and is taken
    /// by the process of the next round; the new one is returned, leased.
    private static func takeInTurns(
        _ server: ServerID, _ round: UInt32, _ harness: inout SchedulerHarness
    ) -> ServerID {
        let peer = 1 + round % 2
        #expect(harness.mayHandOut(server, to: peer))
        harness.send(.serverHandedOut(server, to: PeerID(peer)))
        harness.giveBack(server)
        #expect(closed(harness.request(10 + round, peer: 3 - peer)) == [server: .confined])
        let orders = harness.send(.serverClosed(server))
        harness.connect(orders)
        return opened(orders)[0]
    }

    /// Seconds until connections like this one are handed out again. The clock stands there then.
    private static func pause(of server: ServerID, _ harness: inout SchedulerHarness) -> Int {
        var seconds = 0
        while !harness.mayHandOut(server, to: 1000) {
            harness.advance(.seconds(1))
            seconds += 1
        }
        return seconds
    }
}
