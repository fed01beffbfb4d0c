// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// ROLLBACK and COMMIT of a client that is in no transaction.
///
/// Drivers send them after an error, so also when 08006 has just told that the server is gone: they must
/// not wait until there is another one. The shell asks only when the client would have to wait: whenever a
/// server is free it answers itself, in its own language and as `client_min_messages` has it, and a client
/// whose server answers pays nothing for this.
///
/// An empty query is not among them: it is what drivers ask to learn whether a server answers
/// (pgx, lib/pq and pgjdbc do).
extension ClientTurn {
    /// Answers what the input begins with, if that is a query, or a whole batch of the extended protocol,
    /// that only ends a transaction. Else nothing is consumed. The client must have no lease.
    package mutating func answerTransactionEnd(
        _ client: inout ClientStream, statements: inout StatementTable,
        toClient: inout RelayOutput
    ) -> ClientStep {
        guard mode.pooling != .session, !client.isSkippingToSync, client.passing.bytesLeft == 0,
            case .message(let message) = nextMessage(), message.isWhole
        else { return ClientStep(consumed: 0, verdict: .more) }
        switch message.kind {
        case .query: answerQuery(message, &client, &statements, &toClient)
        case .parse, .bind: answerBatch(&client, &statements, &toClient)
        default: break
        }
        return ClientStep(consumed: offset, verdict: .more)
    }

    private mutating func answerQuery(
        _ message: Message, _ client: inout ClientStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) {
        guard let end = TransactionEnd.read(body(message)) else { return }
        client.endUnnamed(in: &statements)
        toClient.inject(after: input) {
            $0.appendNoticeResponse(TransactionEnd.warning)
            $0.appendCommandComplete(end.commandTag)
            $0.appendReadyForQuery(.idle)
        }
        offset = message.bodyStart + message.available
    }

    /// Parse of the unnamed statement, Bind, Describe, Execute, Close and Sync, as drivers send them: Parse,
    /// Describe and Close may be missing. Any other batch is a server's.
    private mutating func answerBatch(
        _ client: inout ClientStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) {
        var next = self
        var answer: [UInt8] = []
        var definition: [UInt8]?
        if let parse = next.takeWhole(.parse) {
            let body = body(parse)
            guard let name = cString(in: body, from: 0), name.isEmpty else { return }
            definition = Array(body.dropFirst())
            answer.appendParseComplete()
        }
        guard let bind = next.takeWhole(.bind),
            let end = next.transactionEnd(boundBy: bind, definition, client, statements)
        else { return }
        answer.appendBindComplete()
        if let describe = next.takeWhole(.describe) {
            guard next.isAboutUnnamedPortal(describe) else { return }
            answer.appendNoData()
        }
        guard let execute = next.takeWhole(.execute), body(execute).first == 0 else { return }
        answer.appendNoticeResponse(TransactionEnd.warning)
        answer.appendCommandComplete(end.commandTag)
        if let close = next.takeWhole(.close) {
            guard next.isAboutUnnamedPortal(close) else { return }
            answer.appendCloseComplete()
        }
        guard next.takeWhole(.sync) != nil else { return }
        answer.appendReadyForQuery(.idle)
        if let definition {
            definition.withUnsafeBytes { client.keepUnnamed($0, in: &statements) }
        }
        client.endBatch()
        toClient.inject(after: input) { $0.append(contentsOf: answer) }
        offset = next.offset
    }

    /// The next message, if it is of this kind and whole.
    private mutating func takeWhole(_ kind: FrontendKind) -> Message? {
        guard case .message(let message) = nextMessage(), message.kind == kind, message.isWhole
        else { return nil }
        offset = message.bodyStart + message.available
        return message
    }

    /// What the statement that is bound to the unnamed portal ends, if it does only that.
    private func transactionEnd(
        boundBy bind: Message, _ definition: [UInt8]?, _ client: borrowing ClientStream,
        _ statements: borrowing StatementTable
    ) -> TransactionEnd? {
        let body = body(bind)
        guard let portal = cString(in: body, from: 0), portal.isEmpty,
            let name = cString(in: body, from: portal.upperBound + 1)
        else { return nil }
        var fields = BindFields(body, at: name.upperBound + 1)
        guard fields.integers() != nil, fields.count() == 0 else { return nil }
        var bound = definition ?? client.unnamed
        if !name.isEmpty {
            let key = UnsafeRawBufferPointer(rebasing: body[name])
            guard mode.tracksStatements, let statement = client.statements.value(for: key) else {
                return nil
            }
            bound = statements.body(of: statement.id)
        }
        // Text, its end, and a count of types, which must be 0.
        guard bound.suffix(3).elementsEqual([0, 0, 0]) else { return nil }
        return bound.withUnsafeBytes { TransactionEnd.read(statementText($0)) }
    }

    private func isAboutUnnamedPortal(_ message: Message) -> Bool {
        body(message).elementsEqual([UInt8(ascii: "P"), 0])
    }
}
