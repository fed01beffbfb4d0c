/// The type byte of a message that a client sends, after its startup packet.
///
/// A struct over the byte, not an enum: a byte that the protocol does not know is a value that can
/// be compared and refused, and reading one costs nothing. The kinds are computed, so that a switch over them
/// in another module is one over constants.
package struct FrontendKind: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt8

    @inlinable
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable
    package static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable package static var bind: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "B")) }
    @inlinable package static var close: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "C")) }
    @inlinable package static var copyData: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "d")) }
    @inlinable package static var copyDone: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "c")) }
    @inlinable package static var copyFail: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "f")) }
    @inlinable package static var describe: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "D")) }
    @inlinable package static var execute: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "E")) }
    @inlinable package static var flush: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "H")) }
    @inlinable package static var functionCall: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "F")) }
    @inlinable package static var parse: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "P")) }
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one byte.
    @inlinable package static var password: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "p")) }
    @inlinable package static var query: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "Q")) }
    @inlinable package static var sync: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "S")) }
    @inlinable package static var terminate: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "X")) }
}

/// The type byte of a message that a server sends.
package struct BackendKind: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt8

    @inlinable
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable
    package static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable package static var authentication: BackendKind { BackendKind(rawValue: UInt8(ascii: "R")) }
    @inlinable package static var backendKeyData: BackendKind { BackendKind(rawValue: UInt8(ascii: "K")) }
    @inlinable package static var bindComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "2")) }
    @inlinable package static var closeComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "3")) }
    @inlinable package static var commandComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "C")) }
    @inlinable package static var copyBothResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "W")) }
    @inlinable package static var copyData: BackendKind { BackendKind(rawValue: UInt8(ascii: "d")) }
    @inlinable package static var copyDone: BackendKind { BackendKind(rawValue: UInt8(ascii: "c")) }
    @inlinable package static var copyInResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "G")) }
    @inlinable package static var copyOutResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "H")) }
    @inlinable package static var dataRow: BackendKind { BackendKind(rawValue: UInt8(ascii: "D")) }
    @inlinable package static var emptyQueryResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "I")) }
    @inlinable package static var errorResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "E")) }
    @inlinable package static var functionCallResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "V")) }
    @inlinable package static var negotiateProtocolVersion: BackendKind { BackendKind(rawValue: UInt8(ascii: "v")) }
    @inlinable package static var noData: BackendKind { BackendKind(rawValue: UInt8(ascii: "n")) }
    @inlinable package static var noticeResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "N")) }
    @inlinable package static var notificationResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "A")) }
    @inlinable package static var parameterDescription: BackendKind { BackendKind(rawValue: UInt8(ascii: "t")) }
    @inlinable package static var parameterStatus: BackendKind { BackendKind(rawValue: UInt8(ascii: "S")) }
    @inlinable package static var parseComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "1")) }
    @inlinable package static var portalSuspended: BackendKind { BackendKind(rawValue: UInt8(ascii: "s")) }
    @inlinable package static var readyForQuery: BackendKind { BackendKind(rawValue: UInt8(ascii: "Z")) }
    @inlinable package static var rowDescription: BackendKind { BackendKind(rawValue: UInt8(ascii: "T")) }
}
