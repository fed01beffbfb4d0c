// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Logging
import PostgresWire

/// What goes wrong: counted, and told as an event. Each in one place, so that the two agree.
extension Broker {
    // MARK: Clients

    func noteRefusal(_ cause: RefusalCause, _ error: PgError, of client: ClientConnection?) {
        counters.refusals.count(cause)
        // The rejection that ended its wait has told of it.
        if cause == .noServer { return }
        note(
            .clientRefused, .warning, Self.text(error), cause: cause.rawValue, pool: client?.pool,
            client: client)
    }

    func noteRejection(_ rejection: Rejection, _ error: PgError, of client: ClientConnection) {
        switch rejection.cause {
        case .deadline, .queueFull:
            note(
                .exhausted, .error, Self.text(error),
                cause: RejectionCause(rejection.cause).rawValue, client: client)
        case .poolLock(let lock):
            // A group's lock is announced by nothing else.
            if lock.group != nil { counters.poolLocksByGrade.count(.certain) }
            note(.poolLockRejected, .error, Self.text(error), client: client)
        // What stopped the pool is told by itself.
        case .connectFailed, .poolPaused, .poolClosed: break
        }
    }

    // MARK: Leases

    func noteLeak(_ report: LeaseReport, _ client: ClientConnection, _ limit: Duration) {
        counters.leakWarnings += 1
        let purpose = report.purpose.map { ", for \($0)" } ?? ""
        // Each lease is warned about once, and each is news.
        note(
            .leak, .warning,
            "lease is held for \(report.held.inSeconds), longer than lease_warn_after of \(limit.inSeconds) (\(report.activity)\(purpose)), by \(name(of: client))",
            cause: "\(report.lease.map { "\($0)" } ?? "")", client: client, lease: report.lease)
    }

    func noteRevocation(
        _ cause: RevocationCause, _ message: String, of client: ClientConnection, _ lease: LeaseID?
    ) {
        counters.revocationsByLimit.count(cause)
        note(
            .revoked, .warning, message, cause: cause.rawValue, client: client, lease: lease)
    }

    // MARK: Locks

    func noteLock(_ lock: PoolLock, _ pool: DatabasePool) {
        _ = telemetry.lockNumbers.number(of: LockNumbers.Subject(lock))
        let grade = PoolLockGrade(lock.grade)
        note(
            .poolLock, grade == .certain ? .error : .warning,
            "\(grade == .certain ? "pool is locked" : "pool is perhaps locked"): \(describe(lock))",
            cause: grade.rawValue, pool: pool)
    }

    func noteLockIsOver(
        _ pool: DatabasePool, _ group: GroupID?, after: Duration, lent: Int, rejected: Int
    ) {
        telemetry.lockNumbers.end(group.map(LockNumbers.Subject.group) ?? .pool(pool.id))
        note(
            .poolLockOver, .notice,
            "pool lock is over after \(Self.seconds(after)): \(lent) connections of the reserve were lent, \(rejected) waiters had 40P01",
            pool: pool)
    }

    // MARK: Servers

    func noteConnectFailure(_ pool: DatabasePool, _ failure: ConnectFailure, retryIn: Duration?) {
        let retry =
            retryIn.map { "next attempt in \(Self.seconds($0))" }
            ?? "next attempt when a client asks"
        note(
            .connectFailed, failure.kind == .permanent ? .error : .warning,
            "\(failure.error.sqlState.rawValue) \(failure.error.message) (\(retry))",
            cause: failure.error.sqlState.rawValue, pool: pool)
    }

    func noteLoss(_ server: ServerConnection, _ report: LeaseReport?, _ reason: String) {
        let cause: ServerLossCause = report == nil ? .idle : .inLease
        counters.serversLost.count(cause)
        let what = report != nil ? "server lost in a lease" : "idle server connection lost"
        let process =
            engine.servers.contains(server.id)
            ? engine.servers[server.id].facts.backendProcessID : 0
        note(
            .serverLost, report != nil ? .warning : .info,
            "\(what): server process \(process): \(reason)",
            cause: cause.rawValue, pool: server.pool,
            client: report?.client.flatMap { clients[$0] }, lease: report?.lease)
    }

    func noteResetFailure(_ server: ServerConnection, _ what: String, _ error: PgError) {
        note(
            .resetFailed, .warning,
            "\(what) failed, the connection was closed: \(error.sqlState.rawValue) \(error.message)",
            cause: error.sqlState.rawValue, pool: server.pool)
    }

    // MARK: Listening

    func listeningLost(_ id: PoolID, _ clients: Int, _ reason: String) {
        guard let pool = directory.pools[id] else { return }
        logger.warning(
            "the connection that listens for clients was lost",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)", "clients": "\(clients)",
                "reason": "\(reason)",
            ])
        note(
            .listenLost, .warning,
            "the connection that listens for \(clients) clients was lost: \(reason)", pool: pool)
    }

    func listeningAgain(_ id: PoolID, _ clients: Int, _ deaf: Duration) {
        guard let pool = directory.pools[id] else { return }
        logger.notice(
            "listening again",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)", "clients": "\(clients)",
                "deaf_us": "\(deaf.wholeMicroseconds)",
            ])
        note(
            .listenRecovered, .notice,
            "listening again for \(clients) clients: notifications may have been missed during \(Self.seconds(deaf))",
            pool: pool)
    }

    // MARK: Words

    private static func text(_ error: PgError) -> String {
        error.detail.map { "\(error.message). \($0)" } ?? error.message
    }
}
