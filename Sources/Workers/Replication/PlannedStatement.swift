// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// A statement for a destination, and what to make of its answer.
struct PlannedStatement: Sendable {
    var sql: SQL
    /// Named when it fails.
    var target: TableName
    /// Whose rows they are; nil for what is not a row.
    var source: TableName?
    /// Rows of the source that it carries.
    var rows = 0
    /// Some of the rows may not be wanted: only what it has changed counts.
    var isFiltered = false
    /// When it changes nothing, this one is for the row instead.
    var otherwise: SQL?
    /// When it did change something, this one follows.
    var andThen: SQL?
    /// The row that it is for, when neither found it.
    var missing: MissingRow?
}

/// A row that changed at the source without its large values, and that the destination does not
/// have: the rest of it must be fetched.
struct MissingRow: Sendable {
    var id: RowIdentity
    /// Where the rest of it is.
    var mapping: TableMapping
    var key: [Int]
    /// Says with a row that the destination wants it; nil: that is not known.
    var isWanted: SQL?
}

/// A row of a source, by its key.
struct RowIdentity: Hashable, Sendable {
    var table: TableName
    var key: [String?]
}

/// What has been fetched of rows that a destination did not have, for one batch.
struct FetchedRows: Sendable {
    /// A value for each column of the mapping; nil: the source has no such row any more.
    private var rows: [RowIdentity: [String?]?] = [:]
    private(set) var byteCount = 0

    var count: Int { rows.count }

    subscript(id: RowIdentity) -> [String?]?? { rows[id] }

    mutating func add(_ id: RowIdentity, _ row: [String?]?) {
        rows[id] = .some(row)
        byteCount += row?.reduce(0) { $0 + ($1?.utf8.count ?? 0) } ?? 0
    }
}
