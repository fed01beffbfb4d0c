// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// One value of a row, not yet read.
public struct PostgresCell: Sendable {
    let result: ClientResult
    let rowIndex: Int
    /// From 0.
    public let columnIndex: Int

    public var columnName: String { result.columnName(columnIndex) }

    public var type: PostgresType { PostgresType(rawValue: result.columnType(columnIndex)) }

    /// In binary form rather than text: what a query asked for.
    public var isBinary: Bool { result.isBinary(columnIndex) }

    public var isNull: Bool { result.isNull(rowIndex, columnIndex) }

    /// The bytes as they came, for the time of the call.
    public func withBytes<Result>(
        as wanted: Any.Type, _ body: (Span<UInt8>) -> Result?
    ) throws(DecodeError) -> Result {
        let value = result.withValue(rowIndex, columnIndex) { bytes -> Result?? in
            guard let bytes else { return .none }
            return .some(body(bytes))
        }
        guard let read = value else { throw error(.null, wanted) }
        guard let value = read else { throw error(.unreadable(excerpt), wanted) }
        return value
    }

    /// The value's text, or the UTF-8 of a binary one.
    public func text(as wanted: Any.Type = String.self) throws(DecodeError) -> String {
        try withBytes(as: wanted) { bytes in bytes.text }
    }

    /// For conformances of ``PostgresDecodable``.
    public func error(_ problem: DecodeError.Problem, _ wanted: Any.Type) -> DecodeError {
        DecodeError(
            column: columnName, index: columnIndex, type: type, wanted: String(describing: wanted),
            problem: problem)
    }

    /// The kind of the value, never the value itself: errors end up in logs.
    private var excerpt: DecodeError.ValueKind {
        let count = result.withValue(rowIndex, columnIndex) { $0?.count ?? 0 }
        return isBinary ? .binary(bytes: count) : .text(bytes: count)
    }
}

extension Span<UInt8> {
    /// Read as UTF-8, with anything else repaired.
    var text: String {
        withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }
}

/// A value could not be read as what it was asked for.
public struct DecodeError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What lies there. It does not tell the value, which may be a secret.
    public enum ValueKind: Equatable, Sendable {
        case text(bytes: Int)
        case binary(bytes: Int)
    }

    public enum Problem: Equatable, Sendable {
        /// NULL, and the wanted type is no optional.
        case null
        /// The value is not of the wanted type, or out of its range.
        case unreadable(ValueKind)
        /// No column of that name; these are there.
        case noSuchColumn([String])
        /// A tuple of `wanted` values, and a row of another width.
        case width(wanted: Int, columns: Int)
        /// One row was wanted.
        case rowCount(Int)
    }

    /// The column's name.
    public var column: String
    /// From 0; -1 when the problem is with no column.
    public var index: Int
    public var type: PostgresType
    /// The Swift type.
    public var wanted: String
    public var problem: Problem

    public var description: String {
        let place = "column \"\(column)\" (\(index), \(type)) as \(wanted)"
        switch problem {
        case .null:
            return "cannot read \(place): it is NULL; ask for \(wanted)?"
        case .unreadable(.text(let bytes)):
            return "cannot read \(place): its text of \(bytes) bytes is none"
        case .unreadable(.binary(let bytes)):
            return "cannot read \(place): its binary value of \(bytes) bytes is none"
        case .noSuchColumn(let columns):
            return "no column \"\(column)\" among \(columns.joined(separator: ", "))"
        case .width(let wanted, let columns):
            return "cannot read a row of \(columns) columns as \(wanted) values"
        case .rowCount(let count):
            return "one row was wanted, and \(count) came"
        }
    }
}
