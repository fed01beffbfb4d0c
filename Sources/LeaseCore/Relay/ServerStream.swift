// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import PostgresWire

/// What the relay knows of one server's stream: what it owes, and what it was left with.
///
/// Invariant: `outstanding` has an entry for each answer to come and none besides; `undo` has
/// one for each entry with `hasUndo`, in the same order.
package struct ServerStream: ~Copyable {
    /// The server's message that is on its way to the client.
    package var passing = PassingMessage()
    var outstanding = OutstandingQueue()
    /// Those of them that the broker answers itself.
    private var synthesizedCount = 0
    @inline(__always)
    var hasSynthesized: Bool { synthesizedCount > 0 }
    var undo = Deque<Undo>()
    package internal(set) var status = TransactionStatus.idle
    package internal(set) var copy = CopyState.none
    /// An extended message failed and its Sync has not been sent yet: the server drops what comes.
    package internal(set) var isSkippingToSync = false
    /// The server was sent messages of a batch whose Sync has not been sent: even when all of them are
    /// answered (a Flush brings that about) its transaction is open.
    package internal(set) var isBatchOpen = false
    /// State that this lease left, or may have left, in the session.
    package internal(set) var taint = SessionTaint.nothing
    /// What of it was found out, and stays until the connection is cleaned.
    package internal(set) var residue = SessionTaint.nothing
    /// What this lease may leave pins it: it has a place for that.
    package var mayPin = false
    /// A message of its client waits for such a place, for these reasons.
    package var pinWish: PinReasons = []
    /// A message of its client wants this database for itself, and what is connected to it is to be closed first.
    package internal(set) var databaseWish: String?
    /// That is done: the message may go out.
    var hasDatabase = false
    /// A message of its client may ask what the session has drawn from sequences (`SequenceGate`).
    var sequences = Sequences.unasked
    /// The client waited in vain: the message is answered with this.
    var pinRefusal: PgError?
    /// What the texts of this lease set by name; nil: no text sets anything.
    var settingNames: NamesInLease?
    /// Of the pool; nil: functions are not looked at.
    package var functions: FunctionMemo?
    /// Its client keeps it, and listens here perhaps: its own notifications bear the process that it was told of.
    var ownProcess: OwnProcess?
    /// Called in this lease, and not known to be harmless.
    var doubtedCalls: DoubtedCalls?
    /// Statements that the server was told by their client's names; nil: none.
    var brought: BroughtNames?
    /// More ReadyForQuery may come than are counted (see `copyInBegan`): the connection is closed on return.
    package internal(set) var isSuspect = false
    /// The last that a suspect connection answered with was a ReadyForQuery.
    var isReadyAgain = false
    package var prepared = PreparedSet()
    /// Counts what ends a batch: all of one is skipped together.
    var batch: UInt64 = 0
    /// An error for the batch whose Sync is owed has gone to the client.
    var answeredWithError = false
    /// That error was the broker's own: it has ended no transaction.
    var answeredByBroker = false
    /// Syncs that a copy made the server ignore.
    var ignoredSyncs = 0
    /// The client of this lease has parsed an unnamed statement here.
    var hasUnnamed = false
    /// The batch in which the broker saw to that last.
    var batchOfUnnamed: UInt64 = 0
    /// The first of `outstanding` is answered by the message on its way, once that has passed.
    var isAnsweredByPassing = false
    /// This lease has had a DISCARD ALL: the settings are the server's defaults, not those of its client.
    var hasDiscarded = false
    /// What a SET reaches that was bound last, and the unnamed statement, if it is one.
    var boundScope: SetScope = .nothing
    var unnamedScope: SetScope = .nothing
    /// A name of the broker's kind that the client used last, though it gave it to nothing.
    var unknownName: [UInt8] = []
    /// The client's name that `ClientTurn.takenName` stood for last.
    var nameTaken: [UInt8] = []
    /// What the server has said so far of the statement that the broker asked about.
    var description: [UInt8] = []
    /// Bytes of that which are on their way.
    var descriptionLeft = 0
    /// The server's error for what the broker sent in front of a simple query, which stands for the
    /// query's own. The whole message.
    var errorInFront: [UInt8] = []
    /// What the query at the front of the client's sets, and whether the server has done it.
    var pendingSetting: (setting: SessionSetting, isDone: Bool)?
    /// Messages of this lease, as the console counts them.
    package var tally = Tally()
    /// Its client has a `ClientListening`: each ReadyForQuery is looked at.
    var isListened = false
    /// The client is gone: answers are read and thrown away until none is owed.
    package var isDraining = false
    /// The beginning of a message is there, too little of it to be dealt with.
    package internal(set) var isMidMessage = false
    /// The server said that it ends this connection: it serves nobody any more.
    package internal(set) var isEnding = false
    /// It said so to the client, in its own words.
    package internal(set) var hasToldItsEnd = false
    /// What the broker itself has asked, and the answers so far.
    package internal(set) var brokerQuery: BrokerQuery?
    var brokerTexts = BrokerTexts()
    /// For each entry with `hasResets`, in the same order: what its statements put back (see `SettingsReset`).
    var resets = Deque<[SettingsReset?]>()
    /// What the batch that goes on has put back, and its client's startup values are to follow.
    var resetInBatch: SettingsReset?
    /// What was bound last puts this back.
    var boundReset: SettingsReset?
    /// What statements put back whose names pass as they are.
    var passingResets: [[UInt8]: SettingsReset] = [:]
    /// What the client has put back since its transaction began, how many of that it knows of, and how many a COMMIT in
    /// the same string has made final.
    var pendingResets: [SettingsReset] = []
    var reportedResets = 0
    var committedResets = 0

    struct OwnProcess {
        var backend: Int32
        var told: Int32
    }

    final class DoubtedCalls {
        var names: [[UInt8]] = []
        /// How often the server was asked again for what it had told of them.
        var rounds = 0
    }

    final class NamesInLease {
        var names = SettingNames()
        /// Of `names.sets`, those that the server has done.
        var setsDone = 0

        /// A statement that failed, or was never executed, has set nothing: its name may be that of a setting which
        /// nobody can set.
        var areAllInForce: Bool { names.isComplete && names.sets == setsDone }
    }

    enum Sequences {
        case unasked
        /// The engine is to see to it.
        case asked
        case seenTo
    }

    struct BrokerTexts {
        var count = 0
        var answered = 0
        /// The text whose tag SELECT 1 means that it found what it asks for.
        var probe: Int?
        var hasFound = false
        var errors: [(text: Int, error: PgError)] = []
    }

    package struct Tally: Equatable, Sendable {
        /// Parse messages of clients, and those that the server was sent.
        package var clientParses = 0
        package var serverParses = 0
        package var binds = 0

        package init() {}
    }

    package enum CopyState: Sendable {
        case none, out, both
        /// The server reads rows, and ignores Sync until the client ends the copy.
        case into
        /// The client has sent CopyDone or CopyFail.
        case intoEnding
    }

    package init() {}

    /// The server has not answered everything yet.
    package var isOwing: Bool { !outstanding.isEmpty }

    /// How many ReadyForQuery are to come.
    var readiesOwed: Int {
        outstanding.count(where: {
            switch $0.kind {
            case .query, .sync, .functionCall: $0.audience != .synthesized
            case .parse, .bind, .describe, .close, .execute: false
            }
        })
    }

    /// A transaction is open, or will be: a batch without its Sync is one.
    package var isBusy: Bool { isOwing || isBatchOpen || status != .idle }

    /// The broker has asked what a statement is, and the answer is to come.
    @inline(__always)
    var isDescribing: Bool { outstanding.first?.isOwnDescribe == true }

    /// What is parsed here may mean something else than where the client's profile is in force and nothing
    /// besides.
    @inline(__always)
    var mayMeanOtherwise: Bool {
        hasDiscarded || taint.changesMeaning || residue.changesMeaning
    }

    /// The server waits for rows of the client's.
    package var isReadingRows: Bool { copy == .into }

    /// Nothing is owed, nothing is half sent: a lease may end here, if the transaction is over.
    package var isQuiet: Bool { outstanding.isEmpty && passing.bytesLeft == 0 }

    /// A lease begins. What the server has prepared stays.
    package mutating func beginLease() {
        assert(isQuiet && !isSkippingToSync && !isBatchOpen && brokerQuery == nil)
        taint = .nothing
        residue = .nothing
        if settingNames != nil { settingNames = nil }
        if doubtedCalls != nil { doubtedCalls = nil }
        if brought != nil { brought = nil }
        isListened = false
        isSuspect = false
        isReadyAgain = false
        hasUnnamed = false
        boundScope = .nothing
        isDraining = false
        copy = .none
        ignoredSyncs = 0
        if pendingSetting != nil { pendingSetting = nil }
        if boundReset != nil { boundReset = nil }
        if !passingResets.isEmpty { passingResets = [:] }
        forgetResets()
        hasToldItsEnd = false
        hasDiscarded = false
        if !description.isEmpty { description = [] }
        descriptionLeft = 0
        if !errorInFront.isEmpty { errorInFront = [] }
    }

    /// What is in force on this connection is not known: it is cleaned on return.
    package mutating func leaveUnknown() { taint.insert(.other) }

    /// Nothing is owed, and no batch is half sent: a query of the broker's own may come between.
    package var isBetweenBatches: Bool {
        isQuiet && !isBatchOpen && !isSkippingToSync && copy == .none && brokerQuery == nil
    }

    /// An explicit lease begins: what it leaves is never looked for, the connection is cleaned anyway.
    package mutating func hold() { taint.insert(.explicitLease) }

    /// Everything that was left is known: this of it stays until the connection is cleaned.
    package mutating func stateIsKnown(residue: SessionTaint) {
        taint = .nothing
        self.residue = residue
        settingNames = nil
        doubtedCalls = nil
        hasDiscarded = false
    }

    /// It listens until the hub does.
    mutating func stillListens() { taint.formUnion(.listen) }

    /// The connection is back from a client that had it directly, or whose lease was taken away, in
    /// this state of its transaction. Nothing is owed any more.
    package mutating func regained(
        _ status: TransactionStatus, hasDroppedStatements: Bool,
        statements: inout StatementTable
    ) {
        precondition(outstanding.isEmpty && brokerQuery == nil, "answers are owed in between")
        self.status = status
        passing = PassingMessage()
        copy = .none
        isSkippingToSync = false
        isBatchOpen = false
        answeredWithError = false
        ignoredSyncs = 0
        isSuspect = false
        isReadyAgain = false
        isAnsweredByPassing = false
        isDraining = false
        forgetResets()
        isMidMessage = false
        if hasDroppedStatements {
            prepared.forgetAll(in: &statements)
        } else {
            prepared.doubtAll()
        }
    }

    /// What is sent now runs by itself: no transaction is open, and the client awaits nothing.
    var runsNextAlone: Bool {
        status == .idle && !isBatchOpen && !isSkippingToSync
            && !outstanding.contains { $0.audience != .broker || $0.kind != .query }
    }

    /// The setting that the last step reported is part of the client's profile, and of the server's.
    package mutating func claimSetting() { taint.subtractTaint(.unclaimedSetting) }

    /// Queues a simple query of the broker's own, and writes it. One at a time.
    package mutating func ask(_ query: BrokerQuery, _ sql: String, into bytes: inout [UInt8]) {
        ask(query, [sql], into: &bytes)
    }

    /// Queues several, answered as one; that at `probe` asks whether something is there.
    package mutating func ask(
        _ query: BrokerQuery, _ texts: [String], probe: Int? = nil, into bytes: inout [UInt8]
    ) {
        precondition(brokerQuery == nil, "two queries of the broker's own at once")
        precondition(!texts.isEmpty, "a query of the broker's own without a text")
        brokerQuery = query
        brokerTexts = BrokerTexts()
        brokerTexts.count = texts.count
        brokerTexts.probe = probe
        for sql in texts {
            push(Outstanding(.query, .broker))
            bytes.appendQuery(sql)
        }
        // A simple query destroys the unnamed statement.
        hasUnnamed = false
    }

    /// One of the broker's texts is answered; the whole answer if it was the last.
    mutating func brokerTextIsDone() -> BrokerAnswer? {
        brokerTexts.answered += 1
        guard brokerTexts.answered >= brokerTexts.count, let query = brokerQuery else { return nil }
        let answer = BrokerAnswer(
            query: query, errors: brokerTexts.errors, hasFound: brokerTexts.hasFound,
            rows: query == .state ? exchange(&description, with: []) : [])
        brokerQuery = nil
        brokerTexts = BrokerTexts()
        return answer
    }

    @inline(__always)
    mutating func push(_ entry: Outstanding) {
        // What the broker answers itself never reaches the server.
        if entry.audience != .synthesized {
            isBatchOpen = entry.isExtended
            if !isBatchOpen { batch += 1 }
        } else {
            synthesizedCount += 1
        }
        count(entry)
        outstanding.append(entry)
    }

    /// The entry's statements put settings back; nil: nobody can tell which.
    mutating func push(_ entry: Outstanding, resets statements: [SettingsReset?]?) {
        var entry = entry
        entry.hasResets = statements?.isEmpty == false
        push(entry)
        if let statements, entry.hasResets { resets.append(statements) }
    }

    @inline(__always)
    private mutating func count(_ entry: Outstanding) {
        switch entry.kind {
        case .parse:
            if entry.audience != .broker { tally.clientParses += 1 }
            if entry.audience != .synthesized { tally.serverParses += 1 }
        case .bind:
            tally.binds += 1
        case .describe, .close, .execute, .sync, .query, .functionCall:
            break
        }
    }

    mutating func push(_ kind: Outstanding.Kind, _ audience: Outstanding.Audience, undo step: Undo)
    {
        var entry = Outstanding(kind, audience)
        entry.hasUndo = true
        push(entry)
        undo.append(step)
    }

    mutating func push(
        _ entry: Outstanding, undo step: Undo, resets statements: [SettingsReset?]?
    ) {
        var entry = entry
        entry.hasUndo = true
        push(entry, resets: statements)
        undo.append(step)
    }

    /// What the broker did about the unnamed statement in an earlier batch has no answer yet: an
    /// error may have skipped it.
    var isUnnamedInDoubt: Bool {
        batchOfUnnamed != batch
            && outstanding.contains { $0.isAboutUnnamed && $0.audience == .broker }
    }

    /// The client ends a copy of which nothing is known yet.
    mutating func markCopyEnd() { outstanding[outstanding.count - 1].isFollowedByCopyEnd = true }

    /// The server has answered the first entry: what it changed holds.
    mutating func popFirst(statements: inout StatementTable) {
        let entry = outstanding.removeFirst()
        if entry.audience == .synthesized { synthesizedCount -= 1 }
        if entry.hasResets { endResets(of: entry) }
        guard entry.hasUndo else { return }
        switch undo.removeFirst() {
        // The reference was kept for the undo.
        case .clientClosed(_, let statement): statements.release(statement.id)
        case .serverClosed(let id, _): statements.release(id)
        case .serverPrepared(let id), .named(_, let id):
            prepared.arrived(id)
        case .serverDropped(let id):
            prepared.dropped(id)
        case .query(let names):
            assert(names.droppedByAll.isEmpty && names.dropped.allSatisfy { $0 == nil })
        case .described, .supersededClosed, .brought, .told, .nothing:
            break
        }
    }

    /// Takes the `count` entries from `first` back, last one first: the server will not answer them.
    mutating func dropOutstanding(
        _ range: Range<Int>, client: inout ClientStream, statements: inout StatementTable
    ) {
        let owed = outstanding.all
        let undoBefore = owed[..<range.lowerBound].count(where: \.hasUndo)
        let undoCount = owed[range].count(where: \.hasUndo)
        for index in stride(from: undoBefore + undoCount - 1, through: undoBefore, by: -1) {
            let step = exchange(&undo[index], with: .nothing)
            revert(step, client: &client, statements: &statements)
        }
        undo.removeSubrange(undoBefore..<undoBefore + undoCount)
        if !resets.isEmpty {
            let before = owed[..<range.lowerBound].count(where: \.hasResets)
            let count = owed[range].count(where: \.hasResets)
            resets.removeSubrange(before..<before + count)
        }
        if let listening = client.listening {
            let before = owed[..<range.lowerBound].count(where: \.isAboutListening)
            listening.drop(owed[range].count(where: \.isAboutListening), behind: before)
        }
        let hasDroppedUnnamed = owed[range].contains(where: \.isAboutUnnamed)
        let hasDroppedItsParse = owed[range].contains(where: \.isParseOfUnnamed)
        if synthesizedCount > 0 {
            synthesizedCount -= owed[range].count { $0.audience == .synthesized }
        }
        outstanding.removeSubrange(range)
        // A later batch has settled it anew.
        guard hasDroppedUnnamed, !outstanding.contains(where: \.isAboutUnnamed) else { return }
        hasUnnamed = false
        if hasDroppedItsParse { client.forgetUnnamed(in: &statements) }
    }

    private mutating func revert(
        _ step: Undo, client: inout ClientStream, statements: inout StatementTable
    ) {
        switch step {
        case .serverPrepared(let id):
            prepared.missed(id, in: &statements)
        case .named(let name, let id):
            prepared.missed(id, in: &statements)
            unname(name, id, client: &client, statements: &statements)
            // A Close that was sent behind it closes nothing.
            for index in undo.indices {
                guard case .clientClosed(_, let closed) = undo[index], closed.id == id else {
                    continue
                }
                statements.release(id)
                undo[index] = .nothing
            }
        case .clientClosed(let name, let statement):
            rename(name, statement, client: &client, statements: &statements)
        case .serverClosed(let id, let copy):
            prepared.add(id, copy, in: &statements)
            statements.release(id)
        case .brought(let name):
            // It never came there: what a function would have dropped is not missing.
            brought?.names.removeAll { $0 == name }
        case .supersededClosed(let name):
            prepared.supersede(name)
        case .described:
            description = []
        case .query(let names):
            restore(names, client: &client, statements: &statements)
        case .serverDropped, .told, .nothing:
            break
        }
    }

    func unname(
        _ name: [UInt8], _ id: StatementID, client: inout ClientStream,
        statements: inout StatementTable
    ) {
        name.withUnsafeBytes { key in
            if client.statements.value(for: key)?.id == id {
                client.statements.remove(key)
                statements.release(id)
            }
        }
    }

    /// Gives the name back to the client; the undo's reference becomes the name's.
    func rename(
        _ name: [UInt8], _ statement: ClientStatement, client: inout ClientStream,
        statements: inout StatementTable
    ) {
        name.withUnsafeBytes { key in
            if client.statements.value(for: key) == nil {
                client.statements.insert(statement, for: key)
            } else {
                statements.release(statement.id)
            }
        }
    }

    /// The client gave this name in an earlier batch, which is not answered yet: an error may have skipped it.
    func isNaming(_ key: UnsafeRawBufferPointer) -> Bool {
        var isNamed = false
        var number = 0
        for entry in outstanding.all {
            if isNamed, !entry.isExtended { return true }
            guard entry.hasUndo else { continue }
            if case .named(let name, _) = undo[number], name.elementsEqual(key) { isNamed = true }
            number += 1
        }
        return false
    }

    /// It was told to drop what goes by this name, and has not answered.
    func mayStillHave(_ name: [UInt8]) -> Bool {
        undo.contains {
            switch $0 {
            case .serverClosed(_, let copy): copy.name == name
            case .supersededClosed(name): true
            default: false
            }
        }
    }

    /// The server has dropped everything: whether a Close sent since is skipped is all the same.
    mutating func forgetPrepared(in statements: inout StatementTable) {
        prepared.forgetAll(in: &statements)
        for index in undo.indices {
            switch undo[index] {
            case .serverClosed(let id, _): statements.release(id)
            case .supersededClosed: break
            default: continue
            }
            undo[index] = .nothing
        }
    }

    /// The client's names are gone, but for those that it gave since.
    mutating func forgetNames(of client: inout ClientStream, statements: inout StatementTable) {
        if outstanding.first?.hasUndo == true, case .query? = undo.first {
            // They went when it was sent.
            deallocatedAll(statements: &statements)
            client.leases = nil
            return
        }
        var since: [(name: [UInt8], statement: ClientStatement)] = []
        for case .named(let name, let id) in undo {
            let statement = name.withUnsafeBytes { client.statements.value(for: $0) }
            guard let statement, statement.id == id else { continue }
            statements.retain(id)
            since.append((name, statement))
        }
        client.forgetStatements(in: &statements)
        for (name, statement) in since {
            rename(name, statement, client: &client, statements: &statements)
        }
    }

    /// Lets go of what other tables count. Call once, when the connection is closed.
    package mutating func releaseAll(in table: inout StatementTable) {
        prepared.removeAll(in: &table)
        for step in undo {
            switch step {
            case .clientClosed(_, let statement): table.release(statement.id)
            case .serverClosed(let id, _): table.release(id)
            case .query(let names): names.release(in: &table)
            case .serverPrepared, .serverDropped, .supersededClosed, .named, .described, .brought,
                .told,
                .nothing:
                break
            }
        }
        undo.removeAll()
        resets.removeAll()
        outstanding.removeAll()
        synthesizedCount = 0
    }
}
