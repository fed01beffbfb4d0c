// SPDX-License-Identifier: Apache-2.0

import DequeModule
import PostgresWire

/// Names of prepared statements where SQL or an error spells them. Servers know the broker's names, clients
/// their own.
extension ClientTurn {
    /// Begins every name that the broker gives.
    static let ourPrefix = Array("pglease_".utf8)
    /// One that no statement has.
    static let noStatement = Array("pglease_0".utf8)
    /// One that the server has for certain where `takeName` was called.
    static let takenName = Array("pglease_00".utf8)

    /// The server is to refuse a name that the client has given already, in its turn and in its own words: it is
    /// told a statement of that name first.
    func takeName(
        _ name: [UInt8], _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        server.nameTaken = name
        server.push(Outstanding(.close, .broker))
        server.push(Outstanding(.parse, .broker))
        server.residue.formUnion(.preparedStatements)
        toServer.inject(after: input) {
            $0.appendCloseStatement(name: Self.takenName)
            $0.appendParse(
                name: String(decoding: Self.takenName, as: UTF8.self), query: "",
                parameterTypes: [])
        }
    }

    /// The text (and what follows its NUL) with the servers' names in place of the client's in EXECUTE and
    /// DEALLOCATE; nil if it has none of them. The server has them when what follows arrives.
    mutating func withServersNames(
        _ body: UnsafeRawBufferPointer, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) -> [UInt8]? {
        let text = statementText(body)
        guard text.count <= Self.parseScanLimit, StatementReference.mayOccur(in: text) else {
            return nil
        }
        let changes = serversNames(
            StatementReference.all(in: text), &client, &server, &statements, &toServer)
        return changes.isEmpty ? nil : Self.changed(body, changes)
    }

    /// Which names must give way to others. A statement that itself names others is not found by its name:
    /// that would have no end.
    private mutating func serversNames(
        _ references: [StatementReference], _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toServer: inout RelayOutput
    ) -> [NameChange] {
        var changes: [NameChange] = []
        for reference in references where reference.kind != .deallocateAll {
            if let statement = reference.name.withUnsafeBytes({ client.statements.value(for: $0) })
            {
                if reference.kind == .prepare {
                    // It is refused in its turn and in the server's own words.
                    bring(reference.name, nil, &server, statements, &toServer)
                    continue
                }
                if statements.namesOthers(statement.id) {
                    if reference.kind == .deallocate {
                        bring(reference.name, statement.id, &server, statements, &toServer)
                    }
                    continue
                }
                let (id, name) = reference.name.withUnsafeBytes {
                    prepare(statement, $0, &client, &server, &statements, &toServer)
                }
                if reference.kind == .deallocate { server.prepared.doubt(id) }
                changes.append(NameChange(reference: reference, name: name))
            } else if reference.kind != .prepare, reference.name.starts(with: Self.ourPrefix) {
                server.unknownName = reference.name
                changes.append(NameChange(reference: reference, name: Self.noStatement))
            }
        }
        return changes
    }

    private static func changed(
        _ body: UnsafeRawBufferPointer, _ changes: [NameChange]
    ) -> [UInt8] {
        var result: [UInt8] = []
        var copied = 0
        for change in changes {
            result += body[copied..<change.reference.range.lowerBound]
            result += change.name
            copied = change.reference.range.upperBound
        }
        return result + body[copied...]
    }

    /// Passes a simple query on with the servers' names in it; false, if it has nothing to do with the
    /// client's.
    ///
    /// What the server lacks is told to it in front, up to a Sync of the broker's own. If that fails, the
    /// query's own error (it finds no such statement, or a transaction that has failed) gives way to it.
    mutating func queryWithNames(
        _ message: Message, _ entry: Outstanding, _ resets: [SettingsReset?]?,
        _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Bool {
        // Behind a batch without its Sync nothing can be put in front.
        guard !server.isBatchOpen else { return false }
        let body = body(message)
        let references = StatementReference.all(in: statementText(body))
        guard !references.isEmpty else { return false }
        let executed = Self.resets(by: references, client, statements)
        let changes = serversNames(references, &client, &server, &statements, &toServer)
        if server.isBatchOpen {
            server.push(Outstanding(.sync, .broker))
            toServer.inject(after: input) { $0.appendSync() }
        }
        var names = QueryNames()
        var growth = 0
        for change in changes {
            let start = Self.characters(body[..<change.reference.range.lowerBound]) + growth
            let more = change.name.count - Self.characters(body[change.reference.range])
            names.changes.append(
                QueryNames.Change(
                    ours: change.name, theirs: change.reference.name, start: start,
                    growth: more))
            growth += more
        }
        drop(references, &names, &client, &server)
        server.push(
            entry, undo: .query(names), resets: resets?.isEmpty == true ? executed : resets)
        if changes.isEmpty {
            pass(message, &client, &toServer)
        } else {
            let text = Self.changed(body, changes)
            toServer.inject(after: input) {
                $0.appendMessage(kind: FrontendKind.query.rawValue) { $0.append(contentsOf: text) }
            }
            offset = message.bodyStart + message.available
        }
        return true
    }

    /// What is put back by those of the client's statements that are executed.
    static func resets(
        by references: [StatementReference], _ client: borrowing ClientStream,
        _ statements: borrowing StatementTable
    ) -> [SettingsReset?] {
        var resets: [SettingsReset?] = []
        for reference in references where reference.kind == .execute {
            let statement = reference.name.withUnsafeBytes { client.statements.value(for: $0) }
            if let statement, let reset = statements.reset(by: statement.id) {
                resets.append(reset)
            }
        }
        return resets
    }

    /// Takes away what the query drops, for what is sent behind it.
    private func drop(
        _ references: [StatementReference], _ names: inout QueryNames,
        _ client: inout ClientStream, _ server: inout ServerStream
    ) {
        for reference in references {
            switch reference.kind {
            case .execute, .prepare: break
            case .deallocate:
                let statement = reference.name.withUnsafeBytes { client.statements.remove($0) }
                if let statement { server.prepared.doubt(statement.id) }
                names.dropped.append(statement.map { (reference.name, $0) })
            case .deallocateAll:
                server.prepared.doubtAll()
                client.statements.eachEntry { names.droppedByAll.append(($0, $1)) }
                client.statements.removeAll()
            }
        }
    }

    /// As PostgreSQL counts in a position: of a text in UTF-8.
    private static func characters(_ bytes: Slice<UnsafeRawBufferPointer>) -> Int {
        bytes.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
    }

    /// A name that the client never gave, and that may be another client's statement on the server: it is
    /// refused by the server as what it is to this client, unknown. True if so.
    mutating func refuseOurName(
        _ message: Message, _ name: Range<Int>, _ kind: Outstanding.Kind,
        _ client: inout ClientStream, _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) -> Bool {
        let spelled = body(message)[name]
        guard mode.tracksStatements, spelled.starts(with: Self.ourPrefix) else { return false }
        server.unknownName = Array(spelled)
        server.push(kind, .client, undo: .told(Array(spelled)))
        renamed(message, name, Self.noStatement, &client, &toServer)
        return true
    }
}

extension ServerTurn {
    /// An error that names our name for a statement is told with the client's; one of what the broker sent in
    /// front of a query stands for the query's own.
    func passError(
        _ range: Range<Int>, _ fields: ErrorFields, _ client: borrowing ClientStream,
        _ server: inout ServerStream, _ toClient: inout RelayOutput
    ) {
        if !server.errorInFront.isEmpty, server.outstanding.first?.kind == .query {
            let error = server.errorInFront
            server.errorInFront = []
            toClient.inject(after: input) { $0.append(contentsOf: error) }
        } else if fields.sqlState == .invalidStatementName, client.unnamedNotKept > 0,
            !fields.message.utf8.contains(UInt8(ascii: "\""))
        {
            var error = fields.pgError
            error.detail =
                "It had \(client.unnamedNotKept) bytes, more than max_statement_memory leaves: it was not kept for another server connection."
            error.hint = "Raise max_statement_memory, or send Parse, Bind and Execute in one batch."
            toClient.inject(after: input) { $0.appendErrorResponse(error) }
        } else if let changed = withClientsNames(range, client, server) {
            toClient.inject(after: input) { $0.append(contentsOf: changed) }
        } else if fields.sqlState == .duplicatePreparedStatement,
            server.outstanding.first?.hasUndo == true, case .told(let name)? = server.undo.first
        {
            // It is not whole.
            var error = fields.pgError
            error.message =
                "prepared statement \"\(String(decoding: name, as: UTF8.self))\" already exists"
            toClient.inject(after: input) { $0.appendErrorResponse(error) }
        } else {
            relay(range, if: true, &server, &toClient)
        }
    }

    /// A part of what the broker itself has asked of a statement.
    func describe(_ range: Range<Int>, _ server: inout ServerStream) {
        let part = input[(range.lowerBound + MessageHeader.size)..<range.upperBound]
        server.description += part
        server.descriptionLeft =
            MessageHeader(input, at: range.lowerBound).bodyLength - part.count
    }

    /// A row of the answer to what the broker itself has asked.
    func keepRow(_ range: Range<Int>, _ server: inout ServerStream) {
        server.description += input[range]
        server.descriptionLeft =
            MessageHeader(input, at: range.lowerBound).bodyLength + MessageHeader.size - range.count
    }

    /// The whole message at `range` as its client may read it; nil if it is that already, or is not whole.
    func withClientsNames(
        _ range: Range<Int>, _ client: borrowing ClientStream, _ server: borrowing ServerStream
    ) -> [UInt8]? {
        guard mode.tracksStatements else { return nil }
        let message = UnsafeRawBufferPointer(rebasing: input[range])
        guard
            MessageHeader(message, at: 0).bodyLength == message.count - MessageHeader.size
        else { return nil }
        let named = server.withClientsNames(message, client)
        guard server.outstanding.first?.hasUndo == true else { return named }
        return server.withClientsPosition(named ?? Array(message)) ?? named
    }
}

extension ServerStream {
    /// A DEALLOCATE of the simple query at the front of `outstanding` is done.
    mutating func deallocated(statements: inout StatementTable) {
        guard outstanding.first?.hasUndo == true, case .query(var names)? = undo.first,
            !names.dropped.isEmpty
        else { return }
        let first = names.dropped.removeFirst()
        undo[0] = .query(names)
        guard let (_, statement) = first else { return }
        prepared.forget(statement.id, in: &statements)
        statements.release(statement.id)
    }

    /// A DEALLOCATE ALL or DISCARD ALL is done.
    mutating func deallocatedAll(statements: inout StatementTable) {
        guard outstanding.first?.hasUndo == true, case .query(var names)? = undo.first else {
            return
        }
        for (_, statement) in names.droppedByAll { statements.release(statement.id) }
        names.droppedByAll = []
        undo[0] = .query(names)
    }

    /// The simple query at the front has ended: what it did not come to is the client's as before.
    mutating func endQuery(client: inout ClientStream, statements: inout StatementTable) {
        guard case .query(let names)? = undo.first else { return }
        restore(names, client: &client, statements: &statements)
        undo[0] = .nothing
    }

    func restore(
        _ names: QueryNames, client: inout ClientStream, statements: inout StatementTable
    ) {
        for case (let name, let statement)? in names.dropped {
            rename(name, statement, client: &client, statements: &statements)
        }
        for (name, statement) in names.droppedByAll {
            rename(name, statement, client: &client, statements: &statements)
        }
    }

    /// The message, an error or a notice, with the client's names in place of the broker's; nil if it has none
    /// of them.
    func withClientsNames(
        _ message: UnsafeRawBufferPointer, _ client: borrowing ClientStream
    ) -> [UInt8]? {
        let prefix = ClientTurn.ourPrefix
        guard message.count > MessageHeader.size, let first = message.firstRange(of: prefix) else {
            return nil
        }
        var result = Array(message[..<first])
        var index = first
        var isChanged = false
        while index < message.count {
            guard message[index...].starts(with: prefix) else {
                result.append(message[index])
                index += 1
                continue
            }
            var end = index + prefix.count
            while end < message.count, message[end] &- UInt8(ascii: "0") < 10 { end += 1 }
            let ours = Array(message[index..<end])
            if let name = clientsName(for: ours, client) {
                result += name
                isChanged = true
            } else {
                result += ours
            }
            index = end
        }
        return isChanged ? Self.withLength(result) : nil
    }

    private func clientsName(for ours: [UInt8], _ client: borrowing ClientStream) -> [UInt8]? {
        if outstanding.first?.hasUndo == true {
            switch undo.first {
            case .told(let name): return name
            case .query(let names):
                if let change = names.changes.first(where: { $0.ours == ours }) {
                    return change.theirs
                }
            default: break
            }
        }
        if ours == ClientTurn.noStatement, !unknownName.isEmpty { return unknownName }
        if ours == ClientTurn.takenName, !nameTaken.isEmpty { return nameTaken }
        return client.statements.key { prepared.name(of: $0.id) == ours }
    }

    /// Where the client's own text has what the server found at this character of the text that was passed on,
    /// counted from 1.
    private func clientsPosition(_ position: Int) -> Int {
        guard outstanding.first?.hasUndo == true, case .query(let names)? = undo.first else {
            return position
        }
        return names.changes.reduce(position) {
            $0 - ($1.start + 1 < position ? $1.growth : 0)
        }
    }

    /// The message with its position as the client counts; nil if that is the same.
    func withClientsPosition(_ message: [UInt8]) -> [UInt8]? {
        var offset = MessageHeader.size
        return message.withUnsafeBytes { bytes -> [UInt8]? in
            while offset < bytes.count, bytes[offset] != 0 {
                guard let field = cString(in: bytes, from: offset + 1) else { return nil }
                if bytes[offset] == UInt8(ascii: "P"),
                    let position = Int(String(decoding: bytes[field], as: UTF8.self))
                {
                    let own = clientsPosition(position)
                    if own == position { return nil }
                    let result = bytes[..<field.lowerBound] + Array(String(own).utf8)
                    return Self.withLength(Array(result) + bytes[field.upperBound...])
                }
                offset = field.upperBound + 1
            }
            return nil
        }
    }

    private static func withLength(_ message: [UInt8]) -> [UInt8] {
        var result = message
        withUnsafeBytes(of: UInt32(result.count - 1).bigEndian) {
            result.replaceSubrange(1..<5, with: $0)
        }
        return result
    }
}

extension QueryNames {
    func release(in table: inout StatementTable) {
        for case (_, let statement)? in dropped { table.release(statement.id) }
        for (_, statement) in droppedByAll { table.release(statement.id) }
    }
}

/// A name in a text, and the one that takes its place.
private struct NameChange {
    var reference: StatementReference
    var name: [UInt8]
}

extension UnsafeRawBufferPointer {
    /// Where these bytes begin first.
    fileprivate func firstRange(of bytes: [UInt8]) -> Int? {
        guard count >= bytes.count else { return nil }
        return (0...count - bytes.count).first { start in
            self[start] == bytes[0] && self[start...].starts(with: bytes)
        }
    }
}
