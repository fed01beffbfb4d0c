// SPDX-License-Identifier: Apache-2.0

/// What can go wrong with a lease: a ``code``, what happened, and what to do about it.
///
/// A task that was cancelled throws `CancellationError`; a value that is not what it was asked for
/// throws ``DecodeError``.
///
///     do {
///         try client.withLease { … }
///     } catch let error as LeaseError where error.code == .exhausted {
///         print(error.exhaustion?.holders ?? [])
///     } catch LeaseError.Code.revoked {
///         …
///     }
public struct LeaseError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is. A later version may have more of them: a `switch` needs a `default`.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        /// The name as in the sources: for logs and for the dimension of a metric.
        public let description: String

        private init(_ name: String) { description = name }

        /// No connection by the deadline, or the queue was full (53300): ``LeaseError/exhaustion`` has
        /// the holders. It was tried as often as the retry policy says.
        public static let exhausted = Code("exhausted")
        /// Every holder waits for another lease (40P01): the `detail` of ``LeaseError/postgresError``
        /// tells the cycle.
        public static let poolLock = Code("poolLock")
        /// The broker took the lease back: HOLD or another limit, told in the message (57P05). What was
        /// not committed is rolled back.
        public static let revoked = Code("revoked")
        /// The server connection of this lease is lost (08006). Whether a COMMIT that was under way
        /// took effect is unknown.
        public static let serverLost = Code("serverLost")
        /// The broker cannot reach the server, or it refuses (08001, a wrong database …).
        public static let serverUnreachable = Code("serverUnreachable")
        /// The broker could not be reached, or went away.
        public static let brokerAway = Code("brokerAway")
        /// The broker refuses this client: password, rights, database, too many clients.
        public static let refused = Code("refused")
        /// Whoever answers does not know LEASE: it is PostgreSQL itself or another pooler.
        public static let notABroker = Code("notABroker")
        /// The server's error to a statement. The lease goes on; a transaction has failed.
        public static let sql = Code("sql")
        /// The statement took longer than its timeout (``LeaseError/timeout``) and was cancelled.
        public static let timedOut = Code("timedOut")
        /// The statement was cancelled by ``StatementCanceller``.
        public static let cancelled = Code("cancelled")
        /// A statement of a pipeline did not run, because an earlier one failed:
        /// ``LeaseError/failedStatement``.
        public static let pipelineAborted = Code("pipelineAborted")
        /// The client was closed, or a connection was used after its lease had ended.
        public static let closed = Code("closed")
        /// The lease belongs to the process that forked this one; take one of your own.
        public static let forked = Code("forked")
        /// The call makes no sense here: the message says why.
        public static let usage = Code("usage")
        /// The connection string or a variable of the environment cannot be used.
        public static let configuration = Code("configuration")

        /// For `catch LeaseError.Code.revoked` and `case`.
        public static func ~= (code: Code, error: (any Error)?) -> Bool {
            (error as? LeaseError)?.code == code
        }
    }

    /// What the broker says of a pool without a free connection.
    public struct Exhaustion: Error, Equatable, Sendable {
        /// How long this client waited, all attempts and pauses together.
        public var waited: Duration
        public var attempts: Int
        /// Who holds the leases, the longest first; may be cut by the broker.
        public var holders: [Holder]
        /// Which limit it was, in words.
        public var message: String
        public var detail: String?
        public var hint: String?
        /// The limit is this client's own `maximumConnections`.
        public var isLocal: Bool
        /// How long each attempt was to wait; nil when that was left to the broker.
        public var wait: Duration?
    }

    /// Shared by copies: an error is made once, and thrown through many frames.
    private final class Facts: Sendable {
        let code: Code
        let message: String
        let hint: String?
        let postgresError: PostgresError?
        let exhaustion: Exhaustion?
        let timeout: Duration?
        let failedStatement: Int?
        let underlying: (any Error)?

        init(
            _ code: Code, _ message: String, _ hint: String?, _ postgresError: PostgresError?,
            _ exhaustion: Exhaustion?, _ timeout: Duration?, _ failedStatement: Int?,
            _ underlying: (any Error)?
        ) {
            self.code = code
            self.message = message
            self.hint = hint
            self.postgresError = postgresError
            self.exhaustion = exhaustion
            self.timeout = timeout
            self.failedStatement = failedStatement
            self.underlying = underlying
        }
    }

    private let facts: Facts

    private init(
        _ code: Code, _ message: String, hint: String? = nil, postgres: PostgresError? = nil,
        exhaustion: Exhaustion? = nil, timeout: Duration? = nil, failedStatement: Int? = nil,
        underlying: (any Error)? = nil
    ) {
        facts = Facts(
            code, message, hint, postgres, exhaustion, timeout, failedStatement,
            underlying ?? postgres)
    }

    public var code: Code { facts.code }

    /// What happened, in one sentence, with the server's own words where there are any.
    public var message: String { facts.message }

    /// What to do about it.
    public var hint: String? { facts.hint }

    /// Of the server or the broker, such as `53300`; nil where neither has said anything.
    public var sqlState: String? { postgresError?.sqlState }

    /// The server's or the broker's own words, when there are any.
    public var postgresError: PostgresError? { facts.postgresError }

    /// Of an ``Code/exhausted``.
    public var exhaustion: Exhaustion? { facts.exhaustion }

    /// Of a ``Code/timedOut``: the timeout that was over.
    public var timeout: Duration? { facts.timeout }

    /// Of a ``Code/pipelineAborted``: the place, from 0, of the statement that failed.
    public var failedStatement: Int? { facts.failedStatement }

    /// The error that this one is made of.
    public var underlying: (any Error)? { facts.underlying }

    /// Message and hint.
    public var description: String { hint.map { "\(message); \($0)" } ?? message }

    /// Before a lease is granted these are tried again, as the retry policy says.
    var isWorthAnotherAttempt: Bool { code == .exhausted || code == .brokerAway }
}

// MARK: Making one

// Public, so that tests of a program can throw what it has to deal with.
extension LeaseError {
    public static func exhausted(_ exhaustion: Exhaustion) -> LeaseError {
        let postgres = PostgresError(
            sqlState: "53300", message: exhaustion.message, detail: exhaustion.detail,
            hint: exhaustion.hint)
        return LeaseError(
            .exhausted, exhaustion.sentence, hint: exhaustion.hint,
            postgres: postgres, exhaustion: exhaustion)
    }

    public static func poolLock(_ error: PostgresError) -> LeaseError {
        LeaseError(
            .poolLock, "pool lock: \(error)",
            hint: "take fewer leases inside leases, or raise reserve_pool_size", postgres: error)
    }

    public static func revoked(_ error: PostgresError) -> LeaseError {
        LeaseError(
            .revoked, "the lease was revoked: \(error)",
            hint: "hold leases for a shorter time or ask for a longer HOLD", postgres: error)
    }

    public static func serverLost(_ error: PostgresError) -> LeaseError {
        LeaseError(
            .serverLost, "the server connection was lost: \(error)",
            hint: "run the transaction again in a new lease", postgres: error)
    }

    public static func serverUnreachable(_ error: PostgresError) -> LeaseError {
        LeaseError(
            .serverUnreachable, "the broker cannot give a server connection: \(error)",
            postgres: error)
    }

    public static func brokerAway(
        reason: String, underlying: (any Error)? = nil
    ) -> LeaseError {
        LeaseError(
            .brokerAway, "the broker is away: \(reason)",
            hint: "is pglease running, and is its address right?", underlying: underlying)
    }

    public static func refused(_ error: PostgresError) -> LeaseError {
        LeaseError(.refused, "the broker refuses this client: \(error)", postgres: error)
    }

    public static func notABroker(_ error: PostgresError) -> LeaseError {
        LeaseError(
            .notABroker,
            "no pglease answers at this address, since LEASE is unknown there: \(error)",
            hint: "point the client at the broker (port 6432 by default)", postgres: error)
    }

    public static func sql(_ error: PostgresError) -> LeaseError {
        LeaseError(.sql, "\(error)", postgres: error)
    }

    public static func timedOut(after timeout: Duration) -> LeaseError {
        LeaseError(
            .timedOut, "the statement was cancelled after \(timeout), its timeout",
            timeout: timeout)
    }

    public static let cancelled = LeaseError(.cancelled, "the statement was cancelled")

    public static func pipelineAborted(by index: Int) -> LeaseError {
        LeaseError(
            .pipelineAborted, "not run: statement \(index) of the pipeline failed before it",
            failedStatement: index)
    }

    public static let closed = LeaseError(
        .closed,
        "closed: the client was closed, or the connection was used after its lease had ended")

    public static let forked = LeaseError(
        .forked, "the lease belongs to the process that forked this one: take a lease here")

    public static func usage(_ reason: String) -> LeaseError { LeaseError(.usage, reason) }

    public static func configuration(_ reason: String) -> LeaseError {
        LeaseError(.configuration, "configuration: \(reason)")
    }
}

extension LeaseError.Exhaustion {
    fileprivate var sentence: String {
        let attempts = attempts == 1 ? "one attempt" : "\(attempts) attempts"
        // A request that was not to wait has not waited, whatever its way there and back took.
        let text =
            wait == .zero
            ? "no connection at once (\(attempts)): \(message)"
            : "no connection after \(waited) (\(attempts)): \(message)"
        return detail.map { "\(text); \($0)" } ?? text
    }
}
