// SPDX-License-Identifier: Apache-2.0

/// What a client is told: the content of an ErrorResponse or a NoticeResponse.
package struct PgError: Error, Equatable, Sendable {
    /// The severities of the protocol, in the spelling of its V field, which no locale translates.
    package enum Severity: String, Sendable {
        case error = "ERROR"
        case fatal = "FATAL"
        case panic = "PANIC"
        case warning = "WARNING"
        case notice = "NOTICE"
        case info = "INFO"
        case log = "LOG"
        case debug = "DEBUG"
    }

    /// One word wherever an error may be: the sessions and the answers of the relay hold optional ones,
    /// which nearly always are nil.
    private var storage: Storage

    private struct Content: Equatable, Sendable {
        var severity: Severity
        var sqlState: SQLState
        var message: String
        var detail: String?
        var hint: String?
        var position: Int?
    }

    private final class Storage: Sendable {
        let content: Content
        init(_ content: Content) { self.content = content }
    }

    private var content: Content {
        get { storage.content }
        set { storage = Storage(newValue) }
    }

    package var severity: Severity {
        get { content.severity }
        set { content.severity = newValue }
    }
    package var sqlState: SQLState {
        get { content.sqlState }
        set { content.sqlState = newValue }
    }
    package var message: String {
        get { content.message }
        set { content.message = newValue }
    }
    package var detail: String? {
        get { content.detail }
        set { content.detail = newValue }
    }
    package var hint: String? {
        get { content.hint }
        set { content.hint = newValue }
    }
    /// Where in the statement's text, in characters from 1.
    package var position: Int? {
        get { content.position }
        set { content.position = newValue }
    }

    package init(
        severity: Severity = .error,
        sqlState: SQLState,
        message: String,
        detail: String? = nil,
        hint: String? = nil,
        position: Int? = nil
    ) {
        storage = Storage(
            Content(
                severity: severity, sqlState: sqlState, message: message, detail: detail,
                hint: hint, position: position))
    }

    package static func == (left: PgError, right: PgError) -> Bool {
        left.storage === right.storage || left.content == right.content
    }

    /// An error that ends the session.
    package static func fatal(
        _ sqlState: SQLState, _ message: String, detail: String? = nil, hint: String? = nil
    ) -> PgError {
        PgError(
            severity: .fatal, sqlState: sqlState, message: message, detail: detail, hint: hint)
    }

    /// An error after which the session goes on.
    package static func error(
        _ sqlState: SQLState, _ message: String, detail: String? = nil, hint: String? = nil
    ) -> PgError {
        PgError(sqlState: sqlState, message: message, detail: detail, hint: hint)
    }

    /// A notice, for ``Swift/Array/appendNoticeResponse(_:)``.
    package static func notice(
        _ message: String, detail: String? = nil, hint: String? = nil
    ) -> PgError {
        PgError(
            severity: .notice, sqlState: .successfulCompletion, message: message, detail: detail,
            hint: hint)
    }
}
