// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What clients are told of leases, word for word.
package enum LeaseErrors {
    static let transactionInStatementPool = PgError.fatal(
        .featureNotSupported, "transaction blocks are not allowed in statement pooling mode",
        hint: "Use a database whose pool_mode is transaction or session.")

    // MARK: LEASE and LEASE RETURN

    static let leaseIsHeld = PgError.error(
        .objectNotInPrerequisite, "a lease is held already",
        hint: "A session holds one at a time: send LEASE RETURN first, or use another connection.")

    static let leaseInTransaction = PgError.error(
        .activeSqlTransaction, "LEASE cannot run inside a transaction block",
        hint: "Send LEASE before BEGIN (in psycopg2: with conn.autocommit = True).")

    static let noLease = PgError.error(
        .objectNotInPrerequisite, "no lease is held",
        detail: "LEASE RETURN ends a lease that LEASE began on this connection.",
        hint: "It may have been returned before: one LEASE RETURN for one LEASE.")

    static let notExplicit = PgError.error(
        .objectNotInPrerequisite, "no lease is held by LEASE",
        detail: "The server connection is held by the session or by an open transaction.",
        hint: "It goes back by itself: at the end of the transaction, or of the session.")

    static let rolledBack = PgError(
        severity: .warning, sqlState: .activeSqlTransaction,
        message: "the lease was returned in an open transaction, which is rolled back",
        hint: "COMMIT before LEASE RETURN.")

    /// What the client is told that speaks to the broker while it has the connection itself.
    static let leaseIsDirect = PgError.error(
        .objectNotInPrerequisite, "the lease of this connection is direct",
        detail: "Its statements go over the descriptor that came with the answer to LEASE DIRECT.",
        hint:
            "Send LEASE RETURN first. LEASE DIRECT is for client modules; by hand, use LEASE without DIRECT."
    )

    static let canceled = PgError.error(
        .queryCanceled, "canceling statement due to user request",
        detail: "The statement was still waiting for a server connection.")

    // MARK: State of the session

    /// What the client is told once when its lease stays with it.
    static func pinned(_ reasons: PinReasons) -> PgError {
        PgError(
            severity: .notice, sqlState: .successfulCompletion,
            message: "this session keeps its server connection: it has \(reasons.words)",
            detail: "Until that is gone, no other client can use the connection.")
    }

    /// The statement is not run: it would have pinned its lease.
    static func wouldPin(_ reasons: PinReasons) -> PgError {
        .error(
            .featureNotSupported,
            "this statement would leave \(reasons.words), which can go to no other server connection",
            detail: "session_state is refuse: no lease is pinned.",
            hint: "Use it in an explicit LEASE, or set session_state = keep.")
    }

    /// The same, where the bound leaves no place at all.
    static func noPlaceEver(_ reasons: PinReasons, _ bound: PinLedger.Bound) -> PgError {
        .error(
            .tooManyConnections,
            "this statement would keep its server connection for \(reasons.words), and the pool has none to spare",
            detail: "pool_size less pin_reserve leaves no place for a pinned lease.",
            hint: "Raise the pool's size or lower pin_reserve; or use it in an explicit LEASE.")
    }

    /// What the client is told where nothing may be pinned.
    static func cannotKeep(_ reasons: PinReasons) -> PgError {
        .fatal(
            .featureNotSupported,
            "this session has \(reasons.words), which can go to no other server connection",
            detail: "session_state is refuse: no lease is pinned.",
            hint:
                "Use it within one transaction or an explicit LEASE, or set session_state = keep.")
    }

    // MARK: Limits

    static func revoked(
        _ cause: RevocationCause, _ limit: Duration, lasted: Duration, activity: String,
        outcome: String, isExplicit: Bool
    ) -> PgError {
        let which = "lease revoked: \(cause.words) of \(limit.inBrief) reached"
        let words = pgbouncerWords(cause)
        return .error(
            .idleSessionTimeout, words ?? which,
            detail:
                "\(words == nil ? "" : "\(which.prefix(1).uppercased())\(which.dropFirst()). ")It had lasted \(lasted.inBrief) (\(activity)); \(outcome).",
            hint: advice(after: cause, isExplicit: isExplicit))
    }

    private static func pgbouncerWords(_ cause: RevocationCause) -> String? {
        switch cause {
        case .queryTimeout: "query timeout"
        case .idleTransactionTimeout: "idle transaction timeout"
        case .transactionTimeout: "transaction timeout"
        default: nil
        }
    }

    private static func advice(after cause: RevocationCause, isExplicit: Bool) -> String {
        let limit = cause.words
        switch cause {
        case .queryTimeout: return "Make the statement faster or smaller, or raise \(limit)."
        case .transactionTimeout, .idleTransactionTimeout:
            return "Shorten the work between BEGIN and COMMIT, or raise \(limit)."
        case .pinTimeout:
            return
                "Drop what keeps the connection when it is not needed, or raise \(limit). The session has ended."
        default:
            return isExplicit
                ? "Return the lease sooner, or raise \(limit)."
                : "Shorten the work between BEGIN and COMMIT, or raise \(limit)."
        }
    }

    static func killed(lasted: Duration, activity: String, outcome: String) -> PgError {
        .error(
            .adminShutdown, "lease ended by an administrator",
            detail: "It had lasted \(lasted.inSeconds) (\(activity)); \(outcome).",
            hint: "The session goes on: ask the administrator before running it again.")
    }

    /// Its server's host is not the right one any more.
    static func stranded(isExplicit: Bool) -> PgError {
        PgError(
            severity: isExplicit ? .error : .fatal, sqlState: .adminShutdown,
            message: "the database has moved to another server",
            detail:
                "This session kept a connection to a server that is not the right one any more; no transaction was open.",
            hint: isExplicit ? "The session goes on: lease again." : "Connect again.")
    }

    static func idle(limit: Duration, for time: Duration) -> PgError {
        .fatal(
            .idleSessionTimeout, "client_idle_timeout",
            detail:
                "client_idle_timeout is \(limit.inSeconds); it was idle for \(time.inSeconds).",
            hint: "Connect again when there is work, or raise client_idle_timeout.")
    }

    // MARK: Loss

    static func lost(
        _ reason: String, fatal: PgError?, process: Int32, database: String, isSession: Bool
    ) -> PgError {
        let state = fatal.map { " with SQLSTATE \($0.sqlState.rawValue)" } ?? ""
        return .error(
            .connectionFailure, "server connection lost: \(fatal?.message ?? reason)",
            detail:
                "Server process \(process) of database \"\(database)\" ended\(state) while this client held it; its transaction was rolled back unless a COMMIT was under way.",
            hint: isSession
                ? "The session has ended with its server connection: connect again."
                : "The session goes on: run the transaction again.")
    }
}
