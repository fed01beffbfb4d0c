import LeaseCore

/// SHOW EVENTS: what happened of late, oldest first.
extension Broker {
    func showEvents(into rows: inout ConsoleRows) {
        let now = now
        for entry in events.entries {
            let incident = entry.incident
            rows.add {
                $0.integer(entry.id)
                $0.text(entry.time.consoleText)
                // Since it happened last: the same incident again is counted, not told again.
                $0.integer((now - entry.last).wholeMicroseconds)
                $0.text(incident.kind.rawValue)
                $0.text(incident.level.rawValue)
                $0.text(incident.database)
                $0.text(incident.user)
                $0.text(incident.group)
                $0.text(incident.applicationName)
                $0.integer(incident.client)
                $0.integer(incident.clientProcess)
                $0.integer(incident.lease)
                $0.integer(entry.count)
                $0.text(incident.message)
            }
        }
    }
}
