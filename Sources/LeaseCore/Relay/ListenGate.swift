// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Where LISTEN and UNLISTEN of a client's pass: what makes a LISTEN effective waits until the hub listens, and what
/// the server answers tells what holds.
extension RelayMode {
    /// What the client listens to follows it: the hub listens, not its servers.
    @inline(__always)
    package var followsListening: Bool { pooling != .session && !isHeld }
}

extension ClientTurn {
    enum ListenVerdict {
        /// It is not about listening, or too little is known of it.
        case unrelated
        /// It is, and passes.
        case passes
        /// It waits for the hub.
        case waits
        case refused(PgError)
    }

    /// A simple query with this text, which leaves something behind or ends something. True if it is dealt with, or
    /// waits (`awaitsListening`).
    @inline(never)
    mutating func listens(
        by text: UnsafeRawBufferPointer, _ message: Message, _ entry: inout Outstanding,
        _ client: inout ClientStream, _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) -> Bool {
        guard mode.followsListening,
            client.listening?.isTouched == true || ListenStatement.mayOccur(in: text),
            let statements = ListenStatement.statements(of: text)
        else { return false }
        switch listenVerdict(of: statements, &client, &server) {
        case .unrelated: return false
        case .passes:
            entry.isAboutListening = true
            client.listening?.expected.append(statements)
            return false
        case .waits:
            awaitsListening = true
            return true
        case .refused(let error):
            server.pushApart(entry)
            toServer.inject(after: input) { $0.appendQuery(Self.raising(error)) }
            discard(message, &client)
            return true
        }
    }

    /// An Execute of what was bound last. True if it is dealt with, or waits (`awaitsListening`).
    @inline(never)
    mutating func listensByExecute(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ toServer: inout RelayOutput
    ) -> Bool {
        guard let bound = client.listening?.bound else { return false }
        guard message.isWhole, let portal = cString(in: body(message), from: 0) else {
            awaitsListening = true
            return true
        }
        guard bound.portal.withUnsafeBytes({ $0.elementsEqual(body(message)[portal]) }) else {
            return false
        }
        switch listenVerdict(of: [bound.statement], &client, &server) {
        case .unrelated: return false
        case .passes:
            client.listening?.expected.append([bound.statement])
            executeListening(message, &client, &server, &toServer)
        case .waits:
            awaitsListening = true
            return true
        case .refused(let error):
            raise(error, inPlaceOf: message, &client, &server, &toServer)
        }
        return true
    }

    private func listenVerdict(
        of statements: [ListenStatement], _ client: inout ClientStream,
        _ server: inout ServerStream
    ) -> ListenVerdict {
        guard client.listening?.isInvolved == true || statements.contains(where: \.isAboutChannels),
            statements.contains(where: { $0 != .other })
        else { return .unrelated }
        let listening = client.listens()
        server.isListened = true
        let channels =
            listening.log.channels + listening.expected.joined().compactMap(\.channel)
            + statements.compactMap(\.channel)
        // A server that is sent more runs ahead of its answers: what it notifies then would be told by what was in
        // force before.
        if server.owesBatch {
            listening.awaitsAnswers = true
            return .waits
        }
        // In a transaction that goes on nothing is effective yet.
        let staysOpen = server.status != .idle && !statements.contains(.commit)
        if channels.isEmpty || staysOpen || server.status == .failed {
            listening.gate = .open
            return .passes
        }
        switch listening.gate {
        case .passed:
            listening.gate = .open
            return .passes
        case .refused(let error):
            listening.gate = .open
            return .refused(error)
        case .open, .wanted:
            listening.gate = .wanted
            listening.wanted = channels
            return .waits
        case .waiting:
            return .waits
        }
    }

    /// Notes a named statement that is about listening: it is looked at when it is bound.
    @inline(never)
    mutating func noteParsed(_ definition: UnsafeRawBufferPointer, _ client: inout ClientStream) {
        guard mode.followsListening, ListenStatement.mayOccur(in: statementText(definition)) else {
            return
        }
        let listening = client.listens()
        listening.hasPrepared = true
    }

    /// A Parse that may be a LISTEN is short.
    static var listenLimit: Int { 512 }

    /// Notes a named statement whose text nobody keeps, where names pass as they are.
    @inline(never)
    mutating func noteParsed(
        _ body: UnsafeRawBufferPointer, _ name: Range<Int>, _ client: inout ClientStream
    ) {
        let text = statementText(UnsafeRawBufferPointer(rebasing: body[(name.upperBound + 1)...]))
        let key = Array(body[name])
        client.listening?.named[key] = nil
        guard mode.followsListening, text.count <= Self.listenLimit,
            client.listening != nil || ListenStatement.mayOccur(in: text),
            let statements = ListenStatement.statements(of: text), statements.count == 1,
            client.listening != nil ? statements[0] != .other : statements[0].isAboutChannels
        else { return }
        let listening = client.listens()
        listening.hasPrepared = true
        listening.named[key] = statements[0]
    }

    /// Notes what was bound by a name that passes as it is.
    @inline(never)
    mutating func noteBound(
        _ body: UnsafeRawBufferPointer, _ portal: Range<Int>, named name: Range<Int>,
        _ client: inout ClientStream
    ) {
        guard mode.followsListening, let listening = client.listening else { return }
        listening.bound = nil
        if let statement = listening.named[Array(body[name])] {
            listening.bound = (Array(body[portal]), statement)
        } else if listening.isInvolved {
            // It may be a COMMIT: its tag will tell.
            listening.bound = (Array(body[portal]), .commit)
        }
    }

    /// Notes what was bound, if it is about listening or its transaction is.
    func noteBound(
        _ portal: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer,
        _ client: inout ClientStream
    ) {
        guard mode.followsListening else { return }
        let isTouched = client.listening?.isTouched == true
        client.listening?.bound = nil
        guard isTouched || ListenStatement.mayOccur(in: text),
            let statements = ListenStatement.statements(of: text), statements.count == 1,
            isTouched ? statements[0] != .other : statements[0].isAboutChannels
        else { return }
        let listening = client.listens()
        listening.bound = (Array(portal), statements[0])
    }

    /// The same, of the unnamed statement.
    @inline(never)
    mutating func noteBound(
        _ body: UnsafeRawBufferPointer, _ portal: Range<Int>, _ client: inout ClientStream
    ) {
        let definition = client.unnamed
        noteBound(body, portal, definition, &client)
    }

    @inline(never)
    mutating func noteBound(
        _ body: UnsafeRawBufferPointer, _ portal: Range<Int>, _ definition: [UInt8],
        _ client: inout ClientStream
    ) {
        definition.withUnsafeBytes {
            noteBound(
                UnsafeRawBufferPointer(rebasing: body[portal]), statementText($0), &client)
        }
    }

    /// A statement that is refused raises the error on the server itself, in its transaction and in its turn.
    static func raising(_ error: PgError) -> String {
        var options = [
            "ERRCODE = \(quotedLiteral(error.sqlState.rawValue))",
            "MESSAGE = \(quotedLiteral(error.message))",
        ]
        if let detail = error.detail { options.append("DETAIL = \(quotedLiteral(detail))") }
        if let hint = error.hint { options.append("HINT = \(quotedLiteral(hint))") }
        let body = "BEGIN RAISE EXCEPTION USING \(options.joined(separator: ", ")); END"
        return "DO \(quotedLiteral(body))"
    }

    private mutating func executeListening(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ toServer: inout RelayOutput
    ) {
        var entry = Outstanding(.execute, .client)
        entry.isAboutListening = true
        server.pushApart(entry)
        pass(message, &client, &toServer)
    }

    /// Raises the error in place of an Execute.
    mutating func raise(
        _ error: PgError, inPlaceOf message: Message, _ client: inout ClientStream,
        _ server: inout ServerStream, _ toServer: inout RelayOutput
    ) {
        // The unnamed statement is another one now: the client's own is told again when it is used.
        server.hasUnnamed = false
        server.pushApart(Outstanding(.parse, .broker))
        server.pushApart(Outstanding(.bind, .broker))
        server.pushApart(Outstanding(.execute, .client))
        let text = Self.raising(error)
        toServer.inject(after: input) {
            $0.appendParse(name: "", query: text, parameterTypes: [])
            $0.appendBind(statement: "")
            $0.appendExecute()
        }
        discard(message, &client)
    }
}

extension ServerStream {
    /// The same as `push`, from where it is seldom called.
    @inline(never)
    mutating func pushApart(_ entry: Outstanding) { push(entry) }

    /// A ReadyForQuery for the client is to come.
    var owesBatch: Bool { outstanding.contains { $0.audience != .broker && !$0.isExtended } }
}

extension ServerTurn {
    /// What `isOwed` says no to: a ReadyForQuery for a client that listens goes on if nothing is to be told in front of
    /// it; else the server has said what nobody asked for. False if the turn ends here.
    @inline(never)
    mutating func isListened(
        _ kind: BackendKind, _ client: borrowing ClientStream, _ server: borrowing ServerStream
    ) -> Bool {
        if server.isListened, kind == .notificationResponse {
            // Its channel must be there.
            let length = MessageHeader(input, at: offset).bodyLength
            return input.count - offset - MessageHeader.size
                >= min(length, NotificationMessage.prefix)
        }
        guard server.isListened, kind == .readyForQuery,
            server.isSuspect || !server.outstanding.isEmpty
        else {
            step.broken = Self.unasked(kind)
            return false
        }
        return input.count - offset > MessageHeader.size && !holdsReady(client, server)
    }

    /// Whether a ReadyForQuery waits: what was committed before it is told in front of it.
    private func holdsReady(
        _ client: borrowing ClientStream, _ server: borrowing ServerStream
    ) -> Bool {
        guard let listening = client.listening else { return false }
        if !server.isDraining, !server.isSuspect, let head = server.outstanding.first,
            head.audience == .client, !head.isExtended
        {
            if mustWait(listening, server) { return true }
            if head.isAboutListening { listening.answered() }
        }
        return false
    }

    private func mustWait(
        _ listening: ClientListening, _ server: borrowing ServerStream
    ) -> Bool {
        guard input[offset + MessageHeader.size] == TransactionStatus.idle.rawValue else {
            listening.log.goesOn()
            return false
        }
        if listening.ready == .passed {
            listening.ready = .open
            return false
        }
        if mode.followsListening {
            listening.resolved += listening.log.end(isCommitted: !server.answeredWithError)
        }
        guard
            listening.isListening || !listening.resolved.isEmpty || !listening.announced.isEmpty
                || !listening.inbox.isEmpty
        else { return false }
        if listening.ready == .open { listening.ready = .wanted }
        return true
    }

    /// What the tag of an answer says of listening.
    @inline(never)
    mutating func noteListening(
        _ tag: UnsafeRawBufferPointer, _ head: Outstanding?, _ client: borrowing ClientStream
    ) {
        guard let listening = client.listening, mode.followsListening else { return }
        if head?.isAboutListening == true {
            listening.completed(tag)
            if head?.kind == .execute { listening.answered() }
            return
        }
        switch CommandTagKind.of(tag) {
        case .commit: listening.committed()
        case .rollback: listening.log.noteRollback()
        case .discardAll: listening.log.note(.unlistenAll)
        default: break
        }
    }

    /// A notification of its client's own server: the hub tells what the client listens to. A founder's server tells
    /// it itself, and what the client notified as of its own backend: the client knows another number.
    @inline(never)
    mutating func notification(
        _ range: Range<Int>, _ client: borrowing ClientStream,
        _ server: inout ServerStream, _ toClient: inout RelayOutput
    ) {
        let start = range.lowerBound + MessageHeader.size
        let body = UnsafeRawBufferPointer(rebasing: input[start..<range.upperBound])
        guard let founding = client.listening?.founding else {
            if isToldByHub(body, client) {
                relay(range, if: false, &server, &toClient)
            } else {
                passNotification(range, server.ownProcess, &server, &toClient)
            }
            return
        }
        passNotification(
            range, ServerStream.OwnProcess(backend: founding.backend, told: founding.told), &server,
            &toClient)
    }

    /// One of the client's own bears the process that the client was told of.
    mutating func passNotification(
        _ range: Range<Int>, _ own: ServerStream.OwnProcess?, _ server: inout ServerStream,
        _ toClient: inout RelayOutput
    ) {
        let start = range.lowerBound + MessageHeader.size
        let body = UnsafeRawBufferPointer(rebasing: input[start..<range.upperBound])
        guard let own, body.count >= 4,
            Int32(bigEndian: body.loadUnaligned(as: Int32.self)) == own.backend
        else {
            relay(range, if: true, &server, &toClient)
            return
        }
        toClient.pass(range.lowerBound..<start, of: input)
        toClient.inject(after: input) { $0.appendInteger(own.told) }
        relay((start + 4)..<range.upperBound, if: true, &server, &toClient)
    }

    /// A notification that its client's own server tells comes from the hub as well.
    private func isToldByHub(
        _ body: UnsafeRawBufferPointer, _ client: borrowing ClientStream
    ) -> Bool {
        guard mode.followsListening, let listening = client.listening, listening.founding == nil,
            let hub = listening.hub, let message = NotificationMessage(body: body),
            let number = hub.table.number(of: message.channel)
        else { return false }
        if listening.channels.contains(number) { return true }
        // Until the hub listens to what was found, the server alone tells it.
        return listening.announced.contains(number)
            && !listening.found.contains { $0.elementsEqual(message.channel) }
    }
}
