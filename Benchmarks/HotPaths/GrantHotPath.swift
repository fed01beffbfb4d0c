// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The scheduler's commonest pair of events: a request that an idle connection answers at once, and its return.
package struct GrantHotPath: ~Copyable, HotPath {
    private static let connections: UInt32 = 10

    private var scheduler = Scheduler(policy: BrokerPolicy(), seed: 1)
    private var effects: [SchedulerEffect] = []
    private var now = Instant(nanoseconds: 1_000_000_000)
    private var round: UInt32 = 0

    package init() {
        effects.reserveCapacity(64)
        scheduler.handle(.groupOpened(GroupID(0), GroupPolicy()), now: now, into: &effects)
        var policy = PoolPolicy(size: Int(Self.connections))
        policy.connectParallelism = Int(Self.connections)
        policy.minimumSize = Int(Self.connections)
        scheduler.handle(.poolOpened(PoolID(0), policy, startup: nil), now: now, into: &effects)
        let orders = effects
        for case .openServer(let server, _, _) in orders {
            scheduler.handle(.serverConnected(server), now: now, into: &effects)
        }
    }

    package mutating func step() {
        round &+= 1
        effects.removeAll(keepingCapacity: true)
        now = now.advanced(by: 1_000)
        let client = ClientID(slot: round % 64, generation: 1)
        let request = LeaseRequest(
            client: client, pool: PoolID(0), group: GroupID(0), owner: OwnerKey(processID: 1),
            profile: .serverDefault, requiresProfile: false,
            deadline: now.advanced(by: 1_000_000_000), since: now)
        scheduler.handle(.leaseRequested(request), now: now, into: &effects)
        guard case .grant(_, let server, _, _) = effects.first else {
            fatalError("no grant on the hot path: \(effects)")
        }
        scheduler.handle(
            .leaseReturned(server, .clean, profile: .serverDefault), now: now, into: &effects)
    }
}
