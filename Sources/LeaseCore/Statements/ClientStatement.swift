// SPDX-License-Identifier: Apache-2.0

/// What a client's name for a statement stands for.
package struct ClientStatement: Hashable, Sendable {
    package let id: StatementID
    /// When it was parsed for this client, by the clock of the `StatementTable`. A copy that a server was given
    /// earlier may have another meaning: tables, types and functions may have changed in between.
    package let since: UInt64
    /// `ProfileID.meaning` of the clients that it is shared with; nil: it is this client's alone.
    package let meaning: UInt32?

    package init(id: StatementID, since: UInt64, meaning: UInt32?) {
        self.id = id
        self.since = since
        self.meaning = meaning
    }
}

/// Where statements of the same text mean the same: in one pool, under the same settings.
package struct ParseEnvironment: Hashable, Sendable {
    package var pool: PoolID
    /// `ProfileID.meaning`
    package var settings: UInt32

    package init(pool: PoolID = PoolID(0), settings: UInt32 = 0) {
        self.pool = pool
        self.settings = settings
    }

    /// Appends it to a key.
    func append(to key: inout [UInt8]) {
        for number in [pool.rawValue, settings] {
            withUnsafeBytes(of: number) { key.append(contentsOf: $0) }
        }
    }
}

/// What a server says of a statement that it has just parsed.
package struct ParsedMeaning: Equatable, Sendable {
    /// OIDs of the parameters' types, in the order and the spelling of a Parse: their number and each.
    package let parameterTypes: [UInt8]
    /// Length and hash of the columns' description.
    private let columnsLength: Int
    private let columnsHash: UInt64

    /// Reads the bodies of ParameterDescription and of RowDescription (nothing for NoData), one behind the
    /// other; nil if they are not.
    package init?(_ description: [UInt8]) {
        guard description.count >= 2 else { return nil }
        let count = Int(description[0]) << 8 | Int(description[1])
        let end = 2 + 4 * count
        guard description.count >= end else { return nil }
        parameterTypes = Array(description[..<end])
        columnsLength = description.count - end
        // FNV-1a: nobody gains by making his own statements look alike.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in description[end...] {
            hash ^= UInt64(byte)
            hash = hash &* 0x0000_0100_0000_01b3
        }
        columnsHash = hash
    }
}
