// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What becomes of a session whose server is gone.
package enum SessionOutcome: Equatable, Sendable {
    /// The client was told, and can go on with another server.
    case goesOn
    /// Half a message had gone to the client: nothing can be said any more.
    case ends
}

extension ServerStream {
    /// Nothing is owed and nothing half sent in either direction: what `pool_mode` says decides
    /// whether the lease ends here.
    package func isLeaseOver(_ client: borrowing ClientStream, _ mode: RelayMode) -> Bool {
        isLeaseOver(passing: client.passing, mode)
    }

    /// The same, of the client's message that is on its way.
    package func isLeaseOver(passing message: PassingMessage, _ mode: RelayMode) -> Bool {
        guard outstanding.isEmpty, passing.bytesLeft == 0, !isMidMessage, !isSkippingToSync,
            !isBatchOpen, !message.isHalfPassed
        else { return false }
        if mode.isHeld { return false }
        switch mode.pooling {
        case .session: return false
        case .transaction: return status == .idle
        case .statement: return true
        }
    }

    /// How the connection comes back, once it is quiet and idle.
    package var conditionOnReturn: ServerCondition {
        if isSuspect || isEnding || isMidMessage || !isQuiet || status != .idle { return .broken }
        return taint.leavesSomething || residue.leavesSomething ? .dirty : .clean
    }

    /// The server is gone: every answer that the client still waits for becomes this error, each
    /// with its ReadyForQuery, in order. A client that waits for none is told with its next batch,
    /// if it had a transaction; one that held the lease by a statement of its own is told in any
    /// case, with the next batch if this one has had another error.
    package mutating func lose(
        _ client: inout ClientStream, error: PgError, isHeld: Bool = false,
        statements: inout StatementTable, toClient bytes: inout [UInt8]
    ) -> SessionOutcome {
        let halfMessage = passing.isHalfPassed && !isDraining
        let owed = outstanding.all
        let wasSkipping = isSkippingToSync
        let hadBrokersError = answeredByBroker
        let hadTransaction = status != .idle || self.isBatchOpen
        dropOutstanding(0..<outstanding.count, client: &client, statements: &statements)
        if client.passing.bytesLeft > 0 { client.passing.isDiscarded = true }
        guard !halfMessage else { return .ends }
        var isBatchOpen = false
        var isTold = false
        func tell(_ bytes: inout [UInt8]) {
            bytes.appendErrorResponse(error)
            isTold = true
        }
        for entry in owed where entry.audience != .broker {
            switch entry.kind {
            case .query, .functionCall:
                if !answeredWithError { tell(&bytes) }
                bytes.appendReadyForQuery(.idle)
                answeredWithError = false
            case .parse, .bind, .describe, .close, .execute:
                if !isBatchOpen { tell(&bytes) }
                isBatchOpen = true
            case .sync:
                // An error that was passed on already stands for the batch, else it is told here.
                if !isBatchOpen, !answeredWithError { tell(&bytes) }
                bytes.appendReadyForQuery(.idle)
                isBatchOpen = false
                answeredWithError = false
            }
        }
        // It may also be skipping behind an error of the broker's own.
        client.isSkippingToSync = client.isSkippingToSync || isBatchOpen || wasSkipping
        let mustTell = isHeld || (hadTransaction && hadBrokersError)
        let isUntold = mustTell ? !isTold : owed.isEmpty && hadTransaction && !wasSkipping
        if isUntold { client.deferredError = error }
        return .goesOn
    }

    /// Takes everything of this lease's first message back: the server took none of it. The client's
    /// bytes are still there and are sent to another server.
    package mutating func takeBack(
        _ client: inout ClientStream, before: ClientStream.Position,
        statements: inout StatementTable
    ) {
        dropOutstanding(0..<outstanding.count, client: &client, statements: &statements)
        client.restore(before, in: &statements)
    }

    /// What must be sent so that the server comes to an end with what a vanished client left half
    /// done; false if it cannot (the client's message is half sent).
    package mutating func beginDraining(
        _ client: borrowing ClientStream, into bytes: inout [UInt8]
    ) -> Bool {
        guard !client.passing.isHalfPassed else { return false }
        isDraining = true
        if passing.bytesLeft > 0 { passing.isDiscarded = true }
        // Where no copy begins this is ignored.
        if outstanding.contains(where: \.mayCopy) {
            bytes.appendCopyFail("the client is gone")
            if copy == .into {
                copy = .intoEnding
            } else {
                markCopyEnd()
            }
        }
        if isBatchOpen, !isSkippingToSync {
            // Without its Sync the batch must not be committed: PostgreSQL would roll it back, too.
            push(Outstanding(.bind, .client))
            bytes.appendBind(statement: "of a client that is gone")
        }
        if isBatchOpen || isSkippingToSync || outstanding.contains(where: { $0.kind == .execute }) {
            push(Outstanding(.sync, .client))
            isSkippingToSync = false
            bytes.appendSync()
        }
        return true
    }
}

extension ClientStream {
    /// The part of the state that a message changes when it is relayed, besides names.
    package struct Position {
        var passing: PassingMessage
        var isSkippingToSync: Bool
        var unnamed: [UInt8]
        var unnamedNotKept: Int
    }

    package var position: Position {
        Position(
            passing: passing, isSkippingToSync: isSkippingToSync,
            unnamed: unnamed.isEmpty ? [] : unnamed,
            unnamedNotKept: unnamedNotKept)
    }

    mutating func restore(_ position: Position, in table: inout StatementTable) {
        passing = position.passing
        isSkippingToSync = position.isSkippingToSync
        position.unnamed.withUnsafeBytes { keepUnnamed($0, in: &table) }
        unnamedNotKept = position.unnamedNotKept
    }
}

extension ServerStream {
    /// The connection will be closed: what was asked on it is taken back from the client's names.
    package mutating func dropAll(_ client: inout ClientStream, statements: inout StatementTable) {
        dropOutstanding(0..<outstanding.count, client: &client, statements: &statements)
    }
}
