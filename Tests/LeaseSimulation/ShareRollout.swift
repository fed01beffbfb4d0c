// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A deployment that is rolled out: one sidecar after the other is started beside the old ones, and one of those leaves.
extension ShareRun {
    /// Everybody wants more than it is due, so that a newcomer lives on what others give back. `pause`: seconds between two
    /// of them.
    package mutating func rollOut(wanting demand: Int, each pause: Double) throws(Violation)
        -> ShareReport
    {
        let began = now
        let first = hosts.count
        for host in hosts.indices {
            hosts[host].demand = demand
            add(.look(host), after: .milliseconds(chance(0...5000)))
        }
        try run(until: now + .seconds(60))
        for old in 0..<first {
            addHost()
            let new = hosts.count - 1
            hosts[new].demand = demand
            hosts[new].startedAt = now
            add(.look(new), after: .zero)
            try run(until: now + seconds(pause / 2))
            hosts[old].isLeaving = true
            hosts[old].isRetired = true
            hosts[old].demand = 0
            add(.look(old), after: .zero)
            try run(until: now + seconds(pause / 2))
        }
        let period = Double(table.period) / 1000
        let last = now
        for quarter in 1...120 {
            try run(until: last + .seconds(Double(quarter) * Double(table.period) / 4000))
            if !isFair { continue }
            report.fairAfter = seconds(now - last) / max(period, Double(table.period) / 1000)
            break
        }
        // One that never had a connection counts to the end.
        for host in hosts where host.startedAt > .zero {
            report.longestStart = max(report.longestStart, seconds(now - host.startedAt))
        }
        report.seconds = seconds(now - began)
        report.period = Double(table.period) / 1000
        return report
    }
}
