// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Values of a COPY, which takes no parameters: they go ahead as parameters of `set_config`, for the
/// transaction, and the statement reads them with `current_setting`.
///
/// PostgreSQL evaluates `current_setting` once at the start of a scan (it is stable), so indexes
/// serve as they do for a parameter.
struct StatementValues: FilterValues, Equatable {
    private(set) var texts: [String] = []

    mutating func add(_ text: String) -> String {
        texts.append(text)
        return "current_setting('pglease.value\(texts.count)')"
    }

    /// A value of the column itself, as COPY wrote it.
    mutating func add(_ text: String, of column: TableColumn) -> String {
        "\(add(text))::\(column.type)"
    }

    /// Sends them, along with the settings under which all servers write and read values alike.
    nonisolated(nonsending) func send(_ transaction: AsyncLeaseConnection) async throws {
        var names = StatementValues.spellings.map(\.name)
        var all = StatementValues.spellings.map(\.value)
        for (index, text) in texts.enumerated() {
            names.append("pglease.value\(index + 1)")
            all.append(text)
        }
        try await transaction.query(
            """
            SELECT set_config(name, value, true)
            FROM unnest(\(names)::text[], \(all)::text[]) AS setting (name, value)
            """)
    }

    /// The time zone stays the server's: what a filter says of times means what it means there.
    private static let spellings: [(name: String, value: String)] = [
        ("datestyle", "ISO, YMD"), ("intervalstyle", "postgres"), ("extra_float_digits", "1"),
        ("bytea_output", "hex"),
    ]
}
