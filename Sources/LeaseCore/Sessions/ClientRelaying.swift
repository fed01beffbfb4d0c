// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What a logged-in client sends, to its server or without one.
extension Engine {
    /// Relays until the bytes end or something is in the way. Returns how many are dealt with.
    mutating func relay(_ bytes: UnsafeRawBufferPointer, from client: ClientID) -> Int {
        let session = clients.address(of: client)
        guard let pool = session.pointee.pool else { return 0 }
        var offset = 0
        while offset < bytes.count, session.pointee.phase == .ready, session.pointee.call == nil {
            let input = UnsafeRawBufferPointer(rebasing: bytes[offset...])
            let step: ClientStep
            if let server = session.pointee.server, !servers[server].isDirect {
                guard servers[server].mayBeSent else { return offset }
                if session.pointee.stream.listening != nil, !mayRelay(client, server) {
                    return offset
                }
                guard let relayed = relay(input, from: client, to: server, pool) else { continue }
                step = relayed
            } else {
                var turn = ClientTurn(input, mode: pools[pool].mode)
                if session.pointee.isAtRest, !session.pointee.isWaiting,
                    !session.pointee.request.awaitsWords,
                    turn.certainlyNeedsLease(session.pointee.stream)
                {
                    requestLease(client)
                    if session.pointee.server != nil { continue }
                }
                if session.pointee.server == nil {
                    step = turn.runWithoutLease(
                        &session.pointee.stream, statements: &statements,
                        toClient: &outputs.toClient)
                } else {
                    step = turn.runWithoutLease(
                        &session.pointee.stream, refusal: LeaseErrors.leaseIsDirect,
                        statements: &statements, toClient: &outputs.toClient)
                }
                sendOutput(of: input, to: client)
            }
            offset += step.consumed
            switch step.verdict {
            case .more:
                // Either all is taken, or the rest is the beginning of a message.
                if session.pointee.server == nil, step.consumed > 0, offset < bytes.count {
                    continue
                }
                return offset
            case .needsLease:
                if !session.pointee.isWaiting, !session.pointee.request.awaitsWords {
                    requestLease(client)
                }
                if let server = session.pointee.server {
                    if servers[server].profile.holdsClientBytes { return offset }
                } else if let count = endNoTransaction(bytes[offset...], of: client) {
                    offset += count
                } else {
                    return offset
                }
            case .lease(let command, let form):
                carryOut(command, form, for: client)
            case .needsPlace:
                switch askForPlace(client) {
                case .there: break
                case .later: return offset
                case .refused(let error):
                    let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
                    offset += refuseBatch(rest, of: client, with: error)
                }
            case .needsDatabase:
                askForDatabase(client)
                return offset
            case .needsSequences:
                seeToSequences(of: client, isFirst: step.consumed == 0)
            case .awaitsListening:
                guard announce(client) else { return offset }
            case .awaitsQuiet:
                session.pointee.flags.awaitsQuiet = true
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
        let session = clients.address(of: client)
        let held = servers.address(of: server)
        let isFirst =
            !held.pointee.hasSent && !pools[pool].isSession && !held.pointee.isExplicit
        let position = isFirst ? session.pointee.stream.position : nil
        var turn = ClientTurn(
            input, mode: held.pointee.isExplicit ? pools[pool].heldMode : pools[pool].mode,
            environment: ParseEnvironment(
                pool: pools[pool].id, settings: session.pointee.settings.current.meaning))
        let step: ClientStep
        if held.pointee.prelude.isEmpty {
            step = turn.run(
                &session.pointee.stream, &held.pointee.stream, statements: &statements,
                toServer: &outputs.toServer, toClient: &outputs.toClient)
        } else {
            step = runBehindPrelude(&turn, client, server)
        }
        if !outputs.toServer.isEmpty {
            held.pointee.noteSending(now)
            session.pointee.request.lossesInSetup = 0
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
            if !cancels.postponed.isEmpty { cancelWhatWasPostponed(server) }
        }
        sendOutput(of: input, to: client)
        // What the server owes an answer for goes on; what it took without one may be all there was.
        if case .more = step.verdict, !held.pointee.stream.isOwing,
            session.pointee.server == server
        {
            endLeaseIfOver(server)
        }
        return step
    }

    /// The same turn, in one write with what puts the client's settings in force.
    @inline(never)
    private mutating func runBehindPrelude(
        _ turn: inout ClientTurn, _ client: ClientID, _ server: ServerID
    ) -> ClientStep {
        let session = clients.address(of: client)
        let held = servers.address(of: server)
        let prelude = exchange(&held.pointee.prelude, with: [])
        outputs.toServer.inject(after: turn.input) { $0.append(contentsOf: prelude) }
        let step = turn.run(
            &session.pointee.stream, &held.pointee.stream, statements: &statements,
            toServer: &outputs.toServer, toClient: &outputs.toClient)
        if case .needsSequences = step.verdict, step.consumed == 0 {
            // More may go with it.
            outputs.toServer.reset()
            held.pointee.prelude = prelude
        }
        return step
    }

    /// The server took nothing, so nothing can have run: the client's bytes go to another one.
    mutating func retry(
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
