// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

extension ClientTurn {
    /// Deals with what a client without a lease sends, as far as that needs no server: a Sync with
    /// nothing in front of it, a Close, what is left of a copy that failed, what an error makes it
    /// skip, and lease commands. With `refusal` (the client's lease is direct) what needs a server
    /// is answered with it.
    package mutating func runWithoutLease(
        _ client: inout ClientStream, refusal: PgError? = nil, statements: inout StatementTable,
        toClient: inout RelayOutput
    ) -> ClientStep {
        while offset < input.count {
            if client.passing.bytesLeft > 0 {
                // Whoever this was meant for is gone.
                let count = min(client.passing.bytesLeft, input.count - offset)
                client.passing.bytesLeft -= count
                offset += count
                continue
            }
            let message: Message
            switch nextMessage() {
            case .message(let next): message = next
            case .incomplete: return step(.more)
            case .refused(let error): return step(.malformed(error))
            }
            switch message.kind {
            case .terminate:
                return step(.terminate)
            case .sync:
                sync(message, &client, &toClient)
            case .copyData, .copyDone, .copyFail, .flush:
                discard(message, &client)
            case .query, .functionCall, .parse, .bind, .describe, .close, .execute:
                if client.isSkippingToSync {
                    discard(message, &client)
                    continue
                }
                if close(message, &client, &statements, &toClient) { continue }
                if let error = client.deferredError {
                    client.deferredError = nil
                    refuse(message, with: error, &client, &toClient)
                    continue
                }
                switch leaseMatch(message, &client) {
                case .unrelated: break
                case .incomplete: return step(.more)
                case .related:
                    switch leaseMessage(message, &client, .idle, &statements, &toClient) {
                    case .done: continue
                    case .command(let command, let form): return step(.lease(command, form))
                    }
                }
                if let refusal {
                    refuse(message, with: refusal, &client, &toClient)
                } else if isAwaitedWhole(message, statements) {
                    return step(.more)
                } else {
                    return step(.needsLease)
                }
            default:
                return step(.malformed(Self.unexpected(message.header.kind)))
            }
        }
        return step(.more)
    }

    /// Whether the input begins with a message that needs a lease, whatever else is known: most do.
    @inline(__always)
    package func certainlyNeedsLease(_ client: borrowing ClientStream) -> Bool {
        guard client.passing.bytesLeft == 0, !client.isSkippingToSync, client.leases == nil,
            client.deferredError == nil, case .message(let message) = nextMessage(),
            message.isWhole
        else { return false }
        switch message.kind {
        case .query: return !LeaseCommand.mayBegin(body(message))
        case .bind: return true
        case .parse:
            // An unnamed one: a text may be a lease command.
            return message.available > 1 && input[message.bodyStart] == 0
                && !LeaseCommand.mayBegin(
                    UnsafeRawBufferPointer(rebasing: body(message)[1...]))
        default: return false
        }
    }

    /// Answers the batch at the front of the input with this error instead of a server's answer:
    /// the session goes on behind it. The input begins with a message that needs a lease.
    package mutating func refuseBatch(
        with error: PgError, _ client: inout ClientStream, toClient: inout RelayOutput
    ) -> ClientStep {
        guard case .message(let message) = nextMessage() else { return step(.more) }
        refuse(message, with: error, &client, &toClient)
        return step(.more)
    }

    /// With a lease this message would only be waited for: a slow sender must not hold a server
    /// meanwhile, nor queue for one with every piece.
    private func isAwaitedWhole(
        _ message: Message, _ statements: borrowing StatementTable
    ) -> Bool {
        guard !message.isWhole, mode.pooling != .session else { return false }
        switch message.kind {
        case .query: return message.header.bodyLength <= Self.scanLimit
        case .parse:
            guard message.available > 0 else { return true }
            // One that is too long to be kept passes as it comes, if it passes at all.
            return statements.memory.mayKeep(message.header.bodyLength)
        case .describe, .close: return true
        default: return false
        }
    }

    private mutating func sync(
        _ message: Message, _ client: inout ClientStream, _ toClient: inout RelayOutput
    ) {
        // The batch that ends here has had its error: the next one is told.
        let error = client.isSkippingToSync ? nil : client.deferredError
        if error != nil { client.deferredError = nil }
        client.endBatch()
        toClient.inject(after: input) {
            if let error { $0.appendErrorResponse(error) }
            $0.appendReadyForQuery(.idle)
        }
        discard(message, &client)
    }

    /// True if it closes a statement of the client's, which needs no server.
    private mutating func close(
        _ message: Message, _ client: inout ClientStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) -> Bool {
        guard message.kind == .close, mode.tracksStatements,
            case .statement(let name) = target(of: message),
            let statement = client.statements.remove(
                UnsafeRawBufferPointer(rebasing: body(message)[name]))
        else { return false }
        statements.release(statement.id)
        toClient.inject(after: input) { $0.appendCloseComplete() }
        offset = message.bodyStart + message.available
        return true
    }

    private mutating func refuse(
        _ message: Message, with error: PgError, _ client: inout ClientStream,
        _ toClient: inout RelayOutput
    ) {
        let isSimple = message.kind == .query || message.kind == .functionCall
        client.isSkippingToSync = !isSimple
        toClient.inject(after: input) {
            $0.appendErrorResponse(error)
            if isSimple { $0.appendReadyForQuery(.idle) }
        }
        discard(message, &client)
    }

    private func step(_ verdict: ClientStep.Verdict) -> ClientStep {
        ClientStep(consumed: offset, verdict: verdict)
    }
}
