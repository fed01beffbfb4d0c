// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// What a crowd of waiters costs the scheduler, counted in waiters that were passed and in deadlines of one call.
@Suite struct SchedulerCrowdTests {
    private enum End: CaseIterable {
        case withdrawn, refused, served
    }

    private struct Costs {
        var steps: UInt64 = 0
        var notified = 0
        var refused = 0
        var mostEffects = 0
        var arePlacesRight = true
    }

    /// So many wait for the one connection of a pool. They are notified, and go, or are refused, or served one after
    /// the other.
    private static func costs(_ count: UInt32, _ end: End) -> Costs {
        var effects: [SchedulerEffect] = []
        var now = Instant(nanoseconds: 1_000_000_000)
        var scheduler = Scheduler(policy: BrokerPolicy(), seed: 1)
        func client(_ number: UInt32) -> ClientID { ClientID(slot: number, generation: 1) }
        func send(_ event: SchedulerEvent) -> [SchedulerEffect] {
            effects = []
            scheduler.handle(event, now: now, into: &effects)
            return effects
        }
        func request(_ number: UInt32) -> [SchedulerEffect] {
            send(
                .leaseRequested(
                    LeaseRequest(
                        client: client(number), pool: PoolID(0), group: GroupID(0),
                        owner: OwnerKey(processID: Int32(number)), profile: .serverDefault,
                        requiresProfile: false, deadline: now + .seconds(10), since: now)))
        }
        _ = send(.groupOpened(GroupID(0), GroupPolicy()))
        var policy = PoolPolicy(size: 1)
        policy.notifyAfter = .seconds(1)
        _ = send(.poolOpened(PoolID(0), policy, startup: nil))
        let server = opened(request(0))[0]
        _ = send(.serverConnected(server))
        for number in 0..<count { _ = request(100 + number) }
        var costs = Costs()
        let limit = now + .seconds(end == .refused ? 11 : 2)
        while let deadline = scheduler.nextDeadline, deadline <= limit {
            now = max(now, deadline)
            let effects = send(.deadlineReached)
            costs.mostEffects = max(costs.mostEffects, effects.count)
            for effect in effects {
                if case .notifyWaiter(_, let place, _) = effect {
                    costs.notified += 1
                    costs.arePlacesRight = costs.arePlacesRight && place >= 1 && place <= count
                }
                if case .reject = effect { costs.refused += 1 }
            }
        }
        switch end {
        case .refused: break
        case .withdrawn:
            for number in 0..<count { _ = send(.requestWithdrawn(client(100 + number))) }
        case .served:
            for _ in 0..<count {
                _ = send(.leaseReturned(server, .clean, profile: .serverDefault))
            }
        }
        #expect(scheduler.waitingCount == 0)
        costs.steps = scheduler.placeSteps
        return costs
    }

    /// Before: 10,000 were passed 50 million times to tell each its place.
    @Test(arguments: [End.withdrawn, .refused, .served])
    private func costsWhatItsNumberSays(end: End) {
        let few = Self.costs(1_000, end)
        let many = Self.costs(10_000, end)
        #expect(few.arePlacesRight && many.arePlacesRight)
        #expect(many.notified >= 10_000 && few.notified >= 1_000)
        #expect(end != .refused || many.refused == 10_000)
        #expect(many.steps <= 15 * few.steps)
        #expect(many.steps <= 50 * 10_000)
        // A call has a bound, whatever is due.
        #expect(many.mostEffects <= 256)
    }

    /// Found by a walk, whatever was asked before and went since.
    @Test(arguments: 0..<50)
    func placesAreThoseOfTheQueue(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var harness = SchedulerHarness(groups: [GroupPolicy(), GroupPolicy()])
        harness.open(size: 1)
        let server = harness.lease(1)
        var next: UInt32 = 100
        for _ in 0..<300 {
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                harness.request(
                    next, group: UInt32.random(in: 0...1, using: &random), within: .seconds(1000),
                    waitingFor: .milliseconds(Int.random(in: 0...3, using: &random)))
                next += 1
            case 2:
                let waiting = harness.scheduler.waiters(of: PoolID(0))
                if let one = waiting.randomElement(using: &random) {
                    harness.send(.requestWithdrawn(one.client))
                }
            case 3 where harness.scheduler.waitingCount > 0: harness.giveBack(server)
            default: break
            }
            let waiting = harness.scheduler.waiters(of: PoolID(0))
            for one in waiting.shuffled(using: &random).prefix(3) {
                #expect(harness.scheduler.place(of: one.client) == one.place)
            }
        }
    }
}
