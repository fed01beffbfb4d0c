// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Rows in the text format of COPY: a line each.
enum CopyTextRow {
    /// Every line feed ends a row; one inside a value is written `\n`.
    static func count(in bytes: [UInt8]) -> Int {
        bytes.reduce(into: 0) { count, byte in
            if byte == UInt8(ascii: "\n") { count += 1 }
        }
    }

    /// The values of the last row; nil is NULL. `bytes` holds whole rows, one at least.
    static func last(in bytes: [UInt8]) -> [String?] {
        precondition(bytes.last == UInt8(ascii: "\n"), "rows of COPY that are not whole")
        let before = bytes.dropLast().lastIndex(of: UInt8(ascii: "\n"))
        return CopyTextRows.parse(Array(bytes[(before.map { $0 + 1 } ?? 0)...]))[0]
    }
}
