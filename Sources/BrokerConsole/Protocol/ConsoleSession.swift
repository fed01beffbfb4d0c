// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// The protocol's side of one console client: what it may do, what it has prepared and bound, and whether an
/// error makes it skip to its next Sync.
///
/// It knows nothing of sockets: messages come in one by one, the answer is appended to a buffer, and what
/// is asked for comes from a `ConsoleBackend`.
package final class ConsoleSession {
    /// Databases that are this console.
    package static let databases: Set<String> = ["pglease", "pgbouncer"]

    package enum Privilege: Equatable {
        case administrator
        /// SHOW, and nothing that changes anything.
        case statistics
    }

    /// What a message brought about besides its answer.
    package enum Step: Equatable {
        case goesOn
        case terminated
        /// The bytes are no protocol: the session ends.
        case malformed(PgError)
    }

    package let privilege: Privilege
    let user: String
    let database: String
    let processID: Int32
    private let terms: ConsoleTerms
    private(set) var applicationName: String
    /// What is to be done once the answer is sent.
    package var afterwards: ConsoleOrder?
    /// What the last answer waits for, and the answer meanwhile.
    package var wait: ConsoleWait?
    package var heldReply: [UInt8] = []

    /// Errors since the last look, for the log.
    private var refusals: [PgError] = []

    private var prepared: [[UInt8]: ConsoleStatement] = [:]
    private var portals: [[UInt8]: ConsolePortal] = [:]
    private var isSkippingToSync = false
    /// BEGIN was said: drivers want to hear it back.
    private var status = TransactionStatus.idle

    /// Named statements and portals that one client may have.
    static let namesLimit = 256

    package init(
        privilege: Privilege, user: String, database: String, applicationName: String,
        processID: Int32, terms: ConsoleTerms
    ) {
        self.privilege = privilege
        self.user = user
        self.database = database
        self.applicationName = applicationName
        self.processID = processID
        self.terms = terms
    }

    // MARK: Messages

    /// Deals with one message and appends the answer.
    package func receive(
        _ kind: FrontendKind, _ body: UnsafeRawBufferPointer, _ backend: some ConsoleBackend,
        into reply: inout [UInt8]
    ) -> Step {
        if isSkippingToSync, kind != .sync, kind != .terminate { return .goesOn }
        do throws(ConsoleMessageBody.Malformed) {
            switch kind {
            case .query: try query(body, backend, &reply)
            case .parse, .bind, .describe, .execute, .close:
                try extended(kind, body, backend, &reply)
            case .sync:
                isSkippingToSync = false
                if status == .idle { portals.removeAll() }
                reply.appendReadyForQuery(status)
            case .flush: break
            case .terminate: return .terminated
            case .functionCall:
                reply.appendErrorResponse(
                    .error(.featureNotSupported, "the console has no functions to call"))
                reply.appendReadyForQuery(status)
            case .copyData, .copyDone, .copyFail:
                // What follows a COPY that failed; PostgreSQL passes over it too.
                break
            default:
                return .malformed(
                    .fatal(.protocolViolation, "invalid frontend message type \(kind.rawValue)"))
            }
        } catch {
            return .malformed(
                .fatal(
                    .protocolViolation,
                    "invalid message of type \"\(Character(Unicode.Scalar(kind.rawValue)))\""))
        }
        return .goesOn
    }

    private func query(
        _ bytes: UnsafeRawBufferPointer, _ backend: some ConsoleBackend, _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) {
        var body = ConsoleMessageBody(bytes)
        let text = try body.string()
        prepared[[]] = nil
        portals[[]] = nil
        do throws(ConsoleRefusal) {
            let statements = try ConsoleParser.statements(text, terms)
            if statements.isEmpty { reply.appendEmptyQueryResponse() }
            for statement in statements { try run(statement, backend, &reply) }
        } catch {
            refuse(error, &reply)
        }
        reply.appendReadyForQuery(status)
    }

    private func run(
        _ statement: ConsoleStatement, _ backend: some ConsoleBackend, _ reply: inout [UInt8]
    ) throws(ConsoleRefusal) {
        if let columns = statement.columns {
            reply.appendRowDescription(columns.map { $0.described(format: 0) })
        }
        let portal = ConsolePortal(statement, .text)
        try execute(portal, maximumRows: 0, backend, &reply)
    }

    // MARK: Extended protocol

    private func extended(
        _ kind: FrontendKind, _ bytes: UnsafeRawBufferPointer, _ backend: some ConsoleBackend,
        _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) {
        var body = ConsoleMessageBody(bytes)
        let refusal: ConsoleRefusal?
        switch kind {
        case .parse: refusal = try parse(&body, &reply)
        case .bind: refusal = try bind(&body, &reply)
        case .describe: refusal = try describe(&body, &reply)
        case .execute: refusal = try execute(&body, backend, &reply)
        default: refusal = try close(&body, &reply)
        }
        guard let refusal else { return }
        refuse(refusal, &reply)
        isSkippingToSync = true
    }

    private func refuse(_ refusal: ConsoleRefusal, _ reply: inout [UInt8]) {
        refusals.append(refusal.error)
        reply.appendErrorResponse(refusal.error)
    }

    package func takeRefusals() -> [PgError] {
        defer { refusals = [] }
        return refusals
    }

    private func parse(
        _ body: inout ConsoleMessageBody, _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) -> ConsoleRefusal? {
        let name = try body.string()
        let text = try body.string()
        for _ in 0..<max(0, Int(try body.int16())) { _ = try body.int32() }
        if name.isEmpty {
            prepared[name] = nil
        } else {
            if prepared[name] != nil {
                return ConsoleRefusal(
                    .duplicatePreparedStatement,
                    "prepared statement \(shown(name)) already exists")
            }
            if prepared.count >= Self.namesLimit { return Self.tooManyNames }
        }
        do throws(ConsoleRefusal) {
            prepared[name] = try ConsoleParser.statement(text, terms)
        } catch {
            return error
        }
        reply.appendParseComplete()
        return nil
    }

    private func bind(
        _ body: inout ConsoleMessageBody, _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) -> ConsoleRefusal? {
        let portal = try body.string()
        let name = try body.string()
        _ = try body.formats()
        let values = try body.skipValues()
        let formats = ResultFormats(try body.formats())
        guard let statement = prepared[name] else { return Self.noStatement(shown(name)) }
        guard values == 0 else {
            return ConsoleRefusal(
                .protocolViolation,
                "bind message supplies \(values) parameters, but the console takes none",
                hint: "Write the value into the statement in place of $1.")
        }
        if let columns = statement.columns, !formats.fit(columns.count) {
            return ConsoleRefusal(
                .protocolViolation,
                "bind message has \(formats.count) result formats but query has \(columns.count) columns"
            )
        }
        guard formats.areKnown else {
            return ConsoleRefusal(.protocolViolation, "unsupported format code in bind message")
        }
        if !portal.isEmpty {
            if portals[portal] != nil {
                return ConsoleRefusal(
                    .duplicateCursor, "cursor \(shown(portal)) already exists")
            }
            if portals.count >= Self.namesLimit { return Self.tooManyNames }
        }
        portals[portal] = ConsolePortal(statement, formats)
        reply.appendBindComplete()
        return nil
    }

    private func describe(
        _ body: inout ConsoleMessageBody, _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) -> ConsoleRefusal? {
        let kind = try body.byte()
        let name = try body.string()
        let statement: ConsoleStatement
        var formats = ResultFormats.text
        switch kind {
        case UInt8(ascii: "S"):
            guard let known = prepared[name] else { return Self.noStatement(shown(name)) }
            statement = known
            reply.appendParameterDescription([])
        case UInt8(ascii: "P"):
            guard let portal = portals[name] else { return Self.noPortal(shown(name)) }
            statement = portal.statement
            formats = portal.formats
        default:
            throw ConsoleMessageBody.Malformed()
        }
        if let columns = statement.columns {
            reply.appendRowDescription(
                columns.enumerated().map { $1.described(format: formats[$0]) })
        } else {
            reply.appendNoData()
        }
        return nil
    }

    private func execute(
        _ body: inout ConsoleMessageBody, _ backend: some ConsoleBackend, _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) -> ConsoleRefusal? {
        let name = try body.string()
        let maximumRows = Int(try body.int32())
        guard let portal = portals[name] else { return Self.noPortal(shown(name)) }
        do throws(ConsoleRefusal) {
            try execute(portal, maximumRows: maximumRows, backend, &reply)
            return nil
        } catch {
            return error
        }
    }

    private func close(
        _ body: inout ConsoleMessageBody, _ reply: inout [UInt8]
    ) throws(ConsoleMessageBody.Malformed) -> ConsoleRefusal? {
        let kind = try body.byte()
        let name = try body.string()
        switch kind {
        case UInt8(ascii: "S"): prepared[name] = nil
        case UInt8(ascii: "P"): portals[name] = nil
        default: throw ConsoleMessageBody.Malformed()
        }
        reply.appendCloseComplete()
        return nil
    }

    // MARK: Carrying out

    private func execute(
        _ portal: ConsolePortal, maximumRows: Int, _ backend: some ConsoleBackend,
        _ reply: inout [UInt8]
    ) throws(ConsoleRefusal) {
        if let columns = portal.statement.columns {
            if !portal.hasRun {
                if case .show(let command) = portal.statement, command.isForAdministrators {
                    try requireAdministrator("SHOW \(command.rawValue.asciiUppercased)")
                }
                var rows = ConsoleRows(columns, formats: portal.formats)
                fill(&rows, portal.statement, backend)
                portal.fill(rows.bytes)
            }
            let isComplete = portal.take(maximumRows, into: &reply)
            if isComplete {
                reply.appendCommandComplete(tag(of: portal))
            } else {
                reply.appendPortalSuspended()
            }
            return
        }
        guard !portal.hasRun else {
            throw ConsoleRefusal(SQLState(rawValue: "55000"), "the portal has run already")
        }
        portal.fill([])
        try carryOut(portal.statement, backend, &reply)
    }

    private func tag(of portal: ConsolePortal) -> String {
        if case .value = portal.statement { return "SELECT 1" }
        return "SHOW"
    }

    private func fill(
        _ rows: inout ConsoleRows, _ statement: ConsoleStatement, _ backend: some ConsoleBackend
    ) {
        switch statement {
        case .show(let command): backend.show(command, into: &rows)
        case .value(_, let value):
            let text = text(of: value)
            rows.add { $0.value(text) }
        case .empty, .help, .accepted, .begin, .end, .deallocate, .discardAll, .setApplicationName,
            .command:
            preconditionFailure("a statement without columns has no rows")
        }
    }

    private func text(of value: ConsoleValue) -> String {
        switch value {
        case .fixed(let text): text
        case .applicationName: applicationName
        case .database: database
        case .user: user
        case .isSuperuser: privilege == .administrator ? "on" : "off"
        case .processID: "\(processID)"
        case .serverVersion: terms.serverVersion
        case .version: "PostgreSQL \(terms.serverVersion) console"
        }
    }

    private func carryOut(
        _ statement: ConsoleStatement, _ backend: some ConsoleBackend, _ reply: inout [UInt8]
    ) throws(ConsoleRefusal) {
        switch statement {
        case .show, .value:
            preconditionFailure("a statement with columns is answered by rows")
        case .empty:
            reply.appendEmptyQueryResponse()
        case .help:
            reply.appendNoticeResponse(ConsoleHelp.notice)
            reply.appendCommandComplete("SHOW")
        case .accepted(let tag):
            reply.appendCommandComplete(tag)
        case .begin:
            status = .inTransaction
            reply.appendCommandComplete("BEGIN")
        case .end(let tag):
            status = .idle
            reply.appendCommandComplete(tag)
        case .deallocate(let name):
            try deallocate(name)
            reply.appendCommandComplete(name == nil ? "DEALLOCATE ALL" : "DEALLOCATE")
        case .discardAll:
            prepared.removeAll()
            reply.appendCommandComplete("DISCARD ALL")
        case .setApplicationName(let name):
            applicationName = name
            backend.applicationNameChanged(name)
            reply.appendParameterStatus(name: "application_name", value: name)
            reply.appendCommandComplete("SET")
        case .command(let command):
            try requireAdministrator(command.name)
            let outcome = try backend.perform(command, into: &reply)
            afterwards = outcome.afterwards ?? afterwards
            wait = outcome.wait ?? wait
            reply.appendCommandComplete(outcome.tag)
        }
    }

    private func deallocate(_ name: String?) throws(ConsoleRefusal) {
        guard let name else {
            prepared.removeAll()
            return
        }
        guard prepared.removeValue(forKey: Array(name.utf8)) != nil else {
            throw Self.noStatement(quoted(name))
        }
    }

    private func requireAdministrator(_ what: String) throws(ConsoleRefusal) {
        guard privilege == .administrator else {
            throw ConsoleRefusal(
                .protocolViolation, "admin access needed",
                detail:
                    "\(what) is for administrators; user \(quoted(user)) is one of stats_users.",
                hint:
                    "Connect as one of admin_users, or as the broker's own user over the Unix socket."
            )
        }
    }

    // MARK: Refusals

    private func shown(_ name: [UInt8]) -> String {
        quoted(String(decoding: name, as: Unicode.UTF8.self))
    }

    private static func noStatement(_ name: String) -> ConsoleRefusal {
        ConsoleRefusal(.invalidStatementName, "prepared statement \(name) does not exist")
    }

    private static func noPortal(_ name: String) -> ConsoleRefusal {
        ConsoleRefusal(.invalidCursorName, "portal \(name) does not exist")
    }

    private static let tooManyNames = ConsoleRefusal(
        .programLimitExceeded, "too many prepared statements or portals",
        hint: "The console keeps \(namesLimit) of each; close those that are done.")
}
