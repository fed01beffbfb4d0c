// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Which client a CancelRequest means.
struct CancelKey: Hashable {
    var processID: Int32
    var secret: Int32

    /// Among peers, as pgbouncer has it: the peer's number is in the second and third byte of eight, and the last two
    /// bits are how often the request may still be passed on.
    static let mostHops: Int32 = 3

    var peerID: Int {
        let number = UInt32(bitPattern: processID)
        return Int(number >> 16 & 0xff | (number >> 8 & 0xff) << 8)
    }

    var hopsLeft: Int32 {
        get { secret & Self.mostHops }
        set { secret = secret & ~Self.mostHops | newValue }
    }
}

/// The keys that clients were told. Invariant: no two clients have the same.
struct CancelKeys {
    private var owners: [CancelKey: ClientID] = [:]

    subscript(key: CancelKey) -> ClientID? { owners[key] }

    /// A key of this client's, with a secret that nobody can foresee. That of a client among peers can be passed on
    /// as often as is allowed.
    mutating func register(_ client: ClientID, processID: Int32, isPeer: Bool) -> CancelKey {
        var key: CancelKey
        repeat {
            key = CancelKey(processID: processID, secret: .random(in: .min ... .max))
            if isPeer { key.hopsLeft = CancelKey.mostHops }
        } while owners[key] != nil
        owners[key] = client
        return key
    }

    /// What makes a secret one of 32 bytes, as PostgreSQL 18's.
    static func makeRest() -> [UInt8] {
        (0..<28).map { _ in UInt8.random(in: .min ... .max) }
    }

    mutating func forget(_ key: CancelKey, of client: ClientID) {
        if owners[key] == client { owners[key] = nil }
    }
}
