// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The statements that take a connection from one profile to another.
///
/// Pure ASCII, and without a name that a search path could lead elsewhere: what was in force before, or what
/// an earlier client left, does not change what they mean.
package struct ProfileSetup: Equatable, Sendable {
    /// Puts everything back that a profile can set; nil where none is in force.
    package let reset: String?
    /// What the profile sets on top of the server's defaults, in this order; may be empty.
    package let settings: [String]
    /// The profile that is in force may end the reset itself: it is answered for before anything else is sent.
    package let mustBeAwaited: Bool

    /// RESET ALL leaves these alone.
    static let identity: Set<String> = ["role", "session_authorization", sessionUser]

    /// Who SET SESSION AUTHORIZATION has made the session's user: in a startup packet `session_authorization` is
    /// checked only.
    static let sessionUser = "session authorization"

    /// In the order in which they are set, as the last of all: they are the client's, not the broker's.
    static let timeouts = [
        "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout",
        "transaction_timeout", "statement_timeout",
    ]

    /// In a startup packet these are checked and have no effect: each transaction begins with its own, and the
    /// session's user is who logged in.
    static let withoutEffect: Set<String> = [
        "session_authorization", "transaction_deferrable", "transaction_isolation",
        "transaction_read_only",
    ]

    /// Puts who the session is back to what it was at first, also in a server that leaves the role out there.
    package static let resetOfIdentity = "RESET SESSION AUTHORIZATION;RESET ROLE"

    /// `from` is nil where the server's own defaults are in force.
    init(from current: [ProfileEntry]?, to target: [ProfileEntry]) {
        if let current {
            let hasIdentity = current.contains { Self.identity.contains($0.name) }
            let isTimed = current.contains { $0.name == "statement_timeout" }
            mustBeAwaited = current.contains {
                ($0.name == "statement_timeout" || $0.name == "transaction_timeout")
                    && Self.isShort($0.value)
            }
            // The first statement of a text ends the time-out of the others.
            reset =
                (isTimed ? "SET statement_timeout TO 0;" : "")
                + (hasIdentity ? "\(Self.resetOfIdentity);RESET ALL" : "RESET ALL")
        } else {
            mustBeAwaited = false
            reset = nil
        }
        settings = Self.statements(for: target)
    }

    /// Puts these settings in force where the server's own defaults are.
    package static func statements(for entries: [ProfileEntry]) -> [String] {
        var checks: [String] = []
        var general: [String] = []
        var last: [String] = []
        for entry in entries {
            switch entry.name {
            case _ where withoutEffect.contains(entry.name):
                checks.append(assignment(entry, isLocal: true))
            case "seed":
                // A startup packet's seed has no effect, if it is one.
                if let seed = Double(entry.value), (-1...1).contains(seed) { continue }
                general.append(assignment(entry))
            case _
            where entry.name == "role" || entry.name == sessionUser || timeouts.contains(entry.name):
                break
            default:
                general.append(assignment(entry))
            }
        }
        // What only a superuser may set comes before the user and the role that it goes on with.
        last += entries.filter { $0.name == sessionUser }.map {
            "SET SESSION AUTHORIZATION \(asciiLiteral($0.value))"
        }
        for name in ["role"] + timeouts {
            last += entries.filter { $0.name == name }.map { assignment($0) }
        }
        if !checks.isEmpty {
            // A snapshot makes the server refuse what it refuses in a startup packet.
            checks = ["SAVEPOINT pglease", "SELECT 1"] + checks + ["ROLLBACK TO pglease"]
        }
        return checks + general + last
    }

    private static func assignment(_ entry: ProfileEntry, isLocal: Bool = false) -> String {
        let value = asciiLiteral(entry.value)
        // SET would take the whole list for one quoted name, and has no escapes for a name that is not ASCII.
        if SessionSetting.quotedLists.contains(entry.name)
            || !entry.name.utf8.allSatisfy({ (32...126).contains($0) })
        {
            let name = asciiLiteral(entry.name)
            return "SELECT pg_catalog.set_config(\(name), \(value), \(isLocal))"
        }
        return "SET \(isLocal ? "LOCAL " : "")\(quotedIdentifier(entry.name)) TO \(value)"
    }

    /// All of it as one text that may be sent in front of a client's first message: where it fails, the
    /// transaction stays open and failed, so that the message is refused rather than run as somebody else.
    package var inOneText: String {
        Self.block((reset.map { [$0] } ?? []) + settings)
    }

    /// All of it as texts that are answered before anything else is sent. `connectQuery` is in force again
    /// between the two parts.
    package func texts(connectQuery: String?) -> [String] {
        var parts: [String] = []
        if let reset {
            // It runs as the user that it ran as at first.
            parts.append(connectQuery == nil ? reset : "\(reset);\(Self.resetOfIdentity)")
            if let connectQuery { parts.append(connectQuery) }
        }
        if !settings.isEmpty || parts.isEmpty { parts.append(Self.block(settings)) }
        return parts
    }

    /// Whether a time-out may end the few statements of a profile: under a second, or written in a way that is
    /// not read here.
    private static func isShort(_ value: String) -> Bool {
        let digits = value.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard let number = Int(String(decoding: digits, as: UTF8.self)) else { return true }
        if number == 0 { return value != "0" }
        switch String(decoding: value.utf8.dropFirst(digits.count), as: UTF8.self) {
        case "", "ms": return number < 1000
        case "s", "min", "h", "d": return false
        default: return true
        }
    }

    /// A text that runs all the statements, or none.
    package static func block(_ statements: [String]) -> String {
        guard !statements.isEmpty else { return "" }
        return (["BEGIN ISOLATION LEVEL READ COMMITTED"] + statements + ["COMMIT"])
            .joined(separator: ";")
    }
}
