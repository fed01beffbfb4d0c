// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// What the search for locks costs when very many wait: counted in visits of waiters, not in time.
struct SchedulerLockCostTests {
    /// Eleven leases of one process rest, and so many others of it wait, cancel, or are refused.
    private static func visits(waiters: Int, lives: Bool) -> UInt64 {
        var effects: [SchedulerEffect] = []
        var now = Instant(nanoseconds: 1_000_000_000)
        var scheduler = Scheduler(policy: BrokerPolicy(), seed: 1)
        func request(_ client: Int) -> SchedulerEvent {
            .leaseRequested(
                LeaseRequest(
                    client: ClientID(slot: UInt32(client), generation: 1), pool: PoolID(0),
                    group: GroupID(0), owner: OwnerKey(processID: 1), profile: .serverDefault,
                    requiresProfile: false, deadline: now + .seconds(2), since: now))
        }
        func send(_ event: SchedulerEvent) -> [SchedulerEffect] {
            effects = []
            scheduler.handle(event, now: now, into: &effects)
            return effects
        }
        _ = send(.groupOpened(GroupID(0), GroupPolicy()))
        var policy = PoolPolicy(size: 11)
        policy.notifyAfter = nil
        policy.connectParallelism = 11
        _ = send(.poolOpened(PoolID(0), policy, startup: nil))
        let connections = (0..<11).flatMap { opened(send(request($0))) }
        for server in connections { _ = send(.serverConnected(server)) }
        let rest = now
        for client in 0..<waiters {
            now = now.advanced(by: 10_000)
            _ = send(request(100 + client))
        }
        while let due = scheduler.nextDeadline, due <= rest + .seconds(lives ? 1 : 4) {
            now = max(now, due)
            guard send(.deadlineReached).contains(.watchLeases(PoolID(0))) else { continue }
            for (index, server) in connections.enumerated() {
                _ = send(.leaseBecameIdle(server, LeaseID(UInt64(index + 1)), since: rest))
            }
        }
        if lives {
            #expect(scheduler.locks(now).count == 1)
            for client in 0..<waiters {
                _ = send(.requestWithdrawn(ClientID(slot: UInt32(100 + client), generation: 1)))
            }
        }
        #expect(scheduler.waitingCount == 0)
        return scheduler.lockVisits
    }

    /// Before: 3,000 waiters were visited some 30 million times.
    @Test(arguments: [true, false])
    func isLinearInThoseWhoWait(lives: Bool) {
        let few = Self.visits(waiters: 1_000, lives: lives)
        let many = Self.visits(waiters: 6_000, lives: lives)
        #expect(few > 0)
        #expect(few < 1_000 * 1_000)
        #expect(many < 6 * few)
    }
}
