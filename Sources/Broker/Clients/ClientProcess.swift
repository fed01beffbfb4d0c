// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV

/// A client's process, as long as it has sessions.
final class ClientProcess {
    let id: PeerID
    let processID: Int32
    /// nil: it had ended before it was looked at, and its number may be another's.
    let identity: ProcessIdentity?
    var sessions = 0
    /// Its sessions may go on in children, which never get what is its own.
    var hasEnded: Bool
    /// Some connection is confined to it: it is watched from then on.
    var hasHadDirect = false
    var watch: PeerProcess?
    /// Clients that are told of its end.
    var watchedClients: Set<ClientID> = []
    /// What the kernel calls it (15 bytes at most), at once; nil where that is hidden.
    var name: String?
    /// nil until it was looked at.
    var facts: ProcessFacts?
    var lookedAt: Instant

    init(id: PeerID, processID: Int32, identity: ProcessIdentity?, now: Instant) {
        self.id = id
        self.processID = processID
        self.identity = identity
        hasEnded = identity == nil
        name = identity == nil ? nil : ProcessFacts.name(of: processID)
        lookedAt = now
    }

    /// As whom its clients ask for connections that are for one process only; nil: they get none of these.
    var confinedID: PeerID? { identity?.isCertain == true && !hasEnded ? id : nil }

    func stopWatching() {
        watch?.close()
        watch = nil
    }

    var program: String? { facts?.program ?? name }
    var arguments: String? { facts?.arguments }
}

/// The looks at processes that are under way, and those that wait for one.
///
/// A process that holds its own memory lock for long holds up whoever reads its command line: no more than
/// two of the worker threads may come to stand there.
struct ProcessLooks {
    static let atOnce = 2
    static let limit = 4096

    var underWay = 0
    var waiting: [ClientProcess] = []
}

extension Broker {
    func joinProcess(_ client: ClientConnection) {
        guard let peer = client.peer, peer.processID > 0 else { return }
        let process: ClientProcess
        if let identity = peer.process, let known = directory.processes[identity] {
            process = known
            if now - process.lookedAt > Self.factsAge { look(at: process) }
        } else {
            process = directory.processes.open(peer.processID, peer.process, now: now)
            if peer.process != nil { look(at: process) }
        }
        process.sessions += 1
        client.process = process
    }

    func leaveProcess(_ client: ClientConnection) {
        guard let process = client.process else { return }
        client.process = nil
        process.sessions -= 1
        guard process.sessions == 0 else { return }
        process.stopWatching()
        directory.processes.forgetIdentity(of: process)
        if process.hasHadDirect, !process.hasEnded { post(.peerGone(process.id)) }
    }

    /// A process may give itself another title, or become another program: a login after so long looks again.
    private static let factsAge = Duration.seconds(10)

    private func look(at process: ClientProcess) {
        process.lookedAt = now
        guard jobs.processLooks.underWay < ProcessLooks.atOnce else {
            if jobs.processLooks.waiting.count < ProcessLooks.limit {
                jobs.processLooks.waiting.append(process)
            }
            return
        }
        beginLook(at: process)
    }

    private func beginLook(at process: ClientProcess) {
        guard let identity = process.identity else { return }
        let work: @Sendable () -> ProcessFacts? = { ProcessFacts.read(identity) }
        guard
            (try? loop.submit(work) { [weak self] facts in self?.looked(at: process, facts) })
                != nil
        else { return }
        jobs.processLooks.underWay += 1
    }

    private func looked(at process: ClientProcess, _ facts: ProcessFacts?) {
        jobs.processLooks.underWay -= 1
        if let facts {
            process.facts = facts
            process.name = facts.name ?? process.name
        }
        // Those that are gone meanwhile are not looked at.
        while jobs.processLooks.underWay < ProcessLooks.atOnce,
            let next = jobs.processLooks.waiting.popLast()
        {
            if next.sessions > 0, !next.hasEnded { beginLook(at: next) }
        }
    }
}
