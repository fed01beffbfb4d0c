// SPDX-License-Identifier: Apache-2.0

/// Why bytes of a client are refused. Each ends the session that sent them.
package enum WireError: Error, Equatable, Sendable {
    /// A startup packet of fewer than 8 bytes or more than ``StartupPacket/maximumLength``.
    case startupPacketLength(Int)
    /// A packet shorter or longer than its own length says, or one of a fixed size that has
    /// another.
    case startupPacketSize(announced: Int, present: Int)
    /// The list of names and values does not end with its terminator as the last byte.
    case startupPacketLayout
    case unsupportedProtocol(major: Int, minor: Int)
    /// A name or value that is not UTF-8.
    case startupParameterEncoding(String)
    case missingUser
    /// A `replication` that is neither a boolean nor `database`.
    case replicationValue(String)
    /// A switch of the `options` parameter that PostgreSQL does not know.
    case unknownOption(String)
    /// `-c name` or `--name` without `=value`.
    case optionWithoutValue(String)

    /// For operators and clients alike: what was wrong, and with which parameter or option.
    package var message: String {
        switch self {
        case .startupPacketLength:
            return "invalid length of startup packet"
        case .startupPacketSize(let announced, let present):
            return "invalid startup packet: it announces \(announced) bytes and has \(present)"
        case .startupPacketLayout:
            return "invalid startup packet layout: expected terminator as last byte"
        case .unsupportedProtocol(let major, let minor):
            return "unsupported frontend protocol \(major).\(minor): server supports 3.0 to 3.2"
        case .startupParameterEncoding(let name):
            return "startup parameter \(quotedIdentifier(name)) is not valid UTF-8"
        case .missingUser:
            return "no PostgreSQL user name specified in startup packet"
        case .replicationValue(let value):
            return "invalid value for parameter \"replication\": \"\(value)\""
        case .unknownOption(let argument):
            return "invalid command-line argument for server process: \(argument)"
        case .optionWithoutValue(let argument):
            return "\(argument) requires a value"
        }
    }

    /// What the client is told: 08P01, or the code that PostgreSQL itself has for the case.
    package var pgError: PgError {
        switch self {
        case .startupPacketLength, .startupPacketSize, .startupPacketLayout,
            .startupParameterEncoding:
            return .fatal(.protocolViolation, message)
        case .unsupportedProtocol:
            return .fatal(.featureNotSupported, message)
        case .missingUser:
            return .fatal(.invalidAuthorization, message)
        case .replicationValue:
            return .fatal(
                .invalidParameterValue, message,
                hint: "Valid values are: \"false\", 0, \"true\", 1, \"database\".")
        case .unknownOption, .optionWithoutValue:
            return .fatal(
                .syntaxError, message,
                hint: "Try \"postgres --help\" for more information.")
        }
    }
}
