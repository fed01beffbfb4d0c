// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire

/// The broker, and the server that it has back from a client.
struct DirectReturnFixture {
    var backend = RelayBackend()
    var machine: DirectReturn
    var outcome = DirectReturn.Outcome.more
    /// What the machine left of its input.
    var carry: [UInt8] = []
    /// What the broker sent, as texts; a marked query as `Marked(its text)`.
    private(set) var sent: [String] = []
    private let reset: String?
    private let setup: String?

    init(reset: String? = nil, setup: String? = nil) {
        self.reset = reset
        self.setup = setup
        machine = DirectReturn(
            nonce: 77, reset: reset.map { [$0] } ?? [], setup: setup.map { [$0] } ?? [])
    }

    /// Marked queries that were sent.
    var attempts: Int { sent.count { $0.hasPrefix("Marked") } }
    var isOver: Bool { outcome != .more }

    /// What an attempt sends.
    func attempt(_ number: Int, rollback: Bool = false) -> [String] {
        (rollback ? ["Query(ROLLBACK)"] : []) + ["Marked(pglease-77-\(number))", "Sync"]
            + [reset, setup].compactMap { $0.map { "Query(\($0))" } }
    }

    /// What the machine says once it has succeeded.
    var success: DirectReturn.Outcome { reset == nil ? .settled(.idle) : .clean }

    // MARK: The client

    /// The client speaks, and has read so many bytes of the answers, all of them if nothing is said.
    mutating func leave(read: Int? = nil, _ write: (inout [UInt8]) -> Void) {
        backend.input += message(write)
        while backend.step() {}
        backend.output.removeFirst(min(read ?? backend.output.count, backend.output.count))
    }

    /// Where the messages end that the server has said, from 0 on.
    var messageEnds: [Int] {
        var ends = [0]
        while backend.output.count - ends.last! >= MessageHeader.size {
            let header = backend.output.withUnsafeBytes { MessageHeader($0, at: ends.last!) }
            ends.append(ends.last! + MessageHeader.size + header.bodyLength)
        }
        return ends
    }

    // MARK: The broker

    mutating func begin() {
        var bytes: [UInt8] = []
        machine.begin(into: &bytes)
        send(bytes)
    }

    private mutating func send(_ bytes: [UInt8]) {
        sent += RelayTranscript.ofClient(bytes).map { text in
            guard text.hasPrefix("Query(SELECT CASE WHEN pg_catalog.now()") else { return text }
            return "Marked(\(text.split(separator: "'")[1]))"
        }
        backend.input += bytes
    }

    mutating func receive(_ bytes: [UInt8]) {
        guard !isOver else {
            carry += bytes
            return
        }
        let input = carry + bytes
        var answer: [UInt8] = []
        let (consumed, outcome) = input.withUnsafeBytes {
            machine.receive($0, toServer: &answer)
        }
        carry = Array(input[consumed...])
        self.outcome = outcome
        send(answer)
    }

    mutating func receive(_ bytes: [UInt8], pieces: Int) {
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            receive(Array(bytes[start..<min(start + pieces, bytes.count)]))
        }
    }

    /// To the end, the server's answers in pieces of this size; the first one may have its own.
    mutating func run(first: Int? = nil, pieces: Int = .max) {
        var size = first ?? pieces
        while true {
            while backend.step() {}
            guard !backend.output.isEmpty else { return }
            let piece = Array(backend.output.prefix(size))
            backend.output.removeFirst(piece.count)
            receive(piece)
            size = pieces
        }
    }

    /// Nothing is on its way in either direction, and the server waits for a batch.
    var isQuiet: Bool {
        carry.isEmpty && backend.input.isEmpty && backend.output.isEmpty && !backend.isCopying
            && !backend.isSkipping && !backend.isInTransaction && !backend.hasPortals
    }

    /// As a new connection is, but for the profile that was put in force again.
    var isAsNew: Bool {
        isQuiet && backend.status == .idle && backend.mark == nil && backend.prepared.isEmpty
            && backend.profile == (machine.isSetUp ? "7" : "0")
    }

    /// What was said of the server is true of it.
    var isTrue: Bool {
        switch outcome {
        case .more, .broken: true
        case .settled(let status): isQuiet && backend.status == status
        case .clean: isAsNew
        }
    }

    // MARK: What a server says

    /// The marked row, in the answer to which it stands.
    static func marked(_ attempt: Int = 1) -> [UInt8] {
        message { $0.appendDataRow(texts: ["pglease-77-\(attempt)"]) }
    }

    /// The answers to the marked query and to its Sync.
    static func found(_ attempt: Int = 1, _ status: TransactionStatus = .idle) -> [UInt8] {
        message {
            $0.appendRowDescription([ColumnDescription(name: "case")])
            $0 += marked(attempt)
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(status)
            $0.appendReadyForQuery(status)
        }
    }

    /// The answer to a reset that has done it.
    static let discarded = message {
        $0.appendCommandComplete("DISCARD ALL")
        $0.appendParameterStatus(name: "client_encoding", value: "UTF8")
        $0.appendReadyForQuery(.idle)
    }

    static func failed(_ status: TransactionStatus = .idle) -> [UInt8] {
        message {
            $0.appendFailure(.queryCanceled)
            $0.appendReadyForQuery(status)
        }
    }
}
