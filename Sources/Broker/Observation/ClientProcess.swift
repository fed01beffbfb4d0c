import LeaseCore
import LibUV

/// A client's process, as long as it has sessions.
///
/// Known by its number and its sessions: a number that the system uses again once they are gone belongs to
/// another one.
final class ClientProcess {
    let id: PeerID
    let processID: Int32
    var sessions = 0
    /// Some connection is confined to it.
    var hasHadDirect = false
    /// What the kernel calls it (15 bytes at most), at once; nil where that is hidden.
    var name: String?
    /// nil until it was looked at.
    var facts: ProcessFacts?
    var lookedAt: Instant

    init(id: PeerID, processID: Int32, now: Instant) {
        self.id = id
        self.processID = processID
        name = ProcessFacts.name(of: processID)
        lookedAt = now
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
    var waiting: [Int32] = []
}

extension Broker {
    func joinProcess(_ client: ClientSession) {
        guard let peer = client.peer, peer.processID > 0 else { return }
        let process: ClientProcess
        if let known = processes[peer.processID] {
            process = known
            if now - process.lookedAt > Self.factsAge { look(at: process) }
        } else {
            lastPeer += 1
            process = ClientProcess(
                id: PeerID(lastPeer), processID: peer.processID, now: now)
            processes[peer.processID] = process
            look(at: process)
        }
        process.sessions += 1
        client.process = process
    }

    func leaveProcess(_ client: ClientSession) {
        guard let process = client.process else { return }
        client.process = nil
        process.sessions -= 1
        guard process.sessions == 0 else { return }
        processes[process.processID] = nil
        if process.hasHadDirect { post(.peerGone(process.id)) }
    }

    /// A process may give itself another title, or become another program: a login after so long looks again.
    private static let factsAge = Duration.seconds(10)

    private func look(at process: ClientProcess) {
        process.lookedAt = now
        guard processLooks.underWay < ProcessLooks.atOnce else {
            if processLooks.waiting.count < ProcessLooks.limit {
                processLooks.waiting.append(process.processID)
            }
            return
        }
        beginLook(at: process.processID)
    }

    private func beginLook(at processID: Int32) {
        let work: @Sendable () -> ProcessFacts? = { ProcessFacts.read(processID) }
        guard
            (try? loop.submit(work) { [weak self] facts in self?.looked(at: processID, facts) })
                != nil
        else { return }
        processLooks.underWay += 1
    }

    private func looked(at processID: Int32, _ facts: ProcessFacts?) {
        processLooks.underWay -= 1
        if let facts, let process = processes[processID] {
            process.facts = facts
            process.name = facts.name ?? process.name
        }
        // Those that are gone meanwhile are not looked at.
        while processLooks.underWay < ProcessLooks.atOnce, let next = processLooks.waiting.popLast()
        {
            if processes[next] != nil { beginLook(at: next) }
        }
    }
}
