package import PostgresWire

/// Finds the end of whatever a client left on a connection that it had directly.
///
/// Nobody watched the protocol meanwhile: there may be rows under way, a copy, a batch without its
/// Sync, a transaction that failed. A marked query is sent, and everything in front of its answer is thrown
/// away. Who left the connection as it should be costs one query.
package struct DirectReturn {
    package enum Outcome: Equatable, Sendable {
        /// The marker has not come yet.
        case more
        /// The connection is quiet, its transaction in this state.
        case settled(TransactionStatus)
        case broken(String)
    }

    /// Bytes that were thrown away.
    package private(set) var discarded = 0
    private let nonce: UInt64
    private var attempt = 0
    private var passing = 0
    private var sawMarker = false
    private var sawError = false

    /// After so many marked queries that failed the connection is given up: a late cancel fails
    /// one, a failed transaction another.
    static let attempts = 4
    /// A marker's row is short, and so is what tells of an error's transaction.
    private static let wholeLimit = 64

    /// `nonce` must be one that the client cannot foresee.
    package init(nonce: UInt64) { self.nonce = nonce }

    private var marker: String { "pglease-\(nonce)-\(attempt)" }

    /// What to send first.
    package mutating func begin(into bytes: inout [UInt8]) {
        // Each is ignored by a server that is not in the state which it ends.
        bytes.appendCopyFail("the lease is returned")
        bytes.appendSync()
        appendMarkedQuery(into: &bytes)
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
            if header.bodyLength <= Self.wholeLimit, input.count - offset < whole { break }
            let end = min(offset + whole, input.count)
            let body = UnsafeRawBufferPointer(
                rebasing: input[(offset + MessageHeader.size)..<end])
            passing = offset + whole - end
            offset = end
            switch BackendKind(rawValue: header.kind) {
            case .dataRow where isMarker(body): sawMarker = true
            case .errorResponse: sawError = true
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
        if sawMarker { return .settled(status) }
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
