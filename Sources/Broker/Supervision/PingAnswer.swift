import PostgresProbe
import PostgresWire

/// The broker's side of `BrokerPing`.
extension Broker {
    /// Answers a ping and ends the connection. Who comes over TCP is nobody who may know names and
    /// addresses: it is told the state only.
    func answerPing(_ client: ClientSession) {
        let reason = reasonNotReady()
        let told = client.isUnix ? reason : reason.map { String($0.prefix { $0 != ":" }) }
        var bytes: [UInt8] = []
        BrokerPing.append(
            BrokerPing.Answer(version: ProductVersion.text, reasonNotReady: told), to: &bytes)
        bytes.withUnsafeBytes { send($0, to: client) }
        if client.outbound.isEmpty {
            close(client, because: "ping answered")
        } else {
            client.phase = .closing
            watchForMessages(client)
        }
    }
}
