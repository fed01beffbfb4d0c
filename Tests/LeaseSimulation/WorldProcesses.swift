// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A client process. Its number changes when it ends and another one begins in its place.
struct WorldProcess {
    /// nil: its clients come over TCP.
    var peer: PeerID?
    var isLocal: Bool
    /// Its clients ask for the descriptors of what they lease.
    var wantsDescriptors: Bool
}

/// The world's client processes: fewer and more of them than connections.
extension SchedulerWorld {
    static func processes(using random: inout SeededGenerator) -> [WorldProcess] {
        let isDirect = WorldPolicies.chance(0.7, &random)
        return (0..<Int.random(in: 1...10, using: &random)).map { _ in
            let isLocal = WorldPolicies.chance(0.85, &random)
            let wants = isLocal && isDirect && WorldPolicies.chance(0.8, &random)
            return WorldProcess(peer: nil, isLocal: isLocal, wantsDescriptors: wants)
        }
    }

    func process(of client: ClientID) -> Int { Int(client.slot) % processes.count }

    mutating func beginProcess(_ process: Int) {
        guard processes[process].isLocal else { return }
        processes[process].peer = PeerID(peerCount)
        peerCount += 1
    }

    /// The shell has just granted this lease, and may hand the descriptor out.
    mutating func clientIsHandedOut(_ client: ClientID, _ server: ServerID) throws(Violation) {
        guard oracle.servers[server]?.lease?.client == client,
            let peer = clients[Int(client.slot)].peer, !oracle.gonePeers.contains(peer)
        else { return }
        let isAdvised = scheduler.mayHandOut(server, to: peer, now: now)
        try oracle.checkAdvice(isAdvised, server, peer, now: now)
        if isAdvised || ignoresContention { try send(.serverHandedOut(server, to: peer)) }
    }

    /// All its sessions end: those that wait withdraw, some leases come back before it is known
    /// that the process is gone, and some after.
    mutating func processEnds() throws(Violation) {
        guard !isHealing else { return }
        plan(.processEnds, within: 2000)
        let process = Int.random(in: 0..<processes.count, using: &random)
        guard let peer = processes[process].peer else { return }
        beginProcess(process)
        for slot in clients.indices where clients[slot].peer == peer {
            let client = ClientID(slot: UInt32(slot), generation: clients[slot].generation)
            if oracle.waiters[client] != nil {
                try send(.requestWithdrawn(client))
                leave(client)
            }
        }
        let leases = oracle.servers.filter { _, model in
            guard let lease = model.lease else { return false }
            return clients[Int(lease.client.slot)].peer == peer
        }
        for server in leases.keys.sorted(by: { $0.slot < $1.slot }) {
            guard WorldPolicies.chance(0.5, &random),
                let client = oracle.servers[server]?.lease?.client
            else { continue }
            try clientReturns(client, server)
        }
        try send(.peerGone(peer))
    }
}
