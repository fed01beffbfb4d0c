// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// SHOW LEASES and WAITERS: who holds what, and who wants it.
extension BrokerSnapshot {
    func showLeases(into rows: inout ConsoleRows) {
        for lease in leases.rows { rows.add { add(lease, to: &$0) } }
    }

    private func add(_ lease: LeaseFacts, to row: inout ConsoleRows) {
        row.integer(lease.lease.map { Int64(clamping: $0.rawValue) })
        row.integer(Int(lease.serverProcess))
        row.text(lease.kind)
        row.text(lease.database)
        row.text(lease.user)
        row.text(lease.group)
        row.text(lease.applicationName)
        row.integer(lease.client?.consoleNumber)
        row.integer(lease.owner.process)
        row.text(lease.purpose)
        row.text(lease.client == nil ? "ending" : lease.activity)
        row.text(transactionState(lease.transaction))
        row.integer((now - lease.since).wholeMicroseconds)
        row.integer(lease.waited.wholeMicroseconds)
        row.integer(lease.idleSince.map { (now - $0).wholeMicroseconds })
        row.integer(lease.bytes)
        row.text(lease.wasWarnedAbout ? "yes" : "no")
        add(lease.owner, to: &row)
        row.integer(lease.transactions)
        row.text(lease.pinReasons.isEmpty ? nil : lease.pinReasons.names)
    }

    private func add(_ owner: OwnerFacts, to row: inout ConsoleRows) {
        row.integer(owner.userID)
        row.text(owner.program)
        row.text(owner.arguments)
        row.text(owner.thread)
        row.text(owner.address)
    }

    private func transactionState(_ status: TransactionStatus) -> String {
        switch status {
        case .idle: "none"
        case .inTransaction: "open"
        case .failed: "failed"
        }
    }

    func showWaiters(into rows: inout ConsoleRows) {
        for waiter in waiters.rows {
            let deadline = waiter.summary.deadline
            rows.add {
                $0.integer(waiter.summary.place)
                $0.integer(waiter.summary.client.consoleNumber)
                $0.integer(waiter.owner.process)
                $0.text(waiter.database)
                $0.text(waiter.user)
                $0.text(waiter.group)
                $0.text(waiter.applicationName)
                $0.text(waiter.purpose)
                $0.integer((now - waiter.summary.since).wholeMicroseconds)
                // What is left of it.
                $0.integer(deadline.nanoseconds < .max ? (deadline - now).wholeMicroseconds : nil)
                add(waiter.owner, to: &$0)
            }
        }
    }
}
