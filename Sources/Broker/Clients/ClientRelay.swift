import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
import Logging
import PostgresWire

/// Bytes from and to a client.
extension Broker {
    // MARK: From the client

    func receive(from client: ClientSession) {
        if client.goodbye != nil {
            // Nothing more is read: the socket hung up, or did not take an answer.
            close(client, because: "client closed the connection")
            return
        }
        // A server that does not take what it is sent stops the source; so does a client that has
        // sent enough to wait with.
        if mustPause(client) {
            if client.watcher?.watched.contains(.readable) == true {
                watchForMessages(client)
                return
            }
        }
        let space = UnsafeMutableRawBufferPointer(start: readBuffer, count: Self.readSize)
        switch Descriptor.read(client.descriptor, into: space) {
        case .bytes(let count):
            client.lastActivity = now
            if client.orphanedAt != nil {
                client.orphanedAt = nil
                client.hasOutlivedItsProcess = true
            }
            client.pool?.statistics.bytesReceived += count
            received(UnsafeRawBufferPointer(start: readBuffer, count: count), from: client)
        case .wouldBlock:
            return
        case .closed:
            inputEnded(client)
        case .failed(let code):
            close(client, because: "reading from the client failed (errno \(code))")
        }
    }

    private func mustPause(_ client: ClientSession) -> Bool {
        if client.phase == .closing { return true }
        if client.phase == .console {
            return !client.outbound.isEmpty
                || (client.console?.wait != nil && client.pending.count >= Self.pendingLimit)
        }
        // Answers of the broker's own come without any server that could be held up.
        if client.outbound.count >= Self.pendingLimit { return true }
        if let server = client.server {
            return !server.outbound.isEmpty
                || (server.holdsClientBytes && client.pending.count >= Self.pendingLimit)
        }
        return (client.isWaiting || client.phase == .learning)
            && client.pending.count >= Self.pendingLimit
    }

    /// How much a client may send ahead while it waits.
    static let pendingLimit = 65_536

    /// Watches for what may come next. A paused client is still watched for its end.
    func watchForMessages(_ client: ClientSession) {
        guard let watcher = client.watcher, client.phase != .closed else { return }
        var events: FileEvents = mustPause(client) ? .disconnect : .readable
        switch client.goodbye {
        case .said: events = []
        case .halfClosed: events = .hangUp
        case nil: break
        }
        if !client.outbound.isEmpty { events.insert(.writable) }
        watcher.watch(events)
    }

    private func received(_ bytes: UnsafeRawBufferPointer, from client: ClientSession) {
        if client.pending.isEmpty {
            process(bytes, from: client)
        } else {
            client.pending.append(contentsOf: bytes)
            resume(client)
        }
    }

    /// Deals with what was received before.
    func resume(_ client: ClientSession) {
        guard client.phase != .closed else { return }
        let bytes = client.pending
        client.pending = []
        if !bytes.isEmpty {
            let consumed = bytes.withUnsafeBytes { dispatch($0, from: client) }
            if consumed == 0, client.pending.isEmpty, client.isOpen {
                // A long message that is not whole yet: it goes back without being copied.
                client.pending = bytes
            } else {
                bytes.withUnsafeBytes { keepRest(of: $0, from: consumed, client) }
            }
        }
        // It may have been paused while it waited.
        watchForMessages(client)
        endIfDone(client)
    }

    func queueToResume(_ client: ClientSession) {
        guard !client.isQueuedToResume else { return }
        client.isQueuedToResume = true
        resumable.append(client.id)
    }

    /// Clients that were granted a server, one turn each; what that brings about is part of the same round.
    func resumeClients() {
        var index = 0
        while index < resumable.count {
            let id = resumable[index]
            index += 1
            guard let client = clients[id] else { continue }
            client.isQueuedToResume = false
            resume(client)
        }
        resumable.removeAll(keepingCapacity: true)
    }

    private func process(_ bytes: UnsafeRawBufferPointer, from client: ClientSession) {
        keepRest(of: bytes, from: dispatch(bytes, from: client), client)
    }

    /// Returns how many bytes are dealt with.
    private func dispatch(_ bytes: UnsafeRawBufferPointer, from client: ClientSession) -> Int {
        switch client.phase {
        case .ready: relay(bytes, from: client)
        case .startup, .authenticating: handshake(bytes, from: client)
        case .console: console(bytes, from: client)
        case .learning, .awaitingServer: 0
        case .closing, .closed: bytes.count
        }
    }

    private func keepRest(
        of bytes: UnsafeRawBufferPointer, from consumed: Int, _ client: ClientSession
    ) {
        guard client.isOpen, consumed < bytes.count else { return }
        // Whoever resumed in the meantime has dealt with nothing of this: these bytes come first.
        client.pending.insert(
            contentsOf: UnsafeRawBufferPointer(rebasing: bytes[consumed...]), at: 0)
        if client.pending.count >= Self.pendingLimit { watchForMessages(client) }
    }

    /// Relays until the bytes end or something is in the way. Returns how many are dealt with.
    private func relay(_ bytes: UnsafeRawBufferPointer, from client: ClientSession) -> Int {
        var offset = 0
        while offset < bytes.count, client.phase == .ready, client.call == nil,
            let pool = client.pool
        {
            let input = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let step: ClientStep
            if let server = client.server, !server.isDirect {
                guard !server.holdsClientBytes, server.outbound.isEmpty else { return offset }
                guard let relayed = relay(input, from: client, to: server, pool) else { continue }
                step = relayed
            } else {
                var turn = ClientTurn(input, mode: pool.mode)
                step = turn.runWithoutLease(
                    &client.stream, refusal: client.server == nil ? nil : Self.leaseIsDirect,
                    statements: &statements, toClient: &toClient)
                if !toClient.isEmpty { send(toClient, of: input, to: client) }
                toClient.reset()
            }
            offset += step.consumed
            switch step.verdict {
            case .more:
                // Either all is taken, or the rest is the beginning of a message.
                if client.server == nil, step.consumed > 0, offset < bytes.count { continue }
                return offset
            case .needsLease:
                if !client.isWaiting, client.refusal == nil { requestLease(client) }
                if client.server == nil, let count = endNoTransaction(bytes[offset...], of: client)
                {
                    offset += count
                } else if let error = client.refusal {
                    client.refusal = nil
                    offset += refuseBatch(bytes[offset...], of: client, with: error)
                } else if client.server == nil || client.server?.holdsClientBytes == true {
                    return offset
                }
            case .lease(let command, let form):
                carryOut(command, form, for: client)
            case .awaitsQuiet:
                client.awaitsQuiet = true
                return offset
            case .terminate:
                saidGoodbye(client)
                return bytes.count
            case .malformed(let error):
                counters.protocolErrors += 1
                refuse(client, error)
                return bytes.count
            }
        }
        return offset
    }

    /// A ROLLBACK or COMMIT outside a transaction waits for no server. Returns how many bytes it has; nil
    /// if these bytes begin with something else.
    private func endNoTransaction(
        _ bytes: Slice<UnsafeRawBufferPointer>, of client: ClientSession
    ) -> Int? {
        guard let mode = client.pool?.mode else { return nil }
        let input = UnsafeRawBufferPointer(rebasing: bytes)
        var turn = ClientTurn(input, mode: mode)
        let step = turn.answerTransactionEnd(
            &client.stream, statements: &statements, toClient: &toClient)
        guard step.consumed > 0 else { return nil }
        client.refusal = nil
        withdraw(client)
        send(toClient, of: input, to: client)
        toClient.reset()
        return step.consumed
    }

    /// Answers the batch that these bytes begin with; the session goes on. Returns how many are dealt with.
    func refuseBatch(
        _ bytes: Slice<UnsafeRawBufferPointer>, of client: ClientSession, with error: PgError
    ) -> Int {
        guard let mode = client.pool?.mode else { return bytes.count }
        let input = UnsafeRawBufferPointer(rebasing: bytes)
        var output = RelayOutput()
        var turn = ClientTurn(input, mode: mode)
        let step = turn.refuseBatch(with: error, &client.stream, toClient: &output)
        send(output, of: input, to: client)
        return step.consumed
    }

    /// One turn to the server. nil: the server was dead before it took anything, the client has
    /// asked for another one, and the same bytes are to be tried again.
    private func relay(
        _ input: UnsafeRawBufferPointer, from client: ClientSession, to server: ServerConnection,
        _ pool: Pool
    ) -> ClientStep? {
        let isFirst =
            !server.hasSent && pool.mode.pooling != .session && server.explicit == nil
        let position = isFirst ? client.stream.position : nil
        if !server.prelude.isEmpty {
            let prelude = server.prelude
            toServer.inject(after: input) { $0.append(contentsOf: prelude) }
            server.prelude = []
        }
        var turn = ClientTurn(
            input, mode: server.mode,
            environment: ParseEnvironment(pool: pool.id, settings: client.profile.meaning))
        let step = turn.run(
            &client.stream, &server.stream, statements: &statements, toServer: &toServer,
            toClient: &toClient)
        if !toServer.isEmpty {
            let now = now
            if server.transactionSince == nil { server.transactionSince = now }
            if server.querySince == nil { server.querySince = now }
            server.idleSince = nil
            if pool.areLeasesWatched { noteWork(server) }
            let isSent = send(toServer, of: input, to: server)
            toServer.reset()
            if !isSent {
                toClient.reset()
                if let position {
                    retry(client, after: server, position)
                    return nil
                }
                serverEnded(server, "the server closed the connection")
                return step
            }
        }
        if !toClient.isEmpty { send(toClient, of: input, to: client) }
        toClient.reset()
        if case .more = step.verdict, client.server === server { endLeaseIfOver(server) }
        return step
    }

    /// The server took nothing, so nothing can have run: the client's bytes go to another one.
    private func retry(
        _ client: ClientSession, after server: ServerConnection, _ position: ClientStream.Position
    ) {
        counters.retriedRequests += 1
        server.stream.takeBack(&client.stream, before: position, statements: &statements)
        logger.info(
            "server was dead, request goes to another",
            metadata: ["server.id": "\(server.id)", "client.id": "\(client.id)"])
        let since = client.requestedAt
        detach(server, client)
        endLease(server, .broken)
        requestLease(client, since: since)
    }

    // MARK: To the client

    func send(_ output: RelayOutput, of input: UnsafeRawBufferPointer, to client: ClientSession) {
        output.withBytes(of: input) { send($0, to: client) }
    }

    func send(_ bytes: UnsafeRawBufferPointer, to client: ClientSession) {
        guard client.phase != .closed, !bytes.isEmpty else { return }
        client.pool?.statistics.bytesSent += bytes.count
        guard client.outbound.isEmpty else {
            client.outbound.append(bytes)
            return
        }
        switch Descriptor.write(client.descriptor, from: bytes) {
        case .bytes(let count) where count == bytes.count:
            return
        case .bytes(let count):
            stall(client, UnsafeRawBufferPointer(rebasing: bytes[count...]))
        case .wouldBlock:
            stall(client, bytes)
        case .closed, .failed:
            // Its end is noticed by reading, in a turn of its own: not in the middle of this one.
            client.watcher?.watch([.readable, .disconnect])
        }
    }

    private func stall(_ client: ClientSession, _ rest: UnsafeRawBufferPointer) {
        client.outbound.append(rest)
        let now = now
        client.stalledSince = now
        if let timeout = settings.clientWriteTimeout { housekeeping(by: now + timeout) }
        watchForMessages(client)
    }

    func flush(_ client: ClientSession) {
        while !client.outbound.isEmpty {
            switch client.outbound.withUnsent({ Descriptor.write(client.descriptor, from: $0) }) {
            case .bytes(let count):
                client.outbound.drop(count)
                client.stalledSince = now
            case .wouldBlock:
                return
            case .closed, .failed:
                close(client, because: "writing to the client failed")
                return
            }
        }
        client.stalledSince = nil
        if client.phase == .closing {
            close(client, because: "closed")
            return
        }
        watchForMessages(client)
        if client.phase == .console { queueToResume(client) }
        guard let server = client.server, let watcher = server.watcher else { return }
        watcher.watch(server.outbound.isEmpty ? .readable : [.readable, .writable])
        if server.connection?.hasBufferedInput == true { continueReading(server.id) }
    }

    /// Goes on with a server whose bytes no event announces, in a turn of its own.
    func continueReading(_ id: ServerID) { readable.append(id) }

    // MARK: The end

    /// Tells the client why, and ends the session once it has taken that. One that was not let in yet is
    /// counted under this cause, else under that of the SQLSTATE.
    func refuse(_ client: ClientSession, _ error: PgError, as cause: RefusalCause? = nil) {
        guard client.isOpen else { return }
        var error = error
        error.severity = .fatal
        if client.isLoggingIn {
            noteRefusal(cause ?? RefusalCause(error.sqlState), error, of: client)
        }
        if settings.logPoolerErrors {
            logger.warning(
                "client refused",
                metadata: describe(
                    client,
                    with: [
                        "sqlstate": "\(error.sqlState.rawValue)", "reason": "\(error.message)",
                    ]))
        }
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        // libpq keeps the reason for itself unless the answer that is due ends behind it.
        if client.phase == .ready, client.server?.stream.passing.isHalfPassed != true,
            client.isWaiting || client.server?.stream.isOwing == true || !client.pending.isEmpty
        {
            bytes.appendReadyForQuery(.idle)
        }
        withdraw(client)
        abandonLease(of: client)
        bytes.withUnsafeBytes { send($0, to: client) }
        end(client, because: error.message)
    }

    func close(_ client: ClientSession, because reason: String) {
        guard client.phase != .closed else { return }
        withdraw(client)
        abandonLease(of: client)
        let wasLoggedIn = client.phase == .ready || client.phase == .console
        client.phase = .closed
        client.watcher?.close()
        client.watcher = nil
        Descriptor.close(client.descriptor)
        client.stream.releaseAll(in: &statements)
        client.pending = []
        client.outbound = OutboundBuffer()
        client.login = nil
        client.console = nil
        client.call = nil
        forget(client)
        if wasLoggedIn, settings.logDisconnections {
            logger.info(
                "client left",
                metadata: describe(
                    client,
                    with: [
                        "reason": "\(reason)",
                        "age_us": "\((now - client.connectedAt).wholeMicroseconds)",
                    ]))
        }
        clients.remove(client.id)
        clientCountChanged()
    }

    func describe(_ client: ClientSession, with more: Logger.Metadata = [:]) -> Logger.Metadata {
        var metadata = more
        metadata["client.id"] = "\(client.id)"
        if let peer = client.peer { metadata["client.pid"] = "\(peer.processID)" }
        if !client.user.isEmpty { metadata["user"] = "\(client.user)" }
        if !client.database.isEmpty { metadata["database"] = "\(client.database)" }
        if !client.applicationName.isEmpty {
            metadata["application"] = "\(client.applicationName)"
        } else if let program = client.process?.program {
            metadata["program"] = "\(program)"
        }
        if let purpose = client.server?.explicit?.terms.purpose {
            metadata["lease.purpose"] = "\(purpose)"
        }
        return metadata
    }
}
