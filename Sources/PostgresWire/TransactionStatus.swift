/// The byte in ReadyForQuery: whether the server is in a transaction block.
@frozen public enum TransactionStatus: UInt8, Sendable {
    /// 'I': in no transaction block.
    case idle = 0x49
    /// 'T': in a transaction block.
    case inTransaction = 0x54
    /// 'E': in a failed one, where all but its end is refused.
    case failed = 0x45
}
