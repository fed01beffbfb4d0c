// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Bytes from a server and to it.
extension Engine {
    // MARK: From the server

    /// What is to be done with its socket, of which something was announced.
    package enum ServerReading {
        /// Read it, and call `serverBytes`.
        case now
        /// Nothing is taken from it now.
        case later
        /// It is a client's; its end is all that is watched for: call `serverClosed`.
        case atItsEnd
    }

    /// A client that does not take its answers stops the source.
    package mutating func reading(of server: ServerID) -> ServerReading {
        guard servers.contains(server) else { return .later }
        let held = servers.address(of: server)
        switch held.pointee.phase {
        case .connecting, .closed: return .later
        case .preparing, .ready: break
        }
        if held.pointee.isDirect { return .atItsEnd }
        guard let client = held.pointee.client, !clients[client].outbound.isEmpty else {
            return .now
        }
        watch(server, for: held.pointee.outbound.isEmpty ? [] : .room)
        return .later
    }

    /// These bytes came.
    package mutating func serverBytes(
        _ server: ServerID, _ bytes: UnsafeRawBufferPointer, now: Instant
    ) {
        self.now = now
        let held = servers.address(of: server)
        if held.pointee.isDirect {
            // Only its end is watched for; what it said before that is the client's to read.
            serverEnded(server, "the server closed the connection")
            return
        }
        if held.pointee.carry.isEmpty {
            if let client = held.pointee.client,
                relayPlainAnswer(bytes, from: server, held, to: client)
            {
                return
            }
            relay(bytes, from: server)
        } else {
            var whole = exchange(&held.pointee.carry, with: [])
            whole.append(contentsOf: bytes)
            whole.withUnsafeBytes { relay($0, from: server) }
        }
        if !cancels.postponed.isEmpty { cancelWhatWasPostponed(server) }
    }

    /// The connection ended, or cannot be read.
    package mutating func serverClosed(_ server: ServerID, _ reason: String, now: Instant) {
        self.now = now
        guard servers.contains(server) else { return }
        if let client = servers[server].client, clients[client].stream.listening != nil {
            letReadyPass(client)
        }
        serverEnded(server, reason)
    }

    mutating func relay(_ bytes: UnsafeRawBufferPointer, from server: ServerID) {
        let held = servers.address(of: server)
        if let passage = held.pointee.passage {
            passOn(bytes, from: server, passage)
            return
        }
        if let client = held.pointee.client {
            let session = clients.address(of: client)
            held.pointee.holding.bytes += bytes.count
            var turn = ServerTurn(bytes, mode: mode(of: server))
            let step = turn.run(
                &session.pointee.stream, &held.pointee.stream, statements: &statements,
                toClient: &outputs.toClient)
            if step.consumed < bytes.count { keepRest(of: bytes, from: step.consumed, server) }
            if !outputs.toClient.isEmpty {
                session.pointee.moments.lastActivity = now
                sendOutput(of: bytes, to: client)
            }
            note(step, server, client)
            if session.pointee.stream.listening != nil { noteListening(client) }
            if session.pointee.goodbye != nil { endIfDone(client) }
        } else if servers[server].isHub {
            hubBytes(server, bytes)
        } else if servers[server].recovery.returning != nil {
            regain(server, bytes)
        } else if servers[server].recovery.isUnknown {
            // What comes before the marked query is sent says nothing.
        } else {
            relayToNobody(bytes, from: server)
        }
    }

    /// What the broker asked for itself, or what a vanished client left running.
    private mutating func relayToNobody(_ all: UnsafeRawBufferPointer, from server: ServerID) {
        let orphan = servers[server].orphan ?? ServerSession.OrphanStream(ClientStream())
        let isIdle =
            servers[server].stream.isQuiet && servers[server].phase == .ready
            && !servers[server].isLeased
        let end = isIdle ? UnaskedMessages.beginning(in: all) : all.count
        let bytes = UnsafeRawBufferPointer(rebasing: all[..<end])
        var turn = ServerTurn(bytes, mode: pools[servers[server].pool].mode)
        let step = turn.run(
            &orphan.stream, &servers[server].stream, statements: &statements,
            toClient: &outputs.toClient)
        outputs.toClient.reset()
        keepRest(of: all, from: step.consumed, server)
        if servers[server].isLeased { servers[server].orphan = orphan }
        if isIdle {
            heardWhileIdle(step, server)
        } else {
            note(step, server, nil)
        }
    }

    /// A notice and a parameter's new value may come at any time (a reload of PostgreSQL's configuration), and in
    /// pieces: they change nothing for the next lease. Whatever else an idle connection says ends it.
    private mutating func heardWhileIdle(_ step: borrowing ServerStep, _ server: ServerID) {
        servers[server].fatal = step.fatal ?? servers[server].fatal
        guard step.broken == nil, step.fatal == nil, !step.hasNotified,
            servers[server].stream.isQuiet, !servers[server].stream.isMidMessage
        else {
            serverEnded(server, step.broken ?? "the server spoke while nothing was asked")
            return
        }
        if pools[servers[server].pool].terms.wanted != .any { noteRole(step, server) }
        changeParameters(of: server, step.changedParameters)
    }

    mutating func changeParameters(
        of server: ServerID, _ changes: [(name: String, value: String)]
    ) {
        guard !changes.isEmpty else { return }
        servers[server].profile.parameters = servers[server].profile.parameters.changing(changes)
    }

    mutating func keepRest(
        of bytes: UnsafeRawBufferPointer, from offset: Int, _ server: ServerID
    ) {
        guard offset < bytes.count else { return }
        servers[server].carry = Array(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
    }

    /// What a turn brought about besides bytes.
    private mutating func note(
        _ step: borrowing ServerStep, _ server: ServerID, _ client: ClientID?
    ) {
        let hasNews = step.hasNews
        let held = servers.address(of: server)
        // Behind the end of its lease the server may be gone.
        let pool = held.pointee.pool
        if hasNews, let fatal = step.fatal {
            held.pointee.fatal = fatal
        } else if step.queries > 0, held.pointee.fatal != nil, !held.pointee.stream.isEnding {
            // It has gone on since.
            held.pointee.fatal = nil
        }
        if hasNews, let broken = step.broken {
            notices.append(.serverBroke(server, reason: broken))
            serverEnded(server, broken)
            return
        }
        if held.pointee.stream.isEnding, held.pointee.stream.passing.bytesLeft == 0 {
            serverEnded(server, "the server ended the connection")
            return
        }
        if hasNews {
            if pools.address(of: pool).pointee.terms.wanted != .any { noteRole(step, server) }
            changeParameters(of: server, step.brokerParameters)
            if client == nil { changeParameters(of: server, step.changedParameters) }
        }
        if step.queries > 0 {
            count(
                queries: step.queries, transactions: step.transactions, held,
                pools.address(of: pool))
        } else if held.pointee.isLeased, held.pointee.holding.clock.idleSince == nil,
            !held.pointee.stream.isOwing
        {
            // A batch whose Sync has not come.
            held.pointee.holding.clock.idleSince = now
        }
        // The profile went out in front of what the client sent, and is answered in front of it.
        var begins = false
        if hasNews, let answer = step.brokerAnswer, answer.query == .profile {
            begins =
                servers[server].profile.holdsClientBytes
                && client.map { clients[$0].call == nil && !clients[$0].pending.isEmpty } == true
            profileAnswered(server, answer)
            guard servers[server].phase != .closed, servers[server].client == client else {
                return
            }
        }
        if let client, noteForClient(step, server, client) { return }
        if hasNews, let answer = step.brokerAnswer, answer.query != .profile {
            // In a lease that goes on a notice may come at any time.
            let isAlone =
                servers[server].stream.isQuiet && !servers[server].stream.isMidMessage
            guard
                isAlone || answer.query == .restore || answer.query == .state
                    || (answer.query == .role && servers[server].isLeased)
            else {
                serverEnded(server, "the server said more than it was asked")
                return
            }
            brokerAnswered(server, answer)
            return
        }
        // What the client asked for goes out only now: its lease has not begun to be of use.
        if begins { return }
        endLeaseIfOver(server)
        if pools.address(of: pool).pointee.areLeasesWatched, servers.contains(server) {
            noteRest(server)
        }
    }

    /// True if its next message waits for something of the broker's.
    mutating func noteForClient(
        _ step: borrowing ServerStep, _ server: ServerID, _ client: ClientID
    ) -> Bool {
        let session = clients.address(of: client)
        let held = servers.address(of: server)
        guard session.pointee.isOpen else { return false }
        let hasNews = step.hasNews
        if hasNews,
            !step.changedParameters.isEmpty || step.sessionWasReset || step.followedSetting != nil
        {
            follow(step, server, client)
        }
        if hasNews, !step.restoredParameters.isEmpty {
            servers[server].resetsToChange().hasLostProfile = true
        }
        if (hasNews && (step.sessionWasReset || !step.openResets.isEmpty))
            || (held.pointee.resets != nil && held.pointee.resets?.isEmpty == false),
            restoreStartup(step, server, client)
        {
            return true
        }
        // Not into the middle of a message that is on its way, nor what is about to be changed.
        if session.pointee.settings.told !== held.pointee.profile.parameters,
            !held.pointee.stream.passing.isHalfPassed,
            held.pointee.profile.current == session.pointee.settings.current,
            held.pointee.resets?.hasLostProfile != true
        {
            tellNews(client, server)
        }
        if session.pointee.flags.awaitsQuiet,
            !held.pointee.stream.isOwing || held.pointee.stream.isReadingRows
        {
            session.pointee.flags.awaitsQuiet = false
            queueToResume(client)
        }
        // A notice was on its way when the client's settings were in force.
        if session.pointee.request.call != nil, let call = session.pointee.call,
            !session.pointee.isWaiting,
            held.pointee.profile.pending == nil, held.pointee.client == client,
            held.pointee.stream.isQuiet
        {
            answerLease(server, client, call)
        }
        return false
    }

    @inline(__always)
    mutating func count(
        queries: Int, transactions: Int, _ held: UnsafeMutablePointer<ServerSession>,
        _ pool: UnsafeMutablePointer<LeasePool>
    ) {
        pool.pointee.statistics.queries += queries
        pool.pointee.statistics.transactions += transactions
        guard held.pointee.isLeased else { return }
        held.pointee.holding.transactions += transactions
        let isOwing = held.pointee.stream.isOwing
        if let since = held.pointee.holding.clock.querySince {
            let time = now.nanoseconds - since.nanoseconds
            pool.pointee.statistics.queryTime += time
            pool.pointee.times.query.record(time)
            // What was sent ahead begins now.
            held.pointee.holding.clock.querySince = isOwing ? now : nil
        }
        if transactions > 0, let since = held.pointee.holding.clock.transactionSince {
            let time = now.nanoseconds - since.nanoseconds
            pool.pointee.statistics.transactionTime += time
            pool.pointee.times.transaction.record(time)
            let isBusy = held.pointee.stream.isBusy
            held.pointee.holding.clock.transactionSince = isBusy ? now : nil
        }
        if !isOwing { held.pointee.holding.clock.idleSince = now }
        if held.pointee.stream.status != .idle {
            held.pointee.holding.clock.hadTransaction = true
        }
    }

    // MARK: To the server

    /// Sends what this turn of the relay has for the server. False if it was dead before it took a byte of this
    /// lease: then nothing has happened, and the caller may try another.
    @inline(__always)
    mutating func sendOutput(of input: UnsafeRawBufferPointer, to server: ServerID) -> Bool {
        let isSent = send(outputs.toServer.bytes(of: input), to: server)
        outputs.toServer.reset()
        return isSent
    }

    mutating func send(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> Bool {
        let held = servers.address(of: server)
        guard held.pointee.phase != .closed else { return false }
        held.pointee.holding.bytes += bytes.count
        guard held.pointee.outbound.isEmpty else {
            held.pointee.outbound.append(bytes)
            return true
        }
        switch world.write(bytes, to: server) {
        case .taken(let count):
            // What the socket did not take is kept for it: another server cannot have it any more.
            held.pointee.hasSent = true
            if count < bytes.count {
                held.pointee.outbound.append(UnsafeRawBufferPointer(rebasing: bytes[count...]))
                watch(server, for: [.bytes, .room])
            }
            return true
        case .gone:
            if !servers[server].hasSent { return false }
            // What the server said before it went is still to be read; reading tells the end.
            watch(server, for: .bytes)
            return true
        }
    }

    /// Reading from it waits for room, too, as TLS may.
    package mutating func awaitsRoom(_ server: ServerID) {
        if servers.contains(server) { watch(server, for: [.bytes, .room]) }
    }

    /// The socket of this server has room again.
    package mutating func serverWritable(_ server: ServerID, now: Instant) {
        self.now = now
        guard servers.contains(server), servers[server].phase != .closed,
            !servers[server].isDirect
        else { return }
        while !servers[server].outbound.isEmpty {
            let world = world
            switch servers[server].outbound.withUnsent({ world.write($0, to: server) }) {
            case .taken(0): return
            case .taken(let count):
                servers[server].hasSent = true
                servers[server].outbound.drop(count)
            case .gone:
                servers[server].outbound = OutboundBuffer()
            }
        }
        watch(server, for: .bytes)
        if let client = servers[server].client {
            watchForMessages(client)
            queueToResume(client)
        }
        if servers[server].isLeased { endLeaseIfOver(server) }
    }

    @inline(__always)
    mutating func watch(_ server: ServerID, for interest: ServerInterest) {
        guard servers[server].interest.rawValue != interest.rawValue else { return }
        servers[server].interest = interest
        world.watch(server, for: interest)
    }

    // MARK: The broker's own queries

    mutating func ask(
        _ server: ServerID, _ query: BrokerQuery, _ texts: [String], probe: Int? = nil
    ) {
        var bytes: [UInt8] = []
        servers[server].stream.ask(query, texts, probe: probe, into: &bytes)
        if !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
        }
    }

    private mutating func brokerAnswered(_ server: ServerID, _ answer: BrokerAnswer) {
        servers[server].upkeep.deadline = nil
        switch answer.query {
        case .connect: connectQueryAnswered(server, answer.error)
        case .profile: preconditionFailure("a profile is answered before what it precedes")
        case .restore: restoreAnswered(server, answer.error)
        case .state: stateAnswered(server, answer)
        case .check:
            servers[server].moments.lastUsed = now
            // Since when it is whose is not known any more.
            if servers[server].lastClient != nil { servers[server].lastClient = .nobody }
            let isGood = answer.error == nil && servers[server].stream.status == .idle
            post(isGood ? .validationSucceeded(server) : .validationFailed(server))
        case .reset: cleaningAnswered(server, answer)
        case .role: roleAnswered(server, answer)
        case .rollback:
            // Behind a direct lease the reset follows, behind another one its end does.
            if servers[server].isLeased { finishLease(server) } else { reset(server) }
        }
    }
}
