// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import Logging
import PostgresWire

/// CancelRequests: found by the broker's own keys, passed on with PostgreSQL's. Those of clients that another broker
/// has are passed on to that one: a peer on the same port, or the one whose place this one has taken.
extension Broker {
    /// The canceller's connection closes once it is done, whatever came of it: PostgreSQL does not say either.
    func cancelRequested(_ processID: Int32, _ key: [UInt8], by canceller: ClientConnection) {
        guard key.count >= 4 else {
            logger.debug("cancel request with an unknown key")
            close(canceller, because: "cancel request")
            return
        }
        let secret = key.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self).bigEndian }
        let asked = CancelKey(processID: processID, secret: Int32(bitPattern: secret))
        let rest = key.dropFirst(4)
        guard let target = cancelTarget(asked, rest) else {
            if passOn(asked, rest, for: canceller) { return }
            logger.debug("cancel request with an unknown key")
            close(canceller, because: "cancel request")
            return
        }
        if target.console?.wait != nil {
            endWait(of: target, Self.waitCancelled)
            close(canceller, because: "cancel request")
            return
        }
        engine.cancelRequested(of: target.id, by: canceller.id, now: now)
        dealWithNotices()
    }

    private func cancelTarget(_ asked: CancelKey, _ rest: ArraySlice<UInt8>) -> ClientConnection? {
        var known = asked
        if directory.cancelKeys[known] == nil {
            guard settings.peerId != 0 else { return nil }
            known.hopsLeft = CancelKey.mostHops
        }
        guard let client = directory.cancelKeys[known].flatMap({ clients[$0] }),
            client.keyRest.count == rest.count
        else { return nil }
        // In the same time, wherever they differ.
        var difference: UInt8 = 0
        for (own, given) in zip(client.keyRest, rest) { difference |= own ^ given }
        return difference == 0 ? client : nil
    }

    /// False where nobody else can have that client.
    private func passOn(
        _ asked: CancelKey, _ rest: ArraySlice<UInt8>, for canceller: ClientConnection
    ) -> Bool {
        guard settings.peerId != 0, asked.peerID != settings.peerId else {
            return forwardCancelBack(asked.request(rest), for: canceller)
        }
        guard let peer = configuration.peer(asked.peerID) else { return false }
        guard asked.hopsLeft > 0 else {
            logger.warning(
                "cancel request was passed on too often",
                metadata: ["peer_id": "\(asked.peerID)"])
            return false
        }
        var next = asked
        next.hopsLeft -= 1
        peers.forward(next.request(rest), to: peer, for: canceller.id, by: self)
        return true
    }

    private static let waitCancelled = PgError.error(
        .queryCanceled, "canceling the wait due to user request",
        detail: "The command itself stays in force.", hint: "After PAUSE and KILL, RESUME goes on.")
}
