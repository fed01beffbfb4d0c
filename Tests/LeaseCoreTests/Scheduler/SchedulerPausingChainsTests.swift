// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import Testing

/// Threads that pause between one lease and the next: a pause is not taken for a lock, and one chain is
/// finished before another is helped.
struct SchedulerPausingChainsTests {
    /// Each thread takes three leases, one in the other. Before its threads were counted, 6 to 16 of 20
    /// such bursts stood still until the deadline where sessions were used before the pause.
    /// `pglease-simulate --bursts` tries more pauses and seeds.
    @Test(arguments: ReliefSetting.bursts, ReliefSetting.Habit.allCases)
    func everyBurstComesToItsEnd(burst: ReliefSetting.Burst, habit: ReliefSetting.Habit) {
        for (pause, known, sessions) in [
            (30, false, ReliefSetting.Sessions.fresh), (300, false, .fresh), (100, false, .kept),
            (100, true, .kept),
        ] {
            var setting = ReliefSetting(burst, pausing: .milliseconds(pause), habit: habit)
            setting.threadsAreKnown = known
            setting.sessions = sessions
            var trial = ReliefTrial(setting, seed: 1)
            let result = trial.run(for: .seconds(60))
            let what = "\(pause) ms, known \(known), \(sessions)"
            #expect(result.errors == 0, "\(what)")
            #expect(result.chains == burst.threads, "\(what)")
            #expect(result.mostLeased <= burst.connections + setting.reserve, "\(what)")
        }
    }

    /// The seeds with which bursts stood still at some time while the rule was made.
    @Test(arguments: [
        (0, 100, ReliefSetting.Habit.tries, 8), (0, 300, .tries, 8),
        (1, 100, .triesInTransaction, 20), (1, 300, .usesOnce, 19),
        (2, 300, .triesInTransaction, 19), (3, 100, .tries, 3),
    ])
    func seedsThatStoodStillComeToTheirEnd(
        burst: Int, pause: Int, habit: ReliefSetting.Habit, seed: UInt64
    ) {
        let burst = ReliefSetting.bursts[burst]
        var trial = ReliefTrial(
            ReliefSetting(burst, pausing: .milliseconds(pause), habit: habit), seed: seed)
        let result = trial.run(for: .seconds(60))
        #expect(result.errors == 0 && result.chains == burst.threads)
    }

    /// Two leases rest, only one of their threads has asked yet.
    @Test func aThreadThatMayJustPauseIsWaitedFor() {
        var (harness, effects) = Self.atRest(asking: [3])
        effects += harness.advance(.milliseconds(800))
        #expect(SchedulerReliefTests.lock(in: effects) != nil)
        #expect(SchedulerReliefTests.lent(in: effects) == [])
        // Now both have asked: there is nobody left to wait for.
        effects = harness.request(4, owner: Self.process)
        effects += harness.advance(.seconds(1))
        #expect(SchedulerReliefTests.lent(in: effects).count == 1)
    }

    /// What the helped thread asks next, it gets, however late it comes, and nobody else does.
    @Test func theNextRequestIsThatOfWhoWasHelped() {
        var (harness, effects) = Self.atRest(asking: [3, 4])
        effects += harness.advance(.milliseconds(400))
        #expect(SchedulerReliefTests.lent(in: effects).count == 1)
        let connection = opened(effects)[0]
        #expect(
            grantOrder(harness.connect(effects)) == SchedulerReliefTests.lent(in: effects))
        harness.send(.leaseBecameIdle(connection, LeaseID(3), since: harness.now))
        #expect(SchedulerReliefTests.lent(in: harness.advance(.milliseconds(700))) == [])
        #expect(SchedulerReliefTests.lent(in: harness.request(9, owner: Self.process)) == [9])
    }

    private static let process = OwnerKey(processID: 1)

    /// Two leases of one process that rest, requests that came soon after, and what was ordered up to
    /// the moment at which that was noticed.
    private static func atRest(
        asking clients: [UInt32]
    ) -> (SchedulerHarness, [SchedulerEffect]) {
        var (harness, servers) = SchedulerReliefTests.leased(by: [process, process], reserve: 3)
        harness.advance(.milliseconds(1))
        let rest = harness.now
        harness.advance(.milliseconds(1))
        for client in clients { harness.request(client, owner: process) }
        var effects = harness.advance(.milliseconds(110))
        for (index, server) in servers.enumerated() {
            effects += harness.send(
                .leaseBecameIdle(server, LeaseID(UInt64(index + 1)), since: rest))
        }
        return (harness, effects)
    }
}
