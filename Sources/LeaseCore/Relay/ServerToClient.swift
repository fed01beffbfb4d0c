// SPDX-License-Identifier: Apache-2.0

import DequeModule
import PostgresWire

/// One turn of the relay from a server to the client that holds it.
///
/// Rows and copy data pass by their header; what ends something is read.
package struct ServerTurn {
    let input: UnsafeRawBufferPointer
    let mode: RelayMode
    var offset = 0
    var step = ServerStep()

    /// PostgreSQL's tags and statuses are shorter by far.
    static let shortLimit = 1 << 14
    /// Of a longer error only so much is read: its severity and SQLSTATE stand in front.
    static let errorPrefix = 1 << 14
    /// Of a longer parameter only so much is read.
    static let parameterLimit = 1 << 20

    package init(_ input: UnsafeRawBufferPointer, mode: RelayMode) {
        self.input = input
        self.mode = mode
    }

    package mutating func run(
        _ client: inout ClientStream, _ server: inout ServerStream,
        statements: inout StatementTable, toClient: inout RelayOutput
    ) -> ServerStep {
        server.answerSynthesized(
            statements: &statements, onlyIfNothingElse: false, after: input, into: &toClient)
        while offset < input.count {
            if server.passing.bytesLeft > 0 {
                passRest(&server, &toClient)
                popIfPassed(&client, &server, &statements, &toClient)
                continue
            }
            guard input.count - offset >= MessageHeader.size else { break }
            let header = MessageHeader(input, at: offset)
            guard header.bodyLength >= 0 else {
                step.broken = "the server sent a message of impossible length"
                break
            }
            let whole = MessageHeader.size + header.bodyLength
            let kind = BackendKind(rawValue: header.kind)
            if server.isPlainAnswer(kind) {
                // Rows and what describes them, most of what ever comes: as they are.
                let end = min(offset + whole, input.count)
                server.passing.isDiscarded = false
                toClient.pass(offset..<end, of: input)
                server.passing.bytesLeft = offset + whole - end
                offset = end
                continue
            }
            if !server.isOwed(kind), !isListened(kind, client, server) { break }
            guard let needed = needed(of: kind, header.bodyLength) else {
                step.broken = "the server sent a message of type \(header.kind) that is too long"
                break
            }
            if input.count - offset - MessageHeader.size < needed { break }
            let end = min(offset + whole, input.count)
            message(kind, offset..<end, &client, &server, &statements, &toClient)
            server.passing.bytesLeft = offset + whole - end
            offset = end
            if server.isAnsweredByPassing {
                popIfPassed(&client, &server, &statements, &toClient)
            }
            if step.hasNews, step.broken != nil { break }
        }
        step.consumed = offset
        server.isMidMessage = offset < input.count
        if server.isMidMessage, step.broken == nil, server.passing.bytesLeft == 0 {
            // Nothing that has begun like this can become an answer.
            let kind = BackendKind(rawValue: input[offset])
            let isLookedAt =
                server.isListened && (kind == .readyForQuery || kind == .notificationResponse)
            if !server.isOwed(kind), !isLookedAt { step.broken = Self.unasked(kind) }
        }
        return step
    }

    /// How much of its body must be there before a message is dealt with; the rest passes by its
    /// length. nil: PostgreSQL sends none that long.
    @inline(__always)
    private func needed(of kind: BackendKind, _ length: Int) -> Int? {
        switch kind {
        case .readyForQuery, .commandComplete: length <= Self.shortLimit ? length : nil
        case .errorResponse: min(length, Self.errorPrefix)
        case .parameterStatus: min(length, Self.parameterLimit)
        default: 0
        }
    }

    static func unasked(_ kind: BackendKind) -> String {
        "the server sent a message of type \(kind.rawValue) that nothing had asked for"
    }

    private mutating func passRest(_ server: inout ServerStream, _ toClient: inout RelayOutput) {
        let count = min(server.passing.bytesLeft, input.count - offset)
        if !server.passing.isDiscarded {
            toClient.pass(offset..<offset + count, of: input)
        } else if server.descriptionLeft > 0 {
            server.description += input[offset..<offset + count]
            server.descriptionLeft -= count
        }
        server.passing.bytesLeft -= count
        offset += count
    }

    private mutating func message(
        _ kind: BackendKind, _ range: Range<Int>, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) {
        let head = server.outstanding.first
        let isForClient = !server.isDraining && head?.audience != .broker
        // It goes on: what was announced was not its end.
        if server.hasToldItsEnd { takeBackEnd(kind, &server) }
        switch kind {
        case .dataRow, .copyData, .copyDone, .rowDescription, .noData, .parameterDescription,
            .functionCallResponse, .copyInResponse, .copyOutResponse, .copyBothResponse:
            relay(range, if: isForClient, &server, &toClient)
            switch kind {
            case .dataRow:
                if head?.audience == .broker, server.brokerQuery == .state {
                    keepRow(range, &server)
                }
            case .rowDescription, .noData:
                server.isAnsweredByPassing = head?.kind == .describe
                if head?.isOwnDescribe == true { describe(range, &server) }
            case .parameterDescription:
                if head?.isOwnDescribe == true { describe(range, &server) }
            case .copyInResponse: server.copyInBegan()
            case .copyOutResponse: server.copy = .out
            case .copyBothResponse: server.copy = .both
            case .functionCallResponse: server.isReadyAgain = false
            default: break
            }
        case .commandComplete, .emptyQueryResponse, .portalSuspended:
            relay(range, if: isForClient, &server, &toClient)
            if kind == .commandComplete {
                completed(body(range), head, &client, &server, &statements)
            }
            server.copy = .none
            server.ignoredSyncs = 0
            server.isReadyAgain = false
            if head?.kind == .execute { pop(&server, &statements, &toClient) }
        case .parseComplete, .bindComplete, .closeComplete:
            relay(range, if: isForClient, &server, &toClient)
            guard let head, head.isExtended else {
                step.broken = Self.unasked(kind)
                return
            }
            pop(&server, &statements, &toClient)
        case .readyForQuery:
            ready(range, head, &client, &server, &statements, &toClient)
        case .errorResponse:
            failed(range, head, &client, &server, &statements, &toClient)
        case .parameterStatus:
            parameterStatus(range, head, isForClient, client, &server, &toClient)
        case .noticeResponse:
            if isForClient, let changed = withClientsNames(range, client, server) {
                server.passing.isDiscarded = false
                toClient.inject(after: input) { $0.append(contentsOf: changed) }
            } else {
                relay(range, if: isForClient, &server, &toClient)
            }
            if ErrorFields.announcesEnd(notice: body(range)) {
                step.fatal = ErrorFields(prefix: body(range))?.pgError
                server.hasToldItsEnd = isForClient
            }
        case .notificationResponse:
            // Also behind a query of the broker's own.
            if server.isListened, !server.isDraining {
                notification(range, client, &server, &toClient)
            } else if let own = server.ownProcess, !server.isDraining {
                passNotification(range, own, &server, &toClient)
            } else {
                relay(range, if: isForClient, &server, &toClient)
            }
            step.hasNotified = true
        default:
            step.broken = "the server sent a message of unknown type \(kind.rawValue)"
        }
    }

    @inline(__always)
    func relay(
        _ range: Range<Int>, if passes: Bool, _ server: inout ServerStream,
        _ toClient: inout RelayOutput
    ) {
        server.passing.isDiscarded = !passes
        if passes { toClient.pass(range, of: input) }
    }

    func body(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            rebasing: input[(range.lowerBound + MessageHeader.size)..<range.upperBound])
    }

    private func pop(
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) {
        server.popFirst(statements: &statements)
        server.answerSynthesized(
            statements: &statements, onlyIfNothingElse: false, after: input, into: &toClient)
    }

    /// Nothing of ours may come into the middle of a message.
    private mutating func popIfPassed(
        _ client: inout ClientStream, _ server: inout ServerStream,
        _ statements: inout StatementTable, _ toClient: inout RelayOutput
    ) {
        guard server.passing.bytesLeft == 0 else { return }
        if server.isAnsweredByPassing {
            server.isAnsweredByPassing = false
            if server.isDescribing { server.learn(client: &client, statements: &statements) }
            pop(&server, &statements, &toClient)
        } else {
            server.answerSynthesized(
                statements: &statements, onlyIfNothingElse: false, after: input, into: &toClient)
        }
    }

    // MARK: What ends something

    /// The tag tells what was left behind in the session.
    private mutating func completed(
        _ tag: UnsafeRawBufferPointer, _ head: Outstanding?, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable
    ) {
        if server.isListened, head?.audience == .client { noteListening(tag, head, client) }
        if head?.audience == .client, head?.isSetting == false, CommandTagKind.isOfRows(tag) {
            return
        }
        let kind = CommandTagKind.of(tag)
        if kind == .deallocateAll || kind == .discardAll { server.forgetPrepared(in: &statements) }
        if kind == .discardAll { server.hasUnnamed = false }
        // What the broker itself sets (a profile, a reset) is what is meant to be there.
        guard head?.audience != .broker else {
            if server.brokerTexts.probe == server.brokerTexts.answered, isTag(tag, "SELECT 1") {
                server.brokerTexts.hasFound = true
            }
            return
        }
        let taint = SessionTaint.ofCommandTag(tag)
        let isFollowed = head?.isSetting == true && server.settingIsDone()
        if !taint.isEmpty, !isFollowed {
            let scope = head?.setScope ?? .nothing
            server.taint.formUnion(Self.taint(taint, within: scope))
            if taint.changesSettings, !scope.isLocal, !scope.isNamed { server.leaveSettingsOpen() }
        }
        if kind == .set, server.settingNames != nil { server.settingNames?.setsDone += 1 }
        switch kind {
        case .deallocateAll:
            server.forgetNames(of: &client, statements: &statements)
        case .discardAll:
            server.forgetNames(of: &client, statements: &statements)
            // What was sent behind it has left its mark already, and may still have its effect.
            if !server.isFollowedByMore { server.taint = .removal }
            server.hasDiscarded = true
            server.pendingResets += [.all, .one("session_authorization")]
        case .reset:
            server.taint.insert(.settings)
            server.settingIsAnswered(head, isReset: true)
        case .set:
            if head?.hasResets == true || !server.pendingResets.isEmpty {
                server.settingIsAnswered(head, isReset: false)
            }
        case .commit:
            if !server.pendingResets.isEmpty { server.committedResets = server.pendingResets.count }
        case .rollback:
            server.forgetOpenResets()
        case .deallocate:
            server.deallocated(statements: &statements)
        case .other, .begin, .prepare, .listen:
            break
        }
    }

    /// What a tag leaves behind, if it is that of a SET which reaches so far.
    private static func taint(_ taint: SessionTaint, within scope: SetScope) -> SessionTaint {
        if taint != .settings || !(scope.isLocal || scope.isHarmless) { return taint }
        if scope.isLocal { return scope.isHarmless ? .nothing : .localSettings }
        return .harmlessSettings
    }

    private mutating func ready(
        _ range: Range<Int>, _ head: Outstanding?, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) {
        guard let status = TransactionStatus(rawValue: body(range).first ?? 0) else {
            step.broken = "the server reported an unknown transaction status"
            return
        }
        server.status = status
        server.copy = .none
        if status == .idle { server.taint.subtractTaint(.localSettings) }
        if server.isSurplus(head) {
            // The copy failed before the server read a Sync that was counted as ignored.
            if head == nil, server.isSkippingToSync {
                server.isSkippingToSync = false
                server.isBatchOpen = false
            }
            server.isReadyAgain = true
            if !server.isDraining { toClient.pass(range, of: input) }
            return
        }
        server.isReadyAgain = server.isSuspect
        guard let head, !head.isExtended, head.audience != .synthesized else {
            step.broken = "the server was ready when nothing was asked"
            return
        }
        if head.audience == .broker, head.kind == .sync {
            // It ends what the broker sent in front of a query.
        } else if head.audience == .broker {
            step.brokerAnswer = server.brokerTextIsDone()
        } else {
            step.queries += 1
            if head.isSetting { step.followedSetting = server.takeSetting() }
            if !server.errorInFront.isEmpty { server.errorInFront = [] }
            if head.hasUndo { server.endQuery(client: &client, statements: &statements) }
            if status == .idle { step.transactions += 1 }
            if !server.pendingResets.isEmpty {
                tellUnchanged(client, server, &toClient)
                reportResets(&server)
            }
            // A transaction block in a statement pool: the shell answers this one, with an error.
            let isRefused =
                mode.pooling == .statement && status != .idle && server.outstanding.count == 1
            if !server.isDraining, !isRefused { toClient.pass(range, of: input) }
            server.answeredWithError = false
            server.answeredByBroker = false
        }
        pop(&server, &statements, &toClient)
    }

    private mutating func failed(
        _ range: Range<Int>, _ head: Outstanding?, _ client: inout ClientStream,
        _ server: inout ServerStream, _ statements: inout StatementTable,
        _ toClient: inout RelayOutput
    ) {
        let body = UnsafeRawBufferPointer(rebasing: body(range).prefix(Self.errorPrefix))
        let isWhole = body.count < Self.errorPrefix
        guard let fields = isWhole ? ErrorFields(body: body) : ErrorFields(prefix: body) else {
            step.broken = "the server sent an error that cannot be read"
            return
        }
        server.passing.isDiscarded = true
        if fields.severity == .fatal || fields.severity == .panic {
            step.fatal = fields.pgError
            server.isEnding = true
            // A session is the server's own: its end is told in the server's own words.
            if mode.pooling == .session, !server.isDraining {
                relay(range, if: true, &server, &toClient)
                server.hasToldItsEnd = true
            }
            return
        }
        guard head != nil else {
            step.broken = "\(Self.unasked(.errorResponse)): \(fields.message)"
            return
        }
        server.isReadyAgain = false
        if fields.sqlState == .readOnlySqlTransaction { step.wasReadOnly = true }
        server.copyFailed(head)
        if head?.isSetting == true { server.settingFailed() }
        if let head, head.audience == .broker, head.kind == .query {
            server.brokerTexts.errors.append((server.brokerTexts.answered, fields.pgError))
            return
        }
        // What was put back in a transaction is back as it was.
        server.forgetOpenResets()
        if let head, head.audience == .broker,
            server.outstanding.all.first(where: { $0.kind == .sync })?.audience == .broker
        {
            server.errorInFront = []
            if isWhole {
                server.errorInFront += input[range]
            } else {
                server.errorInFront.appendErrorResponse(fields.pgError)
            }
            server.skipToSync(client: &client, statements: &statements)
            return
        }
        if server.settingNames != nil { server.leaveSettingsOpen() }
        if !server.isDraining { passError(range, fields, client, &server, &toClient) }
        server.answeredWithError = head != nil
        if head?.isExtended == true { server.skipToSync(client: &client, statements: &statements) }
    }

    /// What a server announces by a warning (a crash of another one, an immediate shutdown) is its end
    /// only if nothing but its end follows.
    private mutating func takeBackEnd(_ kind: BackendKind, _ server: inout ServerStream) {
        switch kind {
        case .noticeResponse, .notificationResponse, .parameterStatus: return
        default:
            if server.isEnding { return }
            server.hasToldItsEnd = false
            step.fatal = nil
        }
    }
}

extension ServerStream {
    /// A row, or the description of a query's rows, that the client has asked for: nothing is to be noted of it.
    @inline(__always)
    func isPlainAnswer(_ kind: BackendKind) -> Bool {
        guard kind == .dataRow || kind == .rowDescription, !isDraining, !hasToldItsEnd,
            let head = outstanding.first, head.audience == .client
        else { return false }
        return head.kind == .query || (head.kind == .execute && kind == .dataRow)
    }

    /// Whether this may come now: what a server says at any time, or the answer to what it was asked.
    /// What it asks itself is for `ServerTurn.ready` and `failed` to say.
    @inline(__always)
    func isOwed(_ kind: BackendKind) -> Bool {
        switch kind {
        case .noticeResponse, .parameterStatus, .errorResponse:
            return true
        case .notificationResponse:
            return !isListened
        case .readyForQuery:
            return (isSuspect || !outstanding.isEmpty) && !isListened
        default:
            return outstanding.first?.kind.isAnswered(by: kind) ?? false
        }
    }

    /// The answer to one of the Syncs that were taken for ignored (see `copyInBegan`), and to nothing that is
    /// outstanding: a query is answered by something else first.
    func isSurplus(_ head: Outstanding?) -> Bool {
        guard isSuspect else { return false }
        guard let head else { return true }
        return head.isExtended || (head.kind != .sync && isReadyAgain)
    }
}

extension Outstanding.Kind {
    /// Whether the message may be a part of the answer.
    @inline(__always)
    func isAnswered(by kind: BackendKind) -> Bool {
        switch kind {
        case .dataRow, .commandComplete, .emptyQueryResponse, .copyData, .copyDone,
            .copyInResponse, .copyOutResponse, .copyBothResponse:
            self == .query || self == .execute
        case .rowDescription: self == .query || self == .describe
        case .noData, .parameterDescription: self == .describe
        case .portalSuspended: self == .execute
        case .parseComplete: self == .parse
        case .bindComplete: self == .bind
        case .closeComplete: self == .close
        case .functionCallResponse: self == .functionCall
        default: true
        }
    }
}

extension ServerStream {
    /// The server takes rows now, and ignores every Sync that it reads until the copy ends: those
    /// that were sent behind the Execute will have no answer. If the copy fails before it reads
    /// one, that Sync is answered all the same; the two cannot be told apart, so a failure makes
    /// this connection suspect.
    mutating func copyInBegan() {
        copy = .into
        guard let head = outstanding.first, head.mayCopy else { return }
        var hasEnded = head.isFollowedByCopyEnd
        while !hasEnded, outstanding.count > 1, outstanding[1].kind == .sync {
            hasEnded = outstanding.remove(at: 1).isFollowedByCopyEnd
            ignoredSyncs += 1
        }
        if hasEnded { copy = .intoEnding }
        if head.kind == .execute, outstanding.count == 1 { isBatchOpen = true }
    }

    /// True if it set what is to follow: such a tag leaves nothing behind.
    mutating func settingIsDone() -> Bool {
        pendingSetting?.isDone = true
        guard case .set? = pendingSetting?.setting else { return false }
        return true
    }

    mutating func settingFailed() {
        pendingSetting = nil
        taint.subtractTaint(.unclaimedSetting)
    }

    /// The setting that is in force for good now.
    mutating func takeSetting() -> SessionSetting? {
        defer { pendingSetting = nil }
        guard let pendingSetting, pendingSetting.isDone, status == .idle else { return nil }
        return pendingSetting.setting
    }

    /// Something besides a Sync was sent behind the first message.
    var isFollowedByMore: Bool { outstanding.all.dropFirst().contains { $0.kind != .sync } }

    mutating func copyFailed(_ head: Outstanding?) {
        if copy == .into || copy == .intoEnding, ignoredSyncs > 0 { isSuspect = true }
        ignoredSyncs = 0
        copy = .none
    }

    /// An extended message failed: what was sent behind it, up to the Sync, has no answer.
    mutating func skipToSync(client: inout ClientStream, statements: inout StatementTable) {
        let sync = outstanding.firstIndex { $0.kind == .sync }
        dropOutstanding(
            0..<(sync ?? outstanding.count), client: &client, statements: &statements)
        isSkippingToSync = sync == nil
    }

    /// Answers what the broker answers itself, as far as its turn has come.
    ///
    /// With `onlyIfNothingElse` not if answers of the server follow, which will bring it along.
    @inline(__always)
    mutating func answerSynthesized(
        statements: inout StatementTable, onlyIfNothingElse: Bool,
        after input: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        into toClient: inout RelayOutput
    ) {
        if hasSynthesized {
            answerTheseNow(
                statements: &statements, onlyIfNothingElse: onlyIfNothingElse, after: input,
                into: &toClient)
        }
    }

    @inline(never)
    private mutating func answerTheseNow(
        statements: inout StatementTable, onlyIfNothingElse: Bool,
        after input: UnsafeRawBufferPointer, into toClient: inout RelayOutput
    ) {
        guard outstanding.first?.audience == .synthesized, passing.bytesLeft == 0 else { return }
        if onlyIfNothingElse, outstanding.contains(where: { $0.audience != .synthesized }) {
            return
        }
        while let head = outstanding.first, head.audience == .synthesized {
            let status = status
            if !isDraining {
                toClient.inject(after: input) { bytes in
                    switch head.kind {
                    case .parse: bytes.appendParseComplete()
                    case .close: bytes.appendCloseComplete()
                    case .query:
                        bytes.appendCommandComplete("DEALLOCATE")
                        bytes.appendReadyForQuery(status)
                    case .bind, .describe, .execute, .sync, .functionCall:
                        preconditionFailure("\(head.kind) is never answered by the broker")
                    }
                }
            }
            popFirst(statements: &statements)
        }
    }
}
