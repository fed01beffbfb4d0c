// SPDX-License-Identifier: Apache-2.0

/// What the console counts for a pool. Times in nanoseconds.
package struct PoolStatistics: Equatable, Sendable {
    package init() {}

    package var assignments = 0
    package var transactions = 0
    package var queries = 0
    /// From clients, and to them.
    package var bytesReceived = 0
    package var bytesSent = 0
    package var transactionTime: Int64 = 0
    package var queryTime: Int64 = 0
    package var waitTime: Int64 = 0
    package var clientParses = 0
    package var serverParses = 0
    package var binds = 0
    package var logins = 0

    package static func - (later: PoolStatistics, earlier: PoolStatistics) -> PoolStatistics {
        var difference = PoolStatistics()
        difference.assignments = later.assignments - earlier.assignments
        difference.transactions = later.transactions - earlier.transactions
        difference.queries = later.queries - earlier.queries
        difference.bytesReceived = later.bytesReceived - earlier.bytesReceived
        difference.bytesSent = later.bytesSent - earlier.bytesSent
        difference.transactionTime = later.transactionTime - earlier.transactionTime
        difference.queryTime = later.queryTime - earlier.queryTime
        difference.waitTime = later.waitTime - earlier.waitTime
        difference.clientParses = later.clientParses - earlier.clientParses
        difference.serverParses = later.serverParses - earlier.serverParses
        difference.binds = later.binds - earlier.binds
        difference.logins = later.logins - earlier.logins
        return difference
    }

    package static func += (sum: inout PoolStatistics, next: PoolStatistics) {
        sum.assignments += next.assignments
        sum.transactions += next.transactions
        sum.queries += next.queries
        sum.bytesReceived += next.bytesReceived
        sum.bytesSent += next.bytesSent
        sum.transactionTime += next.transactionTime
        sum.queryTime += next.queryTime
        sum.waitTime += next.waitTime
        sum.clientParses += next.clientParses
        sum.serverParses += next.serverParses
        sum.binds += next.binds
        sum.logins += next.logins
    }
}
