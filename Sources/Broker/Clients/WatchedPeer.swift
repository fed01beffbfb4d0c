import LeaseCore
import LibUV

/// A process that holds leases, watched for its end (pidfd): a child that inherited its sockets keeps them
/// open, so no end of file will tell.
final class WatchedPeer {
    let process: PeerProcess
    var clients: Set<ClientID> = []

    init(_ process: PeerProcess) { self.process = process }
}

extension Broker {
    /// Watches the process of a client that has held its lease for a while.
    func watchPeer(of client: ClientSession) {
        // A process of another PID namespace has no number here: nothing can be known of it.
        guard let peer = client.peer, peer.processID > 0, !client.isPeerWatched,
            !client.hasOutlivedItsProcess
        else { return }
        if let watched = peers[peer.processID] {
            watched.clients.insert(client.id)
            client.isPeerWatched = true
            return
        }
        let process = PeerProcess(loop: loop, processID: peer.processID) { [weak self] in
            self?.peerEnded(peer.processID)
        }
        guard let process else {
            if !PeerProcess.isRunning(processID: peer.processID) { orphaned(client) }
            return
        }
        let watched = WatchedPeer(process)
        watched.clients.insert(client.id)
        client.isPeerWatched = true
        peers[peer.processID] = watched
    }

    func unwatchPeer(of client: ClientSession) {
        guard client.isPeerWatched, let peer = client.peer, let watched = peers[peer.processID]
        else {
            return
        }
        client.isPeerWatched = false
        watched.clients.remove(client.id)
        guard watched.clients.isEmpty else { return }
        watched.process.close()
        peers[peer.processID] = nil
    }

    private func peerEnded(_ processID: Int32) {
        guard let watched = peers.removeValue(forKey: processID) else { return }
        watched.process.close()
        for id in watched.clients {
            guard let client = clients[id] else { continue }
            client.isPeerWatched = false
            orphaned(client)
        }
    }

    /// A child may go on with the socket that it inherited: only one that stays silent loses its
    /// lease. Who has spoken since is left alone for good.
    private func orphaned(_ client: ClientSession) {
        guard client.orphanedAt == nil, !client.hasOutlivedItsProcess else { return }
        client.orphanedAt = now
        housekeeping(by: now + Self.orphanGrace)
    }

    /// How long the socket of a process that is gone may stay silent in a lease.
    static let orphanGrace = Duration.seconds(1)
    /// Leases younger than this are not worth a pidfd.
    static let peerWatchAfter = Duration.seconds(1)
}
