import LeaseCore
import PostgresWire

/// What operators are told of in SHOW EVENTS.
extension Broker {
    /// Notes an event of this pool and this client, as far as there are any.
    func note(
        _ kind: EventKind, _ level: EventLevel, _ message: @autoclosure () -> String,
        cause: String = "", pool: Pool? = nil, client: ClientSession? = nil, lease: LeaseID? = nil
    ) {
        let pool = pool ?? client?.pool
        let poolNumber = pool?.id.rawValue ?? 0
        if events.countAgain(kind, pool: poolNumber, cause: cause, now: now) { return }
        var incident = Incident(
            kind: kind, level: level, message: Self.eventText(message()), cause: cause)
        incident.pool = poolNumber
        incident.database = pool?.database ?? client.map { Self.eventName($0.database) }
        incident.user = pool?.user ?? client.map { Self.eventName($0.user) }
        if let client {
            incident.group = client.group.map { Self.eventName($0.name) }
            incident.applicationName = Self.eventName(client.applicationName)
            incident.client = client.id.consoleNumber
            incident.clientProcess = client.processNumber
        }
        incident.lease = lease.map { Int64(clamping: $0.rawValue) }
        events.record(incident, at: .now(), now: now)
    }

    /// A server's or a library's message may quote a connection string.
    private static func eventText(_ message: String) -> String {
        String(SecretRedaction.redact(message).prefix(eventTextLimit))
    }

    /// A name that a client gave itself may be as long as its startup packet.
    private static func eventName(_ name: String) -> String {
        name.utf8.count <= eventNameLimit ? name : String(name.prefix(eventNameLimit))
    }

    private static let eventTextLimit = 1000
    private static let eventNameLimit = 64
}
