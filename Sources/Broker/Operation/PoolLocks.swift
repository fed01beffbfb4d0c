// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Logging
import PostgresWire

/// Pools whose leases wait for each other: what operators and clients are told of them.
extension Broker {
    // MARK: To the log

    func poolLocked(_ lock: PoolLock) {
        guard let pool = directory.pools[lock.pool] else { return }
        counters.poolLocksByGrade.count(PoolLockGrade(lock.grade))
        noteLock(lock, pool)
        logger.warning(
            lock.grade == .certain ? "pool is locked" : "pool is perhaps locked",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)",
                "holders": "\(describe(lock))",
            ])
    }

    func reserveLent(_ id: PoolID, to client: ClientID, outOf reserve: Int, alreadyLent: Int) {
        guard let pool = directory.pools[id] else { return }
        counters.reserveLent += 1
        note(
            .reserveLent, .notice,
            "connection \(alreadyLent + 1) of \(reserve) of the reserve is lent to end a pool lock",
            pool: pool, client: clients[client])
        var metadata: Logger.Metadata = [
            "database": "\(pool.database)", "user": "\(pool.user)",
            "reserve": "\(alreadyLent + 1) of \(reserve)",
        ]
        if let client = clients[client] { metadata = describe(client, with: metadata) }
        logger.info("a connection of the reserve is lent to end a pool lock", metadata: metadata)
    }

    func poolRelieved(
        _ id: PoolID, _ group: GroupID?, after: Duration, lent: Int, rejected: Int
    ) {
        guard let pool = directory.pools[id] else { return }
        noteLockIsOver(pool, group, after: after, lent: lent, rejected: rejected)
        logger.notice(
            "pool lock is over",
            metadata: [
                "database": "\(pool.database)", "user": "\(pool.user)",
                "lasted_us": "\(after.wholeMicroseconds)", "lent": "\(lent)",
                "rejected": "\(rejected)",
            ])
    }

    // MARK: To clients

    func poolLockError(_ lock: PoolLock, _ pool: DatabasePool, waited: Duration) -> PgError {
        let what =
            lock.group.flatMap { directory.groups[$0]?.name }.map { "group \"\($0)\"" }
            ?? "pool \"\(pool.database)\" (user \"\(pool.user)\")"
        return .error(
            .deadlockDetected,
            "pool lock: every lease of \(what) is held by somebody who waits for one more",
            detail:
                "\(Self.count(lock)) \(describe(lock)) Waited \(Self.seconds(waited)).\n\(holders(of: pool))",
            hint: Self.adviceOnLocks)
    }

    /// With so many connections one thread can always go on.
    static let adviceOnLocks =
        "Return one lease before asking for the next, or raise reserve_pool_size: threads × (leases nested in each − 1) + 1 connections, with pool_size (or the group's max_leases), never lock."

    /// How many leases are held, in truth.
    private static func count(_ lock: PoolLock) -> String {
        lock.links.count == 1 ? "1 lease is held." : "\(lock.links.count) leases are held."
    }

    /// The cycle, in words.
    func describe(_ lock: PoolLock) -> String {
        let now = now
        let links = lock.links.prefix(Self.linksNamed).map { link -> String in
            let client = clients[link.holder]
            var who = client.map(name) ?? "client \(link.holder)"
            if let thread = client?.server?.explicit?.terms.thread { who += " thread \(thread)" }
            let purpose = client?.server?.explicit?.terms.purpose.map { " for \($0)" } ?? ""
            let waiter = link.waitsAs.flatMap { clients[$0] }
            let wants = waiter?.call?.terms.purpose.map { " for \($0)" } ?? ""
            return
                "\(who) holds lease \(link.lease) since \(Self.seconds(now - link.heldSince))\(purpose) and waits for another\(wants)"
        }
        let more =
            lock.links.count > Self.linksNamed
            ? "; and \(lock.links.count - Self.linksNamed) more" : ""
        return Self.oneLine("\(links.joined(separator: "; "))\(more).")
    }

    private static let linksNamed = 8

    static let suspicion =
        " A pool lock is suspected: every holder is idle in its transaction, or pinned, while its process waits for one more lease."
}
