// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// Bytes from a client and to it.
extension Engine {
    // MARK: Coming

    /// A client was accepted: the shell speaks with it until it is admitted.
    package mutating func accept(
        isUnix: Bool, loginDeadline: Instant?, now: Instant
    ) -> ClientID {
        self.now = now
        let id = freeClients.take()
        clients.insert(ClientSession(id: id, now: now), at: id)
        clients[id].flags.isUnix = isUnix
        if let loginDeadline {
            clients[id].moments.loginDeadline = loginDeadline
            look(at: id, by: loginDeadline)
        }
        watch(id, for: .bytes)
        return id
    }

    /// An operator: the shell goes on speaking with it.
    package mutating func openConsole(_ client: ClientID) {
        clients[client].phase = .console
        clients[client].moments.loginDeadline = nil
    }

    /// The client is who it says, and belongs to this pool. What it has sent already waits.
    package mutating func admit(
        _ client: ClientID, to pool: PoolSlot, group: GroupID, times: GroupTimes, owner: OwnerKey,
        user: UInt32?,
        peer: PeerID?, settings: [ProfileEntry], isUnusable: Bool, pending: [UInt8], now: Instant
    ) {
        self.now = now
        let profile = profiles.intern(settings)
        profiles.retain(profile)
        clients[client].settings.startup = profile
        clients[client].settings.current = profile
        clients[client].membership = ClientSession.Membership(
            pool: pool, group: group, times: .passUnretained(times), owner: owner, user: user,
            peer: peer)
        clients[client].pending = pending
        pools[pool].statistics.logins += 1
        // What is reported under a role nobody can foresee.
        let isForeseen =
            !settings.contains { $0.name == "role" }
            || pools[pool].parameters.known(for: profile) != nil
        if pools[pool].isSession || isUnusable || !isForeseen {
            clients[client].phase = .awaitingServer
            requestLease(client)
        } else if pools[pool].parameters.base == nil, !pools[pool].hasGivenUpLearning,
            isBeingReached(pool)
        {
            clients[client].phase = .learning
            pools[pool].awaitingParameters.append(client)
            look(at: client, by: now + learningTime)
        } else {
            clients[client].phase = .learning
            notices.append(.mayBeServed(client))
        }
    }

    /// A server is on its way that will say what its parameters are; where a bound leaves no room for
    /// one, there is nothing to wait for.
    private func isBeingReached(_ pool: PoolSlot) -> Bool {
        (scheduler.summary(of: pools[pool].id)?.counts.connecting ?? 0) > 0
    }

    /// How long a login waits for the very first server of its pool to say what it is.
    var learningTime: Duration { .seconds(1) }

    /// An operator has said something.
    package mutating func noteRequest(_ client: ClientID, now: Instant) {
        clients[client].request.since = now
    }

    /// The client is logged in, and is told so with this greeting.
    package mutating func serve(
        _ client: ClientID, told: ParameterSet, startupValues: StartupValues?,
        greeting: [UInt8], now: Instant
    ) {
        self.now = now
        clients[client].settings.told = told
        clients[client].stream.startupValues = startupValues
        let passes = clients[client].server.map { servers[$0].passage != nil } == true
        clients[client].phase = passes ? .replicating : .ready
        clients[client].moments.loginDeadline = nil
        if let pool = clients[client].pool, let limit = pools[pool].limits.clientIdle {
            look(at: client, by: now + limit)
        }
        greeting.withUnsafeBytes { send($0, to: client) }
        if !clients[client].pending.isEmpty || clients[client].goodbye != nil {
            queueToResume(client)
        }
        if let server = clients[client].server {
            if passes { passWhatWasKept(of: server) } else { endLeaseIfOver(server) }
        }
        callAwayIfAllGo(client)
    }

    /// What is reported of the settings in its startup packet: a RESET of its own goes back to them.
    package mutating func startupValues(
        of client: ClientID, _ parameters: ParameterSet
    ) -> StartupValues? {
        let profile = clients[client].settings.startup
        guard let pool = clients[client].pool, !pools[pool].isSession, profile != .serverDefault
        else { return nil }
        let entries = profiles.entries(of: profile)
        let base = pools[pool].parameters.base?.values ?? []
        return pools[pool].parameters.startupValues(of: profile) {
            var names = Set(entries.map { CanonicalParameter.canonicalName($0.name) })
            if names.contains("role") { names.insert("is_superuser") }
            return StartupValues(
                parameters.values.filter { names.contains($0.name) },
                base: base.filter { names.contains($0.name) }, entries: entries)
        }
    }

    /// Those whose login waits for the first server of their pool, by when they came.
    package func learning(in pool: PoolSlot) -> [Instant] {
        pools[pool].awaitingParameters.map { clients[$0].moments.connectedAt }
    }

    // MARK: From the client

    /// What is to be done with its socket, of which something was announced.
    package enum ClientReading {
        /// Read it, and call `clientBytes`.
        case now
        /// Read it; the shell deals with the bytes.
        case forTheShell
        /// Nothing is taken from it now.
        case later
        /// It has sent its last, and hangs up: call `clientInputEnded`.
        case atItsEnd
    }

    /// A server that does not take what it is sent stops the source; so does a client that has sent enough to wait
    /// with. One that is paused is read when its end was announced: only a read tells what it was.
    package mutating func reading(of client: ClientID) -> ClientReading {
        guard clients.contains(client) else { return .later }
        let session = clients.address(of: client)
        if session.pointee.phase == .closed { return .later }
        if session.pointee.goodbye != nil { return .atItsEnd }
        if session.pointee.isAtRest { return .now }
        if mustPause(client), session.pointee.flags.interest.contains(.bytes) {
            watchForMessages(client)
            return .later
        }
        switch session.pointee.phase {
        case .login, .console: return .forTheShell
        case .learning, .awaitingServer, .ready, .replicating, .closing, .closed: return .now
        }
    }

    private func mustPause(_ client: ClientID) -> Bool {
        switch clients[client].phase {
        case .closing, .closed: return true
        case .console: return !clients[client].outbound.isEmpty || clients[client].flags.isHeldUp
        case .login where clients[client].flags.isHeldUp: return true
        case .login, .learning, .awaitingServer, .ready, .replicating: break
        }
        // Answers of the broker's own come without any server that could be held up.
        if clients[client].outbound.count >= pendingLimit { return true }
        if let server = clients[client].server {
            return !servers[server].outbound.isEmpty
                || (servers[server].profile.holdsClientBytes
                    && clients[client].pending.count >= pendingLimit)
                || isHeldForDeparture(client, server)
        }
        return
            (clients[client].isWaiting || clients[client].phase == .learning
            || clients[client].request.awaitsWords)
            && clients[client].pending.count >= pendingLimit
    }

    /// How much a client may send ahead while it waits.
    package var pendingLimit: Int { 65_536 }

    /// The shell takes no more from an operator, or from one that logs in; or does so again.
    package mutating func hold(_ client: ClientID, _ isHeldUp: Bool) {
        guard clients.contains(client) else { return }
        clients[client].flags.isHeldUp = isHeldUp
        watchForMessages(client)
    }

    /// Watches for what may come next. A paused client is still watched for its end.
    mutating func watchForMessages(_ client: ClientID) {
        guard clients[client].phase != .closed else { return }
        var interest: ClientInterest = mustPause(client) ? .end : .bytes
        switch clients[client].goodbye {
        case .said: interest = []
        case .halfClosed: interest = .hangUp
        case nil: break
        }
        if !clients[client].outbound.isEmpty { interest.insert(.room) }
        watch(client, for: interest)
    }

    @inline(__always)
    mutating func watch(_ client: ClientID, for interest: ClientInterest) {
        guard clients[client].flags.interest.rawValue != interest.rawValue else { return }
        clients[client].flags.interest = interest
        world.watch(client, for: interest)
    }

    /// Its end was put off, and nothing of its socket was watched meanwhile: it is again, if it goes on.
    package mutating func watchAgain(_ client: ClientID) {
        guard clients.contains(client), clients[client].phase != .closed else { return }
        world.watch(client, for: clients[client].flags.interest)
    }

    /// These bytes came. In the phases in which the shell speaks with it they are the shell's to keep.
    package mutating func clientBytes(
        _ client: ClientID, _ bytes: UnsafeRawBufferPointer, now: Instant
    ) {
        self.now = now
        let session = clients.address(of: client)
        session.pointee.moments.lastActivity = now
        if session.pointee.moments.orphanedAt != nil {
            session.pointee.moments.orphanedAt = nil
            session.pointee.flags.hasOutlivedItsProcess = true
        }
        if let pool = session.pointee.pool {
            pools.address(of: pool).pointee.statistics.bytesReceived += bytes.count
        }
        if session.pointee.pending.isEmpty {
            if session.pointee.phase == .ready, let pool = session.pointee.pool,
                relayPlainQuery(bytes, from: client, session, pool)
            {
                return
            }
            process(bytes, from: client)
        } else {
            session.pointee.pending.append(contentsOf: bytes)
            resume(client)
        }
    }

    /// Deals with what was received before.
    mutating func resume(_ client: ClientID) {
        guard clients[client].phase != .closed else { return }
        if clients[client].stream.listening != nil { resumeListening(client) }
        let bytes = exchange(&clients[client].pending, with: [])
        if !bytes.isEmpty {
            let consumed = bytes.withUnsafeBytes { dispatch($0, from: client) }
            if consumed == 0, clients[client].pending.isEmpty, clients[client].isOpen {
                // A long message that is not whole yet: it goes back without being copied.
                clients[client].pending = bytes
            } else {
                bytes.withUnsafeBytes { keepRest(of: $0, from: consumed, client) }
            }
        }
        // It may have been paused while it waited.
        watchForMessages(client)
        endIfDone(client)
    }

    mutating func queueToResume(_ client: ClientID) {
        guard !clients[client].flags.isQueuedToResume else { return }
        clients[client].flags.isQueuedToResume = true
        resumable.append(client)
    }

    /// Clients that may go on, one turn each; what that brings about is part of the same round. To be called before
    /// the shell waits.
    package mutating func resumeClients(now: Instant) {
        guard !resumable.isEmpty else { return }
        self.now = now
        var index = 0
        while index < resumable.count {
            let client = resumable[index]
            index += 1
            guard clients.contains(client) else { continue }
            clients[client].flags.isQueuedToResume = false
            switch clients[client].phase {
            case .login, .console: notices.append(.attend(client))
            case .learning, .awaitingServer, .ready, .replicating, .closing: resume(client)
            case .closed: break
            }
            if !cancels.postponed.isEmpty, clients.contains(client),
                let server = clients[client].server
            {
                cancelWhatWasPostponed(server)
            }
        }
        resumable.removeAll(keepingCapacity: true)
    }

    private mutating func process(_ bytes: UnsafeRawBufferPointer, from client: ClientID) {
        let consumed = dispatch(bytes, from: client)
        if consumed < bytes.count {
            keepRest(of: bytes, from: consumed, client)
        }
    }

    /// Returns how many bytes are dealt with.
    private mutating func dispatch(_ bytes: UnsafeRawBufferPointer, from client: ClientID) -> Int {
        switch clients[client].phase {
        case .ready: relay(bytes, from: client)
        case .replicating: passOn(bytes, from: client)
        case .learning, .awaitingServer, .login, .console: 0
        case .closing, .closed: bytes.count
        }
    }

    private mutating func keepRest(
        of bytes: UnsafeRawBufferPointer, from consumed: Int, _ client: ClientID
    ) {
        guard clients[client].isOpen, consumed < bytes.count else { return }
        let rest = UnsafeRawBufferPointer(rebasing: bytes[consumed...])
        // Whoever resumed in the meantime has dealt with nothing of this: these bytes come first.
        clients[client].pending.insert(contentsOf: rest, at: 0)
        if clients[client].pending.count >= pendingLimit { watchForMessages(client) }
    }

    // MARK: To the client

    /// Bytes of the shell's own.
    package mutating func send(_ bytes: [UInt8], to client: ClientID, now: Instant) {
        self.now = now
        guard clients.contains(client) else { return }
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    mutating func send(_ bytes: UnsafeRawBufferPointer, to client: ClientID) {
        let session = clients.address(of: client)
        guard session.pointee.phase != .closed, !bytes.isEmpty else { return }
        if let pool = session.pointee.pool {
            pools.address(of: pool).pointee.statistics.bytesSent += bytes.count
        }
        guard session.pointee.outbound.isEmpty else {
            session.pointee.outbound.append(bytes)
            return
        }
        switch world.write(bytes, to: client) {
        case .taken(let count):
            if count < bytes.count {
                stall(client, UnsafeRawBufferPointer(rebasing: bytes[count...]))
            }
        case .gone:
            // Its end is noticed by reading, in a turn of its own: not in the middle of this one.
            watch(client, for: [.bytes, .end])
        }
    }

    /// Sends what this turn of the relay has for the client. `input` is what the turn read.
    @inline(__always)
    mutating func sendOutput(of input: UnsafeRawBufferPointer, to client: ClientID) {
        guard !outputs.toClient.isEmpty else { return }
        send(outputs.toClient.bytes(of: input), to: client)
        outputs.toClient.reset()
    }

    private mutating func stall(_ client: ClientID, _ rest: UnsafeRawBufferPointer) {
        clients[client].outbound.append(rest)
        clients[client].moments.stalledSince = now
        if let timeout = settings.clientWriteTimeout { look(at: client, by: now + timeout) }
        watchForMessages(client)
    }

    /// The socket of this client has room again.
    package mutating func clientWritable(_ client: ClientID, now: Instant) {
        self.now = now
        guard clients.contains(client), clients[client].phase != .closed else { return }
        while !clients[client].outbound.isEmpty {
            let world = world
            switch clients[client].outbound.withUnsent({ world.write($0, to: client) }) {
            case .taken(0): return
            case .taken(let count):
                clients[client].outbound.drop(count)
                clients[client].moments.stalledSince = now
            case .gone:
                close(client, because: "writing to the client failed")
                return
            }
        }
        clients[client].moments.stalledSince = nil
        if clients[client].phase == .closing {
            close(client, because: "closed")
            return
        }
        watchForMessages(client)
        if clients[client].phase == .console { queueToResume(client) }
        guard let server = clients[client].server, !servers[server].isDirect else { return }
        watch(server, for: servers[server].outbound.isEmpty ? .bytes : [.bytes, .room])
    }

    // MARK: The end

    /// Tells the client why, and ends the session once it has taken that.
    package mutating func refuse(_ client: ClientID, _ error: PgError, now: Instant) {
        self.now = now
        guard clients.contains(client) else { return }
        refuse(client, error)
    }

    mutating func refuse(_ client: ClientID, _ error: PgError) {
        guard clients[client].isOpen else { return }
        var error = error
        error.severity = .fatal
        notices.append(
            .clientRefused(client, error, wasLoggingIn: clients[client].isLoggingIn))
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        let server = clients[client].server
        // Behind half a message of the server's an error would be read as its rest: then the end says it all.
        let isTorn =
            server.map({
                servers[$0].stream.passing.isHalfPassed
                    || servers[$0].passage?.fromServer.isBetweenMessages == false
            }) == true
        // libpq keeps the reason for itself unless the answer that is due ends behind it.
        if clients[client].phase == .ready, !isTorn,
            clients[client].isWaiting || clients[client].request.awaitsWords
                || server.map({ servers[$0].stream.isOwing }) == true
                || !clients[client].pending.isEmpty
        {
            bytes.appendReadyForQuery(.idle)
        }
        withdraw(client)
        abandonLease(of: client)
        if !isTorn { bytes.withUnsafeBytes { send($0, to: client) } }
        end(client, because: error.message)
    }

    /// Ends the session once the client has taken what it was sent.
    package mutating func end(_ client: ClientID, because reason: String, now: Instant) {
        self.now = now
        if clients.contains(client), clients[client].isOpen { end(client, because: reason) }
    }

    /// The session is over at once: its socket ended, or nothing can be said to it any more.
    package mutating func close(_ client: ClientID, because reason: String, now: Instant) {
        self.now = now
        guard clients.contains(client) else { return }
        close(client, because: reason)
    }

    /// It stays where it is until the shell has taken the notice: whoever is at work on it finds it closed.
    mutating func close(_ client: ClientID, because reason: String) {
        guard clients[client].phase != .closed else { return }
        withdraw(client)
        leavePlaces(client)
        abandonLease(of: client)
        if let pool = clients[client].pool {
            if clients[client].phase == .learning {
                pools[pool].awaitingParameters.removeAll { $0 == client }
            }
            profiles.release(clients[client].settings.current)
            profiles.release(clients[client].settings.startup)
        }
        clients[client].phase = .closed
        clients[client].settings = ClientSession.Settings()
        clients[client].stream.releaseAll(in: &statements)
        clients[client].pending = []
        clients[client].outbound = OutboundBuffer()
        clients[client].request.call = nil
        clients[client].request.awaitsWords = false
        looks.remove(SessionToken(client).token)
        notices.append(.clientClosed(client, reason: reason))
    }

    /// The shell has closed its socket: its place is another's.
    package mutating func forget(_ client: ClientID) {
        let session = clients.remove(client)
        precondition(session.phase == .closed, "a client is forgotten that is still there")
        looks.remove(SessionToken(client).token)
        freeClients.giveBack(client)
    }
}
