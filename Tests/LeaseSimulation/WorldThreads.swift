// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Threads of the world's processes that want a second lease before they give back the first.
extension SchedulerWorld {
    /// Several client slots are one thread.
    func owner(of client: ClientID) -> OwnerKey {
        let process = Int32(process(of: client))
        guard nestsLeases, knowsThreads else { return OwnerKey(processID: process) }
        let thread = UInt64(Int(client.slot) / processes.count % 2)
        return OwnerKey(processID: process, thread: thread)
    }

    /// Whether the client keeps its lease, because its thread waits for another one.
    mutating func postpones(_ client: ClientID, _ server: ServerID) -> Bool {
        guard nestsLeases, !isHealing else { return false }
        let owner = owner(of: client)
        let waits = oracle.waiters.values.contains { $0.request.owner == owner }
        guard waits, WorldPolicies.chance(0.95, &random) else { return false }
        plan(.clientReturns(client, server), within: 50)
        return true
    }

    /// All that the client has sent is answered.
    mutating func leaseRests(_ client: ClientID, _ server: ServerID) throws(Violation) {
        guard let model = oracle.servers[server], let lease = model.lease,
            lease.client == client
        else { return }
        restingSince[server] = (client, now)
        guard oracle.watchedPools.contains(model.pool) else { return }
        try send(.leaseBecameIdle(server, lease.id, since: now))
        if WorldPolicies.chance(0.2, &random) {
            restingSince[server] = nil
            try send(.leaseBecameBusy(server, lease.id))
            plan(.leaseRests(client, server), within: 50)
        }
    }

    mutating func reportResting(_ pool: PoolID) {
        for (server, model) in oracle.servers.sorted(by: { $0.key.slot < $1.key.slot }) {
            guard model.pool == pool, let lease = model.lease, let rest = restingSince[server],
                rest.client == lease.client
            else { continue }
            // It may be told too late.
            plan(
                .leaseBecameIdle(server, lease.id, since: rest.since),
                after: .microseconds(Int.random(in: 0...100, using: &random)))
        }
    }
}
