// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Lifetimes, pauses, reloads, cancels and the way down.
struct SchedulerOperatorTests {
    @Test func pausesWhenTheLastConnectionIsGoneAndResumes() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let server = harness.lease(1)
        let idle = harness.lease(2)
        harness.giveBack(idle)
        #expect(closed(harness.send(.poolPauseRequested(PoolID(0)))) == [idle: .paused])
        harness.send(.serverClosed(idle))
        #expect(harness.request(3, within: .seconds(9)).isEmpty)
        #expect(closed(harness.giveBack(server)) == [server: .paused])
        #expect(harness.send(.serverClosed(server)) == [.poolPaused(PoolID(0))])
        #expect(harness.pool().phase == .paused)
        let orders = harness.send(.poolResumed(PoolID(0)))
        #expect(grantOrder(harness.connect(orders)) == [3])
    }

    @Test func anEmptyPoolIsPausedAtOnce() {
        var harness = SchedulerHarness()
        harness.open()
        #expect(harness.send(.poolPauseRequested(PoolID(0))).contains(.poolPaused(PoolID(0))))
        harness.request(1, within: .seconds(1))
        let rejection = rejected(harness.advance(.seconds(1)))[SchedulerHarness.client(1)]
        #expect(rejection?.cause == .poolPaused)
    }

    @Test func aClosedPoolRejectsAndForgets() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        harness.request(2)
        let effects = harness.send(.poolClosed(PoolID(0)))
        #expect(rejected(effects)[SchedulerHarness.client(2)]?.cause == .poolClosed)
        #expect(closed(harness.giveBack(server)) == [server: .poolClosed])
        harness.send(.serverClosed(server))
        #expect(harness.scheduler.summary(of: PoolID(0)) == nil)
        let late = rejected(harness.request(3))[SchedulerHarness.client(3)]
        #expect(late?.cause == .poolClosed)
    }

    @Test func reconnectClosesIdleNowAndLeasedOnReturn() {
        var harness = SchedulerHarness()
        harness.open(size: 2)
        let leased = harness.lease(1)
        let idle = harness.lease(2)
        harness.giveBack(idle)
        let effects = harness.send(.poolReconnectRequested(PoolID(0)))
        #expect(closed(effects) == [idle: .reconnect])
        #expect(closed(harness.giveBack(leased)) == [leased: .reconnect])
    }

    @Test func strandedOnesAreClosedNowOrOnReturnAndOthersStay() {
        var harness = SchedulerHarness()
        harness.open(size: 3)
        let leased = harness.lease(1)
        let idle = harness.lease(2)
        let other = harness.lease(3)
        harness.giveBack(idle)
        let effects = harness.send(.serversStranded([leased, idle]))
        #expect(closed(effects) == [idle: .stranded])
        #expect(closed(harness.giveBack(other)).isEmpty)
        #expect(closed(harness.giveBack(leased)) == [leased: .stranded])
    }

    @Test func closesAtTheEndOfItsLifetimeWithJitter() {
        var harness = SchedulerHarness()
        harness.open(size: 1) { policy in
            policy.lifetime = .seconds(100)
            policy.idleTimeout = nil
        }
        let server = harness.lease(1)
        harness.giveBack(server)
        #expect(closed(harness.advance(.seconds(90) - .nanoseconds(1))).isEmpty)
        #expect(closed(harness.advance(.seconds(20))) == [server: .lifetime])
    }

    @Test func aLifetimeThatEndsInALeaseClosesOnReturn() {
        var harness = SchedulerHarness()
        harness.open(size: 1) { $0.lifetime = .seconds(100) }
        let server = harness.lease(1)
        #expect(harness.advance(.seconds(200)).isEmpty)
        #expect(closed(harness.giveBack(server)) == [server: .lifetime])
    }

    @Test func aConnectionForOneUseClosesOnReturnAndNoSooner() {
        var harness = SchedulerHarness()
        harness.open(size: 2) { policy in
            policy.lifetime = nil
            policy.idleTimeout = nil
            policy.closesAfterUse = true
        }
        let server = harness.lease(1)
        #expect(closed(harness.advance(.seconds(9000))).isEmpty)
        #expect(closed(harness.giveBack(server)) == [server: .lifetime])
    }

    @Test func closesWhatIsIdleTooLong() {
        var harness = SchedulerHarness()
        harness.open(size: 2) { $0.idleTimeout = .seconds(10) }
        let server = harness.lease(1)
        harness.giveBack(server)
        harness.advance(.seconds(8))
        _ = granted(harness.request(2))
        harness.giveBack(server)
        #expect(closed(harness.advance(.seconds(8))).isEmpty)
        #expect(closed(harness.advance(.seconds(4))) == [server: .idleTimeout])
    }

    @Test func aCancelUnderWayKeepsTheConnectionFromTheNextLease() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        harness.request(2)
        harness.send(.cancelStarted(server))
        harness.send(.cancelStarted(server))
        #expect(harness.giveBack(server, .dirty).isEmpty)
        #expect(harness.state(server) == .cancelling)
        #expect(harness.send(.cancelFinished(server)).isEmpty)
        #expect(harness.send(.cancelFinished(server)) == [.resetServer(server)])
        let effects = harness.send(.resetSucceeded(server, profile: .serverDefault))
        #expect(grantOrder(effects) == [2])
    }

    @Test func aDirtyConnectionIsResetFirst() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        harness.request(2)
        #expect(harness.giveBack(server, .dirty) == [.resetServer(server)])
        #expect(harness.send(.resetFailed(server)) == [.closeServer(server, .resetFailed)])
        let orders = harness.send(.serverClosed(server))
        #expect(grantOrder(harness.connect(orders)) == [2])
    }

    @Test func aLossThatIsToldAfterTheGrantClosesOnReturn() {
        var harness = SchedulerHarness()
        harness.open(size: 1)
        let server = harness.lease(1)
        #expect(harness.send(.serverLost(server)).isEmpty)
        #expect(closed(harness.giveBack(server, .clean)) == [server: .lost])
    }
}
