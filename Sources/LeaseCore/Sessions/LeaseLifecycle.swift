// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// The beginning and the end of leases. Every lease of a client's begins in `begin`, and every lease ends in `endLease`.
extension Engine {
    // MARK: Asking

    /// Asks for a server. It may be there when this returns.
    mutating func requestLease(_ client: ClientID, since: Instant? = nil) {
        let session = clients.address(of: client)
        guard let membership = session.pointee.membership else {
            preconditionFailure("a client without a pool asks for a lease")
        }
        let began = since ?? now
        session.pointee.request.since = began
        if since == nil { noteUse(of: client) }
        // What is ordered already comes first. As an effect would be carried out: what it brings about waits until it
        // is done.
        if session.pointee.request.call == nil, !isRunningEffects, effects.isEmpty,
            !pools[membership.pool].isSession,
            let (server, lease) = scheduler.leasePlainly(
                to: client, from: pools[membership.pool].id, group: membership.group,
                owner: membership.owner, profile: session.pointee.settings.current,
                useSince: session.pointee.request.useSince, now: now)
        {
            isRunningEffects = true
            begin(lease, of: client, session, membership, on: server, servers.address(of: server))
            isRunningEffects = false
            if !effects.isEmpty { runEffects() }
            return
        }
        session.pointee.request.isWaiting = true
        requestAnyLease(client, membership, began)
    }

    @inline(never)
    private mutating func requestAnyLease(
        _ client: ClientID, _ membership: ClientSession.Membership, _ began: Instant
    ) {
        let session = clients.address(of: client)
        var wait = pools[membership.pool].queryWait
        if let asked = session.pointee.call?.terms.wait { wait = asked.wholeNanoseconds }
        var deadline = Instant.endOfTime
        if let wait { deadline = began.advanced(by: wait) }
        var request = LeaseRequest(
            client: client, pool: pools[membership.pool].id, group: membership.group,
            owner: membership.owner, profile: session.pointee.settings.current,
            requiresProfile: pools[membership.pool].isSession, deadline: deadline, since: began,
            useSince: session.pointee.request.useSince, peer: membership.peer)
        if let call = session.pointee.call {
            request.owner.thread = call.thread
            request.wantsHandOut = call.terms.isDirect && settings.directLeases
        }
        // As above.
        if !isRunningEffects, effects.isEmpty,
            let (server, lease) = scheduler.leaseAtOnce(request, now: now)
        {
            isRunningEffects = true
            grant(client, server, lease)
            isRunningEffects = false
            runEffects()
            return
        }
        scheduler.handle(leaseRequested: request, now: now, into: &effects)
        runEffects()
    }

    /// A program that takes a session from its own pool may try it with a statement first; after a
    /// transaction, or a pause, it has probably given the session back and taken it again.
    private mutating func noteUse(of client: ClientID) {
        let session = clients.address(of: client)
        let pause = now.nanoseconds - session.pointee.moments.detachedAt.nanoseconds
        if session.pointee.request.isUseOver || pause > longestPauseInUse {
            session.pointee.request.useSince = now
        }
        session.pointee.request.isUseOver = false
    }

    /// In nanoseconds.
    private var longestPauseInUse: Int64 { 50_000_000 }

    mutating func withdraw(_ client: ClientID) {
        guard clients[client].isWaiting else { return }
        clients[client].request.isWaiting = false
        if pins.stopWaiting(client) != nil { return }
        post(.requestWithdrawn(client))
    }

    /// The scheduler will not give it a server. The shell says in which words.
    mutating func reject(_ client: ClientID, _ rejection: Rejection) {
        guard clients.contains(client), clients[client].isWaiting else {
            hubRejected(client, rejection)
            return
        }
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
        placeEnds(of: client)
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

    mutating func grant(_ client: ClientID, _ server: ServerID, _ lease: LeaseID) {
        guard clients.contains(client), clients[client].isWaiting,
            let membership = clients[client].membership
        else {
            if hubGranted(client, server, lease) { return }
            // It left while the grant was on its way: nothing has happened on the server.
            scheduler.handle(
                leaseReturned: server, .clean, profile: servers[server].profile.current, now: now,
                into: &effects)
            return
        }
        begin(
            lease, of: client, clients.address(of: client), membership, on: server,
            servers.address(of: server))
    }

    /// The one beginning of every lease of a client's.
    @inline(__always)
    private mutating func begin(
        _ lease: LeaseID, of client: ClientID, _ session: UnsafeMutablePointer<ClientSession>,
        _ membership: ClientSession.Membership, on server: ServerID,
        _ held: UnsafeMutablePointer<ServerSession>
    ) {
        session.pointee.request.isWaiting = false
        session.pointee.server = server
        let waited = now.nanoseconds - session.pointee.request.since.nanoseconds
        held.pointee.begin(
            ServerSession.HeldLease(
                id: lease, client: client, since: now, waited: waited,
                groupTimes: membership.times))
        if session.pointee.stream.listening != nil { held.pointee.stream.isListened = true }
        let pool = pools.address(of: membership.pool)
        pool.pointee.statistics.assignments += 1
        pool.pointee.statistics.waitTime += waited
        pool.pointee.times.wait.record(waited)
        membership.times._withUnsafeGuaranteedRef { $0.wait.record(waited) }
        look(at: server, by: now.advanced(by: pool.pointee.firstLook))
        if session.pointee.phase == .awaitingServer {
            if pool.pointee.terms.isReplication { held.pointee.passage = Passage() }
            if pool.pointee.isSession {
                notices.append(.mayBeServed(client))
            } else {
                putProfileInForce(server, client)
            }
            return
        }
        if pool.pointee.care.rawValue != 0 { careAtGrant(server, client) }
        if let call = session.pointee.call {
            careAtGrant(server, client)
            beginExplicitLease(server, client, call)
            return
        }
        if held.pointee.profile.current != session.pointee.settings.current
            || held.pointee.profile.first != .nothing
        {
            preparePrelude(server, client)
        }
        if !held.pointee.profile.holdsClientBytes, !session.pointee.pending.isEmpty {
            queueToResume(client)
        }
    }

    // MARK: Ending

    /// Ends the lease if the protocol says that it is over.
    mutating func endLeaseIfOver(_ server: ServerID) {
        endLeaseIfOver(server, servers.address(of: server))
    }

    /// The same, of the server that lies there.
    @inline(__always)
    mutating func endLeaseIfOver(
        _ server: ServerID, _ held: UnsafeMutablePointer<ServerSession>
    ) {
        guard held.pointee.isLeased, held.pointee.outbound.isEmpty,
            held.pointee.prelude.isEmpty, held.pointee.stream.brokerQuery == nil
        else { return }
        if let client = held.pointee.client {
            let session = clients.address(of: client)
            guard
                held.pointee.stream.isLeaseOver(
                    passing: session.pointee.stream.passing,
                    held.pointee.isExplicit
                        ? pools[held.pointee.pool].heldMode : pools[held.pointee.pool].mode),
                session.pointee.phase != .awaitingServer
            else {
                if session.pointee.flags.departure == .due { mayDepart(client) }
                if held.pointee.facts.isQuestionable, session.pointee.flags.departure != .due {
                    review(server, keptBy: client)
                }
                return
            }
            if held.pointee.stream.status != .idle {
                // Statement pooling, and the client began a transaction.
                refuse(client, LeaseErrors.transactionInStatementPool)
                return
            }
            if held.pointee.stream.taint != .nothing || held.pointee.pin != nil,
                keepsLease(server, client)
            {
                if session.pointee.flags.departure == .due { mayDepart(client) }
                if held.pointee.facts.isQuestionable, session.pointee.flags.departure != .due {
                    review(server, keptBy: client)
                }
                return
            }
            if session.pointee.stream.listening != nil {
                endLeaseOfListener(server, client)
            } else {
                letGo(server, client, held, session)
                finishLease(server, held)
            }
            if !session.pointee.pending.isEmpty { goOn(client) }
        } else if held.pointee.stream.isQuiet, !held.pointee.isHub {
            if held.pointee.stream.status == .idle {
                finishLease(server)
            } else {
                ask(server, .rollback, ["ROLLBACK"])
            }
        }
    }

    /// The session and the server let go of each other; the lease goes on until what was left is ended.
    mutating func detach(_ server: ServerID, _ client: ClientID) {
        letGo(server, client, servers.address(of: server), clients.address(of: client))
        if clients[client].stream.listening != nil { listeningLeaseEnded(client, server) }
    }

    /// The same, of a client that does not listen.
    @inline(__always)
    private mutating func letGo(
        _ server: ServerID, _ client: ClientID, _ held: UnsafeMutablePointer<ServerSession>,
        _ session: UnsafeMutablePointer<ClientSession>
    ) {
        session.pointee.server = nil
        held.pointee.holding.client = nil
        held.pointee.lastClient = client
        session.pointee.moments.lastActivity = now
        session.pointee.moments.detachedAt = now
        session.pointee.request.isUseOver =
            held.pointee.holding.clock.hadTransaction || held.pointee.isExplicit
        if held.pointee.interest.isEmpty { watch(server, for: .bytes) }
        if session.pointee.flags.departure == .due { mayDepart(client) }
    }

    /// The server goes back to its pool, in the state in which its stream is.
    mutating func finishLease(_ server: ServerID) {
        finishLease(server, servers.address(of: server))
    }

    @inline(__always)
    private mutating func finishLease(
        _ server: ServerID, _ held: UnsafeMutablePointer<ServerSession>
    ) {
        var condition = held.pointee.stream.conditionOnReturn
        // A library stays loaded until its process ends.
        if held.pointee.stream.residue.has(.libraries) || held.pointee.stream.taint.has(.libraries)
        {
            condition = .broken
        }
        // Even a DISCARD ALL of the client's own may have something behind it.
        if held.pointee.isExplicit || held.pointee.upkeep.mustReset || held.pointee.facts.isDoubted,
            condition == .clean
        {
            condition = .dirty
        }
        if let orphan = held.pointee.orphan {
            held.pointee.orphan = nil
            orphan.stream.releaseAll(in: &statements)
            // What ran when its client vanished may have left anything.
            if condition == .clean { condition = .dirty }
        }
        endLease(server, condition, held)
    }

    /// The one end of every lease: what it was is counted and forgotten, and the scheduler has the server back.
    mutating func endLease(_ server: ServerID, _ condition: ServerCondition) {
        endLease(server, condition, servers.address(of: server))
    }

    @inline(__always)
    private mutating func endLease(
        _ server: ServerID, _ condition: ServerCondition,
        _ held: UnsafeMutablePointer<ServerSession>
    ) {
        assert(held.pointee.client == nil, "a lease ends that somebody holds")
        forgetLease(on: held)
        if let orphan = held.pointee.orphan {
            held.pointee.orphan = nil
            orphan.stream.releaseAll(in: &statements)
        }
        if held.pointee.stream.tally != ServerStream.Tally() { countTally(server) }
        held.pointee.profile.holdsClientBytes = false
        held.pointee.profile.first = .nothing
        held.pointee.stream.isDraining = false
        held.pointee.moments.lastUsed = now
        if !cancels.isEmpty { dropCancel(of: server, isClosing: condition == .broken) }
        scheduler.handle(
            leaseReturned: server, condition, profile: held.pointee.profile.current, now: now,
            into: &effects)
        if !effects.isEmpty { runEffects() }
    }

    /// The lease is no more, and how long it was held is counted.
    @inline(__always)
    mutating func forgetLease(on held: UnsafeMutablePointer<ServerSession>) {
        guard held.pointee.endLease() else { return }
        let time = now.nanoseconds - held.pointee.holding.since.nanoseconds
        pools.address(of: held.pointee.pool).pointee.times.hold.record(time)
        held.pointee.holding.groupTimes?._withUnsafeGuaranteedRef { $0.hold.record(time) }
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
        if clients[client].stream.listening != nil { endListening(client) }
        guard let server = clients[client].server else { return }
        if servers[server].isDirect {
            if reclaim(server, .clientGone) { return }
            stopParking(server, client)
            // What it was in the middle of cannot be known; it may have left copies, too.
            detach(server, client)
            cutOff(server)
            endLease(server, .broken)
            return
        }
        if let passage = servers[server].passage {
            abandonPassage(server, of: client, passage)
            return
        }
        let wasBusy = servers[server].stream.isOwing
        let readiesOwed = servers[server].stream.readiesOwed
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
            if wasBusy {
                // Nothing of the rest runs: the request goes once the connection has ended.
                world.shutDown(server, isShared: servers[server].facts.wasHandedOut)
                cancel(server)
            }
            servers[server].stream.dropAll(&orphan, statements: &statements)
            orphan.releaseAll(in: &statements)
            endLease(server, .broken)
            return
        }
        servers[server].orphan = ServerSession.OrphanStream(orphan)
        servers[server].holding.answersToNobody = servers[server].stream.readiesOwed - readiesOwed
        if wasBusy { cancelLeft(on: server) }
        beginDraining(server, within: .seconds(2))
        watch(server, for: servers[server].outbound.isEmpty ? .bytes : [.bytes, .room])
        if !bytes.isEmpty, !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
            return
        }
        endLeaseIfOver(server)
    }

    /// It has so long to end what its client left running.
    mutating func beginDraining(_ server: ServerID, within time: Duration) {
        let deadline = now + time
        servers[server].holding.drainDeadline = deadline
        look(at: server, by: deadline)
    }

    /// Cancels what a client that is gone left running. A request may come before what it is for has begun, so the
    /// server is asked again, until nothing is owed.
    mutating func cancelLeft(on server: ServerID) {
        guard servers[server].stream.isOwing else { return }
        if servers[server].runsItsLast, servers[server].facts.cancelsInFlight == 0 {
            cancel(server)
        }
        let count = servers[server].holding.cancels
        servers[server].holding.cancels = min(count + 1, 4)
        let next = now + .milliseconds(Int64(50) << Int64(count))
        servers[server].holding.nextCancel = next
        look(at: server, by: next)
    }

    /// How the relay treats whoever holds it.
    @inline(__always)
    func mode(of server: ServerID) -> RelayMode {
        servers[server].isExplicit
            ? pools[servers[server].pool].heldMode : pools[servers[server].pool].mode
    }
}
