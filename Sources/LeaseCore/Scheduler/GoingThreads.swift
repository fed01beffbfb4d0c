// SPDX-License-Identifier: Apache-2.0

/// How many threads of each process may come with a request next, where threads are not known.
///
/// A thread that is granted a lease, or refused one, goes on; once it asks for another it waits. So from a
/// moment on at which all threads of a process waited, those that go on can be counted. While
/// it is one, whatever its process asks for is that thread's next step, with whichever session it comes.
/// Nothing is known of threads that ask for the first time: each makes the count one too low.
///
/// Kept while a pool is watched.
struct GoingThreads {
    private struct Process {
        /// nil: threads may go on that were not seen to.
        var count: Int?
        /// When a thread was last set going, or heard of; how, and of which session.
        var stirredAt = Instant.zero
        var sign = Sign.answer
        var session: ClientID?
        /// The lease that began last.
        var newest: LeaseID?
    }

    /// What was heard of a thread.
    enum Sign {
        /// It was answered: it has a lease, or the lease came to rest, or its request was refused.
        case answer
        /// The newest lease is back, as after a statement that tried a session.
        case newestReturned
        /// Another is back, as at the end of a chain.
        case olderReturned
    }

    /// Beyond so many all are forgotten: their threads may go on that were not seen to.
    private static let mostProcesses = 1024

    private var processes: [Int32: Process] = [:]

    func count(of process: Int32) -> Int? { processes[process]?.count }

    /// Since ever, if nothing was seen of it.
    func stirredAt(_ process: Int32) -> Instant { processes[process]?.stirredAt ?? .zero }

    /// All of its threads wait.
    mutating func allWait(of process: Int32) {
        change(process) { $0.count = 0 }
    }

    /// One that waited, or that came just now, goes on.
    mutating func goesOn(
        _ process: Int32, _ session: ClientID, with lease: LeaseID?, _ now: Instant
    ) {
        change(process) { present in
            present.count? += 1
            if let lease { present.newest = lease }
        }
        stir(process, session, .answer, now)
    }

    /// One that went on has given back all that it held. What it asks for now is a beginning.
    mutating func leaves(_ process: Int32) {
        change(process) { $0.count = $0.count.map { max(0, $0 - 1) } }
    }

    /// One that went on anyway was heard of.
    mutating func stir(_ process: Int32, _ session: ClientID, _ sign: Sign, _ moment: Instant) {
        change(process) { present in
            guard moment >= present.stirredAt else { return }
            present.stirredAt = moment
            present.session = session
            present.sign = sign
        }
    }

    private mutating func change(_ process: Int32, _ body: (inout Process) -> Void) {
        if processes[process] == nil, processes.count >= Self.mostProcesses { processes = [:] }
        body(&processes[process, default: Process()])
    }

    func isNewest(_ lease: Lease) -> Bool {
        processes[lease.owner.processID]?.newest == lease.id
    }

    /// One has asked for a lease. Returns how long it paused before, if only one went on and did not
    /// give back leases before, and whether that was with the session that it had used last.
    mutating func asks(
        _ process: Int32, _ session: ClientID, _ now: Instant
    ) -> (pause: Int64, isAgain: Bool)? {
        guard let present = processes[process], let count = present.count, count > 0 else {
            return nil
        }
        processes[process]!.count = count - 1
        let isAgain = session == present.session
        let isKnown = present.sign == (isAgain ? .newestReturned : .answer)
        guard count == 1, isKnown else { return nil }
        return (now.nanoseconds(since: present.stirredAt), isAgain)
    }
}

extension Scheduler {
    /// While a pool is watched: this client asks for a lease of it.
    mutating func noteRequest(_ request: LeaseRequest, in pool: Int, _ now: Instant) {
        let process = request.owner.processID
        guard request.owner.thread == nil,
            let (pause, isAgain) = pools[pool].lock.going.asks(process, request.client, now)
        else { return }
        // A session that its thread has given back may be taken by any, unless that holds more.
        if isAgain, !isInChain(request.client, of: process, in: pool) { return }
        pools[pool].lock.rhythms.note(pause, of: process, isAgain: isAgain)
    }

    /// Whether the chain that is helped is this process's, and held with another session.
    private func isInChain(_ client: ClientID, of process: Int32, in pool: Int) -> Bool {
        guard let chain = pools[pool].lock.chain, chain.process == process,
            chain.root.client != client
        else { return false }
        for server in servers.slots.indices where servers.slots[server].pool == pool {
            guard let lease = servers.slots[server].lease else { continue }
            if lease.client == chain.root.client, lease.useSince == chain.root.since { return true }
        }
        return false
    }

    /// While a pool is watched: this client has this lease of it, or is refused one.
    mutating func noteAnswer(
        _ client: ClientID, _ owner: OwnerKey, with lease: LeaseID? = nil, in pool: Int,
        _ now: Instant
    ) {
        guard owner.thread == nil else { return }
        pools[pool].lock.going.goesOn(owner.processID, client, with: lease, now)
    }

    /// While a pool is watched: the lease came to rest.
    mutating func noteRest(_ lease: Lease, in pool: Int, _ since: Instant) {
        guard lease.owner.thread == nil else { return }
        pools[pool].lock.going.stir(lease.owner.processID, lease.client, .answer, since)
    }

    /// While a pool is watched: the lease is back.
    mutating func noteReturn(_ lease: Lease, in pool: Int, _ now: Instant) {
        guard lease.owner.thread == nil else { return }
        let sign =
            pools[pool].lock.going.isNewest(lease)
            ? GoingThreads.Sign.newestReturned : .olderReturned
        pools[pool].lock.going.stir(lease.owner.processID, lease.client, sign, now)
    }
}
