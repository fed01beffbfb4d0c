// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// Finds the end of whatever a client left on a connection that it had directly.
///
/// Nobody watched the protocol meanwhile: there may be rows under way, a copy, a batch without its
/// Sync, a transaction. A marked query is sent, and everything in front of its row is thrown away; the
/// query that cleans the session goes along behind it, and the one that puts back in force what its process
/// wants in force. For whoever left the connection as it should be, one flight does all.
///
/// The marker is looked for byte by byte: the client may have read half a message, so that what follows
/// begins with no header. From the marker on the stream is framed as ever.
package struct DirectReturn {
    package enum Outcome: Equatable, Sendable {
        /// The marker has not come yet.
        case more
        /// The connection is quiet, its transaction in this state.
        case settled(TransactionStatus)
        /// The connection is quiet, and as new.
        case clean
        case broken(String)
    }

    private enum Phase {
        case seeking
        /// The marker was seen; so many ReadyForQuery are to come, with those of the reset and of the set-up.
        case ending(answers: Int)
    }

    /// Bytes that were thrown away.
    package private(set) var discarded = 0
    /// The reset dropped every prepared statement.
    package private(set) var hasDroppedStatements = false
    /// It is clean, and the set-up is in force.
    package private(set) var isSetUp = false
    /// The text of the reset that asks for something found it.
    package private(set) var hasFound = false
    /// What the server reported since its state is known.
    package private(set) var parameters: [(name: String, value: String)] = []

    private let nonce: UInt64
    private let reset: [String]
    private let probe: Int?
    private let setup: [String]
    private var attempt = 0
    private var pattern: [UInt8] = []
    private var phase = Phase.seeking
    private var passing = 0
    private var sawError = false
    private var hasResetFailed = false
    private var hasSetupFailed = false

    /// After so many marked queries without an answer the connection is given up: a late cancel
    /// fails one, a transaction another, a batch without its Sync a third.
    static let attempts = 6
    /// PostgreSQL sends no longer message.
    private static let messageLimit = 1 << 30
    /// A longer message is passed over unread.
    private static let wholeLimit = 1 << 16

    /// `nonce` must be one that the client cannot foresee. The texts of `reset` clean the session, that at
    /// `probe` asks whether something is there; those of `setup` are what is wanted in force in a clean one.
    package init(
        nonce: UInt64, reset: [String] = [], probe: Int? = nil, setup: [String] = []
    ) {
        self.nonce = nonce
        self.reset = reset
        self.probe = probe
        self.setup = reset.isEmpty ? [] : setup
    }

    /// Queries behind the marked one's Sync.
    private var followers: Int { reset.count + setup.count }

    // MARK: To the server

    /// What to send first.
    package mutating func begin(into bytes: inout [UInt8]) {
        // Ignored by a server that reads no rows.
        bytes.appendCopyFail("the lease is returned")
        appendAttempt(into: &bytes)
    }

    /// The marked query comes in front of the Sync: it fails in a transaction, also in the one that a
    /// batch without its Sync is, which a Sync would commit. A server that skips to the Sync skips it.
    private mutating func appendAttempt(into bytes: inout [UInt8]) {
        attempt += 1
        sawError = false
        let text = "pglease-\(nonce)-\(attempt)"
        pattern = []
        pattern.appendDataRow(texts: [text])
        bytes.appendQuery(
            "SELECT CASE WHEN pg_catalog.now() OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp()"
                + " THEN '\(text)' ELSE ('a lease was returned to pglease in an open transaction, at '"
                + " OPERATOR(pg_catalog.||) pg_catalog.now()::pg_catalog.text)"
                + "::pg_catalog.int4::pg_catalog.text END")
        bytes.appendSync()
        for text in reset { bytes.appendQuery(text) }
        for text in setup { bytes.appendQuery(text) }
    }

    // MARK: From the server

    /// Reads what the server sent; answers how far it got, and what to send now.
    package mutating func receive(
        _ input: UnsafeRawBufferPointer, toServer bytes: inout [UInt8]
    ) -> (consumed: Int, outcome: Outcome) {
        var offset = 0
        if case .seeking = phase {
            if let end = endOfMarker(in: input) {
                offset = end
                passing = 0
                sawError = false
                hasResetFailed = false
                hasSetupFailed = false
                hasFound = false
                phase = .ending(answers: 2 + followers)
            }
        }
        let result = frame(input, from: offset, &bytes)
        discarded += result.consumed
        return result
    }

    private mutating func frame(
        _ input: UnsafeRawBufferPointer, from start: Int, _ bytes: inout [UInt8]
    ) -> (consumed: Int, outcome: Outcome) {
        var offset = start
        // A marker may have begun: its beginning stays until its end is there.
        let limit = isSeeking ? input.count - overlap(of: input) : input.count
        while offset < limit {
            if passing > 0 {
                let count = min(passing, limit - offset)
                passing -= count
                offset += count
                continue
            }
            guard limit - offset >= MessageHeader.size else { break }
            let header = MessageHeader(input, at: offset)
            guard (0...Self.messageLimit).contains(header.bodyLength) else {
                // Half a message was read: only the marker tells where the next one begins.
                guard isSeeking else { return (offset, .broken("it broke the protocol")) }
                return (limit, .more)
            }
            let whole = MessageHeader.size + header.bodyLength
            if header.bodyLength <= Self.wholeLimit, limit - offset < whole { break }
            let end = min(offset + whole, limit)
            // How much of a longer one is here is chance: of that only the kind counts.
            let isWhole = header.bodyLength <= Self.wholeLimit
            let start = isWhole ? offset + MessageHeader.size : end
            let body = UnsafeRawBufferPointer(rebasing: input[start..<end])
            passing = offset + whole - end
            offset = end
            if let outcome = message(BackendKind(rawValue: header.kind), body, &bytes) {
                return (offset, outcome)
            }
        }
        return (offset, .more)
    }

    private var isSeeking: Bool {
        if case .seeking = phase { true } else { false }
    }

    private mutating func message(
        _ kind: BackendKind, _ body: UnsafeRawBufferPointer, _ bytes: inout [UInt8]
    ) -> Outcome? {
        switch kind {
        case .errorResponse:
            sawError = true
        case .readyForQuery:
            return ready(body, &bytes)
        case .parameterStatus where !isSeeking:
            if let parameter = ParameterStatusBody(body: body) {
                parameters.append((parameter.name, parameter.value))
            }
        case .commandComplete where !isSeeking:
            if CommandTagKind.of(body) == .discardAll { hasDroppedStatements = true }
            if isAnswer(of: probe), isTag(body, "SELECT 1") { hasFound = true }
        default: break
        }
        return nil
    }

    private mutating func ready(
        _ body: UnsafeRawBufferPointer, _ bytes: inout [UInt8]
    ) -> Outcome? {
        guard let status = TransactionStatus(rawValue: body.first ?? 0) else {
            return isSeeking ? nil : .broken("it reported an unknown transaction status")
        }
        guard case .ending(let answers) = phase else {
            return tryAgain(status, &bytes)
        }
        if answers <= setup.count {
            hasSetupFailed = hasSetupFailed || sawError
        } else if answers <= followers {
            hasResetFailed = hasResetFailed || sawError || status != .idle
        }
        if answers > 1 {
            // Each answer's error is its own: that of the marked query is none of the reset.
            sawError = false
            phase = .ending(answers: answers - 1)
            return nil
        }
        guard !reset.isEmpty, !hasResetFailed, status == .idle else { return .settled(status) }
        isSetUp = !setup.isEmpty && !hasSetupFailed
        return .clean
    }

    /// What comes now answers this text of the reset.
    private func isAnswer(of text: Int?) -> Bool {
        guard let text, case .ending(let answers) = phase else { return false }
        return answers == followers - text
    }

    /// A batch ended without the marker. The marked query may have failed, or was skipped, or this
    /// was something before it: one more does no harm.
    private mutating func tryAgain(
        _ status: TransactionStatus, _ bytes: inout [UInt8]
    ) -> Outcome? {
        guard sawError || attempt == 1 else { return nil }
        // In a transaction each of the texts fails.
        guard attempt < Self.attempts + max(0, 2 * followers - 2) else {
            return .broken("it answers with errors only")
        }
        if status != .idle { bytes.appendQuery("ROLLBACK") }
        appendAttempt(into: &bytes)
        return nil
    }

    // MARK: The marker

    /// The end of the marked row, wherever it stands.
    private func endOfMarker(in input: UnsafeRawBufferPointer) -> Int? {
        guard input.count >= pattern.count else { return nil }
        var index = 0
        let last = input.count - pattern.count
        while index <= last {
            if input[index] == pattern[0], matches(input, at: index, pattern.count) {
                return index + pattern.count
            }
            index += 1
        }
        return nil
    }

    private func matches(_ input: UnsafeRawBufferPointer, at start: Int, _ count: Int) -> Bool {
        for index in 0..<count where input[start + index] != pattern[index] { return false }
        return true
    }

    /// How many of the last bytes may be the beginning of the marked row.
    private func overlap(of input: UnsafeRawBufferPointer) -> Int {
        for count in stride(from: min(pattern.count - 1, input.count), to: 0, by: -1)
        where matches(input, at: input.count - count, count) {
            return count
        }
        return 0
    }
}
