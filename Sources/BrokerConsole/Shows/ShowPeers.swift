// SPDX-License-Identifier: Apache-2.0

/// SHOW PEERS and SHOW PEER_POOLS.
extension BrokerSnapshot {
    func showPeers(into rows: inout ConsoleRows) {
        for peer in peers {
            rows.add {
                $0.integer(peer.id)
                $0.text(peer.host)
                $0.integer(peer.port)
                $0.integer(peer.poolSize)
            }
        }
    }

    func showPeerPools(into rows: inout ConsoleRows) {
        for peer in peers {
            rows.add {
                $0.integer(peer.id)
                $0.integer(peer.sent)
                $0.integer(peer.connecting + peer.waiting)
                $0.integer(peer.sent)
                $0.integer(peer.connecting)
            }
        }
    }
}
