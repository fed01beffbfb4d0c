package import PostgresWire

/// Finds the end of whatever a client left on a connection that it had directly.
///
/// Nobody watched the protocol meanwhile: there may be rows under way, a copy, a batch without its
/// Sync, a transaction that failed. A marked query is sent, and everything in front of its answer is thrown
/// away. The query that cleans the session goes along behind it: for whoever left the connection as
/// it should be, one flight does both.
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

    /// Bytes that were thrown away.
    package private(set) var discarded = 0
    private let nonce: UInt64
    private var attempt = 0
    private var passing = 0
    private var sawMarker = false
    private var sawError = false
    private var isResetSent = false
    /// The reset's answer is due; the transaction's status before it.
    private var statusBeforeReset: TransactionStatus?
    /// The reset dropped every prepared statement.
    package private(set) var hasDroppedStatements = false
    /// What the server reported since its state is known.
    package private(set) var parameters: [(name: String, value: String)] = []

    /// After so many marked queries that failed the connection is given up: a late cancel fails
    /// one, a failed transaction another.
    static let attempts = 4
    /// A marker's row is short, and so is what tells of an error's transaction.
    private static let wholeLimit = 64
    private static let parameterLimit = 1 << 16

    /// `nonce` must be one that the client cannot foresee.
    package init(nonce: UInt64) { self.nonce = nonce }

    private var marker: String { "pglease-\(nonce)-\(attempt)" }

    /// What to send first. `reset` cleans the session if no transaction is open.
    package mutating func begin(reset: String? = nil, into bytes: inout [UInt8]) {
        // Each is ignored by a server that is not in the state which it ends.
        bytes.appendCopyFail("the lease is returned")
        bytes.appendSync()
        appendMarkedQuery(into: &bytes)
        if let reset {
            bytes.appendQuery(reset)
            isResetSent = true
        }
    }

    private mutating func appendMarkedQuery(into bytes: inout [UInt8]) {
        attempt += 1
        sawError = false
        bytes.appendQuery("SELECT '\(marker)'")
    }

    /// Reads what the server sent; answers how far it got, and what to send now.
    package mutating func receive(
        _ input: UnsafeRawBufferPointer, toServer bytes: inout [UInt8]
    ) -> (consumed: Int, outcome: Outcome) {
        var offset = 0
        while offset < input.count {
            if passing > 0 {
                let count = min(passing, input.count - offset)
                passing -= count
                offset += count
                continue
            }
            guard input.count - offset >= MessageHeader.size else { break }
            let header = MessageHeader(input, at: offset)
            guard header.bodyLength >= 0 else {
                return (offset, .broken("a message of impossible length was left on it"))
            }
            let whole = MessageHeader.size + header.bodyLength
            let kind = BackendKind(rawValue: header.kind)
            let isRead = header.bodyLength <= Self.wholeLimit || kind == .parameterStatus
            if isRead, input.count - offset < whole {
                if header.bodyLength <= Self.parameterLimit { break }
                return (offset, .broken("a message of impossible length was left on it"))
            }
            let end = min(offset + whole, input.count)
            let body = UnsafeRawBufferPointer(
                rebasing: input[(offset + MessageHeader.size)..<end])
            passing = offset + whole - end
            offset = end
            switch kind {
            case .dataRow where isMarker(body): sawMarker = true
            case .errorResponse: sawError = true
            case .parameterStatus where statusBeforeReset != nil:
                if let parameter = ParameterStatusBody(body: body) {
                    parameters.append((parameter.name, parameter.value))
                }
            case .commandComplete where statusBeforeReset != nil:
                if CommandTagKind.of(body) == .discardAll { hasDroppedStatements = true }
            case .readyForQuery:
                let outcome = ready(body, &bytes)
                if outcome != .more { return (offset, outcome) }
            default: break
            }
        }
        discarded += offset
        return (offset, .more)
    }

    private mutating func ready(
        _ body: UnsafeRawBufferPointer, _ bytes: inout [UInt8]
    ) -> Outcome {
        guard let status = TransactionStatus(rawValue: body.first ?? 0) else {
            return .broken("it reported an unknown transaction status")
        }
        if let before = statusBeforeReset {
            let isClean = before == .idle && status == .idle && !sawError
            return isClean ? .clean : .settled(status)
        }
        if sawMarker {
            // Behind a later marker no reset was sent.
            guard isResetSent, attempt == 1 else { return .settled(status) }
            statusBeforeReset = status
            sawError = false
            return .more
        }
        guard sawError else { return .more }
        // It may have been the marked query that failed, or something before it.
        guard attempt < Self.attempts else {
            return .broken("it answers with errors only")
        }
        if status == .failed { bytes.appendQuery("ROLLBACK") }
        appendMarkedQuery(into: &bytes)
        return .more
    }

    /// One column with the text of the last marked query.
    private func isMarker(_ body: UnsafeRawBufferPointer) -> Bool {
        let text = Array(marker.utf8)
        guard body.count == 6 + text.count else { return false }
        return body[1] == 1 && body[6...].elementsEqual(text)
    }
}
