// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Connections that a client process had the descriptor of, and whom they serve.
struct SchedulerConfinementTests {
    @Test func itsOwnProcessIsServedByItAgain() {
        var harness = SchedulerHarness()
        harness.open(size: 3)
        let own = harness.handOut(1, to: 1)
        let other = harness.lease(2)
        harness.giveBack(own)
        harness.giveBack(other)
        #expect(harness.pool().confined == 1)
        #expect(granted(harness.request(3, peer: 1)).values.first == own)
        #expect(granted(harness.request(4, peer: 1)).values.first == other)
        #expect(harness.scheduler.summary(of: own)?.confinedTo == PeerID(1))
        #expect(harness.scheduler.summary(of: other)?.confinedTo == nil)
    }

    @Test func amongItsOwnTheProfileDecides() {
        var harness = SchedulerHarness()
        harness.open(size: 3)
        let servers = [
            harness.handOut(1, to: 1), harness.handOut(2, to: 1), harness.lease(3, peer: 1),
        ]
        for (number, server) in servers.enumerated() {
            harness.giveBack(server, profile: UInt32(number))
        }
        #expect(granted(harness.request(4, profile: 0, peer: 1)).values.first == servers[0])
        // The one that has the profile is everybody's: its own is taken all the same.
        #expect(granted(harness.request(5, profile: 2, peer: 1)).values.first == servers[1])
        #expect(granted(harness.request(6, profile: 9, peer: 1)).values.first == servers[2])
    }

    @Test(arguments: [nil, 2] as [UInt32?])
    func anotherProcessGetsANewOne(_ peer: UInt32?) {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let server = harness.handOut(1, to: 1)
        harness.giveBack(server)
        let effects = harness.request(2, peer: peer)
        #expect(opened(effects).count == 1 && closed(effects).isEmpty)
        #expect(grantOrder(harness.connect(effects)) == [2])
        #expect(harness.state(server) == .idle)
    }

    @Test func atTheLimitTheOneThatWasIdleLongestIsTaken() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let servers = [harness.handOut(1, to: 1), harness.handOut(2, to: 2)]
        harness.giveBack(servers[0])
        harness.advance(.milliseconds(1))
        harness.giveBack(servers[1])
        #expect(harness.request(3, peer: 3) == [.closeServer(servers[0], .confined)])
        #expect(grantOrder(harness.request(4, peer: 2)) == [4])
        let orders = harness.send(.serverClosed(servers[0]))
        #expect(opened(orders).count == 1)
        #expect(grantOrder(harness.connect(orders)) == [3])
        #expect(harness.state(servers[1]) == .leased)
    }

    @Test func whatComesBackIsClosedForTheFirstWhoCannotUseIt() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.handOut(1, to: 1)
        #expect(harness.request(2, peer: 2).isEmpty)
        #expect(harness.request(3, peer: 1).isEmpty)
        #expect(closed(harness.giveBack(server)) == [server: .confined])
        let orders = harness.send(.serverClosed(server))
        let effects = harness.connect(orders)
        #expect(grantOrder(effects) == [2])
        #expect(grantOrder(harness.giveBack(opened(orders)[0])) == [3])
    }

    @Test func aLaterWaiterWhomItFitsIsServedIfTheFirstHasOneOnItsWay() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let server = harness.handOut(1, to: 1)
        let orders = harness.request(2, peer: 2)
        #expect(opened(orders).count == 1)
        harness.request(3, peer: 1)
        #expect(grantOrder(harness.giveBack(server)) == [3])
        #expect(grantOrder(harness.connect(orders)) == [2])
    }

    @Test func aCheckOfOneThatIsAnothersIsNotCountedOn() {
        var harness = SchedulerHarness()
        harness.open(size: 2) { $0.checkDelay = .zero }
        let server = harness.handOut(1, to: 1)
        harness.giveBack(server)
        #expect(harness.request(2, peer: 1) == [.validateServer(server)])
        let orders = harness.request(3, peer: 2)
        #expect(opened(orders).count == 1)
        #expect(grantOrder(harness.send(.validationSucceeded(server))) == [2])
        #expect(grantOrder(harness.connect(orders)) == [3])
    }

    /// Seed 3750: a client waited for the check of a connection that anyone may have, beside an
    /// idle one of its own process and one that needed no check.
    @Test func itsOwnIsCheckedAlthoughAnotherIsBeingChecked() {
        var harness = SchedulerHarness()
        harness.open(size: 3) { $0.checkDelay = .milliseconds(200) }
        let free = harness.lease(1)
        let own = harness.handOut(2, to: 1)
        harness.giveBack(own)
        harness.giveBack(free)
        harness.advance(.seconds(1))
        #expect(harness.request(3) == [.validateServer(free)])
        #expect(harness.request(4, peer: 1) == [.validateServer(own)])
        #expect(grantOrder(harness.send(.validationSucceeded(own))) == [4])
        #expect(grantOrder(harness.send(.validationSucceeded(free))) == [3])
    }

    @Test func aSharedBoundIsMetByItsOwnPoolsConnectionToo() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 2))
        harness.open(0, size: 2)
        harness.open(1, size: 2)
        let own = harness.handOut(1, to: 1)
        harness.giveBack(own)
        _ = harness.lease(2, pool: 1)
        #expect(closed(harness.request(3, peer: 2)) == [own: .confined])
        let orders = harness.send(.serverClosed(own))
        #expect(grantOrder(harness.connect(orders)) == [3])
    }

    @Test func anotherPoolEvictsIt() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 1))
        harness.open(0)
        harness.open(1)
        let server = harness.handOut(1, to: 1)
        harness.giveBack(server)
        #expect(closed(harness.request(2, pool: 1, peer: 1)) == [server: .evicted])
        // That is no contention between processes.
        harness.send(.serverClosed(server))
        #expect(harness.pool(0).handsOutAgainAt == nil)
    }

    @Test func oneThatOnlyStrangersWaitBesideMakesRoomForAnotherPool() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 2))
        harness.open(0, size: 3)
        harness.open(1, size: 3)
        let confined = harness.handOut(1, to: 1)
        let attempt = opened(harness.request(2, peer: 2))[0]
        harness.send(.serverConnectFailed(attempt, Failures.refused))
        harness.giveBack(confined)
        harness.send(.serverClosed(attempt))
        // Client 2 cannot use it, and its pool may not connect for a while.
        #expect(harness.state(confined) == .idle)
        let orders = harness.request(3, pool: 1)
        #expect(grantOrder(harness.connect(orders)) == [3])
        #expect(closed(harness.request(4, pool: 1)) == [confined: .evicted])
    }

    @Test func theMinimumCountsIt() {
        var harness = SchedulerHarness()
        harness.connect(harness.open(size: 2) { $0.minimumSize = 1 })
        let server = harness.handOut(1, to: 1)
        #expect(harness.giveBack(server).isEmpty)
        #expect(harness.scheduler.serverCount == 1)
        #expect(closed(harness.send(.peerGone(PeerID(1)))) == [server: .confined])
        #expect(harness.pool().counts.connecting == 1)
    }

    @Test func theRoomOfOneWhoseProcessIsGoneGoesToAWaiter() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.handOut(1, to: 1)
        harness.request(2, peer: 2)
        #expect(harness.send(.peerGone(PeerID(1))).isEmpty)
        #expect(closed(harness.giveBack(server, .broken)) == [server: .broken])
        let orders = harness.send(.serverClosed(server))
        #expect(grantOrder(harness.connect(orders)) == [2])
        #expect(harness.mayHandOut(opened(orders)[0], to: 2))
    }

    @Test func ofManyStrangersEachTakesOne() {
        var harness = SchedulerHarness()
        harness.open(size: 3) { $0.connectParallelism = 2 }
        let servers = [
            harness.handOut(1, to: 1), harness.handOut(2, to: 1), harness.handOut(3, to: 1),
        ]
        for server in servers { harness.giveBack(server) }
        var effects: [SchedulerEffect] = []
        for client in 10..<20 as Range<UInt32> { effects += harness.request(client, peer: 2) }
        #expect(closed(effects).count == 2)
        var order: [UInt32] = []
        while !effects.isEmpty {
            var following = harness.connect(effects)
            for server in closed(effects).keys.sorted(by: { $0.slot < $1.slot }) {
                following += harness.send(.serverClosed(server))
            }
            order += grantOrder(following)
            effects = following
        }
        #expect(order == [10, 11, 12])
        #expect(harness.pool().confined == 0)
    }

    @Test func aProfileThatOnlyAStrangerHasOpenIsNotWaitedFor() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let orders = harness.request(1, profile: 5, requires: true, peer: 1)
        harness.connect(orders)
        let server = opened(orders)[0]
        harness.send(.serverHandedOut(server, to: PeerID(1)))
        harness.giveBack(server)
        let effects = harness.request(2, profile: 5, requires: true, peer: 2)
        #expect(closed(effects) == [server: .confined])
        let again = harness.send(.serverClosed(server))
        #expect(grantOrder(harness.connect(again)) == [2])
    }
}
