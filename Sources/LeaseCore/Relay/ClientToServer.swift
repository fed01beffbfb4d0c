// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// How far a turn of the relay came.
package struct ClientStep {
    package enum Verdict {
        /// Everything was taken, or the rest is the beginning of a message that must be seen whole.
        case more
        /// The message at `consumed` needs a lease, and there is none.
        case needsLease
        /// The message before `consumed` is a lease command: the shell carries it out.
        indirect case lease(LeaseCommand, LeaseForm)
        /// The message at `consumed` pins its lease, and has no place for that (`ServerStream.pinWish`).
        case needsPlace
        /// The message at `consumed` wants a database for itself (`ServerStream.databaseWish`).
        case needsDatabase
        /// The message at `consumed` may ask what its session has drawn from sequences.
        case needsSequences
        /// The message at `consumed` is the broker's to answer, once the server owes nothing.
        case awaitsQuiet
        /// The message at `consumed` may make a LISTEN effective: it waits for the hub (`ClientListening.gate`).
        case awaitsListening
        /// The client said goodbye.
        case terminate
        /// The session ends with this error.
        indirect case malformed(PgError)
    }

    /// Bytes of the input that are dealt with.
    package var consumed: Int
    package var verdict: Verdict
}

/// One turn of the relay from a client to the server that it holds.
///
/// Looks at headers only; the bodies of Parse, Bind, Describe and Close are read where names must
/// follow the client, and texts are scanned for what they leave behind in the session.
package struct ClientTurn {
    let input: UnsafeRawBufferPointer
    let mode: RelayMode
    /// Where a Parse of this client's means what it means.
    let environment: ParseEnvironment
    var offset = 0
    /// The message at `offset` waits for the hub.
    var awaitsListening = false

    /// Texts over this are not scanned: they count as leaving something behind.
    static let scanLimit = 16_384
    /// The same for the text of a Parse, which is looked at once for all its executions.
    static let parseScanLimit = 1 << 20
    /// The names of a message must end by then. PostgreSQL looks at the first 63 bytes of one.
    static let nameLimit = 1 << 20

    package init(
        _ input: UnsafeRawBufferPointer, mode: RelayMode,
        environment: ParseEnvironment = ParseEnvironment()
    ) {
        self.input = input
        self.mode = mode
        self.environment = environment
    }

    /// The message at `offset`, whose header is there and makes sense.
    struct Message {
        let start: Int
        let header: MessageHeader
        /// Body bytes that are there.
        let available: Int

        var kind: FrontendKind { FrontendKind(rawValue: header.kind) }
        var isWhole: Bool { available == header.bodyLength }
        var bodyStart: Int { start + MessageHeader.size }
    }

    /// Relays until the input ends or something is in the way.
    package mutating func run(
        _ client: inout ClientStream, _ server: inout ServerStream,
        statements: inout StatementTable, toServer: inout RelayOutput, toClient: inout RelayOutput
    ) -> ClientStep {
        var verdict = ClientStep.Verdict.more
        loop: while offset < input.count {
            if client.passing.bytesLeft > 0 {
                passRest(&client, &toServer)
                continue
            }
            let message: Message
            switch nextMessage() {
            case .message(let next): message = next
            case .incomplete: break loop
            case .refused(let error):
                verdict = .malformed(error)
                break loop
            }
            if client.isSkippingToSync, message.kind != .sync, message.kind != .terminate {
                discard(message, &client)
                continue
            }
            if server.isSkippingToSync, message.kind != .sync, message.kind != .terminate {
                pass(message, &client, &toServer)
                continue
            }
            if server.isResetting, let startup = client.startupValues, message.kind.beginsSomething
            {
                // Its startup values are put in force first.
                if server.isBatchOpen {
                    restoreInBatch(startup, &server, &toServer)
                } else {
                    verdict = .awaitsQuiet
                    break loop
                }
            }
            switch leaseMatch(message, &client) {
            case .unrelated: break
            case .incomplete: break loop
            case .related:
                // In the middle of a batch or a copy PostgreSQL refuses it, in its turn.
                if server.isBatchOpen || server.copy == .into || server.copy == .both {
                    if message.kind == .close { closeLease(message, &client) }
                    break
                }
                // What the broker itself answers in front of it is nothing to wait for.
                server.answerSynthesized(
                    statements: &statements, onlyIfNothingElse: true, into: &toClient)
                guard server.isQuiet else {
                    verdict = .awaitsQuiet
                    break loop
                }
                // What the server has under no name is not the client's any more.
                if message.kind == .query { server.hasUnnamed = false }
                switch leaseMessage(message, &client, server.status, &statements, &toClient) {
                case .done:
                    if client.hasUnnamedLease { server.hasUnnamed = false }
                    continue
                case .command(let command, let form):
                    verdict = .lease(command, form)
                    break loop
                }
            }
            switch message.kind {
            case .query:
                guard query(message, &client, &server, &statements, &toServer) else {
                    verdict = wish(of: server)
                    break loop
                }
            case .parse, .bind, .describe, .close:
                switch extended(message, &client, &server, &statements, &toServer) {
                case .done:
                    if message.kind == .bind { passPlainEnd(&client, &server, &toServer) }
                    continue
                case .incomplete:
                    verdict = wish(of: server)
                    break loop
                case .waits:
                    // It says nothing of an open batch unless it is told to.
                    if server.isBatchOpen { toServer.inject(after: input) { $0.appendFlush() } }
                    verdict = .awaitsQuiet
                    break loop
                case .refused(let error):
                    verdict = .malformed(error)
                    break loop
                }
            case .execute:
                // Whose portal it is shows in its first byte.
                if message.available == 0, !message.isWhole, server.boundReset != nil { break loop }
                if client.listening != nil, listensByExecute(message, &client, &server, &toServer) {
                    if awaitsListening { break loop }
                    continue
                }
                execute(message, &client, &server, &toServer)
            case .sync:
                // An error of the broker's own stands for this batch.
                if client.isSkippingToSync {
                    server.answeredWithError = true
                    server.answeredByBroker = true
                }
                client.endBatch()
                // In copy-in mode PostgreSQL ignores a Sync: no answer will come.
                if server.copy == .into {
                    server.ignoredSyncs += 1
                } else {
                    server.isSkippingToSync = false
                    server.push(Outstanding(.sync, .client))
                }
                pass(message, &client, &toServer)
            case .flush:
                pass(message, &client, &toServer)
            case .functionCall:
                // The function is named by OID: it may be set_config.
                server.taint.insert(.other)
                server.push(Outstanding(.functionCall, .client))
                pass(message, &client, &toServer)
            case .copyData, .copyDone, .copyFail:
                copy(message, &client, &server, &toServer)
            case .terminate:
                offset += MessageHeader.size + message.available
                verdict = .terminate
                break loop
            default:
                var error = Self.unexpected(message.header.kind)
                // As PostgreSQL says it.
                if mode.pooling == .session { error.hint = nil }
                verdict = .malformed(error)
                break loop
            }
        }
        if awaitsListening { verdict = .awaitsListening }
        server.answerSynthesized(statements: &statements, onlyIfNothingElse: true, into: &toClient)
        return ClientStep(consumed: offset, verdict: verdict)
    }

    /// What the message is kept for that was not taken; most often nothing but its rest.
    private func wish(of server: borrowing ServerStream) -> ClientStep.Verdict {
        if !server.pinWish.isEmpty { return .needsPlace }
        if server.sequences == .asked { return .needsSequences }
        return server.databaseWish == nil ? .more : .needsDatabase
    }

    // MARK: Framing

    enum Next {
        case message(Message)
        case incomplete
        case refused(PgError)
    }

    func nextMessage() -> Next {
        guard input.count - offset >= MessageHeader.size else { return .incomplete }
        let header = MessageHeader(input, at: offset)
        guard header.bodyLength >= 0,
            header.bodyLength <= min(mode.maxMessageSize, Self.limit(header.kind))
        else {
            return .refused(Self.badLength(header))
        }
        let available = min(header.bodyLength, input.count - offset - MessageHeader.size)
        return .message(Message(start: offset, header: header, available: available))
    }

    /// As PostgreSQL has it: what is only a word has no body, and what is only a name is short.
    private static func limit(_ kind: UInt8) -> Int {
        switch FrontendKind(rawValue: kind) {
        case .sync, .flush, .terminate, .copyDone: 0
        case .describe, .close, .execute: 10_000
        default: Int(Int32.max)
        }
    }

    private mutating func passRest(_ client: inout ClientStream, _ toServer: inout RelayOutput) {
        let count = min(client.passing.bytesLeft, input.count - offset)
        if !client.passing.isDiscarded { toServer.pass(offset..<offset + count, of: input) }
        client.passing.bytesLeft -= count
        offset += count
    }

    /// Passes the message on as it is, as far as it is there.
    @inline(__always)
    mutating func pass(
        _ message: Message, _ client: inout ClientStream, _ toServer: inout RelayOutput
    ) {
        let end = message.bodyStart + message.available
        toServer.pass(message.start..<end, of: input)
        client.passing.bytesLeft = message.header.bodyLength - message.available
        client.passing.isDiscarded = false
        offset = end
    }

    mutating func discard(_ message: Message, _ client: inout ClientStream) {
        client.passing.bytesLeft = message.header.bodyLength - message.available
        client.passing.isDiscarded = true
        offset = message.bodyStart + message.available
    }

    func body(_ message: Message) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            rebasing: input[message.bodyStart..<message.bodyStart + message.available])
    }

    // MARK: Messages

    /// False if more of it must be there (a text that is scanned is scanned whole), or a place for its pin.
    private mutating func query(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toServer: inout RelayOutput
    ) -> Bool {
        let isScanned = mode.pooling != .session && message.header.bodyLength <= Self.scanLimit
        if isScanned, !message.isWhole { return false }
        client.endUnnamed(in: &statements)
        server.hasUnnamed = false
        var entry = Outstanding(.query, .client)
        var resets: [SettingsReset?]?
        if mode.pooling == .session {
            if message.isWhole, awaitsDatabase(body(message), &server) { return false }
        } else {
            if isScanned {
                let text = queryText(body(message))
                var calls = false
                let isPlain = PlainText.isOneStatement(text, calls: &calls)
                if isPlain {
                    if calls, callsInDoubt(text, &server) {
                        if awaitsSequences(&server) { return false }
                        return queryInDoubt(message, &client, &server, statements, &toServer)
                    }
                    server.push(entry)
                    pass(message, &client, &toServer)
                    return true
                }
                switch gate(text, &server) {
                case .open: break
                case .shut: return false
                case .refused(let error):
                    refuseOnServer(message, with: error, &client, &server, &toServer)
                    return true
                }
                let isInDoubt = callsInDoubt(text, &server)
                if isInDoubt, awaitsSequences(&server) { return false }
                if listens(by: text, message, &entry, &client, &server, &toServer) {
                    return !awaitsListening
                }
                let taint = SessionTaint.inText(text)
                resets = SettingsReset.statements(of: text)
                if resets?.isEmpty == true, SettingsReset.isDiscardAll(text) { resets = [.all] }
                var mayHide = isInDoubt
                if !noteSetting(text, taint, &entry, &server) {
                    server.taint.formUnion(taint)
                    entry.setScope = SetScope.of(text)
                    if Self.mayName(text, taint) {
                        entry.setScope.formUnion(.named)
                        server.note(SettingNames.inText(text), within: entry.setScope)
                        mayHide = true
                    }
                }
                if mayHide {
                    bringNamesInFront(text, &client, &server, statements, &toServer)
                    if resets?.isEmpty == true, MentionedWords.mayResetWithin(text) {
                        resets = [.hidden]
                    }
                }
                if mode.tracksStatements, server.status != .failed,
                    let (name, statement) = client.deallocated(by: text)
                {
                    name.withUnsafeBytes { _ = client.statements.remove($0) }
                    if statement.meaning == nil,
                        let copy = server.prepared.abandon(statement.id, in: &statements)
                    {
                        server.prepared.supersede(copy.name)
                    }
                    server.push(.query, .synthesized, undo: .clientClosed(name, statement))
                    offset = message.bodyStart + message.available
                    return true
                }
                if Self.mayDropAll(text) { server.prepared.doubtAll() }
                // Without statements of its own it can only name what is not there.
                let mayName =
                    client.statements.isEmpty
                    ? StatementReference.mayBegin(text) : StatementReference.mayOccur(in: text)
                if mayName, mode.tracksStatements,
                    queryWithNames(message, entry, resets, &client, &server, &statements, &toServer)
                {
                    return true
                }
            } else {
                server.taint.insert(.other)
            }
        }
        server.push(entry, resets: resets)
        pass(message, &client, &toServer)
        return true
    }

    /// A plain text that calls functions which may do anything.
    private mutating func queryInDoubt(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: borrowing StatementTable, _ toServer: inout RelayOutput
    ) -> Bool {
        let text = queryText(body(message))
        bringNamesInFront(text, &client, &server, statements, &toServer)
        server.push(
            Outstanding(.query, .client),
            resets: MentionedWords.mayResetWithin(text) ? [.hidden] : [])
        pass(message, &client, &toServer)
        return true
    }

    private func bringNamesInFront(
        _ text: UnsafeRawBufferPointer, _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: borrowing StatementTable, _ toServer: inout RelayOutput
    ) {
        // A batch of the client's own goes on to the end of its query.
        let isWithin = server.isBatchOpen
        bringNames(in: text, client, &server, statements, &toServer)
        if server.isBatchOpen, !isWithin {
            server.push(Outstanding(.sync, .broker))
            toServer.inject(after: input) { $0.appendSync() }
        }
    }

    /// True if the text calls functions that may leave something, for all that is known.
    @inline(never)
    func callsInDoubt(_ text: UnsafeRawBufferPointer, _ server: inout ServerStream) -> Bool {
        let first = CalledNames.firstParenthesis(in: text)
        return first < text.count && callsInDoubt(text, from: first, &server)
    }

    private func callsInDoubt(
        _ text: UnsafeRawBufferPointer, from first: Int, _ server: inout ServerStream
    ) -> Bool {
        guard !mode.isHeld, server.functions?.clears(text, from: first) == false else {
            return false
        }
        server.noteCalls(in: text)
        return true
    }

    /// Whether it is worth looking for the names of settings in the text: most have none.
    static func mayName(_ text: UnsafeRawBufferPointer, _ taint: SessionTaint) -> Bool {
        if taint.has(.settings) || taint.has(.harmlessSettings) || taint.has(.localNames) {
            return true
        }
        var index = 0
        while index < text.count, isSpace(text[index]) { index += 1 }
        guard index + 2 < text.count else { return false }
        switch text[index] | 0x20 {
        case UInt8(ascii: "s"):
            if text[index + 2] | 0x20 == UInt8(ascii: "t") { return true }
        case UInt8(ascii: "c"):
            if text[index + 1] | 0x20 == UInt8(ascii: "a") { return true }
        case UInt8(ascii: "d"):
            if text[index + 1] | 0x20 == UInt8(ascii: "o") { return true }
        case UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: ";"): return true
        default: break
        }
        while index < text.count, text[index] != UInt8(ascii: ";") { index += 1 }
        while index < text.count,
            text[index] == UInt8(ascii: ";") || text[index] == 0 || isSpace(text[index])
        {
            index += 1
        }
        return index < text.count
    }

    /// True if the text sets one setting, and runs alone: that setting follows the client, and so is
    /// not left behind.
    private func noteSetting(
        _ text: UnsafeRawBufferPointer, _ taint: SessionTaint, _ entry: inout Outstanding,
        _ server: inout ServerStream
    ) -> Bool {
        // What an explicit lease sets ends with it.
        guard !mode.isHeld,
            let setting = SessionSetting.parse(text, callsSetConfig: taint.changesSettings)
        else { return false }
        let isAlone = server.runsNextAlone
        switch setting {
        case .resetAll, .reset:
            return false
        case .set:
            break
        }
        guard isAlone else { return false }
        server.taint.insert(.unclaimedSetting)
        server.note(SettingNames.inText(text))
        entry.isSetting = true
        server.pendingSetting = (setting, isDone: false)
        return true
    }

    /// Whether the text may be a DEALLOCATE ALL or a DISCARD ALL. One that is not seen here is seen
    /// when the server answers it; in between only what is sent ahead counts on what it drops.
    static func mayDropAll(_ text: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index < text.count, text[index] <= UInt8(ascii: " ") { index += 1 }
        guard index + 1 < text.count, text[index] | 0x20 == UInt8(ascii: "d") else { return false }
        let second = text[index + 1] | 0x20
        if second == UInt8(ascii: "i") { return true }
        return second == UInt8(ascii: "e") && index + 2 < text.count
            && text[index + 2] | 0x20 == UInt8(ascii: "a")
    }

    private mutating func execute(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ toServer: inout RelayOutput
    ) {
        var entry = Outstanding(.execute, .client)
        // What is known of the text is known of the unnamed portal only.
        if !server.boundScope.isEmpty, message.available > 0, input[message.bodyStart] == 0 {
            entry.setScope = server.boundScope
        }
        if let reset = server.boundReset, message.available > 0, input[message.bodyStart] == 0 {
            server.push(entry, resets: [reset])
            server.resetInBatch = reset
        } else {
            server.push(entry)
        }
        pass(message, &client, &toServer)
    }

    /// Copy data with nothing outstanding is what is left of a copy that failed: PostgreSQL would
    /// ignore it, so it need not travel.
    private mutating func copy(
        _ message: Message, _ client: inout ClientStream, _ server: inout ServerStream,
        _ toServer: inout RelayOutput
    ) {
        guard !server.outstanding.isEmpty else {
            discard(message, &client)
            return
        }
        if message.kind != .copyData {
            if server.copy == .into {
                server.copy = .intoEnding
            } else {
                // Of a copy that has not begun, perhaps behind one that has not ended.
                server.markCopyEnd()
            }
        }
        pass(message, &client, &toServer)
    }

    // MARK: Refusals

    static func unexpected(_ kind: UInt8) -> PgError {
        PgError(
            severity: .fatal, sqlState: .protocolViolation,
            message: "invalid frontend message type \(kind)",
            hint: "The driver sent a message that does not belong here; the session is closed.")
    }

    static func badLength(_ header: MessageHeader) -> PgError {
        PgError(
            severity: .fatal, sqlState: .protocolViolation,
            message: "invalid message length",
            detail: "A message of type \(header.kind) said that it has \(header.bodyLength) bytes.",
            hint: "max_packet_size is the limit; the session is closed.")
    }

    static func malformed(_ what: String) -> PgError {
        PgError(
            severity: .fatal, sqlState: .protocolViolation,
            message: "invalid \(what) message",
            hint: "The driver sent a message with a missing terminator; the session is closed.")
    }
}

extension FrontendKind {
    /// Not the end of something, nor the rows that a copy waits for.
    fileprivate var beginsSomething: Bool {
        switch self {
        case .sync, .terminate, .flush, .copyData, .copyDone, .copyFail: false
        default: true
        }
    }
}

extension ClientStream {
    /// The client's own statement that this text deallocates, if that is what it does.
    func deallocated(
        by text: UnsafeRawBufferPointer
    ) -> (name: [UInt8], statement: ClientStatement)? {
        guard !statements.isEmpty, case .name(let name)? = DeallocateText.parse(text) else {
            return nil
        }
        let statement = name.withUnsafeBytes { statements.value(for: $0) }
        return statement.map { (name, $0) }
    }
}
