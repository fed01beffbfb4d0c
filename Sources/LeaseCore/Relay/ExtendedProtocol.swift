// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Parse, Bind, Describe and Close: where named statements follow their client, the names that
/// servers know are put in place of the client's, and a server that lacks a statement is told it first.
extension ClientTurn {
    enum Progress {
        case done
        /// More of the message must be there.
        case incomplete
        /// Its turn comes once the server owes nothing.
        case waits
        case refused(PgError)
    }

    mutating func extended(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Progress {
        guard mode.pooling != .session else {
            if message.kind == .parse, message.isWhole,
                let name = cString(in: body(message), from: 0),
                awaitsDatabase(
                    statementText(
                        UnsafeRawBufferPointer(rebasing: body(message)[(name.upperBound + 1)...])),
                    &server)
            {
                return .incomplete
            }
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
            return parseUnnamed(message, &client, &server, &statements, &toServer)
                ? .done : .incomplete
        }
        guard mode.tracksStatements else {
            return parsePassing(name, message, &client, &server, &toServer)
        }
        guard statements.memory.mayKeep(message.header.bodyLength) else {
            return .refused(Self.statementTooLong(message.header.bodyLength, statements.memory))
        }
        guard message.isWhole else { return .incomplete }
        let key = UnsafeRawBufferPointer(rebasing: body[name])
        let definition = UnsafeRawBufferPointer(rebasing: body[(name.upperBound + 1)...])
        if client.statements.value(for: key) != nil {
            // Whether an earlier batch has come to its Parse is not known before its answer.
            if server.isNaming(key) { return .waits }
            // PostgreSQL itself refuses it, in its turn, unless the text is wrong.
            takeName(Array(key), &server, &toServer)
            offset = message.bodyStart + message.available
            server.push(.parse, .client, undo: .told(Array(key)))
            injectParse(Self.takenName, Array(definition), &toServer)
            return .done
        }
        offset = message.bodyStart + message.available
        parseNamed(key, definition, &client, &server, &statements, &toServer)
        return .done
    }

    /// Where names pass as they are, nobody knows at a Bind which text it runs: what the text may leave counts from here.
    private mutating func parsePassing(
        _ name: Range<Int>, _ message: Message, _ client: inout ClientStream,
        _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) -> Progress {
        if !message.isWhole, message.header.bodyLength <= Self.parseScanLimit { return .incomplete }
        if message.isWhole {
            let body = body(message)
            let text = statementText(
                UnsafeRawBufferPointer(rebasing: body[(name.upperBound + 1)...]))
            var calls = false
            let isPlain = PlainText.isOneStatement(text, calls: &calls)
            if !isPlain {
                switch gate(text, &server) {
                case .open: break
                case .shut: return .incomplete
                case .refused(let error):
                    refuseOnServer(message, with: error, &client, &server, &toServer)
                    return .done
                }
            }
            if calls || !isPlain, callsInDoubt(text, &server), awaitsSequences(&server) {
                return .incomplete
            }
            noteParsed(body, name, &client)
            let reset = isPlain ? nil : noteEffects(of: text, &server)
            if reset != nil || !server.passingResets.isEmpty {
                server.passingResets[Array(body[name])] = reset
            }
        } else {
            server.taint.insert(.other)
        }
        server.taint.formUnion(.preparedStatements)
        server.push(Outstanding(.parse, .client))
        pass(message, &client, &toServer)
        return .done
    }

    /// Returns what it puts back.
    private func noteEffects(
        of text: UnsafeRawBufferPointer, _ server: inout ServerStream
    ) -> SettingsReset? {
        guard text.count <= Self.parseScanLimit else {
            server.taint.insert(.other)
            return nil
        }
        let taint = SessionTaint.inText(text)
        server.taint.formUnion(taint)
        if Self.mayName(text, taint) { server.note(SettingNames.inText(text)) }
        return SettingsReset.statement(text)
            ?? (MentionedWords.mayResetWithin(text) ? .hidden : nil)
    }

    /// False if there is no place for its pin, or the engine is to look first.
    private mutating func parseUnnamed(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Bool {
        server.hasUnnamed = true
        server.unnamedScope = .nothing
        guard message.isWhole, statements.memory.mayKeep(message.header.bodyLength) else {
            client.forgetUnnamed(in: &statements)
            client.unnamedNotKept = message.header.bodyLength
            server.taint.insert(.other)
            server.push(Self.aboutUnnamed(.parse, .client))
            pass(message, &client, &toServer)
            return true
        }
        let definition = UnsafeRawBufferPointer(rebasing: body(message)[1...])
        if client.isSilentAgain(definition) {
            server.push(Self.aboutUnnamed(.parse, .client))
            pass(message, &client, &toServer)
            return true
        }
        let text = statementText(definition)
        client.keepUnnamed(definition, in: &statements)
        var calls = false
        client.isUnnamedPlain = PlainText.isOneStatement(text, calls: &calls)
        client.isUnnamedSilent = client.isUnnamedPlain && !calls
        if client.isUnnamedPlain {
            if calls, callsInDoubt(text, &server) {
                if awaitsSequences(&server) { return false }
                server.unnamedScope.formUnion(.named)
                bringNames(in: text, client, &server, statements, &toServer)
            }
            server.push(Self.aboutUnnamed(.parse, .client))
            pass(message, &client, &toServer)
            return true
        }
        switch gate(text, &server) {
        case .open: break
        case .shut: return false
        case .refused(let error):
            client.forgetUnnamed(in: &statements)
            refuseOnServer(message, with: error, &client, &server, &toServer)
            return true
        }
        if callsInDoubt(text, &server) {
            if awaitsSequences(&server) { return false }
            server.unnamedScope.formUnion(.named)
        }
        if text.count <= Self.parseScanLimit {
            server.taint.formUnion(SessionTaint.inText(text))
            server.unnamedScope.formUnion(SetScope.of(text))
            if Self.mayName(text, SessionTaint.inText(text)) {
                server.unnamedScope.formUnion(.named)
                server.note(SettingNames.inText(text), within: server.unnamedScope)
            }
        } else {
            server.taint.insert(.other)
        }
        if server.unnamedScope.isNamed {
            bringNames(in: text, client, &server, statements, &toServer)
        }
        if mode.tracksStatements, let (name, statement) = client.deallocated(by: text) {
            if !server.prepared.isSettled(statement.id) {
                // What it is need not be prepared to be dropped.
                bring(name, nil, &server, statements, &toServer)
                forget(name, statement, &client, &server)
                server.push(.parse, .client, undo: .clientClosed(name, statement))
                pass(message, &client, &toServer)
                return true
            }
            deallocate(name, statement, &client, &server, &statements, &toServer)
            offset = message.bodyStart + message.available
            return true
        }
        if Self.mayDropAll(text) { server.prepared.doubtAll() }
        if let body = withServersNames(definition, &client, &server, &statements, &toServer) {
            server.push(Self.aboutUnnamed(.parse, .client))
            injectParse([], body, &toServer)
            offset = message.bodyStart + message.available
            return true
        }
        server.push(Self.aboutUnnamed(.parse, .client))
        pass(message, &client, &toServer)
        return true
    }

    static func aboutUnnamed(
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
        _ name: [UInt8], _ statement: ClientStatement, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) {
        let (_, serversName) = name.withUnsafeBytes {
            prepare(statement, $0, &client, &server, &statements, &toServer)
        }
        let last = name.withUnsafeBytes { client.statements.value(for: $0) } ?? statement
        forget(name, last, &client, &server)
        server.push(.parse, .client, undo: .clientClosed(name, last))
        toServer.inject(after: input) {
            $0.appendParse(
                name: "", query: "DEALLOCATE " + String(decoding: serversName, as: UTF8.self),
                parameterTypes: [])
        }
    }

    /// The name is the client's no more, and the server may drop what stands for it.
    private func forget(
        _ name: [UInt8], _ statement: ClientStatement, _ client: inout ClientStream,
        _ server: inout ServerStream
    ) {
        name.withUnsafeBytes { _ = client.statements.remove($0) }
        server.prepared.doubt(statement.id)
        server.taint.insert(.preparedStatements)
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
            guard parseUnnamedAgain(&client, &server, &statements, &toServer) else {
                return .incomplete
            }
            if !server.unnamedScope.isEmpty {
                server.noteParameters(body)
                if server.unnamedScope.isNamed {
                    bringNames(in: body, client, &server, statements, &toServer)
                }
            }
            if !client.isUnnamedPlain { noteBound(body, portal, &client) }
            if portal.isEmpty {
                server.boundScope = server.unnamedScope
                server.boundReset =
                    client.isUnnamedPlain
                    ? nil : Self.reset(by: client.unnamed, client, statements)
                if server.boundReset == nil, server.unnamedScope.isNamed {
                    server.boundReset = Self.hiddenReset(client.unnamed, body)
                }
            }
        } else if mode.tracksStatements, let statement = client.statements.value(for: key) {
            var mayHide = statements.prepares(statement.id)
            if statements.isLookedAtAgain(statement.id),
                let names = statements.settingNames(of: statement.id)
            {
                switch gate(toPin: statement.id, statements, &server) {
                case .open: break
                case .shut: return .incomplete
                case .refused(let error):
                    refuseOnServer(message, with: error, &client, &server, &toServer)
                    return .done
                }
                server.note(names, within: statements.setScope(of: statement.id))
                server.noteParameters(body)
                mayHide = true
            }
            if statements.calls(statement.id),
                callsInDoubt(of: statements.body(of: statement.id), &server)
            {
                server.noteParameters(body)
                if awaitsSequences(&server) { return .incomplete }
                mayHide = true
            }
            var hidden: SettingsReset?
            if mayHide {
                statements.body(of: statement.id).withUnsafeBytes {
                    bringNames(in: $0, client, &server, statements, &toServer)
                }
                bringNames(in: body, client, &server, statements, &toServer)
                hidden = Self.hiddenReset(statements.body(of: statement.id), body)
            }
            let (id, newName) = prepare(statement, key, &client, &server, &statements, &toServer)
            server.taint.formUnion(statements.taint(of: id))
            if client.listening != nil { noteBound(body, portal, statements.body(of: id), &client) }
            if portal.isEmpty {
                server.boundScope = statements.setScope(of: id)
                server.boundReset = statements.reset(by: id) ?? hidden
            }
            if statements.namesOthers(id),
                let (dropped, victim) = statements.body(of: id).withUnsafeBytes({
                    client.deallocated(by: statementText($0))
                })
            {
                // As with an unnamed DEALLOCATE.
                forget(dropped, victim, &client, &server)
                server.push(.bind, .client, undo: .clientClosed(dropped, victim))
            } else {
                server.push(Outstanding(.bind, .client))
            }
            renamed(message, name, newName, &client, &toServer)
            return .done
        } else {
            if client.listening != nil { noteBound(body, portal, named: name, &client) }
            if portal.isEmpty {
                server.boundScope = .nothing
                server.boundReset =
                    server.passingResets.isEmpty ? nil : server.passingResets[Array(key)]
            }
            if refuseOurName(message, name, .bind, &client, &server, &toServer) { return .done }
        }
        server.push(Outstanding(.bind, .client))
        pass(message, &client, &toServer)
        return .done
    }

    /// The same, of the statement with this body of a Parse.
    private func callsInDoubt(
        of body: borrowing [UInt8], _ server: inout ServerStream
    ) -> Bool {
        body.withUnsafeBytes { callsInDoubt(statementText($0), &server) }
    }

    /// A function that it calls may put something back.
    private static func hiddenReset(
        _ statement: borrowing [UInt8], _ values: UnsafeRawBufferPointer
    ) -> SettingsReset? {
        let isMentioned =
            MentionedWords.inText(values).contains(.reset)
            || statement.withUnsafeBytes { MentionedWords.mayResetWithin(statementText($0)) }
        return isMentioned ? .hidden : nil
    }

    /// What the statement with this body of a Parse puts back, perhaps by executing another.
    private static func reset(
        by body: borrowing [UInt8], _ client: borrowing ClientStream,
        _ statements: borrowing StatementTable
    ) -> SettingsReset? {
        var reset: SettingsReset?
        body.withUnsafeBytes {
            let text = statementText($0)
            reset = SettingsReset.statement(text)
            if reset == nil, !client.statements.isEmpty, StatementReference.mayBegin(text) {
                reset =
                    resets(by: StatementReference.all(in: text), client, statements).first ?? nil
            }
        }
        return reset
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
                guard parseUnnamedAgain(&client, &server, &statements, &toServer) else {
                    return .incomplete
                }
            } else if mode.tracksStatements, let statement = client.statements.value(for: key) {
                let (_, newName) = prepare(
                    statement, key, &client, &server, &statements, &toServer)
                server.push(Outstanding(.describe, .client))
                renamed(message, name, newName, &client, &toServer)
                return .done
            } else if refuseOurName(message, name, .describe, &client, &server, &toServer) {
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
            } else if mode.tracksStatements, let statement = client.statements.remove(key) {
                // What is shared stays on the server, for this client's next Parse and for others.
                if statement.meaning == nil,
                    let copy = server.prepared.abandon(statement.id, in: &statements)
                {
                    server.prepared.supersede(copy.name)
                }
                server.push(.close, .synthesized, undo: .clientClosed(Array(key), statement))
                offset = message.bodyStart + message.available
                return .done
            } else if refuseOurName(message, name, .close, &client, &server, &toServer) {
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

    /// Passes the message on with another statement name at `name` of its body.
    mutating func renamed(
        _ message: Message, _ name: Range<Int>, _ newName: [UInt8], _ client: inout ClientStream,
        _ toServer: inout RelayOutput
    ) {
        let start = message.bodyStart
        toServer.pass(
            message.start..<(start + message.available), as: newName,
            at: (start + name.lowerBound)..<(start + name.upperBound),
            bodyLength: message.header.bodyLength, of: input)
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
