// SPDX-License-Identifier: Apache-2.0

/// Rows read back, for the other forms in which the console's tables are served.
extension ConsoleRows {
    /// The cells of one row in the text format; nil is null.
    package typealias Cells = [ArraySlice<UInt8>?]

    package func eachRow(_ body: (Cells) -> Void) {
        var cells: Cells = []
        cells.reserveCapacity(columns.count)
        var offset = 0
        for _ in 0..<count {
            // Kind, length and number of cells.
            offset += 7
            cells.removeAll(keepingCapacity: true)
            for _ in columns {
                let length = Int32(bitPattern: number(at: offset))
                offset += 4
                if length < 0 {
                    cells.append(nil)
                } else {
                    cells.append(bytes[offset..<offset + Int(length)])
                    offset += Int(length)
                }
            }
            body(cells)
        }
    }

    private func number(at offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 << 8 | UInt32(bytes[offset + $1]) }
    }
}
