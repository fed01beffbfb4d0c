// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import PostgresWire

/// What operators are told of in SHOW EVENTS.
extension Broker {
    /// Notes an event of this pool and this client, as far as there are any.
    func note(
        _ kind: EventKind, _ level: EventLevel, _ message: @autoclosure () -> String,
        cause: String = "", pool: DatabasePool? = nil, client: ClientConnection? = nil,
        lease: LeaseID? = nil
    ) {
        let pool = pool ?? client?.pool
        let poolNumber = pool?.id.rawValue ?? 0
        if telemetry.events.countAgain(kind, pool: poolNumber, cause: cause, now: now) { return }
        var incident = Incident(
            kind: kind, level: level, message: Self.eventText(message()), cause: cause)
        incident.pool = poolNumber
        // Behind a "*" line a pool is called as its first client called it.
        incident.database = (pool?.database ?? client?.database).map(Self.eventName)
        incident.user = (pool?.user ?? client?.user).map(Self.eventName)
        if let client {
            incident.group = client.group.map { Self.eventName($0.name) }
            incident.applicationName = Self.eventName(client.applicationName)
            incident.client = client.id.consoleNumber
            incident.clientProcess = client.processNumber
        }
        incident.lease = lease.map { Int64(clamping: $0.rawValue) }
        telemetry.events.record(incident, at: .now(), now: now)
    }

    /// A server's or a library's message may quote a connection string.
    private static func eventText(_ message: String) -> String {
        oneLine(SecretRedaction.redact(message).prefix(eventTextLimit))
    }

    /// A name that a client gave itself may be as long as its startup packet.
    private static func eventName(_ name: String) -> String {
        oneLine(name.prefix(eventNameLimit))
    }

    /// What a stranger wrote must not steer the terminal that shows it.
    static func oneLine(_ text: some StringProtocol) -> String {
        var shown = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x09...0x0D: shown.append(" ")
            case 0..<0x20, 0x7F..<0xA0: shown.append("?")
            default: shown.append(scalar)
            }
        }
        return String(shown)
    }

    private static let eventTextLimit = 1000
    private static let eventNameLimit = 64
}
