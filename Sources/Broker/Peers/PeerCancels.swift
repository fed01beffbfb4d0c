// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibUV
import Logging

/// CancelRequests on their way to the peers that have their clients, and those that wait for others to be through.
final class PeerCancels {
    typealias Sent = (cancel: ForwardedCancel, client: ClientID, since: Instant)

    /// To one peer.
    struct Queue {
        var waiting: [(packet: [UInt8], client: ClientID, since: Instant)] = []
        /// Connecting, or sent.
        var underWay: [ObjectIdentifier: Sent] = [:]
        /// Whose name is being looked up.
        var lookingUp = 0

        var count: Int { underWay.count + lookingUp }
    }

    private(set) var queues: [Int: Queue] = [:]

    /// As pgbouncer's cancel_wait_timeout: a request is worth nothing later.
    static let patience = Duration.seconds(10)

    func forward(_ packet: [UInt8], to peer: PeerEntry, for client: ClientID, by broker: Broker) {
        queues[peer.peerID, default: Queue()].waiting.append((packet, client, broker.now))
        broker.housekeeping(by: broker.now + Self.patience)
        sendNext(to: peer, broker)
    }

    private func sendNext(to peer: PeerEntry, _ broker: Broker) {
        while let queue = queues[peer.peerID], !queue.waiting.isEmpty,
            queue.count < peer.poolSize(broker.settings)
        {
            let next = queues[peer.peerID]!.waiting.removeFirst()
            guard let host = peer.host, !host.hasPrefix("/"), !host.hasPrefix("@") else {
                let path = "\(peer.host ?? "")/.s.PGSQL.\(peer.port)"
                send(next.packet, to: peer, for: next.client, broker) { () throws(UVError) in
                    try Descriptor.connect(unix: path)
                }
                continue
            }
            queues[peer.peerID]!.lookingUp += 1
            broker.lookUp(NameLookups.Name(host: host, port: "\(peer.port)")) {
                [unowned self, unowned broker] addresses in
                self.queues[peer.peerID]!.lookingUp -= 1
                self.send(next.packet, to: peer, for: next.client, broker) { () throws(UVError) in
                    try Descriptor.connect(
                        tcp: addresses.first ?? "", port: UInt16(clamping: peer.port))
                }
                self.sendNext(to: peer, broker)
            }
        }
        if let queue = queues[peer.peerID], queue.count == 0, queue.waiting.isEmpty {
            queues[peer.peerID] = nil
        }
    }

    private func send(
        _ packet: [UInt8], to peer: PeerEntry, for client: ClientID, _ broker: Broker,
        _ connect: () throws(UVError) -> Int32
    ) {
        do throws(UVError) {
            let cancel = try ForwardedCancel(
                loop: broker.loop, descriptor: try connect(), packet: packet
            ) { [unowned self, unowned broker] in
                self.ended($0, to: peer, broker)
            }
            queues[peer.peerID]?.underWay[ObjectIdentifier(cancel)] = (cancel, client, broker.now)
        } catch {
            broker.logger.warning(
                "a peer cannot be reached, a cancel request is dropped",
                metadata: ["peer_id": "\(peer.peerID)", "reason": "\(error)"])
            broker.cancelIsDone(client)
        }
    }

    private func ended(_ cancel: ForwardedCancel, to peer: PeerEntry, _ broker: Broker) {
        if let known = queues[peer.peerID]?.underWay.removeValue(forKey: ObjectIdentifier(cancel)) {
            if !cancel.isSent {
                broker.logger.warning(
                    "a peer cannot be reached, a cancel request is dropped",
                    metadata: ["peer_id": "\(peer.peerID)"])
            }
            broker.cancelIsDone(known.client)
        }
        sendNext(to: peer, broker)
    }

    /// Those that have waited too long are given up.
    func look(_ now: Instant, _ broker: Broker) {
        for (id, queue) in queues {
            for (number, one) in queue.underWay where one.since + Self.patience <= now {
                queues[id]?.underWay[number] = nil
                one.cancel.close()
                giveUp(one.client, id, broker)
            }
            while let first = queues[id]?.waiting.first, first.since + Self.patience <= now {
                queues[id]?.waiting.removeFirst()
                giveUp(first.client, id, broker)
            }
            guard let peer = broker.configuration.peer(id) else { continue }
            sendNext(to: peer, broker)
        }
        if !queues.isEmpty { broker.housekeeping(by: now + Self.patience / 10) }
    }

    private func giveUp(_ client: ClientID, _ peer: Int, _ broker: Broker) {
        broker.logger.warning(
            "a peer does not answer, a cancel request is dropped", metadata: ["peer_id": "\(peer)"])
        broker.cancelIsDone(client)
    }

    func close() {
        for queue in queues.values { for one in queue.underWay.values { one.cancel.close() } }
        queues = [:]
    }
}
