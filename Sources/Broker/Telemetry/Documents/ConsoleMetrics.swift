// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import StatusHTTP

/// Metrics that are columns of the console, under the names that pgbouncer_exporter gives them: dashboards
/// for pgbouncer read our endpoint without the exporter, and it cannot disagree with SHOW.
struct ConsoleMetrics {
    /// One family: a column, and what the rows beyond `rowsKept` are together.
    struct Family {
        var column: String
        var name: String
        var kind: MetricsText.Kind
        /// Microseconds are told in seconds.
        var isMicroseconds = false
        var takesMaximum = false
        var help: String
    }

    /// Label and column.
    let labels: [(name: String, column: String)]
    let families: [Family]

    /// Rows beyond them are one, called `other`. With so many pools and groups the document has a good
    /// megabyte; the loop writes it in a few milliseconds.
    static let rowsKept = 64
    static let other = "other"

    func write(_ rows: ConsoleRows, to text: inout MetricsText) {
        let places = Dictionary(
            uniqueKeysWithValues: rows.columns.enumerated().map { ($1.name, $0) })
        let labelPlaces = labels.map { ($0.name, places[$0.column]) }
        let valuePlaces = families.map { places[$0.column] }
        var series: [(labels: MetricLabels, values: [Int])] = []
        var other = MetricLabels()
        for label in labels { other.add(label.name, Self.other) }
        var rest: [Int]?
        rows.eachRow { cells in
            let values = valuePlaces.map { $0.flatMap { cells[$0] }.map(Self.integer) ?? 0 }
            let labels = Self.labels(labelPlaces, cells)
            if series.count < Self.rowsKept, labels != other {
                series.append((labels, values))
            } else {
                rest = rest.map { merged($0, values) } ?? values
            }
        }
        if let rest { series.append((other, rest)) }
        for (index, family) in families.enumerated() {
            text.begin(family.name, family.kind, family.help)
            for (labels, values) in series {
                if family.isMicroseconds {
                    text.sample(labels, Double(values[index]) / 1e6)
                } else {
                    text.sample(labels, values[index])
                }
            }
        }
    }

    private func merged(_ values: [Int], _ more: [Int]) -> [Int] {
        families.indices.map {
            families[$0].takesMaximum ? max(values[$0], more[$0]) : values[$0] + more[$0]
        }
    }

    private static func labels(
        _ places: [(String, Int?)], _ cells: ConsoleRows.Cells
    ) -> MetricLabels {
        var labels = MetricLabels()
        for (name, place) in places {
            let cell = place.flatMap { cells[$0] } ?? []
            labels.add(name, String(decoding: cell, as: UTF8.self))
        }
        return labels
    }

    private static func integer(_ cell: ArraySlice<UInt8>) -> Int {
        Int(String(decoding: cell, as: UTF8.self)) ?? 0
    }
}

extension ConsoleMetrics {
    /// Of SHOW POOLS.
    static let pools = ConsoleMetrics(
        labels: [("database", "database"), ("user", "user")],
        families: [
            gauge("cl_active", "pools_client_active_connections", "Clients that do not wait."),
            gauge(
                "cl_active_cancel_req", "pools_client_active_cancel_connections",
                "Cancel requests that are on their way to the server."),
            gauge("cl_waiting", "pools_client_waiting_connections", "Clients that wait."),
            gauge(
                "cl_waiting_cancel_req", "pools_client_waiting_cancel_connections",
                "Cancel requests that wait."),
            gauge("sv_active", "pools_server_active_connections", "Leased server connections."),
            gauge(
                "sv_active_cancel", "pools_server_active_cancel_connections",
                "Server connections that forward a cancel request."),
            gauge(
                "sv_being_canceled", "pools_server_being_canceled_connections",
                "Server connections that wait for a cancel request to be over."),
            gauge("sv_idle", "pools_server_idle_connections", "Idle server connections."),
            gauge(
                "sv_used", "pools_server_used_connections",
                "Idle server connections that are checked before they are leased."),
            gauge(
                "sv_tested", "pools_server_testing_connections",
                "Server connections that are being checked or reset."),
            gauge(
                "sv_login", "pools_server_login_connections",
                "Server connections that are being opened."),
            Family(
                column: "maxwait", name: "pgbouncer_pools_client_maxwait_seconds", kind: .gauge,
                takesMaximum: true, help: "How long the oldest waiter has waited, whole seconds."),
        ])

    /// Of SHOW DATABASES.
    static let databases = ConsoleMetrics(
        labels: [
            ("name", "name"), ("host", "host"), ("port", "port"), ("database", "database"),
            ("force_user", "force_user"), ("pool_mode", "pool_mode"),
        ],
        families: [
            gauge("pool_size", "databases_pool_size", "Size of the database's pools."),
            gauge(
                "reserve_pool_size", "databases_reserve_pool",
                "Reserve of the database's pools."),
            gauge(
                "max_connections", "databases_max_connections",
                "Server connections that the database may have; 0 is no limit."),
            gauge(
                "current_connections", "databases_current_connections",
                "Server connections of the database."),
            gauge("paused", "databases_paused", "1 where the database is paused."),
            gauge("disabled", "databases_disabled", "1 where the database is disabled."),
        ])

    /// Of SHOW STATS_TOTALS.
    static let statistics = ConsoleMetrics(
        labels: [("database", "database")],
        families: [
            counter("query_count", "stats_queries_pooled", "Queries."),
            counter(
                "query_time", "stats_queries_duration_seconds", "Time that queries took.",
                isMicroseconds: true),
            counter("bytes_received", "stats_received_bytes", "Bytes from clients."),
            counter("bytes_sent", "stats_sent_bytes", "Bytes to clients."),
            counter(
                "wait_time", "stats_client_wait_seconds", "Time that clients waited.",
                isMicroseconds: true),
            counter("xact_count", "stats_sql_transactions_pooled", "Transactions."),
            counter(
                "xact_time", "stats_server_in_transaction_seconds",
                "Time that transactions took.", isMicroseconds: true),
            counter("client_parse_count", "stats_client_parses", "Parse messages of clients."),
            counter("server_parse_count", "stats_server_parses", "Parse messages to servers."),
            counter("bind_count", "stats_binds", "Bind messages."),
            counter("server_assignment_count", "stats_server_assignments", "Leases."),
        ])

    private static func gauge(_ column: String, _ name: String, _ help: String) -> Family {
        Family(column: column, name: "pgbouncer_" + name, kind: .gauge, help: help)
    }

    private static func counter(
        _ column: String, _ name: String, _ help: String, isMicroseconds: Bool = false
    ) -> Family {
        Family(
            column: column, name: "pgbouncer_" + name, kind: .counter,
            isMicroseconds: isMicroseconds, help: help)
    }
}
