// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire
import Testing

/// PostgreSQL has no room for another connection: what there is is used, and it is not asked without end.
struct SchedulerFenceTests {
    private static let databaseFull = ConnectFailure(
        kind: .saturated,
        error: .fatal(SQLState(rawValue: "53300"), "too many connections for database \"app\""),
        scope: .database)

    /// `count` idle connections of clients with profiles of their own, opened one after the other.
    private func idle(_ count: UInt32, in harness: inout SchedulerHarness) -> [ServerID] {
        var servers: [ServerID] = []
        for number in 1...count {
            let effects = harness.request(number, profile: number, requires: true)
            let grants = granted(effects + harness.connect(effects))
            guard let server = grants[SchedulerHarness.client(number)] else {
                Issue.record("client \(number) got nothing")
                continue
            }
            harness.giveBack(server, profile: number)
            servers.append(server)
        }
        return servers
    }

    /// The refusal of what these effects opened.
    private func refuse(
        _ effects: [SchedulerEffect], _ failure: ConnectFailure = Failures.full,
        in harness: inout SchedulerHarness
    ) -> [SchedulerEffect] {
        let server = opened(effects)[0]
        return harness.send(.serverConnectFailed(server, failure))
            + harness.send(.serverClosed(server))
    }

    @Test func anIdleOneOfAnotherProfileIsReplacedAtOnce() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        let servers = idle(3, in: &harness)
        for number in 4...8 as ClosedRange<UInt32> {
            var effects = harness.request(number, profile: number, requires: true)
            if number == 4 {
                effects = refuse(effects, in: &harness)
                let evicted = closed(effects).filter { $0.value == .evicted }
                #expect(evicted.keys.elementsEqual([servers[0]]))
            }
            let victim = closed(effects).first { $0.value == .evicted }?.key
            let orders = harness.send(.serverClosed(victim ?? servers[0]))
            #expect(opened(orders).count == 1, "client \(number) waits for nothing")
            let grants = granted(harness.connect(orders))
            guard let server = grants[SchedulerHarness.client(number)] else {
                Issue.record("client \(number) got nothing")
                return
            }
            harness.giveBack(server, profile: number)
        }
        #expect(harness.pool().counts.idle == 3)
        #expect(harness.pool().phase == .running)
    }

    @Test func oneConfinedToAnotherProcessIsReplacedAtOnce() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        let server = harness.handOut(1, to: 1)
        harness.giveBack(server)
        let effects = refuse(harness.request(2, peer: 2), in: &harness)
        #expect(closed(effects)[server] == .confined)
        #expect(grantOrder(harness.connect(harness.send(.serverClosed(server)))) == [2])
    }

    @Test func whoeverFitsWaitsForWhatIsThere() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        let server = harness.lease(1)
        _ = refuse(harness.request(2), in: &harness)
        #expect(opened(harness.request(3)).isEmpty)
        #expect(grantOrder(harness.giveBack(server)) == [2])
        #expect(grantOrder(harness.giveBack(server)) == [3])
    }

    @Test func oneAtATimeIsTriedBeyondTheLimitAfterAPause() {
        var harness = SchedulerHarness()
        harness.open(size: 10) { $0.retryMaximum = .seconds(15) }
        _ = harness.lease(1)
        _ = refuse(harness.request(2, within: .seconds(600)), in: &harness)
        var effects = harness.request(3, within: .seconds(600))
        var attempts = 0
        for _ in 0..<20 {
            #expect(opened(effects).count <= 1)
            if !opened(effects).isEmpty {
                attempts += 1
                #expect(opened(refuse(effects, in: &harness)).isEmpty)
            }
            effects = harness.advance(.milliseconds(500))
        }
        // A full server is asked about once a second.
        #expect(attempts >= 6 && attempts <= 20)
    }

    @Test func aMinimumThatNobodyNeedsAsksSeldom() {
        var harness = SchedulerHarness()
        var effects = harness.open(size: 10) {
            $0.minimumSize = 3
            $0.retryMaximum = .seconds(15)
        }
        var attempts = 0
        while harness.now < Instant(nanoseconds: 121_000_000_000) {
            for server in opened(effects) {
                attempts += 1
                harness.send(.serverConnectFailed(server, Failures.full))
                harness.send(.serverClosed(server))
            }
            effects = harness.advance(.milliseconds(100))
        }
        #expect(attempts <= 40)
        for server in opened(effects) {
            harness.send(.serverConnectFailed(server, Failures.full))
            harness.send(.serverClosed(server))
        }
        // Who comes later does not wait for so long.
        harness.advance(.seconds(1))
        harness.request(1)
        #expect(harness.pool().counts.connecting == 1)
    }

    @Test func roomThatIsBackIsUsedAgain() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        _ = harness.lease(1)
        var effects = harness.request(2)
        for client in 3...6 as ClosedRange<UInt32> { harness.request(client) }
        _ = refuse(effects, in: &harness)
        for server in harness.scheduler.serverSummaries where server.state == .connecting {
            harness.send(.serverConnectFailed(server.server, Failures.full))
            harness.send(.serverClosed(server.server))
        }
        effects = harness.advance(.seconds(1))
        #expect(opened(effects).count == 1)
        effects = harness.connect(effects)
        #expect(opened(effects).count == 1)
        effects = harness.connect(effects)
        #expect(!harness.pool().isFenced)
        #expect(opened(effects).count == 3)
    }

    @Test func aPlaceThatAStrangerTookIsNotFollowedByAnother() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        let servers = idle(3, in: &harness)
        let effects = refuse(
            harness.request(4, profile: 4, requires: true, within: .seconds(600)), in: &harness)
        #expect(closed(effects)[servers[0]] == .evicted)
        // Its place is gone: the next one has to wait.
        harness.advance(.milliseconds(1))
        let after = refuse(harness.send(.serverClosed(servers[0])), in: &harness)
        #expect(closed(after).values.allSatisfy { $0 != .evicted })
        #expect(harness.pool().counts.idle == 2)
        // Later one more is tried, and then another is given up.
        let later = harness.advance(.seconds(1))
        #expect(closed(refuse(later, in: &harness))[servers[1]] == .evicted)
    }

    @Test func anIdleOneOfAnotherPoolOfTheServerMakesRoom() {
        var harness = SchedulerHarness()
        for pool in 0...1 as ClosedRange<UInt32> {
            harness.open(pool, size: 10) {
                $0.fenceKeys = FenceKeys(server: 7, database: pool, role: pool)
            }
        }
        let server = harness.lease(1, pool: 0)
        harness.giveBack(server)
        let effects = refuse(harness.request(2, pool: 1), in: &harness)
        #expect(closed(effects)[server] == .evicted)
        #expect(grantOrder(harness.connect(harness.send(.serverClosed(server)))) == [2])
        // The room of both is known now: no connection is tried in vain.
        let orders = harness.request(3, pool: 0)
        #expect(opened(orders).isEmpty)
    }

    @Test func aLimitOfTheDatabaseConcernsNoOther() {
        var harness = SchedulerHarness()
        for pool in 0...1 as ClosedRange<UInt32> {
            harness.open(pool, size: 10) {
                $0.fenceKeys = FenceKeys(server: 7, database: pool, role: 1)
            }
        }
        let server = harness.lease(1, pool: 0)
        harness.giveBack(server)
        let effects = refuse(harness.request(2, pool: 1), Self.databaseFull, in: &harness)
        #expect(closed(effects)[server] == nil)
        #expect(opened(harness.request(3, pool: 0)).isEmpty)
        #expect(harness.state(server) == .leased)
    }

    @Test func whatIsBusyElsewhereComesWhenItIsFree() {
        var harness = SchedulerHarness()
        for pool in 0...1 as ClosedRange<UInt32> {
            harness.open(pool, size: 10) {
                $0.fenceKeys = FenceKeys(server: 7, database: pool, role: pool)
            }
        }
        let server = harness.lease(1, pool: 0)
        _ = refuse(harness.request(2, pool: 1), in: &harness)
        #expect(closed(harness.giveBack(server))[server] == .evicted)
        #expect(grantOrder(harness.connect(harness.send(.serverClosed(server)))) == [2])
    }

    @Test func theDeadlineNamesTheRefusal() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        _ = harness.lease(1)
        _ = refuse(harness.request(2, within: .milliseconds(100)), in: &harness)
        let rejection = rejected(harness.advance(.milliseconds(100)))[SchedulerHarness.client(2)]
        #expect(rejection?.cause == .connectFailed(Failures.full))
    }

    @Test func anOperatorsWordEndsThePause() {
        var harness = SchedulerHarness()
        harness.open(size: 10)
        let server = harness.lease(1)
        _ = refuse(harness.request(2), in: &harness)
        let effects = harness.send(.poolReconnectRequested(PoolID(0)))
        #expect(opened(effects).count == 1)
        #expect(grantOrder(harness.connect(effects)) == [2])
        harness.giveBack(server)
    }
}
