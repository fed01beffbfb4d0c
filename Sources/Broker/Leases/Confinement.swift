import LeaseCore

/// A connection that a process had directly is for no other.
extension Broker {
    func mayConfine(_ server: ServerConnection, to client: ClientSession) -> Bool {
        guard let process = client.process?.confinedID else { return false }
        return scheduler.mayHandOut(server.id, to: process, now: now)
    }

    func confine(_ server: ServerConnection, to client: ClientSession) {
        guard let process = client.process else { return }
        process.hasHadDirect = true
        server.wasHandedOut = true
        post(.serverHandedOut(server.id, to: process.id))
    }
}
