// SPDX-License-Identifier: Apache-2.0

/// The SHOW commands that answer a table. The raw value is the word behind SHOW.
package enum ShowCommand: String, CaseIterable, Sendable {
    case activeSockets = "active_sockets"
    case clients
    case config
    case databases
    case dnsHosts = "dns_hosts"
    case dnsZones = "dns_zones"
    case events
    case fds
    case groups
    case leases
    case lists
    case locks
    case mem
    case peerPools = "peer_pools"
    case peers
    case pools
    case servers
    case shares
    case sockets
    case state
    case stats
    case statsAverages = "stats_averages"
    case statsTotals = "stats_totals"
    case totals
    case users
    case version
    case waiters

    /// `stats_users` may not see it.
    var isForAdministrators: Bool { self == .fds }

    /// pgbouncer's columns in pgbouncer's order where the command is pgbouncer's.
    package var columns: [ConsoleColumn] {
        switch self {
        case .clients, .servers: Self.socketColumns
        case .sockets, .activeSockets:
            Self.socketColumns
                + .integers(
                    "recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail",
                    "send_avail")
        case .config: .texts("key", "value", "default", "changeable")
        case .databases: Self.databaseColumns
        case .dnsHosts: .texts("hostname") + .integers("ttl") + .texts("addrs")
        case .dnsZones: .texts("zonename") + .integers("serial", "count")
        case .events: Self.eventColumns
        case .fds: Self.descriptorColumns
        case .groups:
            .texts("group")
                + .integers(
                    "weight", "min_leases", "max_leases", "clients", "leases", "waiting",
                    "maxwait_us", "max_pins", "pinned", "parked")
        case .leases: Self.leaseColumns
        case .lists: .texts("list") + .integers("items")
        case .locks: Self.lockColumns
        case .mem: .texts("name") + .integers("size", "used", "free", "memtotal")
        case .peerPools:
            .integers(
                "peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel",
                "sv_login")
        case .peers: .integers("peer_id") + .texts("host") + .integers("port", "pool_size")
        case .pools: Self.poolColumns
        case .shares:
            .texts("bound", "database", "state")
                + .integers(
                    "total", "share", "target", "used", "want", "free", "hosts", "weight",
                    "period_ms", "questions")
                + .texts("holder", "error")
        case .state: .texts("key", "value")
        case .stats, .statsTotals, .statsAverages: Self.statisticsColumns(self)
        case .totals: .texts("name") + .integers("value")
        case .users:
            .texts("name") + .integers("pool_size", "reserve_pool_size") + .texts("pool_mode")
                + .integers(
                    "max_user_connections", "current_connections", "max_user_client_connections",
                    "current_client_connections")
        case .version: .texts("version")
        case .waiters: Self.waiterColumns
        }
    }

    private static let socketColumns: [ConsoleColumn] =
        .texts("type", "user", "database", "replication", "state", "addr") + .integers("port")
        + .texts("local_addr") + .integers("local_port") + .texts("connect_time", "request_time")
        + .integers("wait", "wait_us", "close_needed") + .texts("ptr", "link")
        + .integers("remote_pid") + .texts("tls", "application_name")
        + .integers("prepared_statements", "id")

    private static let poolColumns: [ConsoleColumn] =
        .texts("database", "user")
        + .integers(
            "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req",
            "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used",
            "sv_tested", "sv_login", "maxwait", "maxwait_us")
        + .texts("pool_mode", "load_balance_hosts") + .integers("pinned", "parked")

    private static let databaseColumns: [ConsoleColumn] =
        .texts("name", "host") + .integers("port") + .texts("database", "force_user")
        + .integers("pool_size", "min_pool_size", "reserve_pool_size", "server_lifetime")
        + .texts("pool_mode", "load_balance_hosts")
        + .integers(
            "max_connections", "current_connections", "max_client_connections",
            "current_client_connections", "paused", "disabled")
        // What pgbouncer called the reserve until 1.22, and exporters still do.
        + .integers("reserve_pool")

    private static let descriptorColumns: [ConsoleColumn] =
        .integers("fd") + .texts("task", "user", "database", "addr") + .integers("port", "cancel")
        + .integers("link")
        + .texts(
            "client_encoding", "std_strings", "datestyle", "timezone", "password",
            "scram_client_key", "scram_server_key")

    private static let leaseColumns: [ConsoleColumn] =
        .integers("lease_id", "server_pid")
        + .texts("kind", "database", "user", "group", "application_name")
        + .integers("client_id", "client_pid") + .texts("purpose", "state", "transaction_state")
        + .integers("age_us", "waited_us", "idle_us", "bytes") + .texts("warned")
        + .integers("client_uid") + .texts("program", "arguments", "thread", "addr")
        + .integers("transactions") + .texts("pin")

    private static let waiterColumns: [ConsoleColumn] =
        .integers("place", "client_id", "client_pid")
        + .texts("database", "user", "group", "application_name", "purpose")
        + .integers("waited_us", "deadline_us", "client_uid")
        + .texts("program", "arguments", "thread", "addr")

    private static let lockColumns: [ConsoleColumn] =
        .integers("lock_id") + .texts("database", "user", "group", "grade")
        + .integers(
            "age_us", "lent", "rejected", "reserve", "link", "lease_id", "server_pid",
            "client_id", "client_pid")
        + .texts("thread", "application_name", "purpose") + .integers("held_us", "waits_as")
        + .texts("waits_for") + .integers("waited_us")

    private static let eventColumns: [ConsoleColumn] =
        .integers("event_id") + .texts("time") + .integers("age_us")
        + .texts("kind", "level", "database", "user", "group", "application_name")
        + .integers("client_id", "client_pid", "lease_id", "count") + .texts("message")
}

extension [ConsoleColumn] {
    package static func texts(_ names: String...) -> [ConsoleColumn] {
        names.map { ConsoleColumn($0, .text) }
    }

    package static func integers(_ names: String...) -> [ConsoleColumn] {
        names.map { ConsoleColumn($0, .int8) }
    }
}
