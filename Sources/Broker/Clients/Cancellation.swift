import BrokerConsole
import LeaseCore
import Logging
import PostgresWire

/// CancelRequests: found by the broker's own keys, passed on with PostgreSQL's.
extension Broker {
    /// The canceller's connection closes once it is done, whatever came of it: PostgreSQL does not say either.
    func cancelRequested(_ processID: Int32, _ key: [UInt8], by canceller: ClientConnection) {
        guard let target = cancelTarget(processID, key) else {
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

    private func cancelTarget(_ processID: Int32, _ key: [UInt8]) -> ClientConnection? {
        guard key.count >= 4 else { return nil }
        let secret = key.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self).bigEndian }
        let known = CancelKey(processID: processID, secret: Int32(bitPattern: secret))
        guard let client = directory.cancelKeys[known].flatMap({ clients[$0] }),
            client.keyRest.count == key.count - 4
        else { return nil }
        // In the same time, wherever they differ.
        var difference: UInt8 = 0
        for (own, given) in zip(client.keyRest, key.dropFirst(4)) { difference |= own ^ given }
        return difference == 0 ? client : nil
    }

    private static let waitCancelled = PgError.error(
        .queryCanceled, "canceling the wait due to user request",
        detail: "The command itself stays in force.", hint: "After PAUSE and KILL, RESUME goes on.")
}
