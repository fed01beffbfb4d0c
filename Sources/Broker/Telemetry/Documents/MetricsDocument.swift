// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
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

/// What documents tell of the broker besides its snapshot and its counters.
struct MonitoredState {
    var phase: MonitoredPhase
    var isReady: Bool
    /// The longest turn of the loop of late, in nanoseconds.
    var longestTurn: Int64
    /// Seconds since 1970.
    var startTime: Double
    var maxUserConnections: Int?
    var descriptorLimit: Int
}

extension Broker {
    var monitoredState: MonitoredState {
        MonitoredState(
            phase: monitoredPhase, isReady: reasonNotReady() == nil,
            longestTurn: monitoring.lag.longest, startTime: monitoring.startTime,
            maxUserConnections: settings.maxUserConnections,
            descriptorLimit: listening.descriptorLimit)
    }

    func metrics(accept: String?) -> HTTPResponse {
        let format = MetricsText.Format(accept: accept)
        let size = monitoring.cache.size(of: .metrics(format))
        return monitoring.cache.response(.metrics(format), now: loop.now) {
            let document = MetricsDocument(
                snapshot: snapshot(of: MetricsDocument.parts), counters: counters,
                state: monitoredState)
            var text = MetricsText(format, capacity: size + size / 16)
            document.write(to: &text)
            text.finish()
            return HTTPResponse(contentType: format.contentType, body: text.bytes)
        }
    }
}

/// `/metrics`: written from a snapshot, from counters, and from what the system says of the process.
struct MetricsDocument {
    static let parts: BrokerSnapshot.Parts = [
        .pools, .databases, .groups, .locks, .statistics, .counts, .times, .shares,
    ]

    let snapshot: BrokerSnapshot
    let counters: BrokerCounters
    let state: MonitoredState

    func write(to text: inout MetricsText) {
        addBroker(to: &text)
        addPools(to: &text)
        addGroups(to: &text)
        addCounters(to: &text)
        addShares(to: &text)
        addConsole(to: &text)
        addProcess(to: &text)
    }

    // MARK: The whole

    private func addBroker(to text: inout MetricsText) {
        let whole = snapshot.whole
        text.begin("pglease_build", .info, "The version that runs.")
        text.sample(MetricLabels(["version": whole.version]), 1)
        text.gauge("pglease_ready", "1 where /readyz says so.", state.isReady ? 1 : 0)
        text.begin("pglease_phase", .gauge, "1 for what the broker does.")
        for each in MonitoredPhase.allCases {
            text.sample(MetricLabels(["phase": each.rawValue]), each == state.phase ? 1 : 0)
        }
        text.gauge("pglease_clients", "Clients that are connected.", whole.clients)
        text.gauge("pglease_clients_max", "max_client_conn.", whole.maxClients)
        text.gauge("pglease_servers", "Server connections, in whatever state.", whole.servers)
        text.begin("pglease_servers_max", .gauge, "max_server_connections, where there is one.")
        if let limit = whole.maxServers { text.sample(value: limit) }
        text.begin(
            "pglease_event_loop_lag_seconds", .gauge,
            "Longest turn of the event loop in the last five to ten seconds.")
        text.sample(.none, Double(state.longestTurn) / 1e9)
    }

    // MARK: pgbouncer's

    private func addConsole(to text: inout MetricsText) {
        text.gauge("pgbouncer_up", "1, for dashboards of pgbouncer_exporter.", 1)
        text.begin("pgbouncer_version", .info, "For dashboards of pgbouncer_exporter.")
        text.sample(MetricLabels(["version": "pglease \(snapshot.whole.version)"]), 1)
        text.gauge(
            "pgbouncer_config_max_client_connections", "max_client_conn.",
            snapshot.whole.maxClients)
        text.gauge(
            "pgbouncer_config_max_user_connections", "max_user_connections; 0 is no limit.",
            state.maxUserConnections ?? 0)
        snapshot.rows(of: .lists).eachRow { cells in
            guard let name = Self.listMetrics[String(decoding: cells[0] ?? [], as: UTF8.self)]
            else { return }
            text.gauge(
                "pgbouncer_\(name)", "Of SHOW LISTS.",
                Int(String(decoding: cells[1] ?? [], as: UTF8.self)) ?? 0)
        }
        ConsoleMetrics.pools.write(snapshot.rows(of: .pools), to: &text)
        ConsoleMetrics.databases.write(snapshot.rows(of: .databases), to: &text)
        ConsoleMetrics.statistics.write(snapshot.rows(of: .statsTotals), to: &text)
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
