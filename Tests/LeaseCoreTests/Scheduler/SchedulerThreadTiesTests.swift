// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import Testing

/// Locked pools whose threads are not known: whose session is nested in whose lease, and who is
/// helped until its leases are back.
struct SchedulerThreadTiesTests {
    static let process = OwnerKey(processID: 1)

    /// A pool whose leases rest from now on, their clients numbered from 1, and what it takes until
    /// the scheduler looks at that.
    struct Standstill {
        var harness: SchedulerHarness
        var servers: [ServerID]
        var rests: [Instant] = []
        var askedAt: [UInt32: Instant] = [:]

        init(leases: Int, reserve: Int) {
            let owners = Array(repeating: SchedulerThreadTiesTests.process, count: leases)
            (harness, servers) = SchedulerReliefTests.leased(by: owners, reserve: reserve)
            harness.advance(.milliseconds(100))
        }

        mutating func rest(_ lease: Int) { rests.append(harness.now) }

        /// A request of a session that is in use for so long.
        mutating func asks(_ client: UInt32, inUseFor use: Duration = .zero) {
            askedAt[client] = harness.now
            harness.request(client, owner: SchedulerThreadTiesTests.process, inUseFor: use)
        }

        /// Until the pool is watched, all that rests was told, and nobody is waited for any more
        /// whose process is not known yet.
        mutating func isNoticed(
            after patience: Duration = .milliseconds(500)
        ) -> [SchedulerEffect] {
            var effects = harness.advance(.milliseconds(150))
            for (index, since) in rests.enumerated() {
                effects += harness.send(
                    .leaseBecameIdle(servers[index], LeaseID(UInt64(index + 1)), since: since))
            }
            return effects + harness.advance(patience)
        }

        /// Who is lent a connection in these effects has it, and goes on at once.
        mutating func connect(_ effects: [SchedulerEffect]) -> [SchedulerEffect] {
            harness.connect(effects)
        }
    }

    static let lent = SchedulerReliefTests.lent

    @Test func aSessionInUseBeforeTheRestIsNotNestedInIt() {
        var pool = Standstill(leases: 1, reserve: 3)
        pool.harness.advance(.milliseconds(20))
        pool.rest(0)
        pool.harness.advance(.milliseconds(1))
        // Tried its new session before the rest, and asks again sooner than the nested one.
        pool.asks(2, inUseFor: .milliseconds(10))
        pool.harness.advance(.milliseconds(2))
        pool.asks(3)
        #expect(Self.lent(pool.isNoticed()) == [3])
    }

    @Test func whoWasHelpedIsWaitedForAndGoesFirst() {
        var (pool, first, connection) = Self.helpedOnce()
        pool.harness.giveBack(connection)
        // It may pause after a statement that tried its session: no lease of it rests then.
        #expect(Self.lent(pool.harness.advance(.milliseconds(400))) == [])
        let use = pool.harness.now - pool.askedAt[first]!
        let again = pool.harness.request(first, owner: Self.process, inUseFor: use)
        #expect(Self.lent(again) + Self.lent(pool.harness.advance(.milliseconds(1))) == [first])
    }

    /// A second, as long as nothing is known of how its process's threads pause.
    @Test func whoWasHelpedIsWaitedForOnlyAMoment() {
        var (pool, first, connection) = Self.helpedOnce()
        pool.harness.giveBack(connection)
        let later = Self.lent(pool.harness.advance(.milliseconds(1_040)))
        #expect(later.count == 1 && later != [first])
    }

    /// Once five pauses of two milliseconds are known, for a moment only.
    @Test func whoWasHelpedIsWaitedForAsLongAsItsThreadsPause() {
        var (pool, first, begun) = Self.helpedOnce(reserve: 7)
        var connections = [begun]
        for (lease, client) in [(3, 11), (4, 12), (5, 13), (6, 14), (7, 15)]
            as [(UInt64, UInt32)]
        {
            pool.harness.send(
                .leaseBecameIdle(connections.last!, LeaseID(lease), since: pool.harness.now))
            pool.harness.advance(.milliseconds(2))
            pool.asks(client)
            pool.harness.advance(.milliseconds(10))
            let effects = pool.harness.history
            #expect(Self.lent(effects).last == client)
            connections.append(opened(effects).last!)
            pool.harness.send(.serverConnected(connections.last!))
        }
        for connection in connections.reversed() { pool.harness.giveBack(connection) }
        let later = Self.lent(pool.harness.advance(.milliseconds(40)))
        #expect(later.count == 1 && later != [first])
    }

    @Test func whileTheHelpedThreadThinksNobodyElseIsHelped() {
        var (pool, _, connection) = Self.helpedOnce()
        pool.harness.send(.leaseBecameIdle(connection, LeaseID(3), since: pool.harness.now))
        #expect(Self.lent(pool.harness.advance(.seconds(2))) == [])
    }

    @Test func whatTheHelpedThreadAsksNextIsKnownByItsMoment() {
        var (pool, _, connection) = Self.helpedOnce()
        pool.harness.send(.leaseBecameIdle(connection, LeaseID(3), since: pool.harness.now))
        pool.harness.advance(.milliseconds(1))
        // Another one waits for longer; this one came at once after what was lent began to rest.
        pool.asks(7)
        #expect(Self.lent(pool.harness.history).last == 7)
    }

    /// Everybody else waits: however late it comes, it is the helped thread's.
    @Test func whatComesAfterALoanIsTheNextStepOfWhoWasHelped() {
        var (pool, _, connection) = Self.helpedOnce()
        pool.harness.send(.leaseBecameIdle(connection, LeaseID(3), since: pool.harness.now))
        #expect(Self.lent(pool.harness.advance(.milliseconds(600))) == [])
        pool.asks(7)
        #expect(Self.lent(pool.harness.history).last == 7)
    }

    @Test func theNextNestedSessionFollowsTheOneBefore() {
        var (pool, _, connection) = Self.helpedOnce()
        pool.harness.advance(.milliseconds(200))
        // Long after the outer lease came to rest, but at once after the nested one's end.
        pool.harness.giveBack(connection)
        pool.harness.advance(.milliseconds(1))
        pool.asks(8)
        pool.harness.advance(.milliseconds(15))
        #expect(Self.lent(pool.harness.history).last == 8)
    }

    @Test func whenItsLeasesAreBackTheNextChainIsHelpedSoon() {
        var (pool, first, connection) = Self.helpedOnce()
        let outer = first == 5 ? 0 : 1
        pool.harness.giveBack(connection)
        // The connection of the outer lease goes to the other thread that waits, and all rest again.
        let effects = pool.harness.giveBack(pool.servers[outer])
        #expect(grantOrder(effects) == [first == 5 ? 6 : 5])
        let rest = pool.harness.now
        pool.harness.send(
            .leaseBecameIdle(granted(effects).values.first!, LeaseID(4), since: rest))
        pool.harness.advance(.milliseconds(1))
        pool.asks(9)
        pool.harness.advance(.milliseconds(5))
        #expect(Self.lent(pool.harness.history).last == 9)
    }

    @Test func aLeaseThatCameToRestAfterAllRequestsIsThinking() {
        var pool = Standstill(leases: 1, reserve: 1)
        pool.asks(2)
        pool.harness.advance(.milliseconds(10))
        pool.rest(0)
        #expect(SchedulerReliefTests.lock(in: pool.isNoticed()) == nil)
        #expect(SchedulerReliefTests.lock(in: pool.harness.advance(.seconds(3))) == nil)
    }

    @Test func whoOnlyMayHoldSomethingWaitsForStillness() {
        var pool = Standstill(leases: 1, reserve: 2)
        pool.rest(0)
        pool.harness.advance(.milliseconds(200))
        pool.asks(2)
        // Little speaks for it, as it came late: others that are as slow are waited for.
        var effects = pool.isNoticed(after: .milliseconds(40))
        #expect(Self.lent(effects) == [])
        effects = pool.harness.advance(.milliseconds(200))
        #expect(Self.lent(effects) == [2])
        let connection = opened(effects)[0]
        pool.harness.connect(effects)
        pool.harness.send(
            .leaseBecameIdle(connection, LeaseID(2), since: pool.harness.now))
        pool.harness.advance(.milliseconds(80))
        // Whose it is cannot be known: it may be the next step of whoever was helped.
        pool.asks(3)
        // Nobody waited meanwhile, so nothing was counted.
        pool.harness.advance(.milliseconds(500))
        #expect(Self.lent(pool.harness.history) == [2, 3])
    }

    /// Chains three deep, of sessions that stay and of sessions like psycopg2's.
    @Test(arguments: [ReliefSetting.Sessions.kept, .fresh])
    func chainsThreeDeepComeToTheirEnd(sessions: ReliefSetting.Sessions) {
        var setting = ReliefSetting()
        setting.hasLeaf = true
        setting.threadsAreKnown = false
        setting.sessions = sessions
        setting.habit = sessions == .fresh ? .tries : .nothing
        setting.pause = .milliseconds(500)
        setting.newcomersPerSecond = 10
        setting.shortPerCent = 70
        for seed in 1...3 as ClosedRange<UInt64> {
            var trial = ReliefTrial(setting, seed: seed)
            let result = trial.run(for: .seconds(3))
            #expect(result.errors == 0, "seed \(seed)")
            #expect(result.chains > 100, "seed \(seed)")
            #expect(result.mostLeased <= setting.connections + setting.reserve)
        }
    }

    /// Two leases rest, each thread waits for one more, and one of the two is helped.
    private static func helpedOnce(reserve: Int = 3) -> (Standstill, UInt32, ServerID) {
        var pool = Standstill(leases: 2, reserve: reserve)
        for (lease, client) in [(0, 5), (1, 6)] as [(Int, UInt32)] {
            pool.rest(lease)
            pool.harness.advance(.milliseconds(1))
            pool.asks(client)
            pool.harness.advance(.milliseconds(5))
        }
        let effects = pool.isNoticed()
        let helped = lent(effects)
        #expect(helped.count == 1)
        let connection = opened(effects)[0]
        #expect(grantOrder(pool.connect(effects)) == helped)
        return (pool, helped[0], connection)
    }
}
