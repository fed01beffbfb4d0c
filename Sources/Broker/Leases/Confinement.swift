import LeaseCore
import LibUV

/// The processes of clients: a connection that one of them had directly is for no other.
final class ClientProcess {
    let id: PeerID
    var sessions = 0
    /// Some connection is confined to it.
    var hasHadDirect = false

    init(id: PeerID) { self.id = id }
}

extension Broker {
    /// The client's process, known by its sessions: a number that the system uses again belongs to
    /// another one.
    func joinProcess(_ client: ClientSession) {
        guard let peer = client.peer, peer.processID > 0 else { return }
        let process: ClientProcess
        if let known = processes[peer.processID] {
            process = known
        } else {
            lastPeer += 1
            process = ClientProcess(id: PeerID(lastPeer))
            processes[peer.processID] = process
        }
        process.sessions += 1
        client.process = process
    }

    func leaveProcess(_ client: ClientSession) {
        guard let process = client.process, let peer = client.peer else { return }
        client.process = nil
        process.sessions -= 1
        guard process.sessions == 0 else { return }
        processes[peer.processID] = nil
        if process.hasHadDirect { post(.peerGone(process.id)) }
    }

    func mayConfine(_ server: ServerConnection, to client: ClientSession) -> Bool {
        guard let process = client.process else { return false }
        return scheduler.mayHandOut(server.id, to: process.id, now: now)
    }

    func confine(_ server: ServerConnection, to client: ClientSession) {
        guard let process = client.process else { return }
        process.hasHadDirect = true
        post(.serverHandedOut(server.id, to: process.id))
    }
}
