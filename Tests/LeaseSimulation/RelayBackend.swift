// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// A PostgreSQL backend as the protocol sees it: batches, skipping to the Sync after an error, copies
/// that ignore Sync, prepared statements, portals, the transaction's state and a setting.
///
/// Its statements are a few words: `select T`, `rows N T`, `fail T`, `bad T`, `insert T`, `begin`,
/// `commit`, `rollback`, `set mark T`, `set local mark T`, `select set_config mark T`, `show mark`,
/// `set profile T F`, `show profile`, `set followed = 'T'`, `show followed`, `reset all`, `copy in T`, `copy out N T`, `notice T`, `deallocate NAME`,
/// `deallocate all`, `discard all`, `peek mark`, and nothing at all; and what the broker asks, in
/// capitals. `means T` says what it meant when it was parsed: the settings and the schema of that moment;
/// `execute NAME` runs a prepared statement. LEASE is known to it only if it stands for a broker, by `leases`.
/// With a `zone` the profile is its TimeZone: `set timezone = 'T'` sets it, and the client is told before it is ready.
package struct RelayBackend {
    package var input: [UInt8] = []
    package var output: [UInt8] = []
    package var isDead = false
    /// What ran here and what was committed, since somebody last looked.
    package var executed: [String] = []
    package var committed: [String] = []

    package internal(set) var status = TransactionStatus.idle
    package internal(set) var isSkipping = false
    /// Lease commands, as a broker in front of it answers them; nil: it is none.
    var leases: RelayBackendLeases?
    /// So many of the next statements are cancelled.
    package var cancels = 0
    /// So many of the next DISCARD ALL fail.
    var failuresOfCleaning = 0
    /// An implicit or explicit transaction is under way.
    package internal(set) var isInTransaction = false
    package internal(set) var prepared: [String: String] = [:]
    /// What those that begin with `means` meant when they were parsed.
    private var meanings: [String: String] = [:]
    /// What DDL has made of the tables: every server of the world has the same.
    package var schema = 0
    /// What the statement that runs meant.
    private var meaning: String?
    package internal(set) var mark: String?
    package internal(set) var profile = "0"
    /// The TimeZone of its startup packet, that a reset goes back to; nil: the profile is nothing that is reported.
    let zone: String?
    /// The TimeZone that the client was told last.
    var reportedZone: String
    private var profileBefore = "0"
    /// What `set followed = 'T'` sets.
    package internal(set) var followed = "none"
    private var followedBefore = "none"
    private var portals: [String: (text: String, sent: Int, meaning: String?)] = [:]
    private var localMark: String?
    var markBefore: String?
    private var inserts: [String] = []
    private var copy: (rows: Int, isExtended: Bool)?

    package init() {
        zone = nil
        reportedZone = ""
    }

    init(zone: String) {
        self.zone = zone
        reportedZone = zone
        profile = zone
    }

    package var isCopying: Bool { copy != nil }
    package var hasPortals: Bool { !portals.isEmpty }

    struct Failure: Error {
        var state: SQLState
        var message: String
    }

    /// Deals with one message. False if none is there.
    package mutating func step() -> Bool {
        guard !isDead, input.count >= MessageHeader.size else { return false }
        let header = input.withUnsafeBytes { MessageHeader($0, at: 0) }
        let end = MessageHeader.size + header.bodyLength
        guard header.bodyLength >= 0, input.count >= end else { return false }
        let body = Array(input[MessageHeader.size..<end])
        input.removeFirst(end)
        take(FrontendKind(rawValue: header.kind), body)
        return true
    }

    private mutating func take(_ kind: FrontendKind, _ body: [UInt8]) {
        if copy != nil {
            takeInCopy(kind, body)
            return
        }
        if leases != nil, takeForBroker(kind, body) { return }
        switch kind {
        case .sync:
            isSkipping = false
            if status == .idle { commit() }
            ready()
        case .copyData, .copyDone, .copyFail, .flush:
            break
        case .query:
            if !isSkipping { simple(Self.string(body, 0)) }
        case .parse, .bind, .describe, .close, .execute:
            if isSkipping { return }
            do throws(Failure) {
                try extended(kind, body)
            } catch {
                fail(error, isExtended: true)
            }
        case .terminate:
            isDead = true
        default:
            die("unexpected message \(kind.rawValue)")
        }
    }

    private mutating func die(_ reason: String) {
        output.appendErrorResponse(.fatal(.protocolViolation, reason))
        isDead = true
    }

    private mutating func fail(_ failure: Failure, isExtended: Bool) {
        output.appendErrorResponse(.error(failure.state, failure.message))
        inserts = []
        if isInTransaction { restore() }
        localMark = nil
        portals = [:]
        if status == .idle { isInTransaction = false } else { status = .failed }
        if isExtended { isSkipping = true }
    }

    // MARK: Copy

    private mutating func takeInCopy(_ kind: FrontendKind, _ body: [UInt8]) {
        let isExtended = copy!.isExtended
        switch kind {
        case .sync, .flush: return
        case .copyData where body != [UInt8(ascii: "x")]:
            copy!.rows += 1
            return
        case .copyData, .copyFail:
            copy = nil
            fail(Failure(state: .queryCanceled, message: "copy failed"), isExtended: isExtended)
        case .copyDone:
            output.appendCommandComplete("COPY \(copy!.rows)")
            copy = nil
        default:
            die("unexpected message \(kind.rawValue) during COPY from stdin")
            return
        }
        if !isExtended { endSimple() }
    }

    private mutating func beginCopy(isExtended: Bool) {
        copy = (0, isExtended)
        output.appendMessage(kind: BackendKind.copyInResponse.rawValue) { $0 += [0, 0, 0] }
    }

    // MARK: Simple

    private mutating func simple(_ text: String) {
        prepared[""] = nil
        let text = text == "ROLLBACK" ? "rollback" : text
        let statements = text.split(separator: ";").filter { $0.contains { $0 != " " } }
        do throws(Failure) {
            if let marker = Self.marker(in: text) {
                try mark(marker)
                endSimple()
                return
            }
            if statements.isEmpty { output.appendEmptyQueryResponse() }
            for statement in statements {
                try check(String(statement))
                let words = statement.split(separator: " ")
                if words.starts(with: ["copy", "in"]) {
                    enter()
                    executed.append(String(words.last!))
                    beginCopy(isExtended: false)
                    return
                }
                if returnsRows(try executed(words)) {
                    output.appendRowDescription([ColumnDescription(name: "value")])
                }
                meaning = meaningNow
                try run(words, limit: 0, sent: 0, isAlone: statements.count == 1)
            }
        } catch {
            fail(error, isExtended: false)
        }
        endSimple()
    }

    /// What the marked query of DirectReturn selects.
    private static func marker(in text: String) -> Substring? {
        guard text.hasPrefix("SELECT CASE WHEN pg_catalog.now()") else { return nil }
        return text.split(separator: "'").dropFirst().first
    }

    /// It fails in a transaction that began before it, also in that of a batch without its Sync.
    private mutating func mark(_ marker: Substring) throws(Failure) {
        try check("SELECT")
        if cancels > 0 {
            cancels -= 1
            throw Failure(state: .queryCanceled, message: "canceling statement due to user request")
        }
        if isInTransaction || status != .idle {
            throw Failure(state: SQLState(rawValue: "22P02"), message: "invalid input syntax")
        }
        enter()
        output.appendRowDescription([ColumnDescription(name: "case")])
        output.appendDataRow(texts: [String(marker)])
        output.appendCommandComplete("SELECT 1")
    }

    private mutating func endSimple() {
        if status == .idle { commit() }
        ready()
    }

    /// What has changed is reported before that.
    private mutating func ready() {
        if zone != nil, profile != reportedZone {
            output.appendParameterStatus(name: "TimeZone", value: profile)
            reportedZone = profile
        }
        output.appendReadyForQuery(status)
    }

    // MARK: Extended

    private mutating func extended(_ kind: FrontendKind, _ body: [UInt8]) throws(Failure) {
        switch kind {
        case .parse:
            let name = Self.string(body, 0)
            let text = Self.string(body, 1)
            if name.isEmpty { prepared[""] = nil }
            try check(text)
            guard prepared[name] == nil else {
                throw Failure(
                    state: .duplicatePreparedStatement,
                    message: "prepared statement \"\(name)\" already exists")
            }
            enter()
            prepared[name] = text
            meanings[name] = meaningNow
            output.appendParseComplete()
        case .bind:
            let portal = Self.string(body, 0)
            let text = try statement(Self.string(body, 1))
            try check(text)
            guard portal.isEmpty || portals[portal] == nil else {
                throw Failure(state: .duplicateCursor, message: "cursor already exists")
            }
            enter()
            analyse(Self.string(body, 1))
            portals[portal] = (text, 0, meanings[Self.string(body, 1)])
            output.appendBindComplete()
        case .describe:
            try describe(Self.string(Array(body.dropFirst()), 0), isPortal: body[0] == 80)
        case .close:
            let name = Self.string(Array(body.dropFirst()), 0)
            if body[0] == 80 { portals[name] = nil } else { prepared[name] = nil }
            output.appendCloseComplete()
        default:
            try execute(Self.string(body, 0), limit: Int(body[body.count - 1]))
        }
    }

    private func statement(_ name: String) throws(Failure) -> String {
        if let text = prepared[name] { return text }
        throw Failure(
            state: .invalidStatementName,
            message: name.isEmpty
                ? "unnamed prepared statement does not exist"
                : "prepared statement \"\(name)\" does not exist")
    }

    /// A Parse takes the settings of its moment along.
    private var meaningNow: String {
        "meaning:\(profile)/\(followed)/\(localMark ?? mark ?? "none")/\(schema)"
    }

    /// What a statement depends on may have changed: then it is analysed again, under the settings of now.
    /// Not every change brings that about.
    private mutating func analyse(_ name: String) {
        guard let schema = meanings[name]?.split(separator: "/").last.flatMap({ Int($0) }),
            schema / 2 != self.schema / 2
        else { return }
        meanings[name] = meaningNow
    }

    /// The statement itself, or the one that it executes.
    private func executed(_ words: [Substring]) throws(Failure) -> [Substring] {
        guard words.first == "execute" else { return words }
        return try statement(String(words.last!)).split(separator: " ")
    }

    private func portal(
        _ name: String
    ) throws(Failure) -> (text: String, sent: Int, meaning: String?) {
        if let portal = portals[name] { return portal }
        throw Failure(
            state: .invalidCursorName, message: "portal \"\(name)\" does not exist")
    }

    private mutating func describe(_ name: String, isPortal: Bool) throws(Failure) {
        let text = isPortal ? try portal(name).text : try statement(name)
        try check(text)
        enter()
        if !isPortal { output.appendParameterDescription([]) }
        if returnsRows(text.split(separator: " ")) {
            // Some changes show in it, others do not.
            let column = text.hasPrefix("means") ? "value\(schema / 2)" : "value"
            output.appendRowDescription([ColumnDescription(name: column)])
        } else {
            output.appendNoData()
        }
    }

    private mutating func execute(_ name: String, limit: Int) throws(Failure) {
        let (text, sent, itsMeaning) = try portal(name)
        try check(text)
        enter()
        let words = text.split(separator: " ")
        if words.isEmpty {
            output.appendEmptyQueryResponse()
        } else if words.starts(with: ["copy", "in"]) {
            executed.append(String(words.last!))
            beginCopy(isExtended: true)
        } else {
            meaning = itsMeaning
            let isWhole = try run(words, limit: limit, sent: sent, isAlone: true)
            if !isWhole { portals[name]?.sent = sent + limit }
        }
    }

    // MARK: Statements

    private func returnsRows(_ words: [Substring]) -> Bool {
        ["select", "SELECT", "rows", "show", "peek", "means"].contains(words.first)
    }

    /// What is refused before it runs.
    private func check(_ text: String) throws(Failure) {
        if status == .failed, !["commit", "rollback", "COMMIT"].contains(text) {
            throw Failure(
                state: .inFailedSqlTransaction, message: "current transaction is aborted")
        }
        if text.hasPrefix("bad") || text.hasPrefix("LEASE") || isTorn(text) {
            throw Failure(state: .syntaxError, message: text)
        }
    }

    /// What became of a message that was cut off, and went on with the next one's bytes.
    private func isTorn(_ text: String) -> Bool {
        let words = text.split(separator: " ")
        switch words.first {
        case "means", "execute": return words.count < 2
        case "rows", "set": return words.count < 3 || (words[0] == "rows" && Int(words[1]) == nil)
        case "copy":
            return words.count < 3
                || (words[1] == "out" && (words.count < 4 || Int(words[2]) == nil))
        default: return false
        }
    }

    private mutating func enter() {
        guard !isInTransaction else { return }
        isInTransaction = true
        markBefore = mark
        followedBefore = followed
        profileBefore = profile
    }

    private mutating func restore() {
        mark = markBefore
        followed = followedBefore
        if zone != nil { profile = profileBefore }
    }

    mutating func commit() {
        committed += inserts
        leave()
    }

    mutating func rollBack() {
        if status != .failed { restore() }
        leave()
    }

    mutating func leave() {
        inserts = []
        localMark = nil
        portals = [:]
        isInTransaction = false
        status = .idle
    }

    /// False if the limit of rows came before the end.
    @discardableResult
    private mutating func run(
        _ words: [Substring], limit: Int, sent: Int, isAlone: Bool
    ) throws(Failure) -> Bool {
        enter()
        if cancels > 0 {
            cancels -= 1
            throw Failure(state: .queryCanceled, message: "canceling statement due to user request")
        }
        if zone != nil, try runOfBroker(words, isAlone: isAlone) { return true }
        let last = Self.unquoted(words.last!)
        let isTokenless = ["begin", "commit", "rollback", "mark", "profile", "followed", "all"]
            .contains(last)
        if !isTokenless, !words.starts(with: ["set", "profile"]), sent == 0 {
            executed.append(last)
        }
        switch words.prefix(2).joined(separator: " ") {
        case let start where start.hasPrefix("execute"):
            let name = String(words.last!)
            analyse(name)
            meaning = meanings[name] ?? meaning
            return try run(executed(words), limit: limit, sent: sent, isAlone: isAlone)
        case let start where start.hasPrefix("means"): row("\(meaning!)/\(last)", tag: "SELECT 1")
        case "select set_config":
            mark = last
            row(last, tag: "SELECT 1")
        case let start where start.hasPrefix("select"):
            row(last, tag: "SELECT 1")
        case let start where start.hasPrefix("SELECT"):
            row(last, tag: "SELECT 1")
        case "peek mark": row("exact:\(localMark ?? mark ?? "none")", tag: "SHOW")
        case let start where start.hasPrefix("rows"):
            return rows(Int(words[1])!, last, limit: limit, sent: sent)
        case let start where start.hasPrefix("fail"):
            // One that does not fit into what is read of an error.
            let rest = words[1] == "long" ? String(repeating: " so long", count: 2_200) : ""
            throw Failure(state: .internalError, message: "failed \(last)\(rest)")
        case let start where start.hasPrefix("insert"):
            inserts.append(last)
            output.appendCommandComplete("INSERT 0 1")
        case "set mark":
            mark = last
            output.appendCommandComplete("SET")
        case "set local":
            if status != .idle { localMark = last }
            output.appendCommandComplete("SET")
        case "set profile":
            profile = String(words[2])
            followed = last
            output.appendCommandComplete("SET")
            output.appendParameterStatus(name: "profile", value: profile)
        case "set followed":
            followed = last
            output.appendCommandComplete("SET")
        case "set timezone":
            profile = last
            output.appendCommandComplete("SET")
        case "show followed": row("followed:\(followed)", tag: "SHOW")
        case "show mark": row("mark:\(localMark ?? mark ?? "none")", tag: "SHOW")
        case "show profile": row("profile:\(profile)", tag: "SHOW")
        case "copy out":
            output.appendMessage(kind: BackendKind.copyOutResponse.rawValue) { $0 += [0, 0, 0] }
            for _ in 0..<Int(words[2])! { output.appendCopyData(Array(last.utf8)) }
            output.appendCopyDone()
            output.appendCommandComplete("COPY \(words[2])")
        case let start where start.hasPrefix("notice"):
            output.appendNoticeResponse(.notice(last))
            output.appendCommandComplete("NOTIFY")
        default:
            try runUtility(words, last, isAlone: isAlone)
        }
        return true
    }

    private mutating func runUtility(
        _ words: [Substring], _ last: String, isAlone: Bool
    ) throws(Failure) {
        switch words.joined(separator: " ") {
        case "begin":
            status = .inTransaction
            output.appendCommandComplete("BEGIN")
        case "commit":
            let isFailed = status == .failed
            if isFailed { leave() } else { commit() }
            output.appendCommandComplete(isFailed ? "ROLLBACK" : "COMMIT")
        case "rollback":
            rollBack()
            output.appendCommandComplete("ROLLBACK")
        case "deallocate all":
            prepared = prepared.filter { $0.key.isEmpty }
            leases?.statements = [:]
            output.appendCommandComplete("DEALLOCATE ALL")
        case "discard all":
            guard status == .idle, isAlone else {
                throw Failure(state: .activeSqlTransaction, message: "not in a transaction block")
            }
            discardAll()
            output.appendCommandComplete("DISCARD ALL")
            if zone == nil, profile != "0" {
                output.appendParameterStatus(name: "profile", value: "0")
            }
            resetAll()
        case "reset all":
            mark = nil
            followed = "none"
            if let zone { profile = zone }
            output.appendCommandComplete("RESET")
        default:
            // deallocate NAME
            _ = try statement(last)
            prepared[last] = nil
            output.appendCommandComplete("DEALLOCATE")
        }
    }

    mutating func discardAll() {
        commit()
        prepared = [:]
    }

    mutating func resetAll() {
        mark = nil
        followed = "none"
        profile = zone ?? "0"
    }

    private mutating func row(_ value: String, tag: String) {
        output.appendDataRow(texts: [value])
        output.appendCommandComplete(tag)
    }

    private mutating func rows(_ count: Int, _ token: String, limit: Int, sent: Int) -> Bool {
        let end = limit == 0 ? count : min(count, sent + limit)
        for _ in sent..<end { output.appendDataRow(texts: [token]) }
        if limit > 0, end < count {
            output.appendPortalSuspended()
            return false
        }
        output.appendCommandComplete("SELECT \(end - sent)")
        return true
    }

    static func unquoted(_ word: Substring) -> String {
        String(word.hasPrefix("'") && word.hasSuffix("'") ? word.dropFirst().dropLast() : word)
    }

    static func string(_ body: [UInt8], _ index: Int) -> String {
        let parts = body.split(separator: 0, maxSplits: index + 1, omittingEmptySubsequences: false)
        return index < parts.count ? String(decoding: parts[index], as: UTF8.self) : ""
    }
}
