// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import PostgresWire

/// One (database, user) as the shell sees it: where its servers are, who they are opened as, and what is
/// known of them. The decisions about its connections are the scheduler's.
final class DatabasePool {
    let id: PoolID
    /// What clients call the database.
    let database: String
    /// The role on the server.
    let user: String
    /// What its clients replicate; nil: they are sessions.
    let replication: ReplicationKind?
    var entry: DatabaseEntry
    /// Of its line in [databases], or of `auth_file`.
    var password: Secret?
    /// What logins of its user have taught; for as long as there is no password.
    var learned: ServerSecret?
    var terms: PoolTerms
    var key: PoolKey { PoolKey(database: database, user: user, replication: replication) }
    /// Why the last attempt to connect failed; nil once one has succeeded.
    private(set) var lastFailure: ConnectFailure?
    /// When the first of the failures came that no success has followed.
    private(set) var failingSince: Instant?
    /// Who held its servers then, in words: thousands of waiters may be refused in one turn.
    var holdersTold: (at: Instant, text: String)?
    var clientCount = 0
    /// The ParameterStatus messages that the last client was greeted with, and of which set.
    private var greeting: (parameters: ParameterSet, messages: [UInt8])?
    /// Since when it has had no client; not told while it has one.
    var unusedSince: Instant?
    /// Nobody joins it any more.
    var isClosed = false
    /// Closed, and kept for the clients that it has.
    var isRetired = false
    unowned(unsafe) let broker: Broker

    init(
        id: PoolID, key: PoolKey, entry: DatabaseEntry, password: Secret?,
        learned: ServerSecret?, terms: PoolTerms, broker: Broker
    ) {
        self.id = id
        database = key.database
        user = key.user
        replication = key.replication
        self.entry = entry
        self.password = password
        self.learned = learned
        self.terms = terms
        self.broker = broker
    }

    var mode: RelayMode { terms.mode }
    /// `query_wait_timeout`, `query_timeout` … of this pool.
    var limits: LeaseLimits { terms.limits }

    /// Never reached, for a reason that waiting cannot mend: a login is answered with it, as
    /// PostgreSQL itself would.
    var isKnownToBeUnusable: Bool {
        broker.engine.pools.slot(of: id).map(isKnownToBeUnusable) ?? false
    }

    func isKnownToBeUnusable(_ slot: PoolSlot) -> Bool {
        lastFailure?.kind == .permanent && broker.engine.pools[slot].parameters.base == nil
    }

    /// Each parameter's ParameterStatus. Most clients of a pool are told the same.
    func statusMessages(_ parameters: ParameterSet) -> [UInt8] {
        if let greeting, greeting.parameters === parameters { return greeting.messages }
        var messages: [UInt8] = []
        for parameter in parameters.values {
            messages.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
        greeting = (parameters, messages)
        return messages
    }

    func connectFailed(_ failure: ConnectFailure, _ now: Instant) {
        lastFailure = failure
        failingSince = failingSince ?? now
    }

    func connectSucceeded() {
        lastFailure = nil
        failingSince = nil
    }

    var statistics: PoolStatistics {
        broker.engine.pools.slot(of: id).map { broker.engine.pools[$0].statistics }
            ?? PoolStatistics()
    }

    var times: PoolTimes {
        broker.engine.pools.slot(of: id).map { broker.engine.pools[$0].times } ?? PoolTimes()
    }

    /// When those came whose login waits for its first server.
    var learning: [Instant] {
        broker.engine.pools.slot(of: id).map { broker.engine.learning(in: $0) } ?? []
    }
}
