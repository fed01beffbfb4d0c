// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Prepared statements that a function, a procedure or a DO block names: nobody can put other names into what it
/// runs, so the server is told them by the client's own.
///
/// What became of them shows at the end of the lease (`StateQuestion`), and the connection is cleaned then.
extension ClientTurn {
    /// Tells the server those of the client's statements that the text names anywhere.
    func bringNames(
        in text: UnsafeRawBufferPointer, _ client: borrowing ClientStream,
        _ server: inout ServerStream, _ statements: borrowing StatementTable,
        _ toServer: inout RelayOutput
    ) {
        guard mode.tracksStatements, server.status != .failed, text.count <= Self.parseScanLimit
        else { return }
        let mentioned = MentionedWords.inText(text)
        // What it prepares has taken a name, for what is parsed behind it.
        if mentioned.contains(.prepare) { server.taint.formUnion(.preparedStatements) }
        guard !client.statements.isEmpty else { return }
        guard !mentioned.isDisjoint(with: .ofStatements) else { return }
        // What stands outside of bodies and literals has other names put in its place.
        let changed = StatementReference.all(in: text).filter { $0.kind != .prepare }
        let dropsAll =
            mentioned.contains(.all) && !changed.contains { $0.kind == .deallocateAll }
        var found: [(name: [UInt8], id: StatementID)] = []
        client.statements.eachEntry { name, statement in
            guard dropsAll || text.holds(name), !changed.contains(where: { $0.name == name })
            else { return }
            found.append((name, statement.id))
        }
        for (name, id) in found { bring(name, id, &server, statements, &toServer) }
    }

    /// Tells the server this one; with nil the name is all that matters.
    func bring(
        _ name: [UInt8], _ id: StatementID?, _ server: inout ServerStream,
        _ statements: borrowing StatementTable, _ toServer: inout RelayOutput
    ) {
        let brought = server.brought ?? ServerStream.BroughtNames()
        guard !brought.names.contains(name) else { return }
        brought.names.append(name)
        server.brought = brought
        server.taint.formUnion(.preparedStatements)
        // What it sets shows in its own text.
        if let id, let names = statements.settingNames(of: id) { server.note(names) }
        server.residue.formUnion(.preparedStatements)
        server.push(Outstanding(.close, .broker))
        server.push(.parse, .broker, undo: .brought(name))
        let body = id.map { statements.definition(of: $0) } ?? [0, 0, 0]
        toServer.inject(after: input) {
            $0.append(FrontendKind.close.rawValue)
            $0.appendInteger(UInt32(name.count + 6))
            $0.append(UInt8(ascii: "S"))
            $0.append(contentsOf: name)
            $0.append(0)
        }
        injectParse(name, body, &toServer)
    }

    /// Where SQL may have taken the name in this lease, the server is asked: its refusal stands for the
    /// Parse's own.
    func probeName(
        _ name: UnsafeRawBufferPointer, _ definition: UnsafeRawBufferPointer,
        _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        guard server.taint.has(.preparedStatements) else { return }
        let spelled = Array(name)
        if let brought = server.brought, brought.names.contains(spelled) {
            // The client's own is gone by now, what was brought need not be.
            brought.names.removeAll { $0 == spelled }
        } else {
            server.push(Outstanding(.parse, .broker))
            injectParse(spelled, Array(definition), &toServer)
        }
        server.push(Outstanding(.close, .broker))
        toServer.inject(after: input) {
            $0.append(FrontendKind.close.rawValue)
            $0.appendInteger(UInt32(name.count + 6))
            $0.append(UInt8(ascii: "S"))
            $0.append(contentsOf: name)
            $0.append(0)
        }
    }
}

extension ServerStream {
    final class BroughtNames {
        var names: [[UInt8]] = []
    }
}

extension Engine {
    /// What a function has dropped of the statements that were brought is the client's no more.
    mutating func followBrought(
        _ state: borrowing StateAnswer, _ server: ServerID, _ client: ClientID
    ) {
        guard let brought = servers[server].stream.brought else { return }
        servers[server].stream.brought = nil
        for name in brought.names where !state.kept.contains(name) {
            name.withUnsafeBytes { key in
                if let before = clients[client].stream.statements.remove(key) {
                    statements.release(before.id)
                }
            }
        }
    }
}
