// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// SHOW LOCKS: leases that wait for each other, a row for each link of the cycle.
extension BrokerSnapshot {
    func showLocks(into rows: inout ConsoleRows) {
        for lock in locks {
            for (index, link) in lock.links.enumerated() {
                rows.add {
                    add(lock, to: &$0)
                    $0.integer(index + 1)
                    add(link, to: &$0)
                }
            }
        }
    }

    private func add(_ lock: LockFacts, to row: inout ConsoleRows) {
        row.integer(lock.number)
        row.text(lock.database)
        row.text(lock.user)
        row.text(lock.group)
        row.text(lock.grade)
        row.integer((now - lock.summary.since).wholeMicroseconds)
        row.integer(lock.summary.lent)
        row.integer(lock.summary.rejected)
        row.integer(lock.summary.reserve)
    }

    private func add(_ facts: LinkFacts, to row: inout ConsoleRows) {
        let link = facts.link
        row.integer(Int64(clamping: link.lease.rawValue))
        row.integer(facts.serverProcess)
        row.integer(link.holder.consoleNumber)
        row.integer(facts.holderProcess)
        row.text(facts.thread)
        row.text(facts.applicationName)
        row.text(facts.purpose)
        row.integer((now - link.heldSince).wholeMicroseconds)
        // The newest request of its process where the thread is not known.
        row.integer(link.waitsAs?.consoleNumber)
        row.text(facts.waiterPurpose)
        row.integer(facts.waiterSince.map { (now - $0).wholeMicroseconds })
    }
}
