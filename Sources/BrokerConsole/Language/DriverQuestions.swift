// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What drivers ask and set by themselves when they connect, and what the console says to it.
enum DriverQuestions {
    /// The answer to `SHOW name`; nil for a parameter that the console does not have.
    static func parameter(_ name: String) -> (ConsoleColumn, ConsoleValue)? {
        let value: ConsoleValue
        switch name {
        case "application_name": value = .applicationName
        case "session_authorization": value = .user
        case "is_superuser": value = .isSuperuser
        case "server_version": value = .serverVersion
        default:
            guard let text = fixed[name] else { return nil }
            value = .fixed(text)
        }
        return (ConsoleColumn(spellings[name] ?? name, .text), value)
    }

    private static let fixed: [String: String] = [
        "bytea_output": "hex",
        "client_encoding": "UTF8",
        "client_min_messages": "notice",
        "datestyle": "ISO, MDY",
        "default_transaction_isolation": "read committed",
        "default_transaction_read_only": "off",
        "extra_float_digits": "1",
        "in_hot_standby": "off",
        "integer_datetimes": "on",
        "intervalstyle": "postgres",
        "lc_collate": "C",
        "max_identifier_length": "63",
        "search_path": "",
        "server_encoding": "UTF8",
        "server_version_num": "150000",
        "standard_conforming_strings": "on",
        "statement_timeout": "0",
        "timezone": "UTC",
        "transaction_isolation": "read committed",
        "transaction_read_only": "off",
    ]

    /// Columns are named as PostgreSQL spells the parameter.
    private static let spellings = [
        "datestyle": "DateStyle", "intervalstyle": "IntervalStyle", "timezone": "TimeZone",
    ]

    /// The answer to `SELECT name()` or `SELECT name`.
    static func function(_ name: String, isCall: Bool) -> (ConsoleColumn, ConsoleValue)? {
        switch (name, isCall) {
        case ("version", true):
            (ConsoleColumn("version", .text), .version)
        case ("current_schema", _): (ConsoleColumn(name, .text), .fixed("public"))
        case ("current_database", true), ("current_catalog", false):
            (ConsoleColumn(name, .text), .database)
        case ("current_user", false), ("session_user", false), ("user", false):
            (ConsoleColumn(name, .text), .user)
        case ("pg_backend_pid", true): (ConsoleColumn(name, .int4), .processID)
        case ("pg_is_in_recovery", true): (ConsoleColumn(name, .bool), .fixed("f"))
        case ("pg_advisory_unlock_all", true): (ConsoleColumn(name, .text), .fixed(""))
        default: nil
        }
    }

    /// Parameters that a driver or a library may set: the console works the same whatever their value.
    static func isHarmless(_ name: String) -> Bool {
        fixed[name] != nil || harmless.contains(name)
    }

    private static let harmless: Set<String> = [
        "backslash_quote", "escape_string_warning", "geqo", "idle_in_transaction_session_timeout",
        "idle_session_timeout", "jit", "lock_timeout", "row_security", "server_version",
        "synchronous_commit",
        "work_mem",
    ]

    static func unknownParameter(
        _ name: String, _ message: String = "SET failed"
    ) -> ConsoleRefusal {
        ConsoleRefusal(
            .protocolViolation, message,
            detail: "unrecognized configuration parameter \(quoted(name))",
            hint: "SHOW CONFIG lists the settings of pglease; the file and RELOAD change them.")
    }
}
