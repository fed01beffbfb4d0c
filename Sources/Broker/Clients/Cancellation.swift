import LeaseCore
import Logging
import PostgresWire

/// CancelRequests: found by the broker's own keys, passed on with PostgreSQL's.
extension Broker {
    /// The canceller's connection closes once it is done, whatever came of it: PostgreSQL does not say either.
    func cancelRequested(_ processID: Int32, _ key: [UInt8], by canceller: ClientSession) {
        guard key.count == 4, let target = cancelTarget(processID, key) else {
            logger.debug("cancel request with an unknown key")
            close(canceller, because: "cancel request")
            return
        }
        if target.console?.wait != nil {
            endWait(of: target, Self.waitCancelled)
            close(canceller, because: "cancel request")
            return
        }
        if target.isWaiting, target.phase == .ready {
            withdraw(target)
            answer(target, with: Self.cancelled)
            close(canceller, because: "cancel request")
            return
        }
        guard let server = target.server, server.stream.isOwing || server.isDirect
        else {
            close(canceller, because: "cancel request")
            return
        }
        canceller.phase = .closing
        let id = canceller.id
        sendCancel(server) { [weak self] in
            guard let self, let canceller = self.clients[id] else { return }
            self.close(canceller, because: "cancel request")
        }
    }

    private func cancelTarget(_ processID: Int32, _ key: [UInt8]) -> ClientSession? {
        let secret = key.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self).bigEndian }
        let known = CancelKey(processID: processID, secret: Int32(bitPattern: secret))
        return cancelKeys[known].flatMap { clients[$0] }
    }

    private static let waitCancelled = PgError.error(
        .queryCanceled, "canceling the wait due to user request",
        detail: "The command itself stays in force.", hint: "After PAUSE and KILL, RESUME goes on.")

    private static let cancelled = PgError.error(
        .queryCanceled, "canceling statement due to user request",
        detail: "The statement was still waiting for a server connection.")
}
