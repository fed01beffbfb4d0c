// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import BrokerConsole
import LeaseCore
import PostgresWire

/// What the broker is at this moment, for the console's tables and the figures.
extension Broker {
    /// These parts of it; of leases and of waiters so many at most.
    func snapshot(
        of parts: BrokerSnapshot.Parts, listing limit: Int = .max
    ) -> BrokerSnapshot {
        var snapshot = BrokerSnapshot(now: now, time: .now())
        snapshot.whole = wholeFacts
        if parts.contains(.counts) { count(into: &snapshot.whole) }
        if parts.contains(.clients) { snapshot.clients = clientFacts }
        if parts.contains(.servers) { snapshot.servers = serverFacts }
        if parts.contains(.pools) {
            let pools = directory.pools.inOrder
            let withTimes = parts.contains(.times)
            snapshot.pools = facts(of: pools.filter { $0.replication == nil }, withTimes: withTimes)
            snapshot.replications = facts(
                of: pools.filter { $0.replication != nil }, withTimes: withTimes)
        }
        if parts.contains(.peers) { snapshot.peers = peerFacts }
        if parts.contains(.databases) { snapshot.databases = databaseFacts }
        if parts.contains(.users) { snapshot.users = userFacts }
        if parts.contains(.groups) { snapshot.groups = groupFacts }
        if parts.contains(.times) {
            snapshot.groupTimes = directory.groups.times.inOrder.map { GroupTimesFacts($0) }
        }
        if parts.contains(.leases) { snapshot.leases = leaseFacts(limit) }
        if parts.contains(.waiters) { snapshot.waiters = waiterFacts(limit) }
        if parts.contains(.locks) { snapshot.locks = lockFacts }
        if parts.contains(.events) {
            snapshot.events = telemetry.events.entries.map { EventFacts($0) }
        }
        if parts.contains(.settings) {
            snapshot.settings = configuration.showConfigRows.map {
                SettingFacts(
                    key: $0.key, value: $0.value, defaultValue: $0.defaultValue,
                    changeable: $0.changeableText)
            }
        }
        if parts.contains(.statistics) { snapshot.statistics = statisticsFacts }
        if parts.contains(.memory) { snapshot.memory = memoryFacts }
        if parts.contains(.shares) { snapshot.shares = shareFacts }
        return snapshot
    }

    private var wholeFacts: WholeFacts {
        var whole = WholeFacts()
        whole.version = ProductVersion.text
        whole.listenPort = settings.listenPort
        whole.isPaused = operators.stops.pausesAll
        whole.isShuttingDown = life.shutdown != nil
        whole.clients = clients.count
        whole.servers = servers.count
        whole.maxClients = settings.maxClientConn
        whole.maxServers = settings.maxServerConnections
        return whole
    }

    private func count(into whole: inout WholeFacts) {
        for client in clients.values {
            if client.phase == .console { whole.consoleClients += 1 }
            if client.consoleState == .login { whole.clientsLoggingIn += 1 }
        }
        whole.peers = configuration.peers.count
        whole.configuredDatabases = configuration.databases.filter { !$0.isFallback }.count
        whole.knownUsers = knownUsers.count
        whole.pools = directory.pools.byID.count
    }

    private var memoryFacts: MemoryFacts {
        var memory = MemoryFacts()
        memory.readBuffer = Self.readSize
        for client in clients.values {
            memory.clientReceived += client.receivedBytes
            memory.clientUnsent += client.unsentBytes
        }
        for server in servers.values {
            memory.serverReceived += server.receivedBytes
            memory.serverUnsent += server.unsentBytes
        }
        return memory
    }

    // MARK: Counted

    private var statisticsFacts: StatisticsFacts {
        var statistics = StatisticsFacts()
        let now = now
        statistics.span =
            telemetry.history.rolledAt == nil
            ? now - telemetry.startedAt : telemetry.history.spanSinceBefore(now)
        for pool in directory.pools.byID.values {
            statistics.byDatabase[pool.database, default: CountedStatistics()].add(
                pool.statistics, telemetry.history.sinceBefore(pool.id, pool.statistics))
        }
        statistics.byDatabase[BrokerSnapshot.consoleName, default: CountedStatistics()].add(
            telemetry.history.console, telemetry.history.consoleSinceBefore)
        return statistics
    }
}

extension EventFacts {
    init(_ entry: EventRing.Entry) {
        self.init(id: entry.id, time: entry.time, last: entry.last, count: entry.count)
        let incident = entry.incident
        kind = incident.kind.rawValue
        level = incident.level.rawValue
        database = incident.database
        user = incident.user
        group = incident.group
        applicationName = incident.applicationName
        client = incident.client
        clientProcess = incident.clientProcess
        lease = incident.lease
        message = incident.message
    }
}
