/// The type byte of a message that a client sends, after its startup packet.
///
/// A struct over the byte, not an enum: a byte that the protocol does not know is a value that can
/// be compared and refused, and reading one costs nothing.
package struct FrontendKind: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt8

    @inlinable
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let bind = FrontendKind(rawValue: UInt8(ascii: "B"))
    package static let close = FrontendKind(rawValue: UInt8(ascii: "C"))
    package static let copyData = FrontendKind(rawValue: UInt8(ascii: "d"))
    package static let copyDone = FrontendKind(rawValue: UInt8(ascii: "c"))
    package static let copyFail = FrontendKind(rawValue: UInt8(ascii: "f"))
    package static let describe = FrontendKind(rawValue: UInt8(ascii: "D"))
    package static let execute = FrontendKind(rawValue: UInt8(ascii: "E"))
    package static let flush = FrontendKind(rawValue: UInt8(ascii: "H"))
    package static let functionCall = FrontendKind(rawValue: UInt8(ascii: "F"))
    package static let parse = FrontendKind(rawValue: UInt8(ascii: "P"))
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one byte.
    package static let password = FrontendKind(rawValue: UInt8(ascii: "p"))
    package static let query = FrontendKind(rawValue: UInt8(ascii: "Q"))
    package static let sync = FrontendKind(rawValue: UInt8(ascii: "S"))
    package static let terminate = FrontendKind(rawValue: UInt8(ascii: "X"))
}

/// The type byte of a message that a server sends.
package struct BackendKind: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt8

    @inlinable
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let authentication = BackendKind(rawValue: UInt8(ascii: "R"))
    package static let backendKeyData = BackendKind(rawValue: UInt8(ascii: "K"))
    package static let bindComplete = BackendKind(rawValue: UInt8(ascii: "2"))
    package static let closeComplete = BackendKind(rawValue: UInt8(ascii: "3"))
    package static let commandComplete = BackendKind(rawValue: UInt8(ascii: "C"))
    package static let copyBothResponse = BackendKind(rawValue: UInt8(ascii: "W"))
    package static let copyData = BackendKind(rawValue: UInt8(ascii: "d"))
    package static let copyDone = BackendKind(rawValue: UInt8(ascii: "c"))
    package static let copyInResponse = BackendKind(rawValue: UInt8(ascii: "G"))
    package static let copyOutResponse = BackendKind(rawValue: UInt8(ascii: "H"))
    package static let dataRow = BackendKind(rawValue: UInt8(ascii: "D"))
    package static let emptyQueryResponse = BackendKind(rawValue: UInt8(ascii: "I"))
    package static let errorResponse = BackendKind(rawValue: UInt8(ascii: "E"))
    package static let functionCallResponse = BackendKind(rawValue: UInt8(ascii: "V"))
    package static let negotiateProtocolVersion = BackendKind(rawValue: UInt8(ascii: "v"))
    package static let noData = BackendKind(rawValue: UInt8(ascii: "n"))
    package static let noticeResponse = BackendKind(rawValue: UInt8(ascii: "N"))
    package static let notificationResponse = BackendKind(rawValue: UInt8(ascii: "A"))
    package static let parameterDescription = BackendKind(rawValue: UInt8(ascii: "t"))
    package static let parameterStatus = BackendKind(rawValue: UInt8(ascii: "S"))
    package static let parseComplete = BackendKind(rawValue: UInt8(ascii: "1"))
    package static let portalSuspended = BackendKind(rawValue: UInt8(ascii: "s"))
    package static let readyForQuery = BackendKind(rawValue: UInt8(ascii: "Z"))
    package static let rowDescription = BackendKind(rawValue: UInt8(ascii: "T"))
}
