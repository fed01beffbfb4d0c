// SPDX-License-Identifier: Apache-2.0

/// `pglease stat`: one screen of plain text.
package struct StatReport {
    private let reading: BrokerReading
    private let address: String
    private let glyphs: Glyphs
    /// nil: no terminal, every text whole.
    private let width: Int?

    package init(_ reading: BrokerReading, address: String, width: Int?, glyphs: Glyphs) {
        self.reading = reading
        self.address = address
        self.width = width
        self.glyphs = glyphs
    }

    package func lines() -> [Line] {
        var lines = [Line(title, .strong), Line(figures)]
        for panel in Panel.allCases where panel != .leases {
            let rows = panel.rows(of: reading)
            if rows.isEmpty { continue }
            lines.append(Line())
            lines += panel.table(rows, glyphs: glyphs).lines(
                width: width, rows.map { panel.style(of: $0) })
        }
        let rates = rates
        if !rates.rows.isEmpty {
            lines.append(Line())
            lines += rates.lines(width: width, rates.rows.map { _ in .plain })
        }
        guard let width else { return lines }
        return lines.map { $0.cut(to: width, glyphs: glyphs) }
    }

    private var title: String {
        var words = [glyphs.clean(reading.version), reading.phase]
        if let uptime = reading.uptime {
            words.append("up \(Quantity.duration(microseconds: uptime))")
        }
        words.append(glyphs.clean(address))
        return words.joined(separator: "  ")
    }

    private var figures: String {
        var parts = ["leases \(share(reading.leased, reading.capacity))"]
        if reading.warned > 0 { parts.append("warned \(reading.warned)") }
        let wait = Quantity.duration(microseconds: reading.oldestWait)
        parts.append(
            reading.waiting > 0 ? "waiting \(reading.waiting), oldest \(wait)" : "waiting 0")
        if reading.locks > 0 { parts.append("LOCKS \(reading.locks)") }
        parts.append("servers \(share(reading.servers, reading.serverLimit))")
        if let clients = reading.clients {
            parts.append("clients \(share(clients, reading.clientLimit))")
        }
        return parts.joined(separator: "   ")
    }

    private func share(_ count: Int, _ limit: Int?) -> String {
        limit.map { "\(count) of \($0)" } ?? "\(count)"
    }

    /// Averages of the broker's last period.
    private var rates: TextTable {
        let databases = reading.records(.stats).filter { $0.text("database") != "pgbouncer" }
        let columns = [
            TextColumn("DATABASE", minimum: 8, usual: 16, importance: 9),
            TextColumn("TRANSACTIONS/S", .right, importance: 8),
            TextColumn("QUERIES/S", .right, importance: 5),
            TextColumn("IN/S", .right, usual: 6, importance: 3),
            TextColumn("OUT/S", .right, usual: 6, importance: 3),
            TextColumn("QUERY", .right, usual: 6, importance: 6),
            TextColumn("WAITED/S", .right, usual: 6, importance: 7),
        ]
        return TextTable(
            columns: columns,
            rows: databases.map { row in
                func average(_ name: String, _ text: (Int) -> String) -> String {
                    row.integer("avg_\(name)").map(text) ?? "-"
                }
                return [
                    glyphs.clean(row.text("database") ?? "-"),
                    average("xact_count", Quantity.count),
                    average("query_count", Quantity.count), average("recv", Quantity.bytes),
                    average("sent", Quantity.bytes),
                    average("query_time") { Quantity.duration(microseconds: $0) },
                    average("wait_time") { Quantity.duration(microseconds: $0) },
                ]
            }, glyphs: glyphs)
    }
}
