import LeaseCore

/// Which client a CancelRequest means.
struct CancelKey: Hashable {
    var processID: Int32
    var secret: Int32
}

/// The keys that clients were told. Invariant: no two clients have the same.
struct CancelKeys {
    private var owners: [CancelKey: ClientID] = [:]

    subscript(key: CancelKey) -> ClientID? { owners[key] }

    /// A key of this client's, with a secret that nobody can foresee.
    mutating func register(_ client: ClientID, processID: Int32) -> CancelKey {
        var key: CancelKey
        repeat {
            key = CancelKey(processID: processID, secret: .random(in: .min ... .max))
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
