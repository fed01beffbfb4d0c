// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// The columns of a result, made once for all of its rows.
struct RowDescription: Sendable {
    let names: [String]

    init(_ result: ClientResult) {
        names = (0..<result.columnCount).map { result.columnName($0) }
    }
}

/// A column of a result.
public struct Column: Equatable, Sendable {
    public var name: String
    public var type: PostgresType
}

/// What a statement answered: its rows, all in memory, and how many it concerned.
public struct Rows: RandomAccessCollection, Sendable {
    let result: ClientResult
    let description: RowDescription

    init(_ result: ClientResult) {
        self.result = result
        description = RowDescription(result)
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { result.rowCount }

    public subscript(position: Int) -> Row {
        precondition(position >= 0 && position < result.rowCount, "no such row")
        return Row(result: result, index: position, description: description)
    }

    public var columns: [Column] {
        description.names.enumerated().map { index, name in
            Column(name: name, type: PostgresType(rawValue: result.columnType(index)))
        }
    }

    /// The command tag, such as `UPDATE 3`.
    public var commandTag: String { result.commandTag }

    /// How many rows the statement returned, inserted, changed or deleted.
    public var affectedRows: Int { result.affectedRows }

    /// All rows as tuples: `try rows.decode((Int, String?).self)`. The width must match.
    public func decode<each Value: PostgresDecodable>(
        _ types: (repeat each Value).Type
    ) throws(DecodeError) -> [(repeat each Value)] {
        var decoded: [(repeat each Value)] = []
        decoded.reserveCapacity(count)
        for row in self { decoded.append(try row.decode(types)) }
        return decoded
    }

    /// The one row that there must be.
    public func one() throws(DecodeError) -> Row {
        guard count == 1 else {
            throw DecodeError(
                column: "", index: -1, type: .unspecified, wanted: "one row",
                problem: .rowCount(count))
        }
        return self[0]
    }

    /// The one row that there must be, as a tuple or a single value.
    public func one<each Value: PostgresDecodable>(
        _ types: (repeat each Value).Type
    ) throws(DecodeError) -> (repeat each Value) {
        try one().decode(types)
    }
}

/// One row. Keeps its result in memory.
public struct Row: Sendable {
    let result: ClientResult
    let index: Int
    let description: RowDescription

    /// The number of columns.
    public var count: Int { description.names.count }

    public var columnNames: [String] { description.names }

    /// A value that is not yet read. Traps when there is no such column.
    public subscript(column: Int) -> PostgresCell {
        precondition(column >= 0 && column < count, "no such column")
        return PostgresCell(result: result, rowIndex: index, columnIndex: column)
    }

    /// A value that is not yet read; the first of that name.
    public func cell(_ name: String) throws(DecodeError) -> PostgresCell {
        guard let column = description.names.firstIndex(of: name) else {
            throw DecodeError(
                column: name, index: -1, type: .unspecified, wanted: "a column",
                problem: .noSuchColumn(description.names))
        }
        return self[column]
    }

    /// `try row.decode(Int.self, "id")`
    public func decode<Value: PostgresDecodable>(
        _ type: Value.Type, _ name: String
    ) throws(DecodeError) -> Value {
        try Value(from: cell(name))
    }

    /// By position, from 0.
    public func decode<Value: PostgresDecodable>(
        _ type: Value.Type, at column: Int
    ) throws(DecodeError) -> Value {
        guard column >= 0, column < count else {
            throw DecodeError(
                column: "", index: column, type: .unspecified, wanted: String(describing: type),
                problem: .noSuchColumn(description.names))
        }
        return try Value(from: self[column])
    }

    /// `try row["name", as: String.self]`
    public subscript<Value: PostgresDecodable>(name: String, as type: Value.Type) -> Value {
        get throws(DecodeError) { try decode(type, name) }
    }

    /// The whole row: `let (id, name) = try row.decode((Int, String?).self)`. The width must match.
    public func decode<each Value: PostgresDecodable>(
        _ types: (repeat each Value).Type
    ) throws(DecodeError) -> (repeat each Value) {
        var wanted = 0
        for _ in repeat (each Value).self { wanted += 1 }
        guard wanted == count else {
            throw DecodeError(
                column: "", index: -1, type: .unspecified, wanted: "\(types)",
                problem: .width(wanted: wanted, columns: count))
        }
        var reader = RowReader(row: self)
        return (repeat try reader.next((each Value).self))
    }
}

/// Reads the columns of a row from the left.
private struct RowReader {
    let row: Row
    var column = 0

    mutating func next<Value: PostgresDecodable>(
        _ type: Value.Type
    ) throws(DecodeError) -> Value {
        defer { column += 1 }
        return try Value(from: row[column])
    }
}
