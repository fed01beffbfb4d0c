import BrokerConfiguration
import LeaseCore
import LibUV
import StatusHTTP

/// Documents that were written a moment ago: each is written at most once in `freshness`, however many ask.
struct DocumentCache {
    enum Document: Hashable {
        case status
        case metrics(MetricsText.Format)
    }

    static let freshness: Int64 = 200_000_000

    private var kept: [Document: (at: Int64, response: HTTPResponse)] = [:]

    /// Of the last one, in bytes.
    func size(of document: Document) -> Int { kept[document]?.response.body.count ?? 0 }

    mutating func response(
        _ document: Document, now: Int64, make: () -> HTTPResponse
    ) -> HTTPResponse {
        if let known = kept[document], now - known.at < Self.freshness { return known.response }
        let made = make()
        kept[document] = (now, made)
        return made
    }
}

/// `/metrics`: written from the broker's own figures.
extension Broker {
    func metrics(accept: String?) -> HTTPResponse {
        let format = MetricsText.Format(accept: accept)
        let size = monitoring.cache.size(of: .metrics(format))
        return monitoring.cache.response(.metrics(format), now: loop.now) {
            var text = MetricsText(format, capacity: size + size / 16)
            addBroker(to: &text)
            addPools(to: &text)
            addGroups(to: &text)
            addCounters(to: &text)
            addConsole(to: &text)
            addProcess(to: &text)
            text.finish()
            return HTTPResponse(contentType: format.contentType, body: text.bytes)
        }
    }

    // MARK: The whole

    private func addBroker(to text: inout MetricsText) {
        text.begin("pglease_build", .info, "The version that runs.")
        text.sample(MetricLabels(["version": ProductVersion.text]), 1)
        text.gauge("pglease_ready", "1 where /readyz says so.", reasonNotReady() == nil ? 1 : 0)
        text.begin("pglease_phase", .gauge, "1 for what the broker does.")
        let phase = monitoredPhase
        for each in MonitoredPhase.allCases {
            text.sample(MetricLabels(["phase": each.rawValue]), each == phase ? 1 : 0)
        }
        text.gauge("pglease_clients", "Clients that are connected.", clients.count)
        text.gauge("pglease_clients_max", "max_client_conn.", settings.maxClientConn)
        text.gauge("pglease_servers", "Server connections, in whatever state.", servers.count)
        text.begin("pglease_servers_max", .gauge, "max_server_connections, where there is one.")
        if let limit = settings.maxServerConnections { text.sample(value: limit) }
        text.begin(
            "pglease_event_loop_lag_seconds", .gauge,
            "Longest turn of the event loop in the last five to ten seconds.")
        text.sample(.none, Double(monitoring.lag.longest) / 1e9)
    }

    // MARK: pgbouncer's

    private func addConsole(to text: inout MetricsText) {
        text.gauge("pgbouncer_up", "1, for dashboards of pgbouncer_exporter.", 1)
        text.begin("pgbouncer_version", .info, "For dashboards of pgbouncer_exporter.")
        text.sample(MetricLabels(["version": "pglease \(ProductVersion.text)"]), 1)
        text.gauge(
            "pgbouncer_config_max_client_connections", "max_client_conn.", settings.maxClientConn)
        text.gauge(
            "pgbouncer_config_max_user_connections", "max_user_connections; 0 is no limit.",
            settings.maxUserConnections ?? 0)
        var lists = ConsoleRows(ShowCommand.lists.columns)
        showLists(into: &lists)
        lists.eachRow { cells in
            guard let name = Self.listMetrics[String(decoding: cells[0] ?? [], as: UTF8.self)]
            else { return }
            text.gauge(
                "pgbouncer_\(name)", "Of SHOW LISTS.",
                Int(String(decoding: cells[1] ?? [], as: UTF8.self)) ?? 0)
        }
        var pools = ConsoleRows(ShowCommand.pools.columns)
        showPools(into: &pools)
        ConsoleMetrics.pools.write(pools, to: &text)
        var databases = ConsoleRows(ShowCommand.databases.columns)
        showDatabases(into: &databases)
        ConsoleMetrics.databases.write(databases, to: &text)
        var statistics = ConsoleRows(ShowCommand.statsTotals.columns)
        showStatistics(.statsTotals, into: &statistics)
        ConsoleMetrics.statistics.write(statistics, to: &text)
    }

    private static let listMetrics = [
        "databases": "databases", "users": "users", "pools": "pools",
        "free_clients": "free_clients", "used_clients": "used_clients",
        "login_clients": "login_clients", "free_servers": "free_servers",
        "used_servers": "used_servers", "dns_names": "cached_dns_names",
        "dns_zones": "cached_dns_zones", "dns_queries": "in_flight_dns_queries",
    ]
}

extension MetricsText {
    /// A family with one series.
    mutating func gauge(_ name: String, _ help: String, _ value: Int) {
        begin(name, .gauge, help)
        sample(value: value)
    }

    mutating func counter(_ name: String, _ help: String, _ value: Int) {
        begin(name, .counter, help)
        sample(value: value)
    }

    mutating func sample(value: Int) { sample(.none, value) }
}
