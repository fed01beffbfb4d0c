// SPDX-License-Identifier: Apache-2.0

/// One answer of the console: rows whose fields are found by the column's name, because a broker of
/// another version has other columns.
package struct ConsoleTable: Equatable, Sendable {
    package struct Column: Equatable, Sendable {
        package let name: String
        /// An integer of the protocol: goes into JSON as a number.
        package let isNumber: Bool

        package init(_ name: String, isNumber: Bool = false) {
            self.name = name
            self.isNumber = isNumber
        }
    }

    package let columns: [Column]
    package let records: [ConsoleRecord]

    package init(columns: [Column], rows: [[String?]]) {
        self.columns = columns
        var places: [String: Int] = [:]
        for (place, column) in columns.enumerated() { places[column.name] = place }
        records = rows.map { ConsoleRecord(places: places, values: $0) }
    }
}

/// One row of a `ConsoleTable`.
package struct ConsoleRecord: Equatable, Sendable {
    private let places: [String: Int]
    /// In the order of the columns; nil is null.
    package let values: [String?]

    init(places: [String: Int], values: [String?]) {
        self.places = places
        self.values = values
    }

    /// nil: null, or the broker has no such column.
    package func text(_ name: String) -> String? {
        guard let place = places[name], place < values.count else { return nil }
        return values[place]
    }

    package func integer(_ name: String) -> Int? { text(name).flatMap { Int($0) } }
}
