// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Understands one statement of the console.
///
/// A command is one case of `ConsoleCommand` and one line of `command(_:)`.
struct ConsoleParser {
    private let tokens: [ConsoleToken]
    private let terms: ConsoleTerms
    private var index = 0

    /// All statements of a text, or the reason against the first one that is none: a text that holds a mistake
    /// does nothing at all.
    static func statements(
        _ text: [UInt8], _ terms: ConsoleTerms
    ) throws(ConsoleRefusal) -> [ConsoleStatement] {
        var statements: [ConsoleStatement] = []
        for tokens in try ConsoleScanner.statements(text) {
            guard !tokens.contains(.parameter) else {
                throw ConsoleRefusal(
                    .protocolViolation, "the console takes no parameters",
                    hint: "Write the value into the statement in place of $1.")
            }
            var parser = ConsoleParser(tokens, terms)
            statements.append(try parser.statement())
        }
        return statements
    }

    /// The one statement of a Parse message.
    static func statement(
        _ text: [UInt8], _ terms: ConsoleTerms
    ) throws(ConsoleRefusal) -> ConsoleStatement {
        let all = try statements(text, terms)
        guard all.count <= 1 else {
            throw ConsoleRefusal(
                .protocolViolation, "cannot insert multiple commands into a prepared statement")
        }
        return all.first ?? .empty
    }

    private init(_ tokens: [ConsoleToken], _ terms: ConsoleTerms) {
        self.tokens = tokens
        self.terms = terms
    }

    private mutating func statement() throws(ConsoleRefusal) -> ConsoleStatement {
        guard let verb = takeWord() else { throw unknown() }
        let statement: ConsoleStatement
        switch verb {
        case "show": statement = try show()
        case "select": statement = try select()
        case "set": statement = try set()
        case "reset": statement = try reset()
        case "begin", "start", "commit", "end", "rollback", "abort":
            return transaction(verb)
        case "deallocate": statement = try deallocate()
        case "discard":
            guard takeWord() == "all" else { throw unknown() }
            statement = .discardAll
        case "close":
            guard takeWord() == "all" else { throw unknown() }
            statement = .accepted(tag: "CLOSE CURSOR ALL")
        case "unlisten":
            guard take(UInt8(ascii: "*")) else { throw unknown() }
            statement = .accepted(tag: "UNLISTEN")
        default:
            guard let command = try command(verb) else { throw unknown() }
            statement = .command(command)
        }
        try end()
        return statement
    }

    // MARK: Commands

    private mutating func command(_ verb: String) throws(ConsoleRefusal) -> ConsoleCommand? {
        switch verb {
        case "reload": return .reload
        case "shutdown": return .shutDown(try shutdownMode())
        case "pause": return .pause(takeName())
        case "resume": return .resume(takeName())
        case "suspend": return .suspend
        case "reconnect": return .reconnect(takeName())
        case "wait_close": return .waitClose(takeName())
        case "disable": return .disable(try databaseName(verb))
        case "enable": return .enable(try databaseName(verb))
        case "kill":
            if takeWords("lease") {
                return .killLease(try number("KILL LEASE takes the id of a lease"))
            }
            return .kill(takeName())
        case "kill_client":
            return .killClient(try number("KILL_CLIENT takes the id of a client"))
        default: return nil
        }
    }

    private mutating func databaseName(_ verb: String) throws(ConsoleRefusal) -> String {
        guard let name = takeName() else {
            throw ConsoleRefusal(
                .protocolViolation, "a database is required",
                hint: "\(verb.asciiUppercased) takes the name of a database.")
        }
        return name
    }

    private mutating func number<Number: FixedWidthInteger>(
        _ what: String
    ) throws(ConsoleRefusal) -> Number {
        guard let token = peek(), let value = Number(Self.text(token)) else {
            throw ConsoleRefusal(
                .protocolViolation, what, hint: "SHOW LEASES and SHOW CLIENTS list them.")
        }
        index += 1
        return value
    }

    private mutating func shutdownMode() throws(ConsoleRefusal) -> ShutdownMode {
        if isAtEnd { return .immediate }
        switch takeWord() {
        case "wait_for_servers": return .waitForServers
        case "wait_for_clients": return .waitForClients
        default:
            throw ConsoleRefusal(
                .protocolViolation, "invalid command 'SHUTDOWN', use SHOW HELP;",
                detail: "There is no such mode of SHUTDOWN.",
                hint: "SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or SHUTDOWN WAIT_FOR_CLIENTS.")
        }
    }

    // MARK: SHOW

    private mutating func show() throws(ConsoleRefusal) -> ConsoleStatement {
        guard let name = takeName() else { throw unknown() }
        if name == "help" { return .help }
        if let command = ShowCommand(rawValue: name) { return .show(command) }
        switch name {
        case "transaction" where takeWords("isolation", "level"):
            return driver("transaction_isolation")!
        case "time" where takeWords("zone"): return driver("timezone")!
        case "session" where takeWords("authorization"): return driver("session_authorization")!
        default: break
        }
        if let answer = driver(name) { return answer }
        let near = NearestName.of(name, among: ShowCommand.allCases.map(\.rawValue))
        throw ConsoleRefusal(
            .protocolViolation, "invalid command 'SHOW \(name)', use SHOW HELP;",
            hint: near.map { "Did you mean SHOW \($0.asciiUppercased)?" })
    }

    private func driver(_ name: String) -> ConsoleStatement? {
        DriverQuestions.parameter(name).map { .value($0, $1) }
    }

    // MARK: SELECT

    /// `SELECT 1`, `SELECT version()`, or pgbouncer's other word for SHOW.
    private mutating func select() throws(ConsoleRefusal) -> ConsoleStatement {
        if case .number(let number)? = peek() {
            index += 1
            guard let value = Int32(number) else { throw unknown() }
            return .value(ConsoleColumn(try alias("?column?"), .int4), .fixed("\(value)"))
        }
        if case .string(let text)? = peek() {
            index += 1
            return .value(ConsoleColumn(try alias("?column?"), .text), .fixed(text))
        }
        let start = index
        if !(takeWords("pg_catalog") && take(UInt8(ascii: "."))) { index = start }
        guard let name = takeName() else { throw unknown() }
        let isCall = take(UInt8(ascii: "("))
        if isCall {
            if name == "current_setting" { return try currentSetting() }
            guard take(UInt8(ascii: ")")) else { throw unknown() }
        }
        if let (column, value) = DriverQuestions.function(name, isCall: isCall) {
            return .value(ConsoleColumn(try alias(column.name), column.kind), value)
        }
        guard !isCall else { throw unknown() }
        index = start
        return try show()
    }

    private mutating func currentSetting() throws(ConsoleRefusal) -> ConsoleStatement {
        guard case .string(let name)? = peek() else { throw unknown() }
        index += 1
        guard take(UInt8(ascii: ")")) else { throw unknown() }
        guard let (_, value) = DriverQuestions.parameter(name.asciiLowercased) else {
            throw DriverQuestions.unknownParameter(
                name, "invalid command 'SELECT current_setting', use SHOW HELP;")
        }
        return .value(ConsoleColumn(try alias("current_setting"), .text), value)
    }

    /// `AS name`, or the name that the column has without.
    private mutating func alias(_ standard: String) throws(ConsoleRefusal) -> String {
        guard takeWords("as") else { return standard }
        guard let name = takeName() else { throw unknown() }
        return name
    }

    // MARK: What drivers say

    private mutating func set() throws(ConsoleRefusal) -> ConsoleStatement {
        if case .word(let scope)? = peek(), ["session", "local"].contains(scope.asciiLowercased) {
            index += 1
        }
        guard let name = takeName() else { throw unknown() }
        let takesWords = [
            "characteristics", "transaction", "time", "names", "authorization", "role",
        ]
        if takesWords.contains(name) {
            index = tokens.count
            return .accepted(tag: "SET")
        }
        guard take(UInt8(ascii: "=")) || takeWords("to"), !isAtEnd else {
            throw ConsoleRefusal(
                .protocolViolation, "syntax error in SET", hint: "SET name = value.")
        }
        let value = tokens[index]
        index = tokens.count
        if name == "application_name" { return .setApplicationName(Self.text(value)) }
        if terms.isSetting(name), !DriverQuestions.isHarmless(name) {
            return .command(.set(name: name, value: Self.text(value)))
        }
        guard DriverQuestions.isHarmless(name) else {
            throw DriverQuestions.unknownParameter(name)
        }
        return .accepted(tag: "SET")
    }

    private mutating func reset() throws(ConsoleRefusal) -> ConsoleStatement {
        guard let name = takeName() else { throw unknown() }
        index = tokens.count
        if name == "application_name" { return .setApplicationName("") }
        guard ["all", "session", "role", "time"].contains(name) || DriverQuestions.isHarmless(name)
        else { throw DriverQuestions.unknownParameter(name) }
        return .accepted(tag: "RESET")
    }

    /// The console has no transactions; their words are taken with whatever options follow them.
    private func transaction(_ verb: String) -> ConsoleStatement {
        switch verb {
        case "begin", "start": .begin
        case "commit", "end": .end(tag: "COMMIT")
        default: .end(tag: "ROLLBACK")
        }
    }

    private mutating func deallocate() throws(ConsoleRefusal) -> ConsoleStatement {
        if case .word(let word)? = peek(), word.asciiLowercased == "prepare",
            index + 1 < tokens.count
        {
            index += 1
        }
        switch peek() {
        case .word(let name)?:
            index += 1
            return .deallocate(name.asciiLowercased == "all" ? nil : name.asciiLowercased)
        case .quoted(let name)?:
            index += 1
            return .deallocate(name)
        default:
            throw unknown()
        }
    }

    // MARK: Tokens

    private var isAtEnd: Bool { index == tokens.count }

    private func peek() -> ConsoleToken? { isAtEnd ? nil : tokens[index] }

    /// A bare word in lower case.
    private mutating func takeWord() -> String? {
        guard case .word(let word)? = peek() else { return nil }
        index += 1
        return word.asciiLowercased
    }

    /// A bare word in lower case, or a quoted name as it is.
    private mutating func takeName() -> String? {
        if case .quoted(let name)? = peek() {
            index += 1
            return name
        }
        return takeWord()
    }

    /// Takes these bare words, or nothing.
    private mutating func takeWords(_ words: String...) -> Bool {
        let start = index
        for word in words where takeWord() != word {
            index = start
            return false
        }
        return true
    }

    private mutating func take(_ symbol: UInt8) -> Bool {
        guard peek() == .symbol(symbol) else { return false }
        index += 1
        return true
    }

    private static func text(_ token: ConsoleToken) -> String {
        switch token {
        case .word(let text), .quoted(let text), .string(let text), .number(let text): text
        case .parameter, .symbol: ""
        }
    }

    private func end() throws(ConsoleRefusal) {
        guard isAtEnd else {
            throw ConsoleRefusal(
                .protocolViolation, "syntax error at or near \(quoted(shown(tokens[index])))",
                hint: "SHOW HELP lists the commands.")
        }
    }

    private func unknown() -> ConsoleRefusal {
        let text = tokens.prefix(4).map(shown).joined(separator: " ")
        return ConsoleRefusal(
            .protocolViolation, "invalid command '\(text)', use SHOW HELP;",
            hint: "This is the console of pglease, not a PostgreSQL database.")
    }

    private func shown(_ token: ConsoleToken) -> String {
        switch token {
        case .word(let text), .number(let text): text
        case .quoted(let text): "\"\(text)\""
        case .string: "'…'"
        case .parameter: "$"
        case .symbol(let byte): String(decoding: [byte], as: Unicode.UTF8.self)
        }
    }
}
