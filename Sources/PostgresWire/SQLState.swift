// SPDX-License-Identifier: Apache-2.0

/// A SQLSTATE: five characters that say what went wrong, the same in every language of the message.
///
/// The constants carry PostgreSQL's condition names; a code that is not among them is a value like
/// any other, because a server may send one that this project never names.
package struct SQLState: RawRepresentable, Hashable, Sendable {
    package let rawValue: String

    package init(rawValue: String) { self.rawValue = rawValue }

    private init(_ code: String) { rawValue = code }

    package static let successfulCompletion = SQLState("00000")
    package static let warning = SQLState("01000")

    // Class 08: connection exception.
    /// `sqlclient_unable_to_establish_sqlconnection`: the server cannot be reached.
    package static let connectionNotEstablished = SQLState("08001")
    package static let connectionDoesNotExist = SQLState("08003")
    /// `sqlserver_rejected_establishment_of_sqlconnection`.
    package static let connectionRejected = SQLState("08004")
    package static let connectionFailure = SQLState("08006")
    package static let transactionResolutionUnknown = SQLState("08007")
    package static let protocolViolation = SQLState("08P01")

    package static let featureNotSupported = SQLState("0A000")
    package static let invalidParameterValue = SQLState("22023")

    // Class 25: transaction state.
    package static let activeSqlTransaction = SQLState("25001")
    package static let readOnlySqlTransaction = SQLState("25006")
    package static let noActiveSqlTransaction = SQLState("25P01")
    package static let inFailedSqlTransaction = SQLState("25P02")
    package static let idleInTransactionTimeout = SQLState("25P03")
    package static let transactionTimeout = SQLState("25P04")

    // Classes 26 to 3D: names and who may use them.
    package static let invalidStatementName = SQLState("26000")
    package static let invalidAuthorization = SQLState("28000")
    package static let invalidPassword = SQLState("28P01")
    package static let invalidCursorName = SQLState("34000")
    package static let invalidCatalogName = SQLState("3D000")

    // Class 40: transaction rollback.
    package static let serializationFailure = SQLState("40001")
    package static let deadlockDetected = SQLState("40P01")

    // Class 42: syntax error or access rule violation.
    package static let insufficientPrivilege = SQLState("42501")
    package static let syntaxError = SQLState("42601")
    package static let undefinedObject = SQLState("42704")
    package static let duplicateObject = SQLState("42710")
    package static let duplicateCursor = SQLState("42P03")
    package static let duplicatePreparedStatement = SQLState("42P05")

    // Classes 53 and 54: resources and limits.
    package static let insufficientResources = SQLState("53000")
    package static let outOfMemory = SQLState("53200")
    package static let tooManyConnections = SQLState("53300")
    package static let configurationLimitExceeded = SQLState("53400")
    package static let programLimitExceeded = SQLState("54000")

    /// `object_not_in_prerequisite_state`.
    package static let objectNotInPrerequisite = SQLState("55000")

    // Class 57: operator intervention.
    package static let queryCanceled = SQLState("57014")
    package static let adminShutdown = SQLState("57P01")
    package static let crashShutdown = SQLState("57P02")
    package static let cannotConnectNow = SQLState("57P03")
    package static let databaseDropped = SQLState("57P04")
    package static let idleSessionTimeout = SQLState("57P05")

    package static let ioError = SQLState("58030")
    package static let configurationFileError = SQLState("F0000")
    package static let internalError = SQLState("XX000")
}
