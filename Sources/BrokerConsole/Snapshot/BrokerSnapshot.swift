// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// What the broker is at one moment, as plain values: all that the console's tables and the figures are made of.
///
/// It holds the parts that were asked for, and nothing of the broker's own: whoever has it can change nothing.
package struct BrokerSnapshot {
    /// What is to be in it. The whole is always there.
    package struct Parts: OptionSet, Sendable {
        package let rawValue: Int

        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let clients = Parts(rawValue: 1 << 0)
        package static let servers = Parts(rawValue: 1 << 1)
        package static let pools = Parts(rawValue: 1 << 2)
        package static let databases = Parts(rawValue: 1 << 3)
        package static let users = Parts(rawValue: 1 << 4)
        package static let groups = Parts(rawValue: 1 << 5)
        package static let leases = Parts(rawValue: 1 << 6)
        package static let waiters = Parts(rawValue: 1 << 7)
        package static let locks = Parts(rawValue: 1 << 8)
        package static let events = Parts(rawValue: 1 << 9)
        package static let settings = Parts(rawValue: 1 << 10)
        package static let statistics = Parts(rawValue: 1 << 11)
        package static let memory = Parts(rawValue: 1 << 12)
        /// How many clients do what.
        package static let counts = Parts(rawValue: 1 << 13)
        /// Histograms of pools and groups.
        package static let times = Parts(rawValue: 1 << 14)
        package static let peers = Parts(rawValue: 1 << 15)
        package static let shares = Parts(rawValue: 1 << 16)
    }

    package let now: Instant
    /// The same moment by the wall.
    package let time: UTCTime
    package var whole = WholeFacts()
    package var clients: [ClientFacts] = []
    /// Those that have not been told to close, oldest slot first.
    package var servers: [ServerFacts] = []
    /// By database and user.
    package var pools: [PoolFacts] = []
    /// Pools of replication clients: they have the names of those above, and are outside of their counts.
    package var replications: [PoolFacts] = []
    package var databases: [DatabaseFacts] = []
    package var users: [UserFacts] = []
    package var groups: [GroupFacts] = []
    /// Of every group that ever was, within a bound.
    package var groupTimes: [GroupTimesFacts] = []
    /// The oldest first. The list may have been cut; the count is whole.
    package var leases = Listed<LeaseFacts>()
    /// By pool, the next one first.
    package var waiters = Listed<WaiterFacts>()
    package var locks: [LockFacts] = []
    /// Oldest first.
    package var events: [EventFacts] = []
    package var settings: [SettingFacts] = []
    /// By their number.
    package var peers: [PeerFacts] = []
    package var statistics = StatisticsFacts()
    package var memory = MemoryFacts()
    package var shares: [ShareFacts] = []

    package init(now: Instant, time: UTCTime) {
        self.now = now
        self.time = time
    }

    var clock: ConsoleClock { ConsoleClock(loop: now, wall: time) }

    /// As many as were asked for of those that there are.
    package struct Listed<Facts> {
        package var rows: [Facts] = []
        package var count = 0

        package init() {}

        package var notListed: Int { count - rows.count }
    }
}

/// The broker as a whole.
package struct WholeFacts {
    package var version = ""
    package var listenPort = 0
    /// By an operator, all databases at once.
    package var isPaused = false
    package var isShuttingDown = false
    package var clients = 0
    package var servers = 0
    package var maxClients = 0
    /// nil: no bound.
    package var maxServers: Int?

    // Counted with the part `counts`.

    package var consoleClients = 0
    package var clientsLoggingIn = 0
    package var configuredDatabases = 0
    package var knownUsers = 0
    package var pools = 0
    package var peers = 0

    package init() {}
}

/// Another broker on the same port.
package struct PeerFacts {
    package let id: Int
    package var host = ""
    package var port = 0
    package var poolSize = 0
    /// CancelRequests that it was sent, that are on their way to it, and that wait for others.
    package var sent = 0
    package var connecting = 0
    package var waiting = 0

    package init(id: Int) { self.id = id }
}
