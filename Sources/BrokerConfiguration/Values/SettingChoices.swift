// SPDX-License-Identifier: Apache-2.0

/// A setting that is one of a few words; the raw value is the word in the file.
package protocol SettingChoice: RawRepresentable<String>, CaseIterable, Equatable, Sendable {}

/// `pool_mode`: how long a client keeps the server connection it was given.
package enum PoolMode: String, SettingChoice {
    case session, transaction, statement
}

/// `auth_type`: how a client proves who it is.
package enum AuthType: String, SettingChoice {
    /// The kernel names the user of the Unix socket (SO_PEERCRED).
    case peer
    /// Nobody is asked, but the role must be known.
    case trust
    /// Nobody is asked, and the role is that of the database's line.
    case any
    case scramSHA256 = "scram-sha-256"
    /// MD5, or SCRAM where the secret is one of SCRAM.
    case md5
    /// The name in the client's certificate.
    case cert
    /// The password itself, which PAM judges.
    case pam
    /// The password itself, which a directory judges.
    case ldap
    /// As the first line of `auth_hba_file` says that is for the client.
    case hba
    /// The password itself.
    case plain
}

/// `client_gone`: what becomes of what a client sent before it left.
package enum ClientGone: String, SettingChoice {
    /// It is run if the client said goodbye, or closed its writing side only.
    case finish
    case cancel
}

/// `direct_lease`: who may be handed the server connection itself.
package enum DirectLease: String, SettingChoice {
    case off
    case sameUID = "same_uid"

    /// The rule in the words that stand in all documents (a test compares them).
    package static let rule =
        "Who may have a direct lease: off, nobody; same_uid, a process on the Unix socket that the "
        + "broker can see and that runs as root, as the broker's own user, as the user of the role's "
        + "name, or as a user that peer_map lets in as the role, whatever auth_type is; users of one "
        + "uid at a time in each pool. Everybody else is relayed, as are session pools and servers "
        + "with TLS."
}

/// `session_state`: what becomes of what a client of a transaction pool has in its session.
package enum SessionState: String, SettingChoice {
    case keep, refuse, drop
}

/// `load_balance_hosts`: which host of a list a new connection goes to.
package enum HostBalance: String, SettingChoice {
    case roundRobin = "round-robin"
    case disable
    /// libpq's word: all hosts are used, as with `round-robin`.
    case random
}

/// `isolation`: when a connection of a transaction pool is cleaned for its next client.
package enum PoolIsolation: String, SettingChoice {
    case tracked, strict
}

/// `log_format`.
package enum LogFormat: String, SettingChoice {
    case text, json
}

/// `log_level`, the names of swift-log.
package enum LogLevel: String, SettingChoice {
    case trace, debug, info, notice, warning, error, critical
}

/// `syslog_facility`; the raw value is pgbouncer's word.
package enum SyslogFacility: String, SettingChoice {
    case kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp
    case local0, local1, local2, local3, local4, local5, local6, local7

    /// As syslog(3) numbers it.
    package var number: Int {
        switch self {
        case .kern: 0
        case .user: 1
        case .mail: 2
        case .daemon: 3
        case .auth: 4
        case .syslog: 5
        case .lpr: 6
        case .news: 7
        case .uucp: 8
        case .cron: 9
        case .authpriv: 10
        case .ftp: 11
        case .local0: 16
        case .local1: 17
        case .local2: 18
        case .local3: 19
        case .local4: 20
        case .local5: 21
        case .local6: 22
        case .local7: 23
        }
    }
}

/// `client_tls_sslmode` and `server_tls_sslmode`, the names of libpq.
package enum TLSMode: String, SettingChoice {
    case disable, allow, prefer, require
    case verifyCA = "verify-ca"
    case verifyFull = "verify-full"

    /// Nothing passes without TLS.
    package var requiresTLS: Bool {
        switch self {
        case .disable, .allow, .prefer: false
        case .require, .verifyCA, .verifyFull: true
        }
    }

    /// The other side's certificate has to be good; of a client, it has to have one.
    package var verifies: Bool {
        switch self {
        case .disable, .allow, .prefer, .require: false
        case .verifyCA, .verifyFull: true
        }
    }
}

/// `client_tls_dheparams`.
package enum DiffieHellmanParameters: String, SettingChoice {
    case none, auto, legacy
}
