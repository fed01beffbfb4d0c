// SPDX-License-Identifier: Apache-2.0

import DequeModule
import PostgresWire

/// What servers are told of named statements: a client's Parse, as a statement of its own until its meaning is
/// known (`StatementTable`), and again what a server lacks of what a client names.
extension ClientTurn {
    /// A name that the client gives to a text.
    mutating func parseNamed(
        _ key: UnsafeRawBufferPointer, _ definition: UnsafeRawBufferPointer,
        _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) {
        noteParsed(definition, &client)
        probeName(key, definition, &server, &toServer)
        let environment = server.mayMeanOtherwise ? nil : environment
        // It will probably take the place of what is shared: nothing must go for it.
        let twin = environment.flatMap { statements.find(definition, in: $0) }
        let isOneMore = twin.map { server.prepared.contains($0) } != true
        makeRoom(evicting: isOneMore, &server, &statements, &toServer)
        let id = statements.make(definition, in: environment)
        var body = statements.body(of: id)
        if statements.namesOthers(id) {
            body = withServersNames(definition, &client, &server, &statements, &toServer) ?? body
        }
        let copy = PreparedSet.Copy(name: statements.name(of: id), since: statements.tick())
        client.statements.insert(
            ClientStatement(id: id, since: copy.since, meaning: nil), for: key)
        server.prepared.sent(id, as: copy, batch: server.batch, in: &statements)
        // The names in it are those of this moment.
        if statements.namesOthers(id) { server.prepared.doubt(id) }
        server.push(.parse, .client, undo: .named(Array(key), id))
        injectParse(copy.name, body, &toServer)
        server.push(.describe, .broker, undo: .described(Array(key), id))
        toServer.inject(after: input) {
            $0.appendMessage(kind: FrontendKind.describe.rawValue) {
                $0.append(UInt8(ascii: "S"))
                $0.append(contentsOf: copy.name)
                $0.append(0)
            }
        }
    }

    /// Makes sure that the server has the statement when what follows arrives. Returns it, which is another
    /// one if the client cannot go on with what it shared, and its name there.
    @inline(__always)
    mutating func prepare(
        _ statement: ClientStatement, _ key: UnsafeRawBufferPointer, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) -> (id: StatementID, name: [UInt8]) {
        if let meaning = statement.meaning,
            meaning != environment.settings || server.mayMeanOtherwise
        {
            return prepareAlone(statement, key, &client, &server, &statements, &toServer)
        }
        let presence = server.prepared.use(
            statement.id, batch: server.batch, since: statement.since)
        if case .there(let name) = presence { return (statement.id, name) }
        if let name = nameInFailed(statement.id, server) { return (statement.id, name) }
        let name = prepareAgain(
            statement.id, presence, &client, &server, &statements, &toServer)
        return (statement.id, name)
    }

    /// In a transaction that has failed nothing can be prepared, and nothing runs but what ends it: what is there does.
    private func nameInFailed(_ id: StatementID, _ server: borrowing ServerStream) -> [UInt8]? {
        server.status == .failed && !server.isOwing ? server.prepared.name(of: id) : nil
    }

    /// The settings are not those that it was parsed under: what others share is left alone.
    @inline(never)
    private mutating func prepareAlone(
        _ statement: ClientStatement, _ key: UnsafeRawBufferPointer, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) -> (id: StatementID, name: [UInt8]) {
        if let name = nameInFailed(statement.id, server) { return (statement.id, name) }
        let id = statements.fork(statement.id)
        statements.release(statement.id)
        client.statements.insert(
            ClientStatement(id: id, since: statement.since, meaning: nil), for: key)
        return (id, prepareAgain(id, .absent, &client, &server, &statements, &toServer))
    }

    /// Tells the server a statement that it has not, or may not have. Returns its name there.
    ///
    /// Whether a Parse of an earlier batch that has no answer yet will succeed is not known, nor what
    /// a DEALLOCATE leaves: then the server drops it first, which is no error if it has none.
    @inline(never)
    private mutating func prepareAgain(
        _ id: StatementID, _ presence: PreparedSet.Presence, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) -> [UInt8] {
        var body = statements.definition(of: id)
        let namesOthers = statements.namesOthers(id)
        if namesOthers {
            body =
                body.withUnsafeBytes {
                    withServersNames($0, &client, &server, &statements, &toServer)
                } ?? body
        }
        let name: [UInt8]
        switch presence {
        case .there(let present): return present
        case .absent:
            makeRoom(evicting: true, &server, &statements, &toServer)
            name = statements.name(of: id)
            if server.mayStillHave(name) { closeFirst(id, name, &server, &toServer) }
        case .inDoubt(let present):
            name = present
            closeFirst(id, name, &server, &toServer)
        }
        let copy = PreparedSet.Copy(name: name, since: statements.tick())
        server.prepared.sent(id, as: copy, batch: server.batch, in: &statements)
        if namesOthers { server.prepared.doubt(id) }
        server.push(.parse, .broker, undo: .serverPrepared(id))
        injectParse(name, body, &toServer)
        return name
    }

    private func closeFirst(
        _ id: StatementID, _ name: [UInt8], _ server: inout ServerStream,
        _ toServer: inout RelayOutput
    ) {
        server.push(.close, .broker, undo: .serverDropped(id))
        toServer.inject(after: input) { $0.appendCloseStatement(name: name) }
    }

    /// Drops what the server has for nobody, and more if it has too many.
    private func makeRoom(
        evicting isOneMore: Bool, _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) {
        for name in server.prepared.takeSuperseded() {
            server.push(.close, .broker, undo: .supersededClosed(name))
            toServer.inject(after: input) { $0.appendCloseStatement(name: name) }
        }
        while isOneMore, server.prepared.count >= mode.maxPreparedStatements,
            let oldest = server.prepared.leastRecentlyUsed
        {
            // The undo's reference, let go of when the server has answered.
            statements.retain(oldest)
            guard let copy = server.prepared.remove(oldest, in: &statements) else {
                preconditionFailure("the least recently used statement is not there")
            }
            server.push(.close, .broker, undo: .serverClosed(oldest, copy))
            toServer.inject(after: input) { $0.appendCloseStatement(name: copy.name) }
        }
    }

    func injectParse(_ name: [UInt8], _ body: [UInt8], _ toServer: inout RelayOutput) {
        toServer.inject(after: input) {
            $0.appendMessage(kind: FrontendKind.parse.rawValue) {
                $0.append(contentsOf: name)
                $0.append(0)
                $0.append(contentsOf: body)
            }
        }
    }

    /// The unnamed statement lives until the next one, also on another server than it was parsed on.
    /// Without one, what an earlier client left on this server must not take its place. False if the engine is to
    /// look first whose sequences are there.
    mutating func parseUnnamedAgain(
        _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Bool {
        guard !server.hasUnnamed || server.isUnnamedInDoubt else { return true }
        let calls = client.unnamed.withUnsafeBytes { callsInDoubt(statementText($0), &server) }
        if calls, awaitsSequences(&server) { return false }
        server.hasUnnamed = true
        server.batchOfUnnamed = server.batch
        server.unnamedScope = .nothing
        guard !client.unnamed.isEmpty else {
            server.push(Self.aboutUnnamed(.close, .broker))
            toServer.inject(after: input) { $0.appendCloseStatement(name: "") }
            return true
        }
        var body = client.unnamed
        body.withUnsafeBytes {
            let text = statementText($0)
            guard text.count <= Self.parseScanLimit else {
                server.taint.insert(.other)
                return
            }
            server.taint.formUnion(SessionTaint.inText(text))
            server.unnamedScope = SetScope.of(text)
            if calls { server.unnamedScope.formUnion(.named) }
            if Self.mayName(text, SessionTaint.inText(text)) {
                server.unnamedScope.formUnion(.named)
                server.note(SettingNames.inText(text), within: server.unnamedScope)
            }
        }
        if mode.tracksStatements {
            body =
                body.withUnsafeBytes {
                    withServersNames($0, &client, &server, &statements, &toServer)
                } ?? body
        }
        server.push(Self.aboutUnnamed(.parse, .broker))
        injectParse([], body, &toServer)
        return true
    }
}

extension ServerStream {
    /// The server has described what a client has parsed: it may be one with what others have.
    mutating func learn(client: inout ClientStream, statements: inout StatementTable) {
        defer { description.removeAll(keepingCapacity: description.capacity <= 4096) }
        guard case .described(let name, let id)? = undo.first,
            let meaning = ParsedMeaning(description)
        else { return }
        name.withUnsafeBytes { key in
            // What is sent behind it may have closed it, or may drop it.
            let own = client.statements.value(for: key)
            let mayShare = own?.id == id && prepared.isSettled(id) && !mayMeanOtherwise
            guard let shared = statements.learn(id, meaning, mayShare: mayShare), let own,
                let environment = statements.environment(of: shared)
            else { return }
            if shared != id {
                statements.retain(shared)
                prepared.adopt(shared, from: id, in: &statements)
                statements.release(id)
            }
            client.statements.insert(
                ClientStatement(id: shared, since: own.since, meaning: environment.settings),
                for: key)
        }
    }
}
