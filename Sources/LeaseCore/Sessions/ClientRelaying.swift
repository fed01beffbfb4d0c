import PostgresWire

/// What a logged-in client sends, to its server or without one.
extension Engine {
    /// Relays until the bytes end or something is in the way. Returns how many are dealt with.
    mutating func relay(_ bytes: UnsafeRawBufferPointer, from client: ClientID) -> Int {
        guard let pool = clients[client].pool else { return 0 }
        var offset = 0
        while offset < bytes.count, clients[client].phase == .ready, clients[client].call == nil {
            let input = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let step: ClientStep
            if let server = clients[client].server, !servers[server].isDirect {
                guard !servers[server].profile.holdsClientBytes, servers[server].outbound.isEmpty
                else { return offset }
                guard let relayed = relay(input, from: client, to: server, pool) else { continue }
                step = relayed
            } else {
                var turn = ClientTurn(input, mode: pools[pool].mode)
                step = turn.runWithoutLease(
                    &clients[client].stream,
                    refusal: clients[client].server == nil ? nil : LeaseErrors.leaseIsDirect,
                    statements: &statements, toClient: &outputs.toClient)
                sendOutput(of: input, to: client)
            }
            offset += step.consumed
            switch step.verdict {
            case .more:
                // Either all is taken, or the rest is the beginning of a message.
                if clients[client].server == nil, step.consumed > 0, offset < bytes.count {
                    continue
                }
                return offset
            case .needsLease:
                if !clients[client].isWaiting, !clients[client].request.awaitsWords {
                    requestLease(client)
                }
                if let server = clients[client].server {
                    if servers[server].profile.holdsClientBytes { return offset }
                } else if let count = endNoTransaction(bytes[offset...], of: client) {
                    offset += count
                } else {
                    return offset
                }
            case .lease(let command, let form):
                carryOut(command, form, for: client)
            case .awaitsQuiet:
                clients[client].flags.awaitsQuiet = true
                return offset
            case .terminate:
                saidGoodbye(client)
                return bytes.count
            case .malformed(let error):
                notices.append(.protocolError)
                refuse(client, error)
                return bytes.count
            }
        }
        return offset
    }

    /// A ROLLBACK or COMMIT outside a transaction waits for no server. Returns how many bytes it has; nil
    /// if these bytes begin with something else.
    private mutating func endNoTransaction(
        _ bytes: Slice<UnsafeRawBufferPointer>, of client: ClientID
    ) -> Int? {
        guard let pool = clients[client].pool else { return nil }
        let input = UnsafeRawBufferPointer(rebasing: bytes)
        var turn = ClientTurn(input, mode: pools[pool].mode)
        let step = turn.answerTransactionEnd(
            &clients[client].stream, statements: &statements, toClient: &outputs.toClient)
        guard step.consumed > 0 else { return nil }
        clients[client].request.awaitsWords = false
        withdraw(client)
        sendOutput(of: input, to: client)
        return step.consumed
    }

    /// Answers the batch that these bytes begin with; the session goes on. Returns how many are dealt with.
    mutating func refuseBatch(
        _ input: UnsafeRawBufferPointer, of client: ClientID, with error: PgError
    ) -> Int {
        guard let pool = clients[client].pool else { return input.count }
        var turn = ClientTurn(input, mode: pools[pool].mode)
        let step = turn.refuseBatch(
            with: error, &clients[client].stream, toClient: &outputs.toClient)
        sendOutput(of: input, to: client)
        return step.consumed
    }

    /// One turn to the server. nil: the server was dead before it took anything, the client has
    /// asked for another one, and the same bytes are to be tried again.
    private mutating func relay(
        _ input: UnsafeRawBufferPointer, from client: ClientID, to server: ServerID,
        _ pool: PoolSlot
    ) -> ClientStep? {
        let isFirst =
            !servers[server].hasSent && !pools[pool].isSession && !servers[server].isExplicit
        let position = isFirst ? clients[client].stream.position : nil
        if !servers[server].prelude.isEmpty {
            let prelude = exchange(&servers[server].prelude, with: [])
            outputs.toServer.inject(after: input) { $0.append(contentsOf: prelude) }
        }
        var turn = ClientTurn(
            input, mode: mode(of: server),
            environment: ParseEnvironment(
                pool: pools[pool].id, settings: clients[client].settings.current.meaning))
        let step = turn.run(
            &clients[client].stream, &servers[server].stream, statements: &statements,
            toServer: &outputs.toServer, toClient: &outputs.toClient)
        if !outputs.toServer.isEmpty {
            noteSending(server)
            if pools[pool].areLeasesWatched { noteWork(server) }
            if !sendOutput(of: input, to: server) {
                outputs.toClient.reset()
                if let position {
                    retry(client, after: server, position)
                    return nil
                }
                serverEnded(server, "the server closed the connection")
                return step
            }
        }
        sendOutput(of: input, to: client)
        if case .more = step.verdict, clients[client].server == server { endLeaseIfOver(server) }
        return step
    }

    @inline(__always)
    private mutating func noteSending(_ server: ServerID) {
        if servers[server].clock?.transactionSince == nil {
            servers[server].lease?.clock.transactionSince = now
        }
        if servers[server].clock?.querySince == nil {
            servers[server].lease?.clock.querySince = now
        }
        servers[server].lease?.clock.idleSince = nil
    }

    /// The server took nothing, so nothing can have run: the client's bytes go to another one.
    private mutating func retry(
        _ client: ClientID, after server: ServerID, _ position: ClientStream.Position
    ) {
        servers[server].stream.takeBack(
            &clients[client].stream, before: position, statements: &statements)
        notices.append(.requestRetried(client, server))
        let since = clients[client].request.since
        detach(server, client)
        endLease(server, .broken)
        requestLease(client, since: since)
    }
}
