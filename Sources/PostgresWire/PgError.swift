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

    package var severity: Severity
    package var sqlState: SQLState
    package var message: String
    package var detail: String?
    package var hint: String?
    /// Where in the statement's text, in characters from 1.
    package var position: Int?

    package init(
        severity: Severity = .error,
        sqlState: SQLState,
        message: String,
        detail: String? = nil,
        hint: String? = nil,
        position: Int? = nil
    ) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.hint = hint
        self.position = position
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
