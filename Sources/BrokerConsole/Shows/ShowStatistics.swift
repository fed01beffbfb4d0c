// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: a row for each database, summed over its pools.
extension BrokerSnapshot {
    func showStatistics(_ command: ShowCommand, into rows: inout ConsoleRows) {
        for (database, counted) in statistics.byDatabase.sorted(by: { $0.key < $1.key }) {
            let average = StatisticsAverage(counted.recent, over: statistics.span)
            rows.add {
                $0.text(database)
                if command != .statsAverages {
                    for value in counted.total.inOrder { $0.integer(value) }
                }
                if command != .statsTotals { for value in average.inOrder { $0.integer(value) } }
                if command == .stats { $0.integer(counted.total.queries) }
            }
        }
    }

    func showTotals(into rows: inout ConsoleRows) {
        var sum = CountedStatistics()
        for counted in statistics.byDatabase.values { sum.add(counted.total, counted.recent) }
        let average = StatisticsAverage(sum.recent, over: statistics.span)
        for (prefix, values) in [("total_", sum.total.inOrder), ("avg_", average.inOrder)] {
            for (name, value) in zip(StatisticsNames.totals, values) {
                rows.add {
                    $0.text(prefix + name)
                    $0.integer(value)
                }
            }
        }
    }
}

/// pgbouncer's names of the counts. Every SHOW has its own, in the same order.
enum StatisticsNames {
    static let totals = [
        "server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes",
        "xact_time", "query_time", "wait_time", "ps_client_parse_count", "ps_server_parse_count",
        "ps_bind_count", "client_login_count",
    ]

    static let plain = [
        "server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent",
        "xact_time", "query_time", "wait_time",
    ]

    static let parses = [
        "client_parse_count", "server_parse_count", "bind_count", "client_login_count",
    ]

    static let stats =
        [
            "total_server_assignment_count", "total_xact_count", "total_query_count",
            "total_received", "total_sent", "total_xact_time", "total_query_time",
            "total_wait_time", "total_client_parse_count", "total_server_parse_count",
            "total_bind_count", "total_client_login_count",
        ] + [
            "avg_server_assignment_count", "avg_xact_count", "avg_query_count", "avg_recv",
            "avg_sent", "avg_xact_time", "avg_query_time", "avg_wait_time",
            "avg_client_parse_count", "avg_server_parse_count", "avg_bind_count",
            "avg_client_login_count",
            // What pgbouncer called queries until 1.7, and Debian's exporter still does.
            "total_requests",
        ]
}

extension ShowCommand {
    static func statisticsColumns(_ command: ShowCommand) -> [ConsoleColumn] {
        let names =
            switch command {
            case .statsTotals: StatisticsNames.plain + StatisticsNames.parses
            // The prefix on some names only is pgbouncer's.
            case .statsAverages: StatisticsNames.plain + StatisticsNames.parses.map { "avg_" + $0 }
            default: StatisticsNames.stats
            }
        return [ConsoleColumn("database", .text)] + names.map { ConsoleColumn($0, .int8) }
    }
}

extension PoolStatistics {
    /// In the order of the columns; times in microseconds.
    fileprivate var inOrder: [Int64] {
        [
            Int64(assignments), Int64(transactions), Int64(queries), Int64(bytesReceived),
            Int64(bytesSent), transactionTime / 1_000, queryTime / 1_000, waitTime / 1_000,
            Int64(clientParses), Int64(serverParses), Int64(binds), Int64(logins),
        ]
    }
}

extension StatisticsAverage {
    fileprivate var inOrder: [Int64] {
        [
            assignments, transactions, queries, bytesReceived, bytesSent, transactionTime,
            queryTime, waitTime, clientParses, serverParses, binds, logins,
        ]
    }
}
