// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The rows of one answer, each a DataRow message at once: ten thousand of them need no more than their bytes.
///
/// Invariant: between two calls of `add` every row is whole.
package struct ConsoleRows {
    package let columns: [ConsoleColumn]
    private let formats: ResultFormats
    package private(set) var bytes: [UInt8] = []
    package private(set) var count = 0
    private var column = 0

    package init(_ columns: [ConsoleColumn], formats: ResultFormats = .text) {
        self.columns = columns
        self.formats = formats
    }

    package mutating func add(_ cells: (inout ConsoleRows) -> Void) {
        column = 0
        let start = bytes.count
        bytes.append(BackendKind.dataRow.rawValue)
        bytes.appendInteger(UInt32(0))
        bytes.appendInteger(Int16(columns.count))
        cells(&self)
        precondition(column == columns.count, "a row of \(column) cells for \(columns.count)")
        setLength(at: start + 1, UInt32(bytes.count - start - 1))
        count += 1
    }

    // MARK: Cells, in the order of the columns

    package mutating func text(_ value: String?) {
        next(.text)
        guard let value else {
            bytes.appendInteger(Int32(-1))
            return
        }
        let start = openCell()
        // A NUL would end the value early for a client that takes it as a C string.
        for byte in value.utf8 where byte != 0 { bytes.append(byte) }
        closeCell(start)
    }

    package mutating func integer(_ value: Int64?) {
        let format = next(.int8)
        guard let value else {
            bytes.appendInteger(Int32(-1))
            return
        }
        let start = openCell()
        if format == 1 {
            bytes.appendInteger(Int32(truncatingIfNeeded: value >> 32))
            bytes.appendInteger(Int32(truncatingIfNeeded: value))
        } else {
            bytes.append(contentsOf: "\(value)".utf8)
        }
        closeCell(start)
    }

    package mutating func integer(_ value: Int?) { integer(value.map(Int64.init)) }

    /// A value whose kind only the column knows.
    mutating func value(_ text: String?) {
        guard let text else {
            next(columns[column].kind)
            bytes.appendInteger(Int32(-1))
            return
        }
        switch columns[column].kind {
        case .text:
            self.text(text)
        case .int8:
            integer(Int64(text) ?? 0)
        case .int4:
            let isBinary = next(.int4) == 1
            let start = openCell()
            if isBinary {
                bytes.appendInteger(Int32(text) ?? 0)
            } else {
                bytes.append(contentsOf: text.utf8)
            }
            closeCell(start)
        case .bool:
            let isBinary = next(.bool) == 1
            let start = openCell()
            bytes.append(isBinary ? (text == "t" ? 1 : 0) : text == "t" ? 0x74 : 0x66)
            closeCell(start)
        }
    }

    // MARK: Bytes

    @discardableResult
    private mutating func next(_ kind: ConsoleColumn.Kind) -> Int16 {
        precondition(
            column < columns.count && columns[column].kind == kind,
            "cell \(column) is no \(kind)")
        defer { column += 1 }
        return formats[column]
    }

    private mutating func openCell() -> Int {
        bytes.appendInteger(UInt32(0))
        return bytes.count
    }

    private mutating func closeCell(_ start: Int) {
        setLength(at: start - 4, UInt32(bytes.count - start))
    }

    private mutating func setLength(at offset: Int, _ length: UInt32) {
        bytes[offset] = UInt8(truncatingIfNeeded: length >> 24)
        bytes[offset + 1] = UInt8(truncatingIfNeeded: length >> 16)
        bytes[offset + 2] = UInt8(truncatingIfNeeded: length >> 8)
        bytes[offset + 3] = UInt8(truncatingIfNeeded: length)
    }
}
