// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// What a server (or the broker in its name) says of a statement, with all that it tells.
public struct PostgresError: Error, Equatable, Sendable, CustomStringConvertible {
    /// `ERROR`, `FATAL`; of a notice also `WARNING`, `NOTICE` … Never translated.
    public var severity: String
    /// Five characters, such as `23505`.
    public var sqlState: String
    public var message: String
    public var detail: String?
    public var hint: String?
    /// Where in the statement, in characters from 1.
    public var position: Int?
    /// The call stack inside the server (CONTEXT).
    public var context: String?
    public var schemaName: String?
    public var tableName: String?
    public var columnName: String?
    public var dataTypeName: String?
    public var constraintName: String?

    public init(
        severity: String = "ERROR", sqlState: String, message: String, detail: String? = nil,
        hint: String? = nil
    ) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
    }

    init(_ error: ServerMessage) {
        self.init(
            severity: error.severity, sqlState: error.sqlState, message: error.message,
            detail: error.detail, hint: error.hint)
        position = error.position
        context = error.context
        schemaName = error.schema
        tableName = error.table
        columnName = error.column
        dataTypeName = error.dataType
        constraintName = error.constraint
    }

    /// 40001 or 40P01: the same transaction may go through when it is run again.
    public var isWorthRetrying: Bool { sqlState == "40001" || sqlState == "40P01" }

    public var description: String {
        var text = "\(severity) \(sqlState): \(message)"
        if let detail { text += "; \(detail)" }
        if let hint { text += "; hint: \(hint)" }
        return text
    }
}
