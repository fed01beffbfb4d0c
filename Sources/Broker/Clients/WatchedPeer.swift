// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV

/// The end of a client's process: a child that inherited its sockets keeps them open, so no end of file
/// tells of it.
extension Broker {
    /// Watches the process of a client that has held its lease for a while.
    func watchPeer(of client: ClientConnection) {
        guard let process = client.process else { return }
        // First, so that it is told of an end that the attempt to watch brings to light.
        process.watchedClients.insert(client.id)
        if isWatched(process) {
            engine.processIsWatched(client.id, true)
        } else if process.hasEnded {
            engine.clientIsOrphaned(client.id, now: now)
        }
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
            // Perhaps the engine is at work: its end is told afterwards.
            if error == .ended { directory.processes.lost.append(process) }
            return false
        }
    }

    func unwatchPeer(of client: ClientConnection) {
        guard let process = client.process, process.watchedClients.remove(client.id) != nil else {
            return
        }
        // What it was handed is watched over as long as it has a session.
        if process.watchedClients.isEmpty, !process.hasHadDirect { process.stopWatching() }
    }

    /// Those of which only an attempt to watch them told that they have ended.
    func endLostProcesses() {
        while let process = directory.processes.lost.popLast() { processEnded(process) }
    }

    /// Its children may have what it was handed: connections of its own are shut down, free ones and those
    /// that it has directly.
    private func processEnded(_ process: ClientProcess) {
        guard !process.hasEnded else { return }
        process.hasEnded = true
        process.stopWatching()
        directory.processes.forgetIdentity(of: process)
        let watched = process.watchedClients
        process.watchedClients = []
        engine.processEnded(
            process.id, watched: Array(watched), wasHandedOut: process.hasHadDirect, now: now)
        dealWithNotices()
    }

    /// What is known outside of the engine of who wants a lease to be direct. Does not call the engine.
    func reasonNotDirect(_ server: ServerConnection, _ client: ClientConnection) -> NotDirect? {
        guard settings.directLease == .sameUID else { return .switchedOff }
        guard client.isUnix else { return .overTCP }
        guard client.peer != nil, let process = client.process, process.confinedID != nil,
            isWatched(process)
        else { return .unknownProcess }
        guard isTrusted(client) else { return .strangeUser }
        guard server.connection?.usesTLS == false else { return .serverUsesTLS }
        return nil
    }
}
