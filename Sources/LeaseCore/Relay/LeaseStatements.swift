// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// How a lease command is answered.
package enum LeaseForm: Equatable, Sendable {
    /// It was a simple query: the answer ends with ReadyForQuery.
    case simple
    /// It was executed by the extended protocol, with these result formats as Bind had them.
    case extended(formats: [Int16])
}

/// Lease commands of one client that are prepared by the extended protocol: statements and portals
/// that no server knows.
struct LeaseStatements {
    struct Portal {
        var command: LeaseCommand
        var formats: [Int16]
    }

    var statements: [[UInt8]: LeaseCommand] = [:]
    /// They live until the Sync.
    var portals: [[UInt8]: Portal] = [:]

    /// More than this at once are refused.
    static let limit = 1000
}

/// The row that answers LEASE.
package enum LeaseAnswer {
    package static func columns(formats: [Int16] = []) -> [ColumnDescription] {
        let columns: [(name: String, type: UInt32, size: Int16)] = [
            ("lease_id", 20, 8), ("server_pid", 23, 4), ("kind", 25, -1), ("waited_us", 20, 8),
        ]
        return columns.enumerated().map { index, column in
            ColumnDescription(
                name: column.name, typeOID: column.type, typeSize: column.size,
                format: format(index, formats))
        }
    }

    /// None: text; one: for all columns.
    private static func format(_ column: Int, _ formats: [Int16]) -> Int16 {
        if formats.count == 1 { return formats[0] }
        return column < formats.count ? formats[column] : 0
    }

    package static func row(
        lease: Int64, serverProcess: Int32, kind: String, waitedMicroseconds: Int64,
        formats: [Int16]
    ) -> [[UInt8]?] {
        func integer<Value: FixedWidthInteger>(_ value: Value, _ column: Int) -> [UInt8] {
            guard format(column, formats) == 1 else { return Array("\(value)".utf8) }
            return withUnsafeBytes(of: value.bigEndian) { Array($0) }
        }
        return [
            integer(lease, 0), integer(serverProcess, 1), Array(kind.utf8),
            integer(waitedMicroseconds, 3),
        ]
    }
}
