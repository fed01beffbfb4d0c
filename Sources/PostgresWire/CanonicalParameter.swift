// SPDX-License-Identifier: Apache-2.0

/// The spelling in which PostgreSQL reports a setting (ParameterStatus), derived from what a client
/// wrote at startup: a login that no server has answered yet is answered so.
package enum CanonicalParameter {
    /// The settings that PostgreSQL reports, with its capitals.
    package static let reportedNames = [
        "application_name", "client_encoding", "DateStyle", "default_transaction_read_only",
        "in_hot_standby", "integer_datetimes", "IntervalStyle", "is_superuser", "server_encoding",
        "server_version", "session_authorization", "standard_conforming_strings", "TimeZone",
    ]

    /// The name as PostgreSQL writes it: a setting's name has no case, and all but three are lower
    /// case.
    package static func canonicalName(_ name: String) -> String {
        let lowered = lowercasedName(name)
        switch lowered {
        case "datestyle": return "DateStyle"
        case "intervalstyle": return "IntervalStyle"
        case "timezone": return "TimeZone"
        default: return lowered
        }
    }

    /// Whether PostgreSQL 15 reports changes of the setting.
    package static func isReported(_ name: String) -> Bool {
        reportedNames.contains(canonicalName(name))
    }

    /// The reported spelling of `value`; nil when the setting is not one that is reported and may
    /// be set, or when PostgreSQL would refuse the value. `base` is the value in force before:
    /// `DateStyle` keeps the half of it that a client does not name.
    ///
    /// A time zone goes unchanged: its canonical name is in the server's own files.
    package static func value(
        name: String, value: String, base: String? = nil, serverVersion: String? = nil
    ) -> String? {
        switch canonicalName(name) {
        case "client_encoding":
            return ClientEncoding.canonicalName(value)
        case "DateStyle":
            let before = base.flatMap { DateStyle($0, base: DateStyle()) } ?? DateStyle()
            return DateStyle(value, base: before)?.text
        case "IntervalStyle":
            let lowered = lowercasedName(value)
            return intervalStyles.contains(lowered) ? lowered : nil
        case "standard_conforming_strings", "default_transaction_read_only":
            return boolean(value).map { $0 ? "on" : "off" }
        case "application_name":
            return applicationName(value, escapes: major(serverVersion) >= 16)
        case "TimeZone":
            let lowered = lowercasedName(value)
            return lowered == "utc" ? "UTC" : lowered == "gmt" ? "GMT" : value
        default:
            return nil
        }
    }

    /// PostgreSQL's `parse_bool`: on, off, true, false, yes, no, 1, 0 and their unambiguous
    /// beginnings.
    package static func boolean(_ value: String) -> Bool? {
        let lowered = lowercasedName(value)
        guard !lowered.isEmpty else { return nil }
        if lowered == "1" || "true".hasPrefix(lowered) || "yes".hasPrefix(lowered) { return true }
        if lowered == "0" || "false".hasPrefix(lowered) || "no".hasPrefix(lowered) { return false }
        if lowered == "on" { return true }
        return lowered == "of" || lowered == "off" ? false : nil
    }

    private static let intervalStyles: Set<String> = [
        "postgres", "postgres_verbose", "sql_standard", "iso_8601",
    ]

    /// At most 63 bytes. One that is no printable ASCII is shown as '?', from PostgreSQL 16 on as `\xc3`.
    private static func applicationName(_ value: String, escapes: Bool) -> String {
        var shown: [UInt8] = []
        for byte in value.utf8.prefix(63) {
            if (32...126).contains(byte) {
                shown.append(byte)
            } else if escapes {
                let digits = String(byte, radix: 16)
                shown += Array("\\x\(digits.count == 1 ? "0" : "")\(digits)".utf8)
            } else {
                shown.append(UInt8(ascii: "?"))
            }
        }
        return String(decoding: shown, as: UTF8.self)
    }

    /// Of `server_version`; 0 if it is not known.
    private static func major(_ version: String?) -> Int {
        version.flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
    }

    private static func lowercasedName(_ name: String) -> String {
        String(decoding: name.utf8.map(lowercased), as: UTF8.self)
    }
}

/// The ParameterStatus set of a server that has not been seen yet: PostgreSQL 15's list in its
/// order, with its defaults.
package enum BaseParameters {
    package static func set(
        serverVersion: String, user: String = "postgres", isSuperuser: Bool = false
    ) -> [(String, String)] {
        [
            ("application_name", ""),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("default_transaction_read_only", "off"),
            ("in_hot_standby", "off"),
            ("integer_datetimes", "on"),
            ("IntervalStyle", "postgres"),
            ("is_superuser", isSuperuser ? "on" : "off"),
            ("server_encoding", "UTF8"),
            ("server_version", serverVersion),
            ("session_authorization", user),
            ("standard_conforming_strings", "on"),
            ("TimeZone", "UTC"),
        ]
    }
}
