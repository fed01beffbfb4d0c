// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// Counts as rates, in the units of pgbouncer's `avg_` columns: per second, times of a query and a
/// transaction in microseconds each.
package struct StatisticsAverage: Equatable {
    var assignments: Int64
    var transactions: Int64
    var queries: Int64
    var bytesReceived: Int64
    var bytesSent: Int64
    var transactionTime: Int64
    var queryTime: Int64
    /// Microseconds of waiting per second, all clients together.
    var waitTime: Int64
    var clientParses: Int64
    var serverParses: Int64
    var binds: Int64
    var logins: Int64

    package init(_ counted: PoolStatistics, over span: Duration) {
        let nanoseconds = span.wholeNanoseconds
        func perSecond(_ count: Int) -> Int64 {
            // A count of bytes times a billion is more than 64 bits hold.
            nanoseconds > 0
                ? Int64(clamping: Int128(count) * 1_000_000_000 / Int128(nanoseconds)) : 0
        }
        func each(_ time: Int64, of count: Int) -> Int64 {
            count > 0 ? time / 1_000 / Int64(count) : 0
        }
        assignments = perSecond(counted.assignments)
        transactions = perSecond(counted.transactions)
        queries = perSecond(counted.queries)
        bytesReceived = perSecond(counted.bytesReceived)
        bytesSent = perSecond(counted.bytesSent)
        transactionTime = each(counted.transactionTime, of: counted.transactions)
        queryTime = each(counted.queryTime, of: counted.queries)
        waitTime = perSecond(Int(counted.waitTime / 1_000))
        clientParses = perSecond(counted.clientParses)
        serverParses = perSecond(counted.serverParses)
        binds = perSecond(counted.binds)
        logins = perSecond(counted.logins)
    }

    /// pgbouncer's line of each period, word for word: log analysers read it.
    package var logLine: String {
        "stats: \(transactions) xacts/s, \(queries) queries/s, \(clientParses) client parses/s, "
            + "\(serverParses) server parses/s, \(binds) binds/s, \(logins) client logins/s, in \(bytesReceived) B/s, "
            + "out \(bytesSent) B/s, xact \(transactionTime) us, query \(queryTime) us, "
            + "wait \(waitTime) us"
    }
}
