package import PostgresWire

/// The beginning and the end of leases. Every lease begins in `grant`, and ends in `endLease`.
extension Engine {
    // MARK: Asking

    /// Asks for a server. It may be there when this returns.
    mutating func requestLease(_ client: ClientID, since: Instant? = nil) {
        guard let membership = clients[client].membership else {
            preconditionFailure("a client without a pool asks for a lease")
        }
        let began = since ?? now
        clients[client].request.since = began
        clients[client].request.isWaiting = true
        if since == nil { noteUse(of: client) }
        var wait = pools[membership.pool].queryWait
        if let asked = clients[client].call?.terms.wait { wait = asked.wholeNanoseconds }
        var request = LeaseRequest(
            client: client, pool: pools[membership.pool].id, group: membership.group,
            owner: membership.owner, profile: clients[client].settings.current,
            requiresProfile: pools[membership.pool].isSession,
            deadline: wait.map { began.advanced(by: $0) } ?? .endOfTime, since: began,
            useSince: clients[client].request.useSince, peer: membership.peer)
        if let call = clients[client].call {
            request.owner.thread = call.thread
            request.wantsHandOut = call.terms.isDirect && settings.directLeases
        }
        scheduler.handle(leaseRequested: request, now: now, into: &effects)
        runEffects()
    }

    /// A program that takes a session from its own pool may try it with a statement first; after a
    /// transaction, or a pause, it has probably given the session back and taken it again.
    private mutating func noteUse(of client: ClientID) {
        let pause = now.nanoseconds - clients[client].moments.detachedAt.nanoseconds
        if clients[client].request.isUseOver || pause > longestPauseInUse {
            clients[client].request.useSince = now
        }
        clients[client].request.isUseOver = false
    }

    /// In nanoseconds.
    private var longestPauseInUse: Int64 { 50_000_000 }

    mutating func withdraw(_ client: ClientID) {
        guard clients[client].isWaiting else { return }
        clients[client].request.isWaiting = false
        post(.requestWithdrawn(client))
    }

    /// The scheduler will not give it a server. The shell says in which words.
    mutating func reject(_ client: ClientID, _ rejection: Rejection) {
        guard clients.contains(client), clients[client].isWaiting else { return }
        clients[client].request.isWaiting = false
        clients[client].request.awaitsWords = true
        notices.append(.rejected(client, rejection))
    }

    /// The batch that waits is answered with this error; the session goes on.
    package mutating func answer(_ client: ClientID, with error: PgError, now: Instant) {
        self.now = now
        // A ROLLBACK outside of any transaction has needed no server after all.
        guard clients.contains(client), clients[client].request.awaitsWords else { return }
        answer(client, with: error)
    }

    mutating func answer(_ client: ClientID, with error: PgError) {
        clients[client].request.awaitsWords = false
        if clients[client].call != nil {
            failLeaseCall(client, error)
            return
        }
        let bytes = clients[client].pending
        clients[client].pending = []
        let consumed = bytes.withUnsafeBytes { refuseBatch($0, of: client, with: error) }
        clients[client].pending = Array(bytes[consumed...])
        queueToResume(client)
    }

    // MARK: Granting

    mutating func grant(
        _ client: ClientID, _ server: ServerID, _ lease: LeaseID, waited: Duration
    ) {
        guard clients.contains(client), clients[client].isWaiting,
            let membership = clients[client].membership
        else {
            // It left while the grant was on its way: nothing has happened on the server.
            scheduler.handle(
                leaseReturned: server, .clean, profile: servers[server].profile.current, now: now,
                into: &effects)
            return
        }
        clients[client].request.isWaiting = false
        clients[client].server = server
        servers[server].lease = ServerSession.HeldLease(
            id: lease, client: client, since: now, waited: waited, groupTimes: membership.times)
        servers[server].hasSent = false
        servers[server].fatal = nil
        servers[server].stream.beginLease()
        countGrant(membership, waited)
        look(at: server, by: now.advanced(by: pools[membership.pool].firstLook))
        if clients[client].phase == .awaitingServer {
            notices.append(.mayBeServed(client))
            return
        }
        if let call = clients[client].call {
            beginExplicitLease(server, client, call)
            return
        }
        if servers[server].profile.current != clients[client].settings.current {
            preparePrelude(server, client)
        }
        if !servers[server].profile.holdsClientBytes, !clients[client].pending.isEmpty {
            queueToResume(client)
        }
    }

    @inline(__always)
    private mutating func countGrant(
        _ membership: borrowing ClientSession.Membership, _ waited: Duration
    ) {
        let time = waited.wholeNanoseconds
        pools[membership.pool].statistics.assignments += 1
        pools[membership.pool].statistics.waitTime += time
        pools[membership.pool].times.wait.record(time)
        membership.times.wait.record(time)
    }

    // MARK: Ending

    /// Ends the lease if the protocol says that it is over.
    mutating func endLeaseIfOver(_ server: ServerID) {
        guard servers[server].isLeased, servers[server].outbound.isEmpty,
            servers[server].prelude.isEmpty, servers[server].stream.brokerQuery == nil
        else { return }
        if let client = servers[server].client {
            guard
                servers[server].stream.isLeaseOver(
                    passing: clients[client].stream.passing, mode(of: server)),
                clients[client].phase != .awaitingServer
            else { return }
            if servers[server].stream.status != .idle {
                // Statement pooling, and the client began a transaction.
                refuse(client, LeaseErrors.transactionInStatementPool)
                return
            }
            detach(server, client)
            finishLease(server)
            if !clients[client].pending.isEmpty { queueToResume(client) }
        } else if servers[server].stream.isQuiet {
            if servers[server].stream.status == .idle {
                finishLease(server)
            } else {
                ask(server, .rollback, ["ROLLBACK"])
            }
        }
    }

    /// The session and the server let go of each other; the lease goes on until what was left is ended.
    mutating func detach(_ server: ServerID, _ client: ClientID) {
        clients[client].server = nil
        servers[server].lease?.client = nil
        clients[client].moments.lastActivity = now
        clients[client].moments.detachedAt = now
        clients[client].request.isUseOver =
            servers[server].clock?.hadTransaction == true || servers[server].isExplicit
        if servers[server].interest.isEmpty { watch(server, for: .bytes) }
    }

    /// The server goes back to its pool, in the state in which its stream is.
    mutating func finishLease(_ server: ServerID) {
        var condition = servers[server].stream.conditionOnReturn
        // Even a DISCARD ALL of the client's own may have something behind it.
        if servers[server].isExplicit || servers[server].upkeep.mustReset, condition == .clean {
            condition = .dirty
        }
        if var orphan = servers[server].orphan.take() {
            orphan.releaseAll(in: &statements)
            // What ran when its client vanished may have left anything.
            if condition == .clean { condition = .dirty }
        }
        endLease(server, condition)
    }

    /// The one end of every lease: what it was is counted and forgotten, and the scheduler has the server back.
    mutating func endLease(_ server: ServerID, _ condition: ServerCondition) {
        if let lease = servers[server].lease {
            servers[server].lease = nil
            assert(lease.client == nil, "a lease ends that somebody holds")
            let held = now.nanoseconds - lease.since.nanoseconds
            pools[servers[server].pool].times.hold.record(held)
            lease.groupTimes?.hold.record(held)
        }
        if var orphan = servers[server].orphan.take() { orphan.releaseAll(in: &statements) }
        if servers[server].stream.tally != ServerStream.Tally() { countTally(server) }
        servers[server].profile.holdsClientBytes = false
        servers[server].stream.isDraining = false
        servers[server].moments.lastUsed = now
        if !cancels.isEmpty { dropCancel(of: server, isClosing: condition == .broken) }
        scheduler.handle(
            leaseReturned: server, condition, profile: servers[server].profile.current, now: now,
            into: &effects)
        runEffects()
    }

    private mutating func countTally(_ server: ServerID) {
        let tally = servers[server].stream.tally
        let pool = servers[server].pool
        pools[pool].statistics.clientParses += tally.clientParses
        pools[pool].statistics.serverParses += tally.serverParses
        pools[pool].statistics.binds += tally.binds
        servers[server].stream.tally = ServerStream.Tally()
    }

    /// The client is gone, or is thrown out: what it left on its server is brought to an end.
    mutating func abandonLease(of client: ClientID) {
        guard let server = clients[client].server else { return }
        if servers[server].isDirect {
            // What it was in the middle of cannot be known; it may have left copies, too.
            detach(server, client)
            cutOff(server)
            endLease(server, .broken)
            return
        }
        let wasBusy = servers[server].stream.isOwing
        detach(server, client)
        if servers[server].stream.brokerQuery != nil, !servers[server].prelude.isEmpty {
            // The prelude was never sent: its answer will not come.
            servers[server].stream.releaseAll(in: &statements)
            endLease(server, .broken)
            return
        }
        var bytes = servers[server].prelude
        // Names that a message in flight changed must be put back into this client's table.
        var orphan = exchange(&clients[client].stream, with: ClientStream())
        let canDrain =
            servers[server].phase == .ready
            && servers[server].stream.beginDraining(orphan, into: &bytes)
        guard canDrain else {
            if wasBusy { cancel(server) }
            servers[server].stream.dropAll(&orphan, statements: &statements)
            orphan.releaseAll(in: &statements)
            endLease(server, .broken)
            return
        }
        servers[server].orphan = consume orphan
        if wasBusy { cancel(server) }
        beginDraining(server)
        watch(server, for: servers[server].outbound.isEmpty ? .bytes : [.bytes, .room])
        if !bytes.isEmpty, !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
            return
        }
        endLeaseIfOver(server)
    }

    /// It has so long to end what its client left running.
    mutating func beginDraining(_ server: ServerID) {
        let deadline = now + drainTimeout
        servers[server].lease?.drainDeadline = deadline
        look(at: server, by: deadline)
    }

    private var drainTimeout: Duration { .seconds(10) }

    /// How the relay treats whoever holds it.
    @inline(__always)
    func mode(of server: ServerID) -> RelayMode {
        servers[server].isExplicit
            ? pools[servers[server].pool].heldMode : pools[servers[server].pool].mode
    }
}
