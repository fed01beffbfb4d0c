// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Who gets a connection, in which order, and who is told what at the deadline.
struct SchedulerQueueTests {
    @Test func grantsAnIdleConnectionAtOnce() {
        var harness = SchedulerHarness()
        harness.open()
        let server = harness.lease(1)
        harness.giveBack(server)
        #expect(granted(harness.request(2)) == [SchedulerHarness.client(2): server])
        #expect(harness.scheduler.waitingCount == 0)
    }

    @Test func servesFirstInFirstOut() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        for client in 2...5 as ClosedRange<UInt32> {
            #expect(harness.request(client).isEmpty)
        }
        var order: [UInt32] = []
        for _ in 2...5 { order += grantOrder(harness.giveBack(server)) }
        #expect(order == [2, 3, 4, 5])
    }

    @Test func aRepeatedRequestGoesToTheFrontOfItsGroup() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        harness.request(2)
        harness.advance(.milliseconds(10))
        harness.request(3)
        harness.request(4, waitingFor: .milliseconds(20))
        var order: [UInt32] = []
        for _ in 2...4 { order += grantOrder(harness.giveBack(server)) }
        #expect(order == [4, 2, 3])
    }

    @Test func groupsTakeTurnsByWeight() {
        var harness = SchedulerHarness(
            groups: [GroupPolicy(weight: 2), GroupPolicy(weight: 1), GroupPolicy(weight: 1)])
        harness.open(size: 1)
        let server = harness.lease(90)
        for client in 0..<6 as Range<UInt32> { harness.request(client, group: 0) }
        for client in 10..<13 as Range<UInt32> { harness.request(client, group: 1) }
        for client in 20..<22 as Range<UInt32> { harness.request(client, group: 2) }
        let expected: [UInt32] = [0, 1, 10, 20, 2, 3, 11, 21, 4, 5, 12]
        let places = harness.scheduler.waiters(of: PoolID(0))
        #expect(places.map(\.client.slot) == expected)
        #expect(places.map(\.place) == Array(1...11))
        var order: [UInt32] = []
        for _ in 0..<11 { order += grantOrder(harness.giveBack(server)) }
        #expect(order == expected)
    }

    @Test func placesAreRightInTheMiddleOfATurn() {
        var harness = SchedulerHarness(groups: [GroupPolicy(weight: 3), GroupPolicy(weight: 2)])
        harness.open(size: 1)
        let server = harness.lease(90)
        for client in 0..<7 as Range<UInt32> { harness.request(client, group: 0) }
        for client in 10..<15 as Range<UInt32> { harness.request(client, group: 1) }
        harness.giveBack(server)
        harness.giveBack(server)
        let expected = harness.scheduler.waiters(of: PoolID(0)).map(\.client.slot)
        var order: [UInt32] = []
        for _ in 0..<10 { order += grantOrder(harness.giveBack(server)) }
        #expect(order == expected)
    }

    @Test func aGroupAtItsCapDoesNotBlockOthers() {
        var harness = SchedulerHarness(groups: [GroupPolicy(maxLeases: 1), GroupPolicy()])
        harness.open(size: 2)
        let first = harness.lease(1, group: 0)
        harness.request(2, group: 0)
        #expect(harness.scheduler.serverCount == 1)
        let second = harness.lease(3, group: 1)
        #expect(grantOrder(harness.giveBack(second)).isEmpty)
        #expect(grantOrder(harness.giveBack(first)) == [2])
    }

    @Test func aCapHoldsOverPools() {
        var harness = SchedulerHarness(groups: [GroupPolicy(maxLeases: 1)])
        harness.open(0)
        harness.open(1)
        let other = harness.lease(9, pool: 1)
        harness.giveBack(other)
        let server = harness.lease(1, pool: 0)
        #expect(harness.request(2, pool: 1).isEmpty)
        #expect(granted(harness.giveBack(server)) == [SchedulerHarness.client(2): other])
    }

    @Test func aCapThatIsFreedGoesToTheLongestWait() {
        var harness = SchedulerHarness(groups: [GroupPolicy(maxLeases: 1)])
        harness.open(0)
        harness.open(1)
        let other = harness.lease(9, pool: 1)
        harness.giveBack(other)
        let server = harness.lease(1, pool: 0)
        harness.request(2, pool: 1)
        harness.advance(.milliseconds(1))
        harness.request(3, pool: 0)
        #expect(grantOrder(harness.giveBack(server)) == [2])
        #expect(grantOrder(harness.giveBack(other)) == [3])
    }

    @Test func aGuaranteeIsKept() {
        var harness = SchedulerHarness(groups: [GroupPolicy(), GroupPolicy(minLeases: 1)])
        harness.open(size: 2)
        let first = harness.lease(1, group: 0)
        #expect(harness.request(2, group: 0).isEmpty)
        _ = harness.lease(3, group: 1)
        #expect(harness.scheduler.waitingCount == 1)
        #expect(grantOrder(harness.giveBack(first)) == [2])
    }

    @Test func aWithdrawnWaiterIsGone() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        harness.request(2)
        harness.request(3)
        harness.send(.requestWithdrawn(SchedulerHarness.client(2)))
        harness.send(.requestWithdrawn(SchedulerHarness.client(2)))
        harness.send(.requestWithdrawn(SchedulerHarness.client(77)))
        #expect(grantOrder(harness.giveBack(server)) == [3])
    }

    @Test func rejectsAtTheDeadlineAndSaysWhy() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        _ = harness.lease(1)
        harness.request(2, within: .seconds(2))
        harness.request(3, within: .seconds(1))
        #expect(harness.scheduler.nextDeadline == harness.now + .seconds(1))
        let rejections = rejected(harness.advance(.seconds(1)))
        let expected = Rejection(
            cause: .deadline(.poolSize(1)), waited: .seconds(1), place: 2, waiting: 2)
        #expect(rejections == [SchedulerHarness.client(3): expected])
    }

    @Test func rejectsAtOnceWithoutTime() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        _ = harness.lease(1)
        let rejections = rejected(harness.request(2, within: .zero))
        #expect(rejections[SchedulerHarness.client(2)]?.cause == .deadline(.poolSize(1)))
    }

    @Test func namesTheLimitThatBinds() {
        var harness = SchedulerHarness(
            policy: BrokerPolicy(maxServerConnections: 3),
            groups: [GroupPolicy(), GroupPolicy(maxLeases: 0)])
        harness.open(0, size: 3)
        harness.open(1, size: 3) { policy in
            policy.databaseKey = 1
            policy.maxDatabaseConnections = 1
        }
        let first = SchedulerHarness.client(10)
        _ = harness.lease(1, pool: 1)
        var rejections = rejected(harness.request(10, pool: 1, within: .zero))
        #expect(rejections[first]?.cause == .deadline(.databaseConnections(1)))
        _ = harness.lease(2, pool: 0)
        _ = harness.lease(3, pool: 0)
        rejections = rejected(harness.request(10, pool: 0, within: .zero))
        #expect(rejections[first]?.cause == .deadline(.serverConnections(3)))
        rejections = rejected(harness.request(10, pool: 0, group: 1, within: .zero))
        #expect(rejections[first]?.cause == .deadline(.groupLeases(0)))
    }

    @Test func aFullQueueRefuses() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxWaiting: 1))
        harness.open(size: 1)
        _ = harness.lease(1)
        harness.request(2)
        let rejection = rejected(harness.request(3))[SchedulerHarness.client(3)]
        #expect(rejection?.cause == .queueFull(limit: 1))
        #expect(rejection?.place == 0)
        #expect(harness.scheduler.waitingCount == 1)
    }

    @Test func notifiesAtDoublingIntervals() {
        var harness = SchedulerHarness()
        harness.open(size: 1) { $0.notifyAfter = .seconds(5) }
        _ = harness.lease(1)
        harness.request(2)
        var waits: [Duration] = []
        for case .notifyWaiter(_, let place, let waited) in harness.advance(.seconds(45)) {
            #expect(place == 1)
            waits.append(waited)
        }
        #expect(waits == [.seconds(5), .seconds(10), .seconds(20), .seconds(40)])
    }

    @Test func prefersTheSameProfile() {
        var harness = SchedulerHarness()
        harness.open(size: 3)
        let servers = [harness.lease(1), harness.lease(2), harness.lease(3)]
        for (number, server) in servers.enumerated() {
            harness.giveBack(server, profile: UInt32(number))
        }
        #expect(granted(harness.request(4, profile: 1)).values.first == servers[1])
        #expect(granted(harness.request(5, profile: 9)).values.first == servers[2])
    }

    @Test func roundRobinTakesTheLongestIdle() {
        var harness = SchedulerHarness()
        harness.open(size: 2) { $0.roundRobin = true }
        let servers = [harness.lease(1), harness.lease(2)]
        for server in servers { harness.giveBack(server) }
        #expect(granted(harness.request(4)).values.first == servers[0])
    }

    @Test func aRequiredProfileIsTheOneItWasOpenedWith() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let effects = harness.request(1, profile: 5, requires: true)
        #expect(effects == [.openServer(opened(effects)[0], PoolID(0), ProfileID(5))])
        harness.connect(effects)
        harness.giveBack(opened(effects)[0], profile: 6)
        #expect(granted(harness.request(2, profile: 6, requires: true)).isEmpty)
        #expect(granted(harness.request(3, profile: 5, requires: true)).count == 1)
    }

    @Test func anotherProfileIsEvictedAtTheLimit() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let first = opened(harness.request(1, profile: 5, requires: true))[0]
        harness.send(.serverConnected(first))
        harness.giveBack(first)
        #expect(closed(harness.request(2, profile: 6, requires: true)) == [first: .evicted])
        let effects = harness.send(.serverClosed(first))
        #expect(effects == [.openServer(opened(effects)[0], PoolID(0), ProfileID(6))])
        #expect(grantOrder(harness.connect(effects)) == [2])
    }
}
