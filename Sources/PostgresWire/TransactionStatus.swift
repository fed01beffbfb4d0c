// SPDX-License-Identifier: Apache-2.0

/// The byte in ReadyForQuery: whether the server is in a transaction block.
@frozen public enum TransactionStatus: UInt8, Sendable {
    /// 'I': in no transaction block.
    case idle = 0x49
    /// 'T': in a transaction block.
    case inTransaction = 0x54
    /// 'E': in a failed one, where all but its end is refused.
    case failed = 0x45

    // The generic one over raw values is a call through a witness table in other modules.
    @inlinable @inline(__always)
    public static func == (left: Self, right: Self) -> Bool {
        switch (left, right) {
        case (.idle, .idle), (.inTransaction, .inTransaction), (.failed, .failed): true
        case (.idle, _), (.inTransaction, _), (.failed, _): false
        }
    }
}
