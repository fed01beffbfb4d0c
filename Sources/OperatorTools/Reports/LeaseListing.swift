// SPDX-License-Identifier: Apache-2.0

/// Which leases somebody wants to see.
package struct LeaseFilter: Equatable, Sendable {
    package var database: String?
    package var group: String?
    package var process: Int?

    package init(database: String? = nil, group: String? = nil, process: Int? = nil) {
        self.database = database
        self.group = group
        self.process = process
    }

    func takes(_ record: ConsoleRecord) -> Bool {
        if let database, record.text("database") != database { return false }
        if let group, record.text("group") != group { return false }
        if let process, record.integer("client_pid") != process { return false }
        return true
    }
}

/// `pglease leases`: who holds what, the longest first.
package struct LeaseListing {
    private let table: ConsoleTable
    private let rows: [PanelRow]

    package init(_ reading: BrokerReading, _ filter: LeaseFilter) {
        table = reading.tables[.leases] ?? ConsoleTable(columns: [], rows: [])
        let wanted = Panel.leases.rows(of: reading).filter { filter.takes($0.record) }
        rows = Panel.leases.arranged(wanted, by: .age, reversed: false, filter: "")
    }

    package var count: Int { rows.count }

    /// The lease of a number, for a question about it.
    package func record(ofLease id: String) -> ConsoleRecord? {
        rows.first { $0.record.text("lease_id") == id }?.record
    }

    /// At most `limit` leases; how many more there are is said in the last line.
    package func lines(width: Int?, limit: Int?, glyphs: Glyphs) -> [Line] {
        if rows.isEmpty { return [Line("no leases")] }
        let shown = limit.map { rows.prefix(max(0, $0)) } ?? rows[...]
        var lines = Panel.leases.table(shown, glyphs: glyphs)
            .lines(width: width, shown.map { Panel.leases.style(of: $0) })
        if shown.count < rows.count {
            lines.append(Line("and \(rows.count - shown.count) more: --all", .faint))
        }
        return lines
    }

    package var json: JSONValue { .array(rows.map { table.json($0.record) }) }
}
