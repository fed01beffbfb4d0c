// SPDX-License-Identifier: Apache-2.0

/// What can go wrong with a lease. Every description says what to do.
///
/// A task that was cancelled throws `CancellationError`; a value that is not what it was asked for
/// throws ``DecodeError``.
public enum LeaseError: Error, Sendable, CustomStringConvertible {
    /// No connection by the deadline, or the queue was full (53300). It was tried as often as the
    /// retry policy says.
    case exhausted(Exhaustion)
    /// Every holder waits for another lease (40P01): `error.detail` tells the cycle.
    case poolLock(PostgresError)
    /// The broker took the lease back: HOLD or another limit, told in the message (57P05). What was
    /// not committed is rolled back.
    case revoked(PostgresError)
    /// The server connection of this lease is lost (08006). Whether a COMMIT that was under way
    /// took effect is unknown.
    case serverLost(PostgresError)
    /// The broker cannot reach the server, or it refuses (08001, a wrong database …).
    case serverUnreachable(PostgresError)
    /// The broker could not be reached, or went away.
    case brokerAway(reason: String)
    /// The broker refuses this client: password, rights, database, too many clients.
    case refused(PostgresError)
    /// Whoever answers does not know LEASE: it is PostgreSQL itself or another pooler.
    case notABroker(PostgresError)
    /// The server's error to a statement. The lease goes on; a transaction has failed.
    case sql(PostgresError)
    /// The statement took longer than its timeout and was cancelled.
    case timedOut(after: Duration)
    /// The statement was cancelled by ``StatementCanceller``.
    case cancelled
    /// A statement of a pipeline did not run, because the one at this place (from 0) failed.
    case pipelineAborted(by: Int)
    /// The client was closed, or a connection was used after its lease had ended.
    case closed
    /// The lease belongs to the process that forked this one; take one of your own.
    case forked
    /// The call makes no sense here: the text says why.
    case usage(String)
    /// The connection string or a variable of the environment cannot be used.
    case configuration(String)

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

    public var description: String {
        switch self {
        case .exhausted(let exhaustion): exhaustion.sentence
        case .poolLock(let error):
            "pool lock: \(error); take fewer leases inside leases, or raise reserve_pool_size"
        case .revoked(let error):
            "the lease was revoked: \(error); hold leases for a shorter time or ask for a longer HOLD"
        case .serverLost(let error):
            "the server connection was lost: \(error); run the transaction again in a new lease"
        case .serverUnreachable(let error):
            "the broker cannot give a server connection: \(error)"
        case .brokerAway(let reason):
            "the broker is away: \(reason); is pglease running, and is its address right?"
        case .refused(let error): "the broker refuses this client: \(error)"
        case .notABroker(let error):
            "no pglease answers at this address, since LEASE is unknown there: \(error); "
                + "point the client at the broker (port 6432 by default)"
        case .sql(let error): "\(error)"
        case .timedOut(let after):
            "the statement was cancelled after \(after), its timeout"
        case .cancelled: "the statement was cancelled"
        case .pipelineAborted(let index):
            "not run: statement \(index) of the pipeline failed before it"
        case .closed:
            "closed: the client was closed, or the connection was used after its lease had ended"
        case .forked:
            "the lease belongs to the process that forked this one: take a lease here"
        case .usage(let reason): reason
        case .configuration(let reason): "configuration: \(reason)"
        }
    }

    /// The server's or the broker's own words, when there are any.
    public var postgresError: PostgresError? {
        switch self {
        case .poolLock(let error), .revoked(let error), .serverLost(let error),
            .serverUnreachable(let error), .refused(let error), .notABroker(let error),
            .sql(let error):
            error
        case .exhausted(let exhaustion):
            PostgresError(
                sqlState: "53300", message: exhaustion.message, detail: exhaustion.detail,
                hint: exhaustion.hint)
        case .brokerAway, .timedOut, .cancelled, .pipelineAborted, .closed, .forked, .usage,
            .configuration:
            nil
        }
    }

    /// Before a lease is granted these are tried again, as the retry policy says.
    var isWorthAnotherAttempt: Bool {
        switch self {
        case .exhausted, .brokerAway: true
        case .poolLock, .revoked, .serverLost, .serverUnreachable, .refused, .notABroker, .sql,
            .timedOut, .cancelled, .pipelineAborted, .closed, .forked, .usage, .configuration:
            false
        }
    }
}

extension LeaseError.Exhaustion {
    fileprivate var sentence: String {
        let attempts = attempts == 1 ? "one attempt" : "\(attempts) attempts"
        // A request that was not to wait has not waited, whatever its way there and back took.
        var text =
            wait == .zero
            ? "no connection at once (\(attempts)): \(message)"
            : "no connection after \(waited) (\(attempts)): \(message)"
        if let detail { text += "; \(detail)" }
        if let hint { text += "; hint: \(hint)" }
        return text
    }
}
