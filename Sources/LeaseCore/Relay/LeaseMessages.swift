// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// LEASE and LEASE RETURN, found in what a client sends. The broker itself answers all that is about
/// them, so no message of theirs reaches a server.
extension ClientTurn {
    /// What a message is to the lease commands.
    enum LeaseMatch {
        case unrelated
        /// More of the message must be there.
        case incomplete
        case related
    }

    /// What came of a message that is about a lease command.
    enum LeaseProgress {
        /// Answered.
        case done
        /// The shell carries it out, and answers.
        case command(LeaseCommand, LeaseForm)
    }

    /// Whether the message is about a lease command. Every message is asked this: most are
    /// answered by their kind and first byte.
    @inline(__always)
    func leaseMatch(_ message: Message, _ client: inout ClientStream) -> LeaseMatch {
        switch message.kind {
        case .query:
            return queryMatch(message, client)
        case .parse:
            return parseMatch(message, &client)
        case .bind, .describe, .close, .execute:
            if client.leases == nil { return .unrelated }
            return preparedMatch(message, &client)
        default:
            return .unrelated
        }
    }

    @inline(__always)
    private func queryMatch(_ message: Message, _ client: borrowing ClientStream) -> LeaseMatch {
        let length = message.header.bodyLength
        if length > LeaseCommand.lengthLimit { return .unrelated }
        let text = body(message)
        if message.available > 0, !LeaseCommand.mayBegin(text), client.leases == nil {
            return .unrelated
        }
        guard message.isWhole else { return .incomplete }
        if case .other = LeaseCommand.read(text) {
            return deallocated(text, client) == nil ? .unrelated : .related
        }
        return .related
    }

    /// The prepared lease command that this text deallocates.
    private func deallocated(
        _ text: UnsafeRawBufferPointer, _ client: borrowing ClientStream
    ) -> [UInt8]? {
        guard let leases = client.leases, case .name(let name)? = DeallocateText.parse(text),
            leases.statements[name] != nil
        else { return nil }
        return name
    }

    private func parseMatch(_ message: Message, _ client: inout ClientStream) -> LeaseMatch {
        let length = message.header.bodyLength
        let body = body(message)
        guard let name = cString(in: body, from: 0) else {
            // A name that is one of a lease command must be seen, however long the text is.
            let isAwaited = length <= LeaseCommand.lengthLimit || client.leases != nil
            return isAwaited && mayEnd(message) ? .incomplete : .unrelated
        }
        if client.leases != nil {
            // The name gets another statement, if this one is not about leases either.
            client.leases?.statements[Array(body[name])] = nil
        }
        if length - name.count > LeaseCommand.lengthLimit { return .unrelated }
        let text = UnsafeRawBufferPointer(rebasing: body[(name.upperBound + 1)...])
        if !text.isEmpty, !LeaseCommand.mayBegin(text) { return .unrelated }
        guard message.isWhole else { return .incomplete }
        if case .other = LeaseCommand.read(text) { return .unrelated }
        return .related
    }

    /// A message about a lease command that is longer is not looked at whole: there is nothing to bind.
    private static let leaseLimit = 16_384

    /// Whether a name that has no end yet may have one.
    private func mayEnd(_ message: Message) -> Bool {
        !message.isWhole && message.available <= Self.nameLimit
    }

    private func preparedMatch(_ message: Message, _ client: inout ClientStream) -> LeaseMatch {
        guard message.header.bodyLength <= Self.leaseLimit || message.kind == .bind else {
            return .unrelated
        }
        let body = body(message)
        switch message.kind {
        case .bind:
            guard let portal = cString(in: body, from: 0),
                let name = cString(in: body, from: portal.upperBound + 1)
            else { return mayEnd(message) ? .incomplete : .unrelated }
            guard client.leases?.statements[Array(body[name])] != nil else {
                client.leases?.portals[Array(body[portal])] = nil
                return .unrelated
            }
        case .execute:
            guard let portal = cString(in: body, from: 0) else {
                return message.isWhole ? .unrelated : .incomplete
            }
            guard client.leases?.portals[Array(body[portal])] != nil else { return .unrelated }
        default:
            switch target(of: message) {
            case .incomplete: return .incomplete
            case .malformed: return .unrelated
            case .statement(let name):
                if client.leases?.statements[Array(body[name])] == nil { return .unrelated }
            case .portal:
                guard let portal = cString(in: body, from: 1),
                    client.leases?.portals[Array(body[portal])] != nil
                else { return .unrelated }
            }
        }
        // One so long is refused, and need not be looked at whole.
        let isLong = message.header.bodyLength > Self.leaseLimit
        return message.isWhole || isLong ? .related : .incomplete
    }

    // MARK: Answers

    /// Deals with a message that `leaseMatch` called related. Nothing may be owed to the client.
    mutating func leaseMessage(
        _ message: Message, _ client: inout ClientStream, _ status: TransactionStatus,
        _ statements: inout StatementTable, _ toClient: inout RelayOutput
    ) -> LeaseProgress {
        defer { discard(message, &client) }
        let body = body(message)
        switch message.kind {
        case .query:
            return simpleLease(body, &client, status, &statements, &toClient)
        case .parse:
            parseLease(body, &client, &statements, &toClient)
        case .bind:
            bindLease(message, &client, &toClient)
        case .describe:
            describeLease(message, client, &toClient)
        case .close:
            closeLease(message, &client)
            toClient.inject(after: input) { $0.appendCloseComplete() }
        case .execute:
            let name = cString(in: body, from: 0)!
            let portal = client.leases!.portals[Array(body[name])]!
            return .command(portal.command, .extended(formats: portal.formats))
        default:
            preconditionFailure("not a message of lease commands")
        }
        return .done
    }

    private mutating func simpleLease(
        _ body: UnsafeRawBufferPointer, _ client: inout ClientStream, _ status: TransactionStatus,
        _ statements: inout StatementTable, _ toClient: inout RelayOutput
    ) -> LeaseProgress {
        client.endUnnamed(in: &statements)
        switch LeaseCommand.read(body) {
        case .command(let command):
            return .command(command, .simple)
        case .refused(let error):
            toClient.inject(after: input) {
                $0.appendErrorResponse(error)
                $0.appendReadyForQuery(status)
            }
        case .other:
            if let name = deallocated(body, client) { client.leases?.statements[name] = nil }
            toClient.inject(after: input) {
                $0.appendCommandComplete("DEALLOCATE")
                $0.appendReadyForQuery(status)
            }
        }
        return .done
    }

    private func parseLease(
        _ body: UnsafeRawBufferPointer, _ client: inout ClientStream,
        _ statements: inout StatementTable, _ toClient: inout RelayOutput
    ) {
        let name = cString(in: body, from: 0)!
        let text = UnsafeRawBufferPointer(rebasing: body[(name.upperBound + 1)...])
        switch LeaseCommand.read(text) {
        case .refused(let error):
            fail(error, &client, &toClient)
        case .command(let command):
            var leases = client.leases ?? LeaseStatements()
            guard leases.statements.count < LeaseStatements.limit else {
                fail(Self.tooManyPrepared, &client, &toClient)
                return
            }
            leases.statements[Array(body[name])] = command
            client.leases = leases
            // A name stands for what it was given to last.
            if name.isEmpty { client.forgetUnnamed(in: &statements) }
            let key = UnsafeRawBufferPointer(rebasing: body[name])
            if let statement = client.statements.remove(key) { statements.release(statement.id) }
            toClient.inject(after: input) { $0.appendParseComplete() }
        case .other:
            preconditionFailure("a Parse was taken for one of a lease command")
        }
    }

    private func bindLease(
        _ message: Message, _ client: inout ClientStream, _ toClient: inout RelayOutput
    ) {
        let body = body(message)
        let portal = cString(in: body, from: 0)!
        let name = cString(in: body, from: portal.upperBound + 1)!
        var fields = BindFields(body, at: name.upperBound + 1)
        guard message.isWhole, let parameterFormats = fields.integers(),
            let parameters = fields.count(),
            parameters == 0, let formats = fields.integers(), fields.isAtEnd,
            parameterFormats.count <= 1, formats.allSatisfy({ $0 == 0 || $0 == 1 }),
            formats.count <= 1 || formats.count == LeaseAnswer.columns().count
        else {
            fail(Self.badBind, &client, &toClient)
            return
        }
        let command = client.leases!.statements[Array(body[name])]!
        let key = Array(body[portal])
        guard
            client.leases!.portals[key] != nil
                || client.leases!.portals.count < LeaseStatements.limit
        else {
            fail(Self.tooManyPrepared, &client, &toClient)
            return
        }
        client.leases!.portals[key] = LeaseStatements.Portal(
            command: command, formats: formats)
        toClient.inject(after: input) { $0.appendBindComplete() }
    }

    private func describeLease(
        _ message: Message, _ client: borrowing ClientStream, _ toClient: inout RelayOutput
    ) {
        let body = body(message)
        let command: LeaseCommand
        var formats: [Int16] = []
        let isStatement: Bool
        if case .statement(let name) = target(of: message) {
            isStatement = true
            command = client.leases!.statements[Array(body[name])]!
        } else {
            isStatement = false
            let portal = client.leases!.portals[Array(body[cString(in: body, from: 1)!])]!
            command = portal.command
            formats = portal.formats
        }
        toClient.inject(after: input) {
            if isStatement { $0.appendParameterDescription([]) }
            if case .acquire = command {
                $0.appendRowDescription(LeaseAnswer.columns(formats: formats))
            } else {
                $0.appendNoData()
            }
        }
    }

    func closeLease(_ message: Message, _ client: inout ClientStream) {
        let body = body(message)
        if case .statement(let name) = target(of: message) {
            client.leases?.statements[Array(body[name])] = nil
        } else if let portal = cString(in: body, from: 1) {
            client.leases?.portals[Array(body[portal])] = nil
        }
        if client.leases?.statements.isEmpty == true, client.leases?.portals.isEmpty == true {
            client.leases = nil
        }
    }

    /// An error in an extended batch: what follows is skipped up to the Sync.
    private func fail(
        _ error: PgError, _ client: inout ClientStream, _ toClient: inout RelayOutput
    ) {
        toClient.inject(after: input) { $0.appendErrorResponse(error) }
        client.isSkippingToSync = true
    }

    private static let badBind = PgError.error(
        .protocolViolation, "LEASE has no parameters, and results in text or binary format only",
        hint: "Write the values into the statement, in quotes.")

    private static let tooManyPrepared = PgError.error(
        .programLimitExceeded, "too many prepared LEASE statements",
        detail: "One session may have \(LeaseStatements.limit).",
        hint: "Close those that are not needed, or use the unnamed statement.")
}

/// The counted fields at the end of a Bind.
struct BindFields {
    private let body: UnsafeRawBufferPointer
    private var offset: Int

    init(_ body: UnsafeRawBufferPointer, at offset: Int) {
        self.body = body
        self.offset = offset
    }

    var isAtEnd: Bool { offset == body.count }

    mutating func count() -> Int? {
        guard body.count - offset >= 2 else { return nil }
        let bits = body.loadUnaligned(fromByteOffset: offset, as: UInt16.self)
        offset += 2
        return Int(UInt16(bigEndian: bits))
    }

    /// A count, and as many 16-bit integers.
    mutating func integers() -> [Int16]? {
        guard let count = count(), body.count - offset >= 2 * count else { return nil }
        defer { offset += 2 * count }
        return (0..<count).map {
            let bits = body.loadUnaligned(fromByteOffset: offset + 2 * $0, as: UInt16.self)
            return Int16(bitPattern: UInt16(bigEndian: bits))
        }
    }
}

extension ClientStream {
    /// The shell's error for a lease command that was executed by the extended protocol.
    package mutating func failBatch() { isSkippingToSync = true }
}
