// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The keys of a line of `[databases]` that are not pglease's own: libpq's, which are passed on,
/// and pgbouncer's that have no effect here.
enum DatabaseKeyword {
    enum Verdict: Equatable {
        case passOn
        case drop
        case warn(String)
        case refuse(String)
        case unknown
    }

    /// Startup parameters of every server connection of the database.
    static let startup: Set<String> = [
        "client_encoding", "datestyle", "timezone", "application_name",
    ]

    private static let libpq: Set<String> = [
        "host", "hostaddr", "port", "service", "servicefile", "passfile", "channel_binding",
        "require_auth", "options", "fallback_application_name", "target_session_attrs",
        "sslmode", "sslnegotiation", "sslcompression", "sslcert", "sslkey",
        "sslpassword", "sslcertmode", "sslrootcert", "sslcrl", "sslcrldir", "sslsni",
        "ssl_min_protocol_version", "ssl_max_protocol_version", "requirepeer", "krbsrvname",
        "gssencmode", "gsslib", "gssdelegation", "connect_timeout", "keepalives",
        "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "replication", "min_protocol_version", "max_protocol_version",
    ]

    static let allNames: [String] =
        (EntryKey<DatabaseEntry>.all.map(\.name) + startup + libpq).sorted()

    static func judge(_ key: String, _ value: String) -> Verdict {
        switch key {
        case "port":
            portsAreValid(value)
                ? .passOn : .refuse("\(quoted(value)) is not a port, 1 to 65535")
        case "gssencmode":
            value == "disable" || value == "prefer"
                ? .drop : .refuse("GSSAPI encryption is not supported; use sslmode")
        case "replication":
            .refuse("replication connections cannot be pooled")
        case "connect_timeout":
            .warn("has no effect here: server_connect_timeout bounds a connect")
        default:
            libpq.contains(key) ? .passOn : .unknown
        }
    }

    /// One port, or one for each host; an empty one is libpq's default.
    private static func portsAreValid(_ text: String) -> Bool {
        text.split(separator: ",", omittingEmptySubsequences: false).allSatisfy { item in
            let port = item.trimmedBlanks
            return port.isEmpty || (UInt16(port).map { $0 > 0 } ?? false)
        }
    }
}
