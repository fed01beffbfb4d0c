// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// LISTEN's other end.
extension Session {
    /// The next notification; nil at the deadline.
    func waitForNotification(
        until deadline: ContinuousClock.Instant?, _ interruption: Interruption
    ) throws -> LeaseNotification? {
        try operation(interruption) {
            patience = Patience(until: deadline, interruption: interruption)
            while true {
                if let found = connection.takeNotification() {
                    return LeaseNotification(found)
                }
                do {
                    if try !connection.waitForInput(patience) {
                        throw ServerMessage(
                            severity: "FATAL", sqlState: "", message: connection.failure.message)
                    }
                    // An error that comes by itself, such as the server's farewell.
                    _ = connection.hasResultReady
                    if !connection.isOpen {
                        throw ServerMessage(
                            severity: "FATAL", sqlState: "", message: connection.failure.message)
                    }
                } catch WaitFailure.timedOut {
                    return nil
                } catch WaitFailure.interrupted {
                    throw LeaseError.cancelled
                }
            }
        }
    }
}

/// What NOTIFY sent.
public struct LeaseNotification: Equatable, Sendable {
    public var channel: String
    public var payload: String
    /// The server process of the sender.
    public var processID: Int

    init(_ notification: BlockingConnection.Notification) {
        channel = notification.channel
        payload = notification.payload
        processID = Int(notification.processID)
    }
}
