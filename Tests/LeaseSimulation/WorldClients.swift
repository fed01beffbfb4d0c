// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The world's clients.
extension SchedulerWorld {
    mutating func clientComes(_ slot: Int) throws(Violation) {
        guard !isHealing, !clients[slot].isBusy else { return }
        clients[slot].isBusy = true
        clients[slot].generation += 1
        let client = ClientID(slot: UInt32(slot), generation: clients[slot].generation)
        let request = request(of: client)
        clients[slot].peer = request.peer
        // Some give up while they wait, some at the moment they are answered.
        if WorldPolicies.chance(0.15, &random) {
            let patience = Duration.microseconds(Int.random(in: 0...400_000, using: &random))
            plan(.requestWithdrawn(client), after: patience)
        }
        try send(.leaseRequested(request))
    }

    private mutating func request(of client: ClientID) -> LeaseRequest {
        var since = now
        if WorldPolicies.chance(0.05, &random) {
            since = Instant(
                nanoseconds: now.nanoseconds - Int64.random(in: 0...50_000_000, using: &random))
        }
        let waits = [0, 50, 1000, 5000, 60_000].randomElement(using: &random)!
        var request = LeaseRequest(
            client: client, pool: livePools.randomElement(using: &random)!,
            group: GroupID(UInt32.random(in: 0..<groupCount, using: &random)),
            owner: owner(of: client),
            profile: ProfileID(UInt32.random(in: 0...2, using: &random)),
            requiresProfile: usesProfiles && WorldPolicies.chance(0.7, &random),
            deadline: since + .milliseconds(waits), since: since,
            peer: processes[process(of: client)].peer)
        if WorldPolicies.chance(0.3, &random) {
            request.useSince = Instant(
                nanoseconds: since.nanoseconds - Int64.random(in: 0...100_000_000, using: &random))
        }
        request.wantsHandOut = request.peer != nil && WorldPolicies.chance(0.5, &random)
        return request
    }

    /// The client is answered with an error, or has withdrawn: it thinks, and comes again.
    mutating func leave(_ client: ClientID) {
        guard clients[Int(client.slot)].generation == client.generation else { return }
        clients[Int(client.slot)].isBusy = false
        plan(.clientComes(Int(client.slot)), within: 300)
    }

    mutating func hold(_ client: ClientID, _ server: ServerID) {
        if processes[process(of: client)].wantsDescriptors, WorldPolicies.chance(0.7, &random) {
            plan(.clientIsHandedOut(client, server), within: 0)
        }
        if nestsLeases { plan(.leaseRests(client, server), within: 5) }
        let longest = WorldPolicies.chance(0.1, &random) ? 4000 : 60
        plan(.clientReturns(client, server), within: longest)
        guard WorldPolicies.chance(0.1, &random) else { return }
        plan(.clientReturns(client, server), within: 0)
    }

    mutating func clientReturns(_ client: ClientID, _ server: ServerID) throws(Violation) {
        guard oracle.servers[server]?.lease?.client == client else { return }
        if postpones(client, server) { return }
        if WorldPolicies.chance(0.1, &random) {
            try send(.cancelStarted(server))
            plan(
                .cancelFinished(server),
                after: .microseconds(Int.random(in: 0...20_000, using: &random)))
        }
        let profile = ProfileID(UInt32.random(in: 0...2, using: &random))
        var condition = ServerCondition.clean
        if servers[server]?.isDead != false {
            condition = .broken
        } else if WorldPolicies.chance(0.2, &random) {
            condition = .dirty
        } else if !isHealing, WorldPolicies.chance(0.05, &random) {
            condition = .broken
        }
        // A dead connection that nobody noticed may come back as clean.
        if condition == .broken, WorldPolicies.chance(0.3, &random) { condition = .clean }
        try send(.leaseReturned(server, condition, profile: profile))
        leave(client)
    }
}
