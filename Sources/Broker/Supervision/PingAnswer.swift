// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresProbe
import PostgresWire

/// The broker's side of `BrokerPing`.
extension Broker {
    /// Answers a ping and ends the connection. Who comes over TCP is nobody who may know names and
    /// addresses: it is told the state only.
    func answerPing(_ client: ClientConnection) {
        let reason = reasonNotReady()
        let told = client.isUnix ? reason : reason.map { String($0.prefix { $0 != ":" }) }
        var bytes: [UInt8] = []
        BrokerPing.append(
            BrokerPing.Answer(version: ProductVersion.text, reasonNotReady: told), to: &bytes)
        send(bytes, to: client)
        engine.end(client.id, because: "ping answered", now: now)
        dealWithNotices()
    }
}
