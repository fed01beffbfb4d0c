import LeaseCore
import LibUV
import PostgresWire

/// SHOW LEASES and WAITERS: who holds what, and who wants it.
extension Broker {
    /// The oldest first. Returns how many there are, whatever the limit.
    @discardableResult
    func showLeases(into rows: inout ConsoleRows, limit: Int = .max) -> Int {
        let now = now
        let leased = servers.values.filter(\.isLeased).sorted { $0.leaseSince < $1.leaseSince }
        for server in leased.prefix(limit) { rows.add { addLease(server, now, to: &$0) } }
        return leased.count
    }

    private func addLease(_ server: ServerConnection, _ now: Instant, to row: inout ConsoleRows) {
        let client = server.client
        let isBusy = server.isOwing
        let idle = isBusy ? nil : (server.idleSince ?? server.leaseSince)
        row.integer(server.lease.map { Int64(clamping: $0.rawValue) })
        row.integer(Int(server.backendProcessID))
        row.text(kind(of: server))
        row.text(server.pool.database)
        row.text(server.pool.user)
        row.text(client?.group?.name)
        row.text(client?.applicationName)
        row.integer(client?.id.consoleNumber)
        row.integer(client?.processNumber)
        row.text(server.explicit?.terms.purpose)
        // Its client is gone; what it left is brought to an end.
        row.text(client == nil ? "ending" : server.activity)
        row.text(transactionState(server.transactionStatus))
        row.integer((now - server.leaseSince).wholeMicroseconds)
        row.integer(server.leaseWaited.wholeMicroseconds)
        row.integer(idle.map { (now - $0).wholeMicroseconds })
        // What goes over a descriptor that was handed out is not seen here.
        row.integer(server.isDirect ? nil : server.bytesInLease)
        row.text(server.wasWarnedAbout ? "yes" : "no")
        addOwner(client, thread: server.explicit?.terms.thread, to: &row)
        row.integer(server.isDirect ? nil : server.transactionsInLease)
    }

    /// Which process it is, as far as it can be known: nothing of those over TCP, nor of another PID namespace.
    private func addOwner(_ client: ClientConnection?, thread: String?, to row: inout ConsoleRows) {
        row.integer(client?.peer.map { Int64($0.userID) })
        row.text(client?.process?.program)
        row.text(client?.process?.arguments)
        row.text(thread)
        row.text(client?.address)
    }

    private func kind(of server: ServerConnection) -> String {
        guard server.explicit != nil else { return poolModeName(server.pool.mode.pooling) }
        return server.isDirect ? "direct" : "explicit"
    }

    private func transactionState(_ status: TransactionStatus) -> String {
        switch status {
        case .idle: "none"
        case .inTransaction: "open"
        case .failed: "failed"
        }
    }

    /// By pool, the next one first. Returns how many there are, whatever the limit.
    @discardableResult
    func showWaiters(into rows: inout ConsoleRows, limit: Int = .max) -> Int {
        let now = now
        var count = 0
        for pool in poolsInOrder {
            let waiters = engine.scheduler.waiters(of: pool.id)
            for waiter in waiters.prefix(max(0, limit - count)) {
                let client = clients[waiter.client]
                let hasDeadline = waiter.deadline.nanoseconds != .max
                rows.add {
                    $0.integer(waiter.place)
                    $0.integer(waiter.client.consoleNumber)
                    $0.integer(client?.processNumber)
                    $0.text(pool.database)
                    $0.text(pool.user)
                    $0.text(groupsByID[waiter.group]?.name)
                    $0.text(client?.applicationName)
                    $0.text(client?.call?.terms.purpose)
                    $0.integer((now - waiter.since).wholeMicroseconds)
                    // What is left of it.
                    $0.integer(hasDeadline ? (waiter.deadline - now).wholeMicroseconds : nil)
                    addOwner(client, thread: client?.call?.terms.thread, to: &$0)
                }
            }
            count += waiters.count
        }
        return count
    }
}
