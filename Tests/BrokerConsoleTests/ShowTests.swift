// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import BrokerConsole
@testable import LeaseCore

/// The tables, from a snapshot that is written by hand.
@Suite struct ShowTests {
    private static let client = ClientID(slot: 3, generation: 2)
    private static let server = ServerID(slot: 5, generation: 1)
    private static let now = Instant(nanoseconds: 100_000_000_000)

    private static func ago(_ seconds: Int64) -> Instant {
        Instant(nanoseconds: now.nanoseconds - seconds * 1_000_000_000)
    }

    /// One of each.
    private var snapshot: BrokerSnapshot {
        var snapshot = BrokerSnapshot(
            now: Self.now, time: UTCTime(seconds: 1_795_453_200, nanoseconds: 0))
        snapshot.whole.version = "1.2.3"
        snapshot.whole.consoleClients = 2
        snapshot.whole.clients = 7
        snapshot.whole.clientsLoggingIn = 1
        snapshot.whole.configuredDatabases = 4
        addSessions(to: &snapshot)
        addPools(to: &snapshot)
        addLeases(to: &snapshot)
        snapshot.settings = [
            SettingFacts(key: "listen_port", value: "6432", defaultValue: nil, changeable: "no")
        ]
        var event = EventFacts(
            id: 9, time: UTCTime(seconds: 1_795_453_190, nanoseconds: 5_000_000),
            last: Self.ago(4), count: 3)
        event.kind = "leak"
        event.message = "held for long"
        snapshot.events = [event]
        snapshot.memory.clientUnsent = 12
        return snapshot
    }

    private func addSessions(to snapshot: inout BrokerSnapshot) {
        var client = ClientFacts(Self.client)
        client.user = "ada"
        client.database = "app"
        client.state = .active
        client.isServed = true
        client.addresses = .unix(port: 6432)
        client.connectedAt = Self.ago(10)
        client.requestedAt = Self.ago(1)
        client.waited = .microseconds(2_000_003)
        client.server = Self.server
        client.descriptor = 11
        client.serverDescriptor = 12
        client.buffers.unsent = 4
        var gone = ClientFacts(ClientID(slot: 4, generation: 1))
        gone.isOpen = false
        snapshot.clients = [client, gone]
        var server = ServerFacts(Self.server)
        server.user = "ada"
        server.database = "app"
        server.state = .active
        server.client = Self.client
        server.descriptor = 12
        server.clientDescriptor = 11
        server.parameters = ParameterSet([("application_name", "job"), ("TimeZone", "UTC")])
        var opening = ServerFacts(ServerID(slot: 6, generation: 1))
        opening.state = .login
        snapshot.servers = [server, opening]
    }

    private func addPools(to snapshot: inout BrokerSnapshot) {
        var counts = ServerCounts()
        counts.leased = 2
        counts.idle = 3
        counts.connecting = 1
        let summary = PoolSummary(
            pool: PoolID(1), phase: .running, counts: counts, waiting: 1,
            oldestWaiter: Self.ago(2), connectFailures: 0, lastFailure: nil, nextAttempt: nil,
            size: 5, reserveSize: 1, isHeldBack: false, isFenced: false, handsOutAgainAt: nil)
        var pool = PoolFacts(summary)
        pool.database = "app"
        pool.user = "ada"
        pool.clients = 6
        pool.learning = [Self.ago(3)]
        pool.used = 1
        pool.cancelsSent = 1
        pool.cancelsWaiting = 4
        snapshot.pools = [pool]
        var database = DatabaseFacts("app")
        database.port = 5432
        database.poolSize = 5
        database.isPaused = true
        snapshot.databases = [database]
        snapshot.users = [UserFacts("ada")]
        let group = GroupSummary(
            group: GroupID(1), policy: GroupPolicy(), leases: 2, waiting: 1,
            oldestWaiter: Self.ago(2))
        snapshot.groups = [GroupFacts("etl", group, GroupPolicy(weight: 3, maxLeases: 8))]
        var counted = CountedStatistics()
        var statistics = PoolStatistics()
        statistics.queries = 120
        counted.add(statistics, statistics)
        snapshot.statistics.byDatabase = ["app": counted]
        snapshot.statistics.span = .seconds(60)
    }

    private func addLeases(to snapshot: inout BrokerSnapshot) {
        var lease = LeaseFacts()
        lease.lease = LeaseID(77)
        lease.kind = "direct"
        lease.database = "app"
        lease.user = "ada"
        lease.client = Self.client
        lease.activity = "direct"
        lease.since = Self.ago(5)
        lease.owner.process = 4_711
        var orphaned = LeaseFacts()
        orphaned.activity = "active"
        orphaned.transaction = .failed
        snapshot.leases.rows = [lease, orphaned]
        snapshot.leases.count = 2
        let waiting = WaiterSummary(
            client: Self.client, pool: PoolID(1), group: GroupID(1),
            owner: OwnerKey(processID: 1), profile: .serverDefault, since: Self.ago(2),
            deadline: .endOfTime, place: 1)
        snapshot.waiters.rows = [WaiterFacts(waiting)]
        snapshot.waiters.count = 1
        let link = PoolLock.Link(
            lease: LeaseID(77), server: Self.server, holder: Self.client,
            owner: OwnerKey(processID: 1), heldSince: Self.ago(5), waitsAs: nil)
        let lock = PoolLock(pool: PoolID(1), grade: .certain, group: nil, links: [link, link])
        snapshot.locks = [
            LockFacts(
                8,
                LockSummary(lock: lock, since: Self.ago(1), lent: 1, rejected: 0, reserve: 3))
        ]
        snapshot.peers = [PeerFacts(id: 7)]
        snapshot.shares = [
            ShareFacts(
                bound: "orders", database: "app", state: .asking, answer: nil, need: ShareNeed(),
                weight: 1, questions: 3, holder: "a", error: nil)
        ]
        snapshot.locks[0].links = [LinkFacts(link), LinkFacts(link)]
    }

    private func table(_ command: ShowCommand) -> [[String: String?]] {
        let rows = snapshot.rows(of: command)
        var table: [[String: String?]] = []
        rows.eachRow { cells in
            var row: [String: String?] = [:]
            for (column, cell) in zip(rows.columns, cells) {
                row[column.name] = .some(cell.map { String(decoding: $0, as: UTF8.self) })
            }
            table.append(row)
        }
        return table
    }

    /// A row has a cell of its kind for each column, or the process ends.
    @Test(arguments: ShowCommand.allCases)
    func everyTableFits(_ command: ShowCommand) {
        let none: Set<ShowCommand> = [.dnsHosts, .dnsZones]
        #expect(table(command).isEmpty == none.contains(command))
    }

    @Test func aPoolsRow() {
        let row = table(.pools)[0]
        #expect(row["cl_active"] == "4" && row["cl_waiting"] == "2")
        #expect(row["cl_waiting_cancel_req"] == "4" && row["sv_active_cancel"] == "1")
        #expect(row["sv_active"] == "2" && row["sv_idle"] == "2" && row["sv_used"] == "1")
        #expect(row["sv_login"] == "1" && row["maxwait"] == "3" && row["maxwait_us"] == "0")
        let console = table(.pools)[1]
        #expect(console["database"] == "pgbouncer" && console["cl_active"] == "2")
    }

    @Test func whoIsListedWhere() {
        #expect(table(.clients).count == 1)
        #expect(table(.servers).count == 2)
        #expect(table(.sockets).count == 3)
        // Those with bytes on their way.
        #expect(table(.activeSockets).map { $0["type"] } == ["C"])
        // One that is being opened has nothing to show yet.
        #expect(table(.fds).map { $0["fd"] } == ["11", "12"])
        #expect(table(.fds).map { $0["link"] } == ["12", "11"])
        #expect(table(.fds)[1]["timezone"] == "UTC")
    }

    @Test func aClientsRow() {
        let row = table(.clients)[0]
        #expect(row["connect_time"] == "2026-11-23 16:59:50 UTC")
        #expect(row["request_time"] == "2026-11-23 16:59:59 UTC")
        #expect(row["wait"] == "2" && row["wait_us"] == "3")
        #expect(row["link"] == table(.servers)[0]["ptr"])
        #expect(row["ptr"] == table(.servers)[0]["link"])
        #expect(row["id"] == "\(Self.client.consoleNumber)")
        #expect(row["addr"] == "unix" && row["port"] == "6432")
    }

    @Test func leasesAndWaiters() {
        let leases = table(.leases)
        #expect(leases.map { $0["state"] } == ["direct", "ending"])
        #expect(leases[0]["age_us"] == "5000000" && leases[0]["client_pid"] == "4711")
        // What goes over a descriptor is not seen.
        #expect(leases[0]["bytes"] == .some(nil))
        #expect(leases[1]["transaction_state"] == "failed")
        let waiter = table(.waiters)[0]
        #expect(waiter["deadline_us"] == .some(nil) && waiter["waited_us"] == "2000000")
    }

    @Test func aLockHasARowForEachLink() {
        let rows = table(.locks)
        #expect(rows.map { $0["link"] } == ["1", "2"])
        #expect(rows.allSatisfy { $0["lock_id"] == "8" && $0["lent"] == "1" })
        #expect(rows[0]["waits_as"] == .some(nil) && rows[0]["held_us"] == "5000000")
    }

    @Test func theRest() {
        #expect(table(.version)[0]["version"] == "pglease 1.2.3")
        #expect(table(.events)[0]["time"] == "2026-11-23 16:59:50.005 UTC")
        #expect(table(.events)[0]["age_us"] == "4000000" && table(.events)[0]["count"] == "3")
        #expect(table(.groups)[0]["weight"] == "3" && table(.groups)[0]["maxwait_us"] == "2000000")
        #expect(table(.stats)[0]["avg_query_count"] == "2")
        #expect(table(.totals)[2]["value"] == "120")
        #expect(table(.databases)[0]["paused"] == "1")
        let lists = Dictionary(
            uniqueKeysWithValues: table(.lists).map { ($0["list"]!!, $0["items"]!) })
        #expect(lists["databases"] == "5" && lists["used_clients"] == "6")
        #expect(lists["login_clients"] == "1")
        #expect(table(.state).map { $0["value"] } == ["yes", "no", "no"])
    }
}
