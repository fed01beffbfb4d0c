// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole

/// The peers, as a snapshot has them.
extension Broker {
    var peerFacts: [PeerFacts] {
        configuration.peers.sorted { $0.peerID < $1.peerID }.map { entry in
            var facts = PeerFacts(id: entry.peerID)
            facts.host = entry.host ?? ""
            facts.port = entry.port
            facts.poolSize = entry.poolSize(settings)
            if let queue = peers.queues[entry.peerID] {
                facts.sent = queue.underWay.values.count { $0.cancel.isSent }
                facts.connecting = queue.count - facts.sent
                facts.waiting = queue.waiting.count
            }
            return facts
        }
    }
}
