// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A bound statement. Its rows are made when they are first asked for, and handed out in as many parts as
/// the client likes.
final class ConsolePortal {
    let statement: ConsoleStatement
    let formats: ResultFormats
    private(set) var hasRun = false
    private var rows: [UInt8] = []
    private var offset = 0

    init(_ statement: ConsoleStatement, _ formats: ResultFormats) {
        self.statement = statement
        self.formats = formats
    }

    /// Keeps whole DataRow messages.
    func fill(_ rows: [UInt8]) {
        self.rows = rows
        hasRun = true
    }

    /// Hands out at most so many rows, 0 for all. True if none is left.
    func take(_ maximum: Int, into reply: inout [UInt8]) -> Bool {
        var end = maximum > 0 ? offset : rows.count
        var count = 0
        rows.withUnsafeBytes { bytes in
            while end < bytes.count, count < maximum {
                end += MessageHeader.size + MessageHeader(bytes, at: end).bodyLength
                count += 1
            }
        }
        reply.append(contentsOf: rows[offset..<end])
        offset = end
        // As PostgreSQL: a portal that stopped at its limit does not know yet that nothing follows.
        if maximum > 0, count == maximum { return false }
        rows = []
        offset = 0
        return true
    }
}
