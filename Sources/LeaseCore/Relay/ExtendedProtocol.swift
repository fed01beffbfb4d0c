import PostgresWire

/// Parse, Bind, Describe and Close: where named statements follow their client, the names that
/// servers know are put in place of the client's, and a server that lacks a statement is told it first.
extension ClientTurn {
    enum Progress {
        case done
        /// More of the message must be there.
        case incomplete
        case refused(PgError)
    }

    mutating func extended(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Progress {
        guard mode.pooling != .session else {
            server.push(Outstanding(Self.answer(to: message.kind), .client))
            pass(message, &client, &toServer)
            return .done
        }
        switch message.kind {
        case .parse: return parse(message, &client, &server, &statements, &toServer)
        case .bind: return bind(message, &client, &server, &statements, &toServer)
        case .describe: return describe(message, &client, &server, &statements, &toServer)
        case .close: return close(message, &client, &server, &statements, &toServer)
        default: preconditionFailure("not a message of the extended protocol that has a name")
        }
    }

    private static func answer(to kind: FrontendKind) -> Outstanding.Kind {
        switch kind {
        case .parse: .parse
        case .bind: .bind
        case .describe: .describe
        case .close: .close
        default: preconditionFailure("not a message of the extended protocol that has a name")
        }
    }

    // MARK: Parse

    private mutating func parse(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Progress {
        let body = body(message)
        guard let name = cString(in: body, from: 0) else {
            return mustEnd(message) ? .refused(Self.malformed("Parse")) : .incomplete
        }
        if name.isEmpty {
            if !message.isWhole, statements.memory.mayKeep(message.header.bodyLength) {
                return .incomplete
            }
            parseUnnamed(message, &client, &server, &statements, &toServer)
            return .done
        }
        guard mode.tracksStatements else {
            server.taint.formUnion([.preparedStatements])
            server.push(Outstanding(.parse, .client))
            pass(message, &client, &toServer)
            return .done
        }
        guard statements.memory.mayKeep(message.header.bodyLength) else {
            return .refused(Self.statementTooLong(message.header.bodyLength, statements.memory))
        }
        guard message.isWhole else { return .incomplete }
        let key = UnsafeRawBufferPointer(rebasing: body[name])
        let definition = UnsafeRawBufferPointer(rebasing: body[(name.upperBound + 1)...])
        offset = message.bodyStart + message.available
        if let existing = client.statements.value(for: key) {
            // PostgreSQL itself refuses it, in its turn: ask for what the server has already.
            prepare(existing, &server, &statements, &toServer)
            server.push(.parse, .client, undo: .duplicate(Array(key)))
            injectParse(existing, statements, &toServer)
            return .done
        }
        let id = statements.intern(definition)
        client.statements.insert(id, for: key)
        // It is for the server to say what a failed transaction refuses.
        if server.status == .failed { server.prepared.doubt(id) }
        if mustPrepare(id, &server, &statements, &toServer) {
            server.push(.parse, .client, undo: .named(Array(key), id))
            injectParse(id, statements, &toServer)
        } else {
            server.push(.parse, .synthesized, undo: .clientNamed(Array(key), id))
        }
        return .done
    }

    private mutating func parseUnnamed(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) {
        server.hasUnnamed = true
        server.unnamedIsLocalSet = false
        guard message.isWhole, statements.memory.mayKeep(message.header.bodyLength) else {
            client.forgetUnnamed(in: &statements)
            client.unnamedNotKept = message.header.bodyLength
            server.taint.insert(.other)
            server.push(Self.aboutUnnamed(.parse, .client))
            pass(message, &client, &toServer)
            return
        }
        let definition = UnsafeRawBufferPointer(rebasing: body(message)[1...])
        let text = statementText(definition)
        client.keepUnnamed(definition, in: &statements)
        if text.count <= Self.parseScanLimit {
            server.taint.formUnion(SessionTaint.inText(text))
            server.unnamedIsLocalSet = SessionTaint.isTransactionLocalSet(text)
        } else {
            server.taint.insert(.other)
        }
        if mode.tracksStatements, let (name, id) = client.deallocated(by: text) {
            deallocate(name, id, &client, &server, &statements, &toServer)
            offset = message.bodyStart + message.available
            return
        }
        if Self.mayDropAll(text) { server.prepared.doubtAll() }
        server.push(Self.aboutUnnamed(.parse, .client))
        pass(message, &client, &toServer)
    }

    private static func aboutUnnamed(
        _ kind: Outstanding.Kind, _ audience: Outstanding.Audience
    ) -> Outstanding {
        var entry = Outstanding(kind, audience)
        entry.isAboutUnnamed = true
        return entry
    }

    /// A name without its end here has none, or is longer than any.
    private func mustEnd(_ message: Message) -> Bool {
        message.isWhole || message.available > Self.nameLimit
    }

    /// A DEALLOCATE of a name that follows the client, by the extended protocol: the server drops
    /// the statement that stands for it. Whether it is executed at all is not known here, so the
    /// connection is cleaned before the next lease.
    private mutating func deallocate(
        _ name: [UInt8], _ id: StatementID, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) {
        prepare(id, &server, &statements, &toServer)
        name.withUnsafeBytes { _ = client.statements.remove($0) }
        server.prepared.doubt(id)
        server.taint.insert(.preparedStatements)
        server.push(.parse, .client, undo: .clientClosed(name, id))
        let statement = String(decoding: statements.name(of: id), as: UTF8.self)
        toServer.inject(after: input) {
            $0.appendParse(name: "", query: "DEALLOCATE \(statement)", parameterTypes: [])
        }
    }

    // MARK: Bind

    private mutating func bind(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Progress {
        let body = body(message)
        guard let portal = cString(in: body, from: 0),
            let name = cString(in: body, from: portal.upperBound + 1)
        else {
            return mustEnd(message) ? .refused(Self.malformed("Bind")) : .incomplete
        }
        let key = UnsafeRawBufferPointer(rebasing: body[name])
        if name.isEmpty {
            parseUnnamedAgain(&client, &server, &toServer)
            if portal.isEmpty {
                server.boundLocalSet = server.unnamedIsLocalSet
                server.boundReset = Self.reset(by: client.unnamed)
            }
        } else if mode.tracksStatements, let id = client.statements.value(for: key) {
            prepare(id, &server, &statements, &toServer)
            server.taint.formUnion(statements.taint(of: id))
            if portal.isEmpty {
                server.boundLocalSet = statements.isTransactionLocalSet(id)
                server.boundReset = Self.reset(by: statements.body(of: id))
            }
            server.push(Outstanding(.bind, about: id))
            renamed(message, name, statements.name(of: id), &client, &toServer)
            return .done
        } else if portal.isEmpty {
            server.boundLocalSet = false
            server.boundReset = nil
        }
        server.push(Outstanding(.bind, .client))
        pass(message, &client, &toServer)
        return .done
    }

    /// What the statement with this body of a Parse puts back.
    private static func reset(by body: borrowing [UInt8]) -> SettingsReset? {
        body.withUnsafeBytes { SettingsReset.statement(statementText($0)) }
    }

    // MARK: Describe and Close

    private mutating func describe(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Progress {
        switch target(of: message) {
        case .incomplete: return .incomplete
        case .malformed: return .refused(Self.malformed("Describe"))
        case .portal: break
        case .statement(let name):
            let key = UnsafeRawBufferPointer(rebasing: body(message)[name])
            if name.isEmpty {
                parseUnnamedAgain(&client, &server, &toServer)
            } else if mode.tracksStatements, let id = client.statements.value(for: key) {
                prepare(id, &server, &statements, &toServer)
                server.push(Outstanding(.describe, about: id))
                renamed(message, name, statements.name(of: id), &client, &toServer)
                return .done
            }
        }
        server.push(Outstanding(.describe, .client))
        pass(message, &client, &toServer)
        return .done
    }

    private mutating func close(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Progress {
        switch target(of: message) {
        case .incomplete: return .incomplete
        case .malformed: return .refused(Self.malformed("Close"))
        case .portal: break
        case .statement(let name):
            let key = UnsafeRawBufferPointer(rebasing: body(message)[name])
            if name.isEmpty {
                client.forgetUnnamed(in: &statements)
                server.hasUnnamed = false
            } else if mode.tracksStatements, let id = client.statements.remove(key) {
                // The server keeps it, for this client's next Parse of the same text and for others.
                server.push(.close, .synthesized, undo: .clientClosed(Array(key), id))
                offset = message.bodyStart + message.available
                return .done
            }
        }
        server.push(Outstanding(.close, .client))
        pass(message, &client, &toServer)
        return .done
    }

    enum Target {
        case statement(Range<Int>)
        case portal
        case incomplete
        case malformed
    }

    /// What a Describe or Close is about. Both are short: they are looked at whole.
    func target(of message: Message) -> Target {
        let body = body(message)
        guard message.header.bodyLength >= 2, message.header.bodyLength <= Self.nameLimit else {
            return .malformed
        }
        guard let name = cString(in: body, from: 1) else {
            return message.isWhole ? .malformed : .incomplete
        }
        guard message.isWhole else { return .incomplete }
        switch body[0] {
        case UInt8(ascii: "S"): return .statement(name)
        case UInt8(ascii: "P"): return .portal
        default: return .malformed
        }
    }

    // MARK: What servers are told first

    /// Makes sure that the server has the statement when what follows arrives.
    private func prepare(
        _ id: StatementID, _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) {
        guard mustPrepare(id, &server, &statements, &toServer) else { return }
        server.push(.parse, .broker, undo: .serverPrepared(id))
        injectParse(id, statements, &toServer)
    }

    /// True if a Parse of it must come next, for which the way is clear then.
    ///
    /// Whether a Parse of an earlier batch that has no answer yet will succeed is not known, nor what
    /// a DEALLOCATE leaves: then the server drops it first, which is no error if it has none.
    private func mustPrepare(
        _ id: StatementID, _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) -> Bool {
        var presence = server.prepared.use(id, batch: server.batch)
        if presence == .absent, server.mayStillHave(id) { presence = .inDoubt }
        switch presence {
        case .there: return false
        case .absent: makeRoom(&server, &statements, &toServer)
        case .inDoubt:
            server.push(.close, .broker, undo: .serverDropped(id))
            let name = statements.name(of: id)
            toServer.inject(after: input) { $0.appendCloseStatement(name: name) }
        }
        server.prepared.sent(id, batch: server.batch, in: &statements)
        return true
    }

    private func makeRoom(
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) {
        while server.prepared.count >= mode.maxPreparedStatements,
            let oldest = server.prepared.leastRecentlyUsed
        {
            // The undo's reference, let go of when the server has answered.
            statements.retain(oldest)
            server.prepared.remove(oldest, in: &statements)
            server.push(.close, .broker, undo: .serverClosed(oldest))
            let name = statements.name(of: oldest)
            toServer.inject(after: input) { $0.appendCloseStatement(name: name) }
        }
    }

    private func injectParse(
        _ id: StatementID, _ statements: borrowing StatementTable, _ toServer: inout RelayOutput
    ) {
        let name = statements.name(of: id)
        let body = statements.body(of: id)
        toServer.inject(after: input) {
            $0.appendMessage(kind: FrontendKind.parse.rawValue) {
                $0.append(contentsOf: name)
                $0.append(0)
                $0.append(contentsOf: body)
            }
        }
    }

    /// The unnamed statement lives until the next one, also on another server than it was parsed on.
    /// Without one, what an earlier client left on this server must not take its place.
    private func parseUnnamedAgain(
        _ client: inout ClientStream, _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        guard !server.hasUnnamed || server.isUnnamedInDoubt else { return }
        server.hasUnnamed = true
        server.batchOfUnnamed = server.batch
        server.unnamedIsLocalSet = false
        guard !client.unnamed.isEmpty else {
            server.push(Self.aboutUnnamed(.close, .broker))
            toServer.inject(after: input) { $0.appendCloseStatement(name: "") }
            return
        }
        let body = client.unnamed
        body.withUnsafeBytes {
            let text = statementText($0)
            guard text.count <= Self.parseScanLimit else {
                server.taint.insert(.other)
                return
            }
            server.taint.formUnion(SessionTaint.inText(text))
            server.unnamedIsLocalSet = SessionTaint.isTransactionLocalSet(text)
        }
        server.push(Self.aboutUnnamed(.parse, .broker))
        toServer.inject(after: input) {
            $0.appendMessage(kind: FrontendKind.parse.rawValue) {
                $0.append(0)
                $0.append(contentsOf: body)
            }
        }
    }

    /// Passes the message on with another statement name at `name` of its body.
    private mutating func renamed(
        _ message: Message, _ name: Range<Int>, _ newName: [UInt8], _ client: inout ClientStream,
        _ toServer: inout RelayOutput
    ) {
        let body = body(message)
        let length = message.header.bodyLength - name.count + newName.count + 4
        toServer.inject(after: input) {
            $0.append(message.header.kind)
            $0.appendInteger(UInt32(length))
            $0.append(contentsOf: UnsafeRawBufferPointer(rebasing: body[..<name.lowerBound]))
            $0.append(contentsOf: newName)
            $0.append(contentsOf: UnsafeRawBufferPointer(rebasing: body[name.upperBound...]))
        }
        client.passing.bytesLeft = message.header.bodyLength - message.available
        client.passing.isDiscarded = false
        offset = message.bodyStart + message.available
    }

    private static func statementTooLong(_ length: Int, _ memory: StatementMemory) -> PgError {
        PgError(
            severity: .fatal, sqlState: .programLimitExceeded,
            message: "prepared statement of \(length) bytes is too long",
            detail:
                "Named statements are kept, for every server: \(memory.used) bytes are, of \(memory.limit).",
            hint: "Raise max_statement_memory, or use a simple query for a text of this size.")
    }
}
