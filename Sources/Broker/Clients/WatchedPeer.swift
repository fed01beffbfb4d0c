import LeaseCore
import LibUV

/// The end of a client's process: a child that inherited its sockets keeps them open, so no end of file
/// tells of it.
extension Broker {
    /// Watches the process of a client that has held its lease for a while.
    func watchPeer(of client: ClientSession) {
        guard let process = client.process, !client.isPeerWatched, !client.hasOutlivedItsProcess
        else { return }
        guard isWatched(process) else {
            if process.hasEnded { orphaned(client) }
            return
        }
        process.watchedClients.insert(client.id)
        client.isPeerWatched = true
    }

    /// Makes sure that the broker will learn of this process's end; false if it has ended, or that is
    /// impossible.
    func isWatched(_ process: ClientProcess) -> Bool {
        if process.watch != nil { return true }
        guard let identity = process.identity, !process.hasEnded else { return false }
        do throws(PeerProcessError) {
            process.watch = try PeerProcess(loop: loop, identity) { [weak self, weak process] in
                guard let self, let process else { return }
                self.processEnded(process)
            }
            return true
        } catch {
            if error == .ended { processEnded(process) }
            return false
        }
    }

    func unwatchPeer(of client: ClientSession) {
        guard client.isPeerWatched, let process = client.process else { return }
        client.isPeerWatched = false
        process.watchedClients.remove(client.id)
        // What it was handed is watched over as long as it has a session.
        if process.watchedClients.isEmpty, !process.hasHadDirect { process.stopWatching() }
    }

    /// Its children may have what it was handed: connections of its own are shut down, free ones and those
    /// that it has directly.
    private func processEnded(_ process: ClientProcess) {
        guard !process.hasEnded else { return }
        process.hasEnded = true
        process.stopWatching()
        forgetIdentity(of: process)
        let watched = process.watchedClients
        process.watchedClients = []
        for id in watched {
            guard let client = clients[id] else { continue }
            client.isPeerWatched = false
            orphaned(client)
        }
        guard process.hasHadDirect else { return }
        for server in Array(servers.values) where server.isDirect {
            guard let client = server.client, client.process === process else { continue }
            noteRevocation(
                .processGone, "lease taken back: the client's process is gone", of: client,
                server.lease)
            close(client, because: "its process is gone")
        }
        if process.hasHadDirect { post(.peerGone(process.id)) }
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
