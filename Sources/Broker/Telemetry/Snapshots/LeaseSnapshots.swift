// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import LibUV
import PostgresWire

/// Leases, waiters and locks, as a snapshot has them.
extension Broker {
    // MARK: Leases

    func leaseFacts(_ limit: Int) -> BrokerSnapshot.Listed<LeaseFacts> {
        let leased = servers.values.filter(\.isLeased).sorted { $0.leaseSince < $1.leaseSince }
        var listed = BrokerSnapshot.Listed<LeaseFacts>()
        listed.count = leased.count
        listed.rows = leased.prefix(limit).map { facts(of: $0) }
        return listed
    }

    private func facts(of server: ServerConnection) -> LeaseFacts {
        var facts = LeaseFacts()
        let client = server.client
        engine.noteUseOnPage(server.id)
        let explicit = server.explicit
        let isDirect = server.isDirect
        facts.lease = server.lease
        facts.serverProcess = server.backendProcessID
        facts.kind =
            explicit == nil
            ? server.pool.mode.pooling.name : isDirect ? "direct" : "explicit"
        if server.pool.replication != nil { facts.kind = "replication" }
        facts.database = server.pool.database
        facts.user = server.pool.user
        facts.group = client?.group?.name
        facts.applicationName = client?.applicationName
        facts.client = client?.id
        facts.purpose = explicit?.terms.purpose
        if let listeners = engine.listeners(on: server.id) {
            facts.kind = "listen"
            facts.purpose = "LISTEN for \(listeners) \(listeners == 1 ? "client" : "clients")"
        }
        facts.activity = engine.liesParked(server.id) ? "parked" : server.activity
        facts.transaction = server.transactionStatus
        facts.since = server.leaseSince
        facts.waited = server.leaseWaited
        facts.idleSince = server.isOwing ? nil : server.idleSince ?? server.leaseSince
        facts.bytes = isDirect ? nil : server.bytesInLease
        facts.transactions = isDirect ? nil : server.transactionsInLease
        facts.wasWarnedAbout = server.wasWarnedAbout
        facts.pinReasons = server.pinReasons
        facts.owner = owner(client, thread: explicit?.terms.thread)
        if engine.listeners(on: server.id) != nil { facts.owner.program = "pglease" }
        return facts
    }

    private func owner(_ client: ClientConnection?, thread: String?) -> OwnerFacts {
        var owner = OwnerFacts()
        owner.process = client?.processNumber
        owner.userID = client?.peer.map { Int64($0.userID) }
        owner.program = client?.process?.program
        owner.arguments = client?.process?.arguments
        owner.thread = thread
        owner.address = client?.address
        return owner
    }

    // MARK: Waiters

    func waiterFacts(_ limit: Int) -> BrokerSnapshot.Listed<WaiterFacts> {
        var listed = BrokerSnapshot.Listed<WaiterFacts>()
        for pool in directory.pools.inOrder {
            let waiters = engine.scheduler.waiters(of: pool.id)
            for waiter in waiters.prefix(max(0, limit - listed.count)) {
                listed.rows.append(facts(of: waiter, in: pool))
            }
            listed.count += waiters.count
            // Those who wait to pin their lease have a queue of their own.
            for waiter in engine.pinWaiters(of: pool.id) {
                if listed.count < limit { listed.rows.append(facts(of: waiter, in: pool)) }
                listed.count += 1
            }
        }
        return listed
    }

    private func facts(of waiter: WaiterSummary, in pool: DatabasePool) -> WaiterFacts {
        var facts = WaiterFacts(waiter)
        let client = clients[waiter.client]
        let terms = client?.call?.terms
        facts.database = pool.database
        facts.user = pool.user
        facts.group = directory.groups[waiter.group]?.name
        facts.applicationName = client?.applicationName
        facts.purpose = terms?.purpose
        facts.owner = owner(client, thread: terms?.thread)
        return facts
    }

    // MARK: Locks

    var lockFacts: [LockFacts] {
        let locks = engine.scheduler.locks(now)
        telemetry.lockNumbers.keepGroups(Set(locks.compactMap(\.lock.group)))
        return locks.map { summary in
            var facts = LockFacts(
                telemetry.lockNumbers.number(of: LockNumbers.Subject(summary.lock)), summary)
            let pool = directory.pools[summary.lock.pool]
            facts.database = pool?.database
            facts.user = pool?.user
            facts.group = summary.lock.group.flatMap { directory.groups[$0]?.name }
            facts.grade = PoolLockGrade(summary.lock.grade).rawValue
            facts.links = summary.lock.links.map { self.facts(of: $0) }
            return facts
        }
    }

    private func facts(of link: PoolLock.Link) -> LinkFacts {
        var facts = LinkFacts(link)
        let holder = clients[link.holder]
        let server = server(link.server)
        let waiter = link.waitsAs.flatMap { clients[$0] }
        facts.serverProcess = server.map { Int64($0.backendProcessID) }
        facts.holderProcess = holder?.processNumber
        facts.thread = server?.explicit?.terms.thread
        facts.applicationName = holder?.applicationName
        facts.purpose = server?.explicit?.terms.purpose
        facts.waiterPurpose = waiter?.call?.terms.purpose
        facts.waiterSince = waiter?.requestedAt
        return facts
    }
}
