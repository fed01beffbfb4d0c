// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A column of the console's answers.
package struct ConsoleColumn: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        case text, int8, int4, bool

        /// `pg_type.oid` and `typlen`.
        var description: (oid: UInt32, size: Int16) {
            switch self {
            case .text: (25, -1)
            case .int8: (20, 8)
            case .int4: (23, 4)
            case .bool: (16, 1)
            }
        }
    }

    package let name: String
    package let kind: Kind

    init(_ name: String, _ kind: Kind) {
        self.name = name
        self.kind = kind
    }

    func described(format: Int16) -> ColumnDescription {
        let (oid, size) = kind.description
        return ColumnDescription(name: name, typeOID: oid, typeSize: size, format: format)
    }
}

/// The formats in which a client wants its columns: none named is text, one named is for all.
package struct ResultFormats: Equatable {
    package static let text = ResultFormats([])
    private let codes: [Int16]

    init(_ codes: [Int16]) { self.codes = codes }

    var count: Int { codes.count }

    /// 0 is text, 1 is binary.
    subscript(column: Int) -> Int16 {
        switch codes.count {
        case 0: 0
        case 1: codes[0]
        default: column < codes.count ? codes[column] : 0
        }
    }

    func fit(_ columns: Int) -> Bool { codes.count <= 1 || codes.count == columns }
    var areKnown: Bool { codes.allSatisfy { $0 == 0 || $0 == 1 } }
}
