// SPDX-License-Identifier: Apache-2.0

/// What a lease is asked for with.
struct LeaseWording: Equatable, Sendable {
    var isDirect: Bool
    /// The lease may be parked at its end.
    var parks = false
    var wait: Duration?
    var hold: Duration?
    var purpose: String?
    /// Nil for the async form, whose leases belong to no thread.
    var thread: Int32?

    /// `LEASE DIRECT PARK WAIT '2000ms' HOLD '30000ms' FOR 'why' THREAD '1234'`
    var text: String {
        var text = "LEASE"
        if isDirect { text += parks ? " DIRECT PARK" : " DIRECT" }
        if let wait { text += " WAIT '\(LeaseWording.milliseconds(wait))ms'" }
        if let hold { text += " HOLD '\(LeaseWording.milliseconds(hold))ms'" }
        if let purpose { text += " FOR \(LeaseWording.quoted(purpose))" }
        if let thread { text += " THREAD '\(thread)'" }
        return text
    }

    static let giveBack = "LEASE RETURN"

    /// Rounded up: a wait of a microsecond is not the same as none.
    private static func milliseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        let part = (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
        return max(0, min(seconds, 1_000_000_000) * 1000 + part)
    }

    /// The grammar's own quoting, in which a backslash is nothing special.
    private static func quoted(_ text: String) -> String {
        var quoted = "'"
        for scalar in text.unicodeScalars.prefix(128) where scalar != "\0" {
            if scalar == "'" { quoted += "'" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "'"
    }
}

/// What the broker granted.
public struct LeaseGrant: Equatable, Sendable {
    public enum Kind: String, Sendable {
        /// Through the broker.
        case relay
        /// Straight to PostgreSQL.
        case direct
    }

    /// The number that `SHOW LEASES` shows.
    public var leaseID: Int64
    /// The process of the server connection, as `pg_stat_activity` shows it.
    public var serverProcessID: Int
    public var kind: Kind
    /// How long the broker let this request wait.
    public var waited: Duration

    init(row: Row) throws(DecodeError) {
        leaseID = try row.decode(Int64.self, "lease_id")
        serverProcessID = try row.decode(Int.self, "server_pid")
        let kind = try row.decode(String.self, "kind")
        self.kind = Kind(rawValue: kind) ?? .relay
        waited = .microseconds(try row.decode(Int64.self, "waited_us"))
    }
}
