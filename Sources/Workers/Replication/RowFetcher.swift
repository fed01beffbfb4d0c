// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Fetches the rest of rows that changed without their large values and that a destination does
/// not have: nobody has brought them there yet, or its filter did not let them in.
struct RowFetcher {
    /// For one batch. Where more is missing, a backfill is what the table needs.
    static let rowLimit = 10_000
    static let byteLimit = 64 << 20
    private static let pageSize = 200

    let client: LeaseClient
    let stop: StopSignal

    /// Throws ``PipelineFailure`` beyond the limits, and ``LeaseError``.
    func fetch(_ missing: [MissingRow], into fetched: inout FetchedRows) throws {
        let tables = Dictionary(grouping: missing, by: \.id.table)
        guard let largest = tables.max(by: { $0.value.count < $1.value.count })?.key else { return }
        var result = fetched
        try client.withLease(for: "pipeline.rows") { connection in
            try stop.reacting(with: .cancel(connection.canceller)) {
                try connection.withTransaction(readOnly: true) { transaction in
                    try transaction.executeScript(ReplicationText.settings)
                    for rows in tables.values {
                        try fetch(rows, transaction, largest, &result)
                    }
                }
            }
        }
        fetched = result
    }

    /// The rows of one table.
    private func fetch(
        _ rows: [MissingRow], _ transaction: LeaseConnection, _ largest: TableName,
        _ fetched: inout FetchedRows
    ) throws {
        // A row may be missing several times in one batch.
        let rows = Array(Dictionary(rows.map { ($0.id, $0) }) { first, _ in first }.values)
        let mapping = rows[0].mapping
        let source: TableShape
        do {
            source = try TableShape.read(mapping.source, transaction)
        } catch is MissingTable {
            for row in rows { fetched.add(row.id, nil) }
            return
        }
        for start in stride(from: 0, to: rows.count, by: Self.pageSize) {
            let page = Array(rows[start..<min(start + Self.pageSize, rows.count)])
            for row in page { fetched.add(row.id, nil) }
            if let sql = select(page.map(\.id.key), rows[0].key, mapping, source) {
                for row in try transaction.query(sql) {
                    let place = try row.decode(Int.self, at: 0) - 1
                    let values = try (1..<row.count).map {
                        try row.decode(String?.self, at: $0)
                    }
                    fetched.add(page[place].id, values)
                }
            }
            guard fetched.count <= Self.rowLimit, fetched.byteCount <= Self.byteLimit else {
                throw PipelineFailure(
                    "changes of \(largest) concern more rows than can be fetched one by one that "
                        + "the destination does not have: backfill the table", isPassing: false)
            }
        }
    }

    /// Nil when the source has not got a column of the key any more. Other columns that are gone
    /// are NULL.
    private func select(
        _ keys: [[String?]], _ key: [Int], _ mapping: TableMapping, _ source: TableShape
    ) -> SQL? {
        var values = ParameterValues()
        var matches: [String] = []
        var arrays: [String] = []
        for (place, column) in key.enumerated() {
            guard let found = source.column(mapping.columns[column].name) else { return nil }
            arrays.append(values.add(keys.map { $0[place] }, "text[]"))
            matches.append("t.\(found.quotedName) = r.c\(place)::\(found.type)")
        }
        let names = mapping.columns.map { column in
            source.column(column.name).map { "t.\($0.quotedName)::text" } ?? "NULL::text"
        }
        return SQL(
            """
            SELECT r.place, \(names.joined(separator: ", "))
            FROM \(source.table.quoted) AS t
            JOIN unnest(\(arrays.joined(separator: ", "))) WITH ORDINALITY
                AS r (\(key.indices.map { "c\($0)" }.joined(separator: ", ")), place)
                ON \(matches.joined(separator: " AND "))
            """, values.parameters)
    }
}

/// How rows are read at a source besides its stream.
enum ReplicationText {
    /// For a transaction, so that values read as they do in the stream.
    static let settings = """
        SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'; \
        SET LOCAL extra_float_digits = 3; SET LOCAL bytea_output = 'hex'
        """
}
