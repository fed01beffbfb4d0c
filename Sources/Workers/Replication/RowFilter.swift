// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Which rows of a source's table a destination wants (`filter_sql` of the sync).
///
/// The condition is put to the destination's own server, over the row's values in the destination's
/// types, in the transaction that applies them: there is no second opinion on what SQL means, and
/// the backfill asks the same question in the same place. A publication's row filter could not do
/// it: the publication belongs to the source, which several destinations with several filters
/// share, and for updates and deletes it may name columns of the replica identity only.
struct RowFilter: Equatable, Sendable {
    private let expression: FilterExpression
    private let table: [TableColumn]
    /// The places, in the mapping's columns, of those that the condition names.
    let columns: [Int]

    /// Throws ``FilterError`` when it names a column that the mapping does not have.
    init(_ expression: FilterExpression, on mapping: TableMapping) throws(FilterError) {
        self.expression = expression
        table = mapping.columns.map(\.target)
        let names = Set(try expression.columns(of: table).map(\.name))
        columns = mapping.columns.indices.filter { names.contains(mapping.columns[$0].name) }
    }

    /// The condition over columns of these names; its values are added to the statement's.
    func condition(_ values: inout ParameterValues) -> String {
        do {
            return try expression.condition(on: table, &values)
        } catch {
            preconditionFailure("a filter's columns were there and are gone")
        }
    }
}

extension PipelineDefinition.Table {
    /// Throws ``PipelineFailure`` when the filter does not fit.
    func rowFilter(on mapping: TableMapping) throws -> RowFilter? {
        guard let filter else { return nil }
        do {
            return try RowFilter(filter, on: mapping)
        } catch {
            throw PipelineFailure("\(source): \(error)", isPassing: false)
        }
    }
}

/// The values of a statement, which are numbered as they come.
struct ParameterValues: FilterValues {
    var parameters: [(any PostgresEncodable)?] = []

    mutating func add(_ text: String) -> String { add(text as (any PostgresEncodable)?, "text") }

    /// An expression of that type.
    mutating func add(_ value: (any PostgresEncodable)?, _ type: String) -> String {
        parameters.append(value)
        return "$\(parameters.count)::\(type)"
    }
}
