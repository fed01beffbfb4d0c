import LeaseCore
import PostgresWire

/// SHOW LOCKS: leases that wait for each other, a row for each link of the cycle.
extension Broker {
    func showLocks(into rows: inout ConsoleRows) {
        let now = now
        let locks = engine.scheduler.locks(now)
        lockNumbers.keepGroups(Set(locks.compactMap(\.lock.group)))
        for summary in locks {
            let number = lockNumbers.number(of: LockNumbers.Subject(summary.lock))
            for (index, link) in summary.lock.links.enumerated() {
                rows.add {
                    addLock(summary, number, now, to: &$0)
                    $0.integer(index + 1)
                    addLink(link, now, to: &$0)
                }
            }
        }
    }

    private func addLock(
        _ summary: LockSummary, _ number: Int64, _ now: Instant, to row: inout ConsoleRows
    ) {
        let pool = poolsByID[summary.lock.pool]
        row.integer(number)
        row.text(pool?.database)
        row.text(pool?.user)
        row.text(summary.lock.group.flatMap { groupsByID[$0]?.name })
        row.text(PoolLockGrade(summary.lock.grade).rawValue)
        row.integer((now - summary.since).wholeMicroseconds)
        row.integer(summary.lent)
        row.integer(summary.rejected)
        row.integer(summary.reserve)
    }

    private func addLink(_ link: PoolLock.Link, _ now: Instant, to row: inout ConsoleRows) {
        let holder = clients[link.holder]
        let server = server(link.server)
        let waiter = link.waitsAs.flatMap { clients[$0] }
        row.integer(Int64(clamping: link.lease.rawValue))
        row.integer(server.map { Int64($0.backendProcessID) })
        row.integer(link.holder.consoleNumber)
        row.integer(holder?.processNumber)
        row.text(server?.explicit?.terms.thread)
        row.text(holder?.applicationName)
        row.text(server?.explicit?.terms.purpose)
        row.integer((now - link.heldSince).wholeMicroseconds)
        // The newest request of its process where the thread is not known.
        row.integer(link.waitsAs?.consoleNumber)
        row.text(waiter?.call?.terms.purpose)
        row.integer(waiter.map { (now - $0.requestedAt).wholeMicroseconds })
    }
}
