import LeaseCore
import LibPQ
import LibUV
import Logging
import PostgresWire

/// Bytes from and to a server.
extension Broker {
    // MARK: From the server

    func receive(from server: ServerConnection) {
        if server.isDirect {
            // Only its end is watched for; what it said before that is the client's to read.
            serverEnded(server, "the server closed the connection")
            return
        }
        // A client that does not take its answers stops the source.
        if let client = server.client, !client.outbound.isEmpty {
            server.watcher?.watch(server.outbound.isEmpty ? [] : .writable)
            return
        }
        var turns = 0
        repeat {
            guard let connection = server.connection else { return }
            switch connection.receive(
                into: UnsafeMutableRawBufferPointer(start: readBuffer, count: Self.readSize))
            {
            case .bytes(let count):
                received(UnsafeRawBufferPointer(start: readBuffer, count: count), from: server)
            case .wouldBlock:
                return
            case .wouldBlockOnWrite, .wouldBlockOnRead:
                server.watcher?.watch([.readable, .writable])
                return
            case .closed:
                serverEnded(server, "the server closed the connection")
                return
            case .failed(let reason):
                serverEnded(server, reason)
                return
            }
            turns += 1
            // What TLS has decrypted already is announced by no event.
        } while server.connection?.hasBufferedInput == true
            && (server.client?.outbound.isEmpty ?? true)
            && turns < Self.tlsTurns
        if server.connection?.hasBufferedInput == true, server.client?.outbound.isEmpty ?? true {
            continueReading(server.id)
        }
    }

    static let tlsTurns = 8

    private func received(_ bytes: UnsafeRawBufferPointer, from server: ServerConnection) {
        if server.carry.isEmpty {
            relay(bytes, from: server)
        } else {
            var whole = server.carry
            server.carry = []
            whole.append(contentsOf: bytes)
            whole.withUnsafeBytes { relay($0, from: server) }
        }
    }

    private func relay(_ bytes: UnsafeRawBufferPointer, from server: ServerConnection) {
        if server.isLeased, let client = server.client {
            server.bytesInLease += bytes.count
            var turn = ServerTurn(bytes, mode: server.mode)
            let step = turn.run(
                &client.stream, &server.stream, statements: &statements, toClient: &toClient)
            keepRest(of: bytes, from: step.consumed, server)
            if !toClient.isEmpty {
                client.lastActivity = now
                send(toClient, of: bytes, to: client)
            }
            toClient.reset()
            note(step, server, client)
            endIfDone(client)
        } else if server.returning != nil {
            regain(server, bytes)
        } else if server.isUnknown {
            // What comes before the marked query is sent says nothing.
        } else {
            // No client: what the broker asked for itself, or what a vanished client left running.
            var stream = server.orphan.take() ?? ClientStream()
            var turn = ServerTurn(bytes, mode: server.pool.mode)
            let isIdle = server.stream.isQuiet && server.phase == .ready && !server.isLeased
            let step = turn.run(
                &stream, &server.stream, statements: &statements, toClient: &toClient)
            toClient.reset()
            keepRest(of: bytes, from: step.consumed, server)
            if server.isLeased { server.orphan = stream }
            if isIdle {
                heardWhileIdle(step, server)
            } else {
                note(step, server, nil)
            }
        }
    }

    /// A notice and a parameter's new value may come at any time (a reload of PostgreSQL's configuration):
    /// whole, they change nothing for the next lease. Whatever else an idle connection says ends it.
    private func heardWhileIdle(_ step: ServerStep, _ server: ServerConnection) {
        server.fatal = step.fatal ?? server.fatal
        guard step.broken == nil, step.fatal == nil, !step.hasNotified, server.stream.isQuiet,
            !server.stream.isMidMessage
        else {
            serverEnded(server, step.broken ?? "the server spoke while nothing was asked")
            return
        }
        if !step.changedParameters.isEmpty {
            server.parameters = server.parameters.changing(step.changedParameters)
        }
    }

    private func keepRest(
        of bytes: UnsafeRawBufferPointer, from offset: Int, _ server: ServerConnection
    ) {
        guard offset < bytes.count else { return }
        server.carry = Array(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
    }

    /// What a turn brought about besides bytes.
    private func note(
        _ step: borrowing ServerStep, _ server: ServerConnection, _ client: ClientSession?
    ) {
        let hasNews = step.hasNews
        if hasNews, let fatal = step.fatal {
            server.fatal = fatal
        } else if step.queries > 0, server.fatal != nil, !server.stream.isEnding {
            // It has gone on since.
            server.fatal = nil
        }
        if hasNews, let broken = step.broken {
            logger.warning(
                "server broke the protocol",
                metadata: ["server.id": "\(server.id)", "reason": "\(broken)"])
            serverEnded(server, broken)
            return
        }
        if server.stream.isEnding, server.stream.passing.bytesLeft == 0 {
            serverEnded(server, "the server ended the connection")
            return
        }
        if hasNews, !step.brokerParameters.isEmpty {
            server.parameters = server.parameters.changing(step.brokerParameters)
        }
        if hasNews, client == nil, !step.changedParameters.isEmpty {
            server.parameters = server.parameters.changing(step.changedParameters)
        }
        if step.queries > 0 {
            count(step, server)
        } else if server.idleSince == nil, !server.stream.isOwing {
            // A batch whose Sync has not come.
            server.idleSince = now
        }
        // The profile went out in front of what the client sent, and is answered in front of it.
        var begins = false
        if hasNews, let answer = step.brokerAnswer, answer.query == .profile {
            begins =
                server.holdsClientBytes && client?.call == nil
                && client?.pending.isEmpty == false
            profileAnswered(server, answer.error)
            guard server.phase != .closed, server.client === client else { return }
        }
        if let client, client.isOpen {
            if hasNews,
                !step.changedParameters.isEmpty || step.sessionWasReset
                    || step.followedSetting != nil
            {
                follow(step, server, client)
            }
            if hasNews, !step.restoredParameters.isEmpty { server.hasLostProfile = true }
            if (hasNews && (step.sessionWasReset || !step.openResets.isEmpty))
                || !server.resets.isEmpty,
                restoreStartup(step, server, client)
            {
                return
            }
            // Not into the middle of a message that is on its way, nor what is about to be changed.
            if client.told !== server.parameters, !server.stream.passing.isHalfPassed,
                server.profile == client.profile, !server.hasLostProfile
            {
                tellNews(client, server)
            }
            if client.awaitsQuiet, !server.stream.isOwing || server.stream.isReadingRows {
                client.awaitsQuiet = false
                queueToResume(client)
            }
            // A notice was on its way when the client's settings were in force.
            if let call = client.call, !client.isWaiting, server.pendingProfile == nil,
                server.client === client, server.stream.isQuiet
            {
                answerLease(server, client, call)
            }
        }
        if hasNews, let answer = step.brokerAnswer, answer.query != .profile {
            // Behind what is put back in a lease its client goes on.
            let isAlone = server.stream.isQuiet && !server.stream.isMidMessage
            guard isAlone || answer.query == .restore else {
                serverEnded(server, "the server said more than it was asked")
                return
            }
            brokerAnswered(server, answer)
            return
        }
        // What the client asked for goes out only now: its lease has not begun to be of use.
        if begins { return }
        if server.isLeased { endLeaseIfOver(server) }
        if server.pool.areLeasesWatched { noteRest(server) }
    }

    private func count(_ step: borrowing ServerStep, _ server: ServerConnection) {
        let now = now
        server.pool.statistics.queries += step.queries
        server.pool.statistics.transactions += step.transactions
        server.transactionsInLease += step.transactions
        if let since = server.querySince {
            let time = now.nanoseconds - since.nanoseconds
            server.pool.statistics.queryTime += time
            server.pool.times.query.record(time)
            // What was sent ahead begins now.
            server.querySince = server.stream.isOwing ? now : nil
        }
        if step.transactions > 0, let since = server.transactionSince {
            let time = now.nanoseconds - since.nanoseconds
            server.pool.statistics.transactionTime += time
            server.pool.times.transaction.record(time)
            server.transactionSince = server.stream.isBusy ? now : nil
        }
        if !server.stream.isOwing { server.idleSince = now }
        if server.stream.status != .idle { server.hadTransaction = true }
    }

    // MARK: To the server

    /// Writes what the client has for its server. False if the server was dead before it took a byte of this
    /// lease: then nothing has happened, and the caller may try another.
    func send(_ output: RelayOutput, of input: UnsafeRawBufferPointer, to server: ServerConnection)
        -> Bool
    {
        output.withBytes(of: input) { send($0, to: server) }
    }

    func send(_ bytes: UnsafeRawBufferPointer, to server: ServerConnection) -> Bool {
        guard let connection = server.connection else { return false }
        server.bytesInLease += bytes.count
        guard server.outbound.isEmpty else {
            server.outbound.append(bytes)
            return true
        }
        switch connection.send(bytes) {
        case .bytes(let count):
            if count > 0 { server.hasSent = true }
            if count < bytes.count {
                server.outbound.append(UnsafeRawBufferPointer(rebasing: bytes[count...]))
                server.watcher?.watch([.readable, .writable])
            }
            return true
        case .wouldBlock, .wouldBlockOnRead, .wouldBlockOnWrite:
            server.outbound.append(bytes)
            server.watcher?.watch([.readable, .writable])
            return true
        case .closed, .failed:
            if !server.hasSent { return false }
            // What the server said before it went is still to be read; reading tells the end.
            server.watcher?.watch(.readable)
            return true
        }
    }

    func flush(_ server: ServerConnection) {
        guard let connection = server.connection else { return }
        while !server.outbound.isEmpty {
            switch server.outbound.withUnsent({ connection.send($0) }) {
            case .bytes(let count):
                server.hasSent = true
                server.outbound.drop(count)
            case .wouldBlock, .wouldBlockOnRead, .wouldBlockOnWrite:
                return
            case .closed, .failed:
                server.outbound = OutboundBuffer()
            }
        }
        server.watcher?.watch(.readable)
        if let client = server.client {
            watchForMessages(client)
            queueToResume(client)
        }
        if server.isLeased { endLeaseIfOver(server) }
    }

    // MARK: The broker's own queries

    func ask(_ server: ServerConnection, _ query: BrokerQuery, _ texts: [String], probe: Int? = nil)
    {
        var bytes: [UInt8] = []
        server.stream.ask(query, texts, probe: probe, into: &bytes)
        if !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
        }
    }

    private func brokerAnswered(_ server: ServerConnection, _ answer: BrokerAnswer) {
        server.resetDeadline = nil
        switch answer.query {
        case .connect: connectQueryAnswered(server, answer.error)
        case .profile: preconditionFailure("a profile is answered before what it precedes")
        case .restore: restoreAnswered(server, answer.error)
        case .check:
            server.lastUsed = now
            let isGood = answer.error == nil && server.stream.status == .idle
            post(isGood ? .validationSucceeded(server.id) : .validationFailed(server.id))
        case .reset: resetAnswered(server, answer)
        case .rollback:
            // Behind a direct lease the reset follows, behind another one its end does.
            if server.isLeased { finishLease(server) } else { reset(server) }
        }
    }

    private func connectQueryAnswered(_ server: ServerConnection, _ error: PgError?) {
        guard let error else {
            admit(server)
            return
        }
        connectFailed(
            server,
            ConnectFailure(
                kind: .permanent,
                error: .error(
                    error.sqlState, "connect_query failed: \(error.message)", detail: error.detail,
                    hint: "Correct connect_query of this database in [databases].")))
    }

    // MARK: The end of a server

    /// The connection ended, or cannot be trusted any more.
    func serverEnded(_ server: ServerConnection, _ reason: String) {
        guard server.phase != .closed else { return }
        switch server.phase {
        case .connecting, .closed:
            return
        case .preparing:
            connectFailed(
                server,
                ConnectFailure(
                    kind: .transient,
                    error: .error(
                        .connectionNotEstablished, server.fatal?.message ?? reason,
                        detail: "It ended while connect_query ran.")))
        case .ready:
            if server.isLeased {
                lostInLease(server, reason)
            } else {
                noteLoss(server, .idle, reason)
                logger.info(
                    "server lost",
                    metadata: [
                        "server.id": "\(server.id)", "server.pid": "\(server.backendProcessID)",
                        "database": "\(server.pool.database)",
                        "reason": "\(server.fatal?.message ?? reason)",
                    ])
                server.stream.releaseAll(in: &statements)
                post(.serverLost(server.id))
            }
        }
    }

    private func lostInLease(_ server: ServerConnection, _ reason: String) {
        let client = server.client
        let error = lostError(server, reason)
        noteLoss(server, .inLease, reason)
        logger.warning(
            "server lost in a lease",
            metadata: [
                "server.id": "\(server.id)", "server.pid": "\(server.backendProcessID)",
                "database": "\(server.pool.database)", "lease.id": "\(server.lease!)",
                "client.id": "\(client.map { "\($0.id)" } ?? "gone")",
                "reason": "\(server.fatal?.message ?? reason)",
            ])
        if let client {
            var bytes: [UInt8] = []
            let outcome = server.stream.lose(
                &client.stream, error: error,
                isHeld: server.explicit != nil && client.call == nil, statements: &statements,
                toClient: &bytes)
            detach(server, client)
            client.awaitsQuiet = false
            if client.call != nil, outcome == .goesOn, server.pool.mode.pooling != .session {
                // It has not been told of this lease yet: another server will do.
                endLease(server, .broken)
                requestLease(client, since: client.requestedAt)
                if let error = client.refusal {
                    client.refusal = nil
                    failLeaseCall(client, error)
                }
                return
            }
            if outcome == .ends || server.pool.mode.pooling == .session {
                var fatal = error
                fatal.severity = .fatal
                if outcome == .ends {
                    close(client, because: "its server was lost in the middle of a message")
                } else if server.stream.hasToldItsEnd {
                    end(client, because: server.fatal?.message ?? reason)
                } else {
                    refuse(client, fatal)
                }
            } else {
                bytes.withUnsafeBytes { send($0, to: client) }
                queueToResume(client)
            }
        }
        endLease(server, .broken)
    }

    private func lostError(_ server: ServerConnection, _ reason: String) -> PgError {
        let state = server.fatal.map { " with SQLSTATE \($0.sqlState.rawValue)" } ?? ""
        let isSession = server.pool.mode.pooling == .session
        return .error(
            .connectionFailure, "server connection lost: \(server.fatal?.message ?? reason)",
            detail:
                "Server process \(server.backendProcessID) of database \"\(server.pool.database)\""
                + " ended\(state) while this client held it; its transaction was rolled back unless a COMMIT was under way.",
            hint: isSession
                ? "The session has ended with its server connection: connect again."
                : "The session goes on: run the transaction again.")
    }
}
