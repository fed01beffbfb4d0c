// SPDX-License-Identifier: Apache-2.0

/// Collects what a slot sends until there is a batch of whole transactions to apply.
///
/// Invariant: a batch is `isComplete` only between two transactions.
final class TransactionBatch {
    /// A batch is large enough at that many bytes or transactions.
    struct Limits {
        var bytes = 1 << 20
        var transactions = 500
        /// Beyond it the rest of a large transaction goes to disk.
        var memory = 16 << 20
    }

    private let limits: Limits
    let spool: TransactionSpool
    private(set) var transactions = 0
    private(set) var isInTransaction = false
    /// Behind the last whole transaction.
    private(set) var end = LogSequenceNumber.zero

    init(_ limits: Limits = Limits()) {
        self.limits = limits
        spool = TransactionSpool(memoryLimit: limits.memory)
    }

    var isEmpty: Bool { spool.isEmpty }

    /// There is something to apply, and it ends with a transaction.
    var isComplete: Bool { transactions > 0 && !isInTransaction }

    var isFull: Bool {
        isComplete && (spool.byteCount >= limits.bytes || transactions >= limits.transactions)
    }

    func append(_ payload: [UInt8]) throws {
        switch try PgoutputDecoder.kind(of: payload) {
        case .begin:
            guard !isInTransaction else {
                throw ReplicationProtocolError(
                    message: "Begin", problem: "a transaction is open already")
            }
            isInTransaction = true
        case .commit:
            guard isInTransaction, case .commit(let commit) = try PgoutputDecoder.decode(payload)
            else {
                throw ReplicationProtocolError(
                    message: "Commit", problem: "no transaction is open")
            }
            isInTransaction = false
            transactions += 1
            end = commit.endPosition
        case .origin, .relation, .type, .insert, .update, .delete, .truncate, .message: break
        }
        try spool.append(payload)
    }

    func removeAll() {
        precondition(!isInTransaction, "half a transaction would be lost")
        spool.removeAll()
        transactions = 0
    }
}
