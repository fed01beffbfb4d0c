// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation
import PostgresWire

@testable import LeaseCore

/// One client, one server and the tables between them: what the shell has, without sockets.
///
/// Keeps what a turn leaves over, and feeds it again with what comes next, as the shell does.
struct RelayFixture {
    struct FromClient {
        var toServer: [UInt8] = []
        var toClient: [UInt8] = []
        var verdict = ClientStep.Verdict.more

        var server: [String] { RelayTranscript.ofClient(toServer) }
        var client: [String] { RelayTranscript.ofServer(toClient) }
        var isMalformed: Bool { error != nil }
        var error: PgError? {
            if case .malformed(let error) = verdict { error } else { nil }
        }
        var needsLease: Bool { if case .needsLease = verdict { true } else { false } }
        var isMore: Bool { if case .more = verdict { true } else { false } }
        var isTerminate: Bool { if case .terminate = verdict { true } else { false } }
        var awaitsQuiet: Bool { if case .awaitsQuiet = verdict { true } else { false } }
        /// The lease command that the shell carries out.
        var lease: LeaseCommand? {
            if case .lease(let command, _) = verdict { command } else { nil }
        }
        var form: LeaseForm? { if case .lease(_, let form) = verdict { form } else { nil } }
    }

    var mode = RelayMode(
        pooling: .transaction, maxPreparedStatements: 100, maxMessageSize: 1 << 28)
    var environment = ParseEnvironment()
    private let heldClient = Cell(ClientStream())
    private let heldServer = Cell(ServerStream())
    private let heldStatements = Cell(StatementTable())
    var client: ClientStream {
        _read { yield heldClient.value }
        nonmutating _modify { yield &heldClient.value }
    }
    var server: ServerStream {
        _read { yield heldServer.value }
        nonmutating _modify { yield &heldServer.value }
    }
    var statements: StatementTable {
        _read { yield heldStatements.value }
        nonmutating _modify { yield &heldStatements.value }
    }
    /// Of the client and of the server: what the last turn did not take.
    private(set) var pending: [UInt8] = []
    private(set) var carry: [UInt8] = []
    private let heldToServer = Cell(RelayOutput())
    private let heldToClient = Cell(RelayOutput())
    private var toServer: RelayOutput {
        _read { yield heldToServer.value }
        nonmutating _modify { yield &heldToServer.value }
    }
    private var toClient: RelayOutput {
        _read { yield heldToClient.value }
        nonmutating _modify { yield &heldToClient.value }
    }

    init() {
        server.beginLease()
        // There is a place for whatever pins its lease.
        server.mayPin = true
    }

    init(
        _ pooling: RelayMode.Pooling, prepared: Int = 100, maxMessageSize: Int = 1 << 28
    ) {
        self.init()
        mode = RelayMode(
            pooling: pooling, maxPreparedStatements: prepared, maxMessageSize: maxMessageSize)
    }

    /// The client sends, and holds the server.
    @discardableResult
    mutating func send(_ bytes: [UInt8]) -> FromClient {
        let input = pending + bytes
        var result = FromClient()
        input.withUnsafeBytes { raw in
            var turn = ClientTurn(raw, mode: mode, environment: environment)
            let step = turn.run(
                &client, &server, statements: &statements, toServer: &toServer,
                toClient: &toClient)
            result = take(step, raw)
        }
        // Somebody listens for it at once.
        if case .awaitsListening = result.verdict, let listening = client.listening {
            listening.gate = .passed
            var rest = send([])
            rest.toServer = result.toServer + rest.toServer
            rest.toClient = result.toClient + rest.toClient
            return rest
        }
        return result
    }

    @discardableResult
    mutating func send(_ write: (inout [UInt8]) -> Void) -> FromClient {
        send(message(write))
    }

    /// The client sends, and holds none, or has it directly: then there is a refusal.
    @discardableResult
    mutating func sendWithoutLease(
        refusal: PgError? = nil, _ write: (inout [UInt8]) -> Void = { _ in }
    ) -> FromClient {
        let input = pending + message(write)
        var result = FromClient()
        input.withUnsafeBytes { raw in
            var turn = ClientTurn(raw, mode: mode)
            let step = turn.runWithoutLease(
                &client, refusal: refusal, statements: &statements, toClient: &toClient)
            result = take(step, raw)
        }
        return result
    }

    /// What waits is answered with an error.
    mutating func refuseBatch(with error: PgError) -> FromClient {
        let input = pending
        var result = FromClient()
        input.withUnsafeBytes { raw in
            var turn = ClientTurn(raw, mode: mode)
            let step = turn.refuseBatch(with: error, &client, toClient: &toClient)
            result = take(step, raw)
        }
        return result
    }

    /// What waits is answered without a server, if it only ends a transaction.
    mutating func answerTransactionEnd() -> [UInt8]? {
        let input = pending
        return input.withUnsafeBytes { raw in
            var turn = ClientTurn(raw, mode: mode)
            let step = turn.answerTransactionEnd(
                &client, statements: &statements, toClient: &toClient)
            let result = take(step, raw)
            return step.consumed > 0 ? result.toClient : nil
        }
    }

    private mutating func take(_ step: ClientStep, _ raw: UnsafeRawBufferPointer) -> FromClient {
        pending = Array(raw[step.consumed...])
        defer {
            toServer.reset()
            toClient.reset()
        }
        return FromClient(
            toServer: Array(toServer.bytes(of: raw)),
            toClient: Array(toClient.bytes(of: raw)), verdict: step.verdict)
    }

    /// The server answers.
    mutating func answerBytes(_ bytes: [UInt8]) -> (bytes: [UInt8], step: ServerStep) {
        let input = carry + bytes
        var result: [UInt8] = []
        var step: ServerStep?
        input.withUnsafeBytes { raw in
            var turn = ServerTurn(raw, mode: mode)
            let taken = turn.run(
                &client, &server, statements: &statements, toClient: &toClient)
            step = taken
            carry = Array(raw[taken.consumed...])
            result = Array(toClient.bytes(of: raw))
            toClient.reset()
        }
        // Nothing is to be told in front of a ReadyForQuery.
        if let listening = client.listening, listening.ready == .wanted {
            listening.ready = .passed
            let rest = answerBytes([])
            return (result + rest.bytes, rest.step)
        }
        return (result, step!)
    }

    @discardableResult
    mutating func answer(_ write: (inout [UInt8]) -> Void) -> [String] {
        RelayTranscript.ofServer(answerBytes(message(write)).bytes)
    }

    mutating func step(_ write: (inout [UInt8]) -> Void) -> ServerStep {
        answerBytes(message(write)).step
    }

    var carryIsEmpty: Bool { carry.isEmpty }
    var isLeaseOver: Bool { server.isLeaseOver(client, mode) }
    var willAnswer: Bool { server.willAnswer(without: client.passing) }
    var isEnding: Bool { server.isEnding }
    var isQuiet: Bool { server.isQuiet }
    var isSuspect: Bool { server.isSuspect }
    var isOwing: Bool { server.isOwing }
    var isReadingRows: Bool { server.isReadingRows }
    var isSkippingToSync: Bool { client.isSkippingToSync }

    /// The server is gone.
    mutating func lose(isHeld: Bool = false) -> (outcome: SessionOutcome, client: [String]) {
        var bytes: [UInt8] = []
        let error = PgError.error(.connectionFailure, "lost")
        let outcome = server.lose(
            &client, error: error, isHeld: isHeld, statements: &statements, toClient: &bytes)
        carry = []
        server.releaseAll(in: &statements)
        return (outcome, RelayTranscript.ofServer(bytes))
    }

    mutating func beginDraining() -> [String]? {
        var bytes: [UInt8] = []
        return server.beginDraining(client, into: &bytes) ? RelayTranscript.ofClient(bytes) : nil
    }

    /// Another server takes the place of this one, which goes on living if it is kept.
    @discardableResult
    mutating func lease(_ other: consuming ServerStream = ServerStream()) -> ServerStream {
        let before = exchange(&server, with: other)
        server.beginLease()
        return before
    }

    /// Somebody else gets the same server.
    mutating func leaseAgain() { server.beginLease() }

    /// References left when everyone is gone.
    mutating func leftOver() -> Int {
        client.releaseAll(in: &statements)
        server.releaseAll(in: &statements)
        return statements.count
    }

    /// A named statement is prepared, by a batch of its own.
    mutating func prepare(_ name: String, _ text: String) {
        send {
            $0.appendParse(name: name, query: text)
            $0.appendSync()
        }
        answer {
            $0.appendParsed()
            $0.appendReadyForQuery(.idle)
        }
    }
}

extension RelayFixture: CustomStringConvertible {
    var description: String {
        "relay(owing: \(server.isOwing), status: \(server.status), copy: \(server.copy),"
            + " skipping: \(server.isSkippingToSync), prepared: \(server.prepared.count))"
    }
}

func message(_ write: (inout [UInt8]) -> Void) -> [UInt8] {
    var bytes: [UInt8] = []
    write(&bytes)
    return bytes
}

extension [UInt8] {
    /// An unnamed statement from Parse to Execute, without its Sync.
    mutating func appendStatement(_ text: String) {
        appendParse(name: "", query: text)
        appendBind()
        appendExecute()
    }

    /// A named statement, bound and executed.
    mutating func appendRun(_ name: String) {
        appendBind(statement: name)
        appendExecute()
    }

    /// A named Parse and the broker's own question what it is are answered.
    mutating func appendParsed(types: [UInt32] = [], columns: [ColumnDescription] = []) {
        appendParseComplete()
        appendParameterDescription(types)
        if columns.isEmpty { appendNoData() } else { appendRowDescription(columns) }
    }

    mutating func appendFailure(_ state: SQLState = .syntaxError, _ text: String = "no") {
        appendErrorResponse(.error(state, text))
    }
}
