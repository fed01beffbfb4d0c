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
        /// When a thread was last set going, or heard of, and of which session.
        var stirredAt: Instant
        var session: ClientID?
    }

    private var processes: [Int32: Process] = [:]

    func count(of process: Int32) -> Int? { processes[process]?.count }

    /// Since ever, if nothing was seen of it.
    func stirredAt(_ process: Int32) -> Instant { processes[process]?.stirredAt ?? .zero }

    /// All of its threads wait.
    mutating func allWait(of process: Int32) {
        processes[process, default: Process(stirredAt: .zero)].count = 0
    }

    /// One that waited, or that came just now, goes on.
    mutating func goesOn(_ process: Int32, _ session: ClientID, _ now: Instant) {
        processes[process, default: Process(stirredAt: now)].count? += 1
        stir(process, session, now)
    }

    /// One that went on has given back all that it held. What it asks for now is a beginning.
    mutating func leaves(_ process: Int32) {
        guard let count = processes[process]?.count, count > 0 else { return }
        processes[process]!.count = count - 1
    }

    /// One that went on anyway was heard of.
    mutating func stir(_ process: Int32, _ session: ClientID, _ moment: Instant) {
        if let before = processes[process]?.stirredAt, before > moment { return }
        processes[process, default: Process(stirredAt: moment)].stirredAt = moment
        processes[process]!.session = session
    }

    /// One has asked for a lease. Returns how long it paused before, if only one went on, and
    /// whether that was with the session that it had used last.
    mutating func asks(
        _ process: Int32, _ session: ClientID, _ now: Instant
    ) -> (pause: Int64, isAgain: Bool)? {
        guard let present = processes[process], let count = present.count, count > 0 else {
            return nil
        }
        processes[process]!.count = count - 1
        guard count == 1 else { return nil }
        return (now.nanoseconds(since: present.stirredAt), session == present.session)
    }
}

extension Scheduler {
    /// While a pool is watched: this client asks for a lease of it.
    mutating func noteRequest(_ request: LeaseRequest, in pool: Int, _ now: Instant) {
        let process = request.owner.processID
        guard request.owner.thread == nil,
            let (pause, isAgain) = pools[pool].lock.going.asks(process, request.client, now)
        else { return }
        pools[pool].lock.rhythms.note(pause, of: process, isAgain: isAgain)
    }

    /// While a pool is watched: this client has a lease of it, or is refused one.
    mutating func noteAnswer(
        _ client: ClientID, _ owner: OwnerKey, in pool: Int, _ now: Instant
    ) {
        guard owner.thread == nil else { return }
        pools[pool].lock.going.goesOn(owner.processID, client, now)
    }

    /// While a pool is watched: the holder of this lease was heard of.
    mutating func noteSign(_ lease: Lease, in pool: Int, _ moment: Instant) {
        if lease.owner.thread == nil {
            pools[pool].lock.going.stir(lease.owner.processID, lease.client, moment)
        }
    }
}
