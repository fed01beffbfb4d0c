import LeaseCore
import LibUV
import PostgresWire

/// What operators are told of in SHOW EVENTS.
extension Broker {
    /// Notes an event of this pool and this client, as far as there are any.
    func note(
        _ kind: EventKind, _ level: EventLevel, _ message: String, cause: String = "",
        pool: Pool? = nil, client: ClientSession? = nil, lease: LeaseID? = nil
    ) {
        var incident = Incident(
            kind: kind, level: level, message: Self.eventText(message), cause: cause)
        let pool = pool ?? client?.pool
        incident.pool = pool?.id.rawValue ?? 0
        incident.database = pool?.database ?? client?.database
        incident.user = pool?.user ?? client?.user
        if let client {
            incident.group = client.group?.name
            incident.applicationName = client.applicationName
            incident.client = client.id.consoleNumber
            incident.clientProcess = client.peer?.processID
        }
        incident.lease = lease.map { Int64(clamping: $0.rawValue) }
        events.record(incident, at: .now(), now: now)
    }

    /// A server's or a library's message may quote a connection string.
    private static func eventText(_ message: String) -> String {
        String(SecretRedaction.redact(message).prefix(eventTextLimit))
    }

    private static let eventTextLimit = 1000
}
