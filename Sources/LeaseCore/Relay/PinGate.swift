// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What a text shows to pin its lease goes out only once there is a place for that.
extension ClientTurn {
    enum Gate {
        case open
        /// It stays where it is: `ServerStream.pinWish` says why.
        case shut
        /// It is answered with this error instead.
        case refused(PgError)
    }

    /// Whether the text has to wait until the connections to a database that it wants for itself are closed.
    func awaitsDatabase(_ text: UnsafeRawBufferPointer, _ server: inout ServerStream) -> Bool {
        var start = 0
        while start < text.count, isSpace(text[start]) { start += 1 }
        guard start < text.count else { return false }
        switch text[start] | 0x20 {
        case UInt8(ascii: "a"), UInt8(ascii: "c"), UInt8(ascii: "d"), UInt8(ascii: "-") | 0x20,
            UInt8(ascii: "/") | 0x20:
            break
        default: return false
        }
        guard let database = DatabaseCommand.database(wantedBy: text) else { return false }
        if server.hasDatabase {
            server.hasDatabase = false
            return false
        }
        server.databaseWish = database
        return true
    }

    /// Looks at a text that `PlainText` does not clear.
    func gate(_ text: UnsafeRawBufferPointer, _ server: inout ServerStream) -> Gate {
        if awaitsDatabase(text, &server) { return .shut }
        guard !mode.isHeld, !server.mayPin, server.status != .failed else { return .open }
        let reasons = PinReasons(shownBy: text)
        guard !reasons.isEmpty else { return .open }
        if let error = server.pinRefusal {
            server.pinRefusal = nil
            return .refused(error)
        }
        server.pinWish = reasons
        return .shut
    }

    /// The same of a named statement that is bound.
    func gate(
        toPin statement: StatementID, _ statements: borrowing StatementTable,
        _ server: inout ServerStream
    ) -> Gate {
        return statements.body(of: statement).withUnsafeBytes { gate(statementText($0), &server) }
    }

    /// Sends something that fails with this error in place of the message: the transaction is failed, as behind
    /// any error of the statement's own, and the answer comes in its turn.
    mutating func refuseOnServer(
        _ message: Message, with error: PgError, _ client: inout ClientStream,
        _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        let text = error.raisingText
        if message.kind == .query {
            server.push(Outstanding(.query, .client))
            toServer.inject(after: input) { $0.appendQuery(text) }
        } else {
            // The error of what the broker sends itself stands for the client's own message.
            server.push(Outstanding(.parse, .broker))
            server.push(Outstanding(.bind, .broker))
            server.push(Outstanding(.execute, .broker))
            toServer.inject(after: input) {
                $0.appendParse(name: "", query: text, parameterTypes: [])
                $0.appendBind(portal: "", statement: "")
                $0.appendExecute(portal: "")
            }
        }
        discard(message, &client)
    }
}

extension PinReasons {
    init(shownBy text: UnsafeRawBufferPointer) {
        let shown = PinningText.inText(text)
        self = []
        if shown.contains(.temporaryObjects) { formUnion(.temporaryObjects) }
        if shown.contains(.heldCursors) { formUnion(.heldCursors) }
        if shown.contains(.advisoryLocks) { formUnion(.advisoryLocks) }
        if shown.contains(.seed) { formUnion(.seed) }
        if shown.contains(.libraries) { formUnion(.libraries) }
        if shown.contains(.links) { formUnion(.links) }
    }
}

extension PgError {
    /// A statement that ends with this error.
    var raisingText: String {
        var parts = [
            "ERRCODE = \(Self.escaped(sqlState.rawValue))", "MESSAGE = \(Self.escaped(message))",
        ]
        if let detail { parts.append("DETAIL = \(Self.escaped(detail))") }
        if let hint { parts.append("HINT = \(Self.escaped(hint))") }
        return "DO LANGUAGE plpgsql $pglease$BEGIN RAISE EXCEPTION USING "
            + parts.joined(separator: ", ") + "; END$pglease$"
    }

    /// A literal that means the same whatever is in force, and has no dollar sign.
    private static func escaped(_ text: String) -> String {
        var literal = "E'"
        for scalar in text.unicodeScalars {
            switch scalar {
            case "'": literal += "''"
            case "\\": literal += "\\\\"
            case "$": literal += "\\x24"
            case "\0": break
            default: literal.unicodeScalars.append(scalar)
            }
        }
        return literal + "'"
    }
}
