// SPDX-License-Identifier: Apache-2.0

/// One address that server connections of a line in `[databases]` may lead to.
package struct ServerHost: Hashable, Sendable {
    /// Place in the line's list of hosts: the addresses of one name share it.
    package let entry: Int
    /// As the line has it: a name, an address, a socket's folder.
    package let name: String
    /// Numeric; empty where `name` is one already, or a socket's folder.
    package let address: String
    package let port: String

    package init(entry: Int, name: String, address: String, port: String) {
        self.entry = entry
        self.name = name
        self.address = address
        self.port = port
    }

    /// `db1:5432`, or `db1:5432 (10.0.0.1)`.
    package var words: String {
        let place = name.isEmpty ? "port \(port)" : "\(name):\(port)"
        return address.isEmpty || address == name ? place : "\(place) (\(address))"
    }
}

/// Which server of a list is the right one: `target_session_attrs`, with libpq's words.
package enum WantedServer: String, CaseIterable, Sendable {
    case any
    case readWrite = "read-write"
    case readOnly = "read-only"
    case primary
    case standby
    case preferStandby = "prefer-standby"

    /// Only one server of the list can be right at a time.
    package var isOfOne: Bool { self == .readWrite || self == .primary }

    /// What a server that says this of itself is taken for; nil: that alone does not decide.
    func isMet(byStandby isStandby: Bool) -> Bool? {
        switch self {
        case .any, .preferStandby: true
        case .readWrite, .primary: isStandby ? false : nil
        case .readOnly: isStandby ? true : nil
        case .standby: isStandby
        }
    }

    /// A query that finds a row if the server is not the right one. A value that a client has set for itself says
    /// nothing of the server.
    var refutation: String? {
        let isStandby = "pg_catalog.pg_is_in_recovery()"
        let isReadOnly =
            "EXISTS (SELECT FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) "
            + "'default_transaction_read_only' AND setting OPERATOR(pg_catalog.=) 'on' "
            + "AND source NOT IN ('client', 'session'))"
        switch self {
        case .any, .preferStandby: return nil
        case .readWrite: return "SELECT 1 WHERE \(isStandby) OR \(isReadOnly)"
        case .readOnly: return "SELECT 1 WHERE NOT (\(isStandby) OR \(isReadOnly))"
        case .primary: return "SELECT 1 WHERE \(isStandby)"
        case .standby: return "SELECT 1 WHERE NOT \(isStandby)"
        }
    }
}

/// Which host of several right ones a new connection goes to: `load_balance_hosts`.
package enum HostChoice: String, CaseIterable, Sendable {
    /// Each new connection goes to the next one.
    case roundRobin = "round-robin"
    /// All go to the same one until it fails, then to the one after it.
    case disable
}

/// What was wrong with a host when it was last tried.
package enum HostTrouble: String, CaseIterable, Sendable {
    /// Refused, unreachable, or it said that it cannot take connections now.
    case refused
    /// No answer in time.
    case silent
    /// It answers, and is not what `target_session_attrs` asks for.
    case unwanted

    package var words: String {
        switch self {
        case .refused: "cannot be reached"
        case .silent: "does not answer"
        case .unwanted: "is not what target_session_attrs asks for"
        }
    }
}
