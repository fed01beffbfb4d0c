// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Bounds that pools share, and how connections move between pools.
struct SchedulerBoundTests {
    @Test func anIdleConnectionOfAnotherPoolIsEvicted() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 1))
        harness.open(0)
        harness.open(1)
        let server = harness.lease(1, pool: 0)
        harness.giveBack(server)
        #expect(harness.request(2, pool: 1) == [.closeServer(server, .evicted)])
        let orders = harness.send(.serverClosed(server))
        #expect(grantOrder(harness.connect(orders)) == [2])
    }

    @Test func oneThatIsFreedGoesToThePoolThatHasNone() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 2))
        harness.open(0, size: 2)
        harness.open(1, size: 2)
        let servers = [harness.lease(1), harness.lease(2)]
        harness.request(3, pool: 1)
        harness.advance(.milliseconds(1))
        harness.request(4, pool: 0)
        #expect(closed(harness.giveBack(servers[0])) == [servers[0]: .evicted])
        let orders = harness.send(.serverClosed(servers[0]))
        #expect(grantOrder(harness.connect(orders)) == [3])
    }

    @Test func oneThatIsFreedStaysWithTheLongerWait() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 2))
        harness.open(0, size: 2)
        harness.open(1, size: 2)
        let servers = [harness.lease(1), harness.lease(2)]
        harness.request(4, pool: 0)
        harness.advance(.milliseconds(1))
        harness.request(3, pool: 1)
        #expect(grantOrder(harness.giveBack(servers[0])) == [4])
    }

    @Test func connectionsDoNotSwingBetweenPools() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 3))
        harness.open(0, size: 3)
        harness.open(1, size: 3)
        var busy: [ServerID] = [
            harness.lease(1, pool: 0), harness.lease(2, pool: 0), harness.lease(3, pool: 1),
        ]
        var client: UInt32 = 10
        for round in 0..<100 {
            for pool in [0, 1] as [UInt32] {
                harness.request(client, pool: pool)
                client += 1
            }
            harness.advance(.milliseconds(1))
            let effects = harness.giveBack(busy[round % busy.count])
            #expect(closed(effects).isEmpty)
            if let server = granted(effects).values.first { busy[round % busy.count] = server }
        }
        #expect(harness.pool(0).counts.leased == 2)
        #expect(harness.pool(1).counts.leased == 1)
    }

    @Test func aSharedDatabaseBoundIsKept() {
        var harness = SchedulerHarness()
        for pool in [0, 1] as [UInt32] {
            harness.open(pool, size: 2) { policy in
                policy.databaseKey = 4
                policy.maxDatabaseConnections = 2
            }
        }
        harness.open(2, size: 2) { $0.databaseKey = 5 }
        let idle = harness.lease(8, pool: 2)
        harness.giveBack(idle)
        let server = harness.lease(1, pool: 0)
        _ = harness.lease(2, pool: 1)
        #expect(harness.request(3, pool: 1).isEmpty)
        #expect(harness.pool(1).isHeldBack)
        #expect(harness.state(idle) == .idle)
        // It is of no use to client 3 but by its room: pool 0 has nobody who waits.
        #expect(closed(harness.giveBack(server)) == [server: .evicted])
        #expect(opened(harness.send(.serverClosed(server))).count == 1)
    }

    /// Seed 6158: a waiter that needs room under two bounds lost the first place to a prewarm each
    /// time before it had the second.
    @Test func aPrewarmYieldsToAWaiterUnderTwoBounds() {
        var harness = SchedulerHarness()
        harness.open(0, size: 1) { policy in
            policy.minimumSize = 1
            policy.databaseKey = 1
            policy.userKey = 2
            policy.maxDatabaseConnections = 1
        }
        harness.open(1, size: 1) { policy in
            policy.minimumSize = 1
            policy.databaseKey = 2
            policy.userKey = 1
            policy.maxUserConnections = 1
        }
        for server in opened(harness.history) { harness.send(.serverConnected(server)) }
        harness.open(2, size: 1) { policy in
            policy.databaseKey = 1
            policy.userKey = 1
            policy.maxDatabaseConnections = 1
            policy.maxUserConnections = 1
        }
        let evicted = closed(harness.request(1, pool: 2))
        #expect(evicted.count == 2)
        var orders: [SchedulerEffect] = []
        for server in evicted.keys { orders += harness.send(.serverClosed(server)) }
        #expect(opened(orders).count == 1)
        #expect(grantOrder(harness.connect(orders)) == [1])
    }

    @Test func boundsHoldThroughAReload() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 4))
        harness.open(0, size: 4)
        let servers = (1...4).map { harness.lease(UInt32($0)) }
        harness.send(.policyChanged(BrokerPolicy(maxServerConnections: 2)))
        harness.request(9)
        #expect(closed(harness.giveBack(servers[0])) == [servers[0]: .surplus])
        #expect(closed(harness.giveBack(servers[1])) == [servers[1]: .surplus])
        #expect(grantOrder(harness.giveBack(servers[2])) == [9])
    }

    @Test func aSmallerPoolClosesWhatComesBack() {
        var harness = SchedulerHarness()
        harness.open(0, size: 3)
        let servers = (1...3).map { harness.lease(UInt32($0)) }
        harness.send(.poolChanged(PoolID(0), PoolPolicy(size: 1)))
        harness.request(9)
        #expect(closed(harness.giveBack(servers[0])) == [servers[0]: .surplus])
        #expect(closed(harness.giveBack(servers[1])) == [servers[1]: .surplus])
        #expect(grantOrder(harness.giveBack(servers[2])) == [9])
    }

    @Test func aConnectThatNobodyNeedsMakesRoom() {
        var harness = SchedulerHarness(policy: BrokerPolicy(maxServerConnections: 1))
        harness.open(0)
        harness.open(1)
        let server = opened(harness.request(1, pool: 0))[0]
        harness.send(.requestWithdrawn(SchedulerHarness.client(1)))
        #expect(harness.request(2, pool: 1) == [.closeServer(server, .unneeded)])
        harness.send(.serverConnected(server))
        #expect(opened(harness.send(.serverClosed(server))).count == 1)
    }
}
