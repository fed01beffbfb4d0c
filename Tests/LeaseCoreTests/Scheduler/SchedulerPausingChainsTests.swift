import LeaseCore
import LeaseSimulation
import Testing

/// Threads that pause between one lease and the next: a pause is not taken for a lock, and one chain is
/// finished before another is helped.
struct SchedulerPausingChainsTests {
    /// Each thread takes three leases, one in the other; before: 6 to 36 of 40 bursts stood still
    /// until the deadline with pauses, all of them under a cap.
    @Test(arguments: ReliefSetting.bursts, [0, 30, 100, 300])
    func everyBurstComesToItsEnd(burst: ReliefSetting.Burst, pause: Int) {
        for (known, sessions, habit) in [
            (true, ReliefSetting.Sessions.kept, ReliefSetting.Habit.nothing),
            (false, .kept, .nothing), (false, .fresh, .nothing), (false, .fresh, .tries),
        ] {
            var setting = ReliefSetting()
            setting.isBurst = true
            setting.processes = 1
            setting.threadsPerProcess = burst.threads
            setting.connections = burst.connections
            setting.cap = burst.cap
            setting.levelPause = .milliseconds(pause)
            setting.threadsAreKnown = known
            setting.sessions = sessions
            setting.habit = habit
            setting.deadline = .seconds(30)
            for seed in 1...2 as ClosedRange<UInt64> {
                var trial = ReliefTrial(setting, seed: seed)
                let result = trial.run(for: .seconds(60))
                let what = "known \(known), \(sessions), \(habit), seed \(seed)"
                #expect(result.errors == 0, "\(what)")
                #expect(result.chains == burst.threads, "\(what)")
                #expect(result.took < .seconds(10), "\(what)")
                #expect(result.mostLeased <= burst.connections + setting.reserve, "\(what)")
            }
        }
    }

    /// Two leases rest, only one of their threads has asked yet.
    @Test func aThreadThatMayJustPauseIsWaitedFor() {
        var (harness, effects) = Self.atRest(asking: [3])
        effects += harness.advance(.milliseconds(600))
        #expect(SchedulerReliefTests.lock(in: effects) != nil)
        #expect(SchedulerReliefTests.lent(in: effects) == [])
        // Now both have asked: there is nobody left to wait for but for as long as that took.
        effects = harness.request(4, owner: Self.process)
        effects += harness.advance(.seconds(1))
        #expect(SchedulerReliefTests.lent(in: effects).count == 1)
    }

    /// What the helped thread asks next, it gets, however late it comes, and nobody else does.
    @Test func theNextRequestIsThatOfWhoWasHelped() {
        var (harness, effects) = Self.atRest(asking: [3, 4])
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
