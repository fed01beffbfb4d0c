// `public`, and inlinable, because the optimizer does not inline `package` functions into other modules (Swift
// 6.3, without library evolution): in the relay's loops these are comparisons, not calls.

/// The type byte of a message that a client sends, after its startup packet.
///
/// A struct over the byte, not an enum: a byte that the protocol does not know is a value that can
/// be compared and refused, and reading one costs nothing. The kinds are computed, so
/// that a switch in another module is one over constants.
@frozen public struct FrontendKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable @inline(__always)
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable @inline(__always)
    public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable @inline(__always)
    public static func ~= (pattern: Self, value: Self) -> Bool {
        pattern.rawValue == value.rawValue
    }

    @inlinable @inline(__always) public static var bind: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "B")) }
    @inlinable @inline(__always) public static var close: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "C")) }
    @inlinable @inline(__always) public static var copyData: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "d")) }
    @inlinable @inline(__always) public static var copyDone: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "c")) }
    @inlinable @inline(__always) public static var copyFail: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "f")) }
    @inlinable @inline(__always) public static var describe: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "D")) }
    @inlinable @inline(__always) public static var execute: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "E")) }
    @inlinable @inline(__always) public static var flush: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "H")) }
    @inlinable @inline(__always) public static var functionCall: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "F")) }
    @inlinable @inline(__always) public static var parse: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "P")) }
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one byte.
    @inlinable @inline(__always) public static var password: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "p")) }
    @inlinable @inline(__always) public static var query: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "Q")) }
    @inlinable @inline(__always) public static var sync: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "S")) }
    @inlinable @inline(__always) public static var terminate: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "X")) }
}

/// The type byte of a message that a server sends.
@frozen public struct BackendKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable @inline(__always)
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable @inline(__always)
    public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable @inline(__always)
    public static func ~= (pattern: Self, value: Self) -> Bool {
        pattern.rawValue == value.rawValue
    }

    @inlinable @inline(__always) public static var authentication: BackendKind { BackendKind(rawValue: UInt8(ascii: "R")) }
    @inlinable @inline(__always) public static var backendKeyData: BackendKind { BackendKind(rawValue: UInt8(ascii: "K")) }
    @inlinable @inline(__always) public static var bindComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "2")) }
    @inlinable @inline(__always) public static var closeComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "3")) }
    @inlinable @inline(__always) public static var commandComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "C")) }
    @inlinable @inline(__always) public static var copyBothResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "W")) }
    @inlinable @inline(__always) public static var copyData: BackendKind { BackendKind(rawValue: UInt8(ascii: "d")) }
    @inlinable @inline(__always) public static var copyDone: BackendKind { BackendKind(rawValue: UInt8(ascii: "c")) }
    @inlinable @inline(__always) public static var copyInResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "G")) }
    @inlinable @inline(__always) public static var copyOutResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "H")) }
    @inlinable @inline(__always) public static var dataRow: BackendKind { BackendKind(rawValue: UInt8(ascii: "D")) }
    @inlinable @inline(__always) public static var emptyQueryResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "I")) }
    @inlinable @inline(__always) public static var errorResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "E")) }
    @inlinable @inline(__always) public static var functionCallResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "V")) }
    @inlinable @inline(__always) public static var negotiateProtocolVersion: BackendKind { BackendKind(rawValue: UInt8(ascii: "v")) }
    @inlinable @inline(__always) public static var noData: BackendKind { BackendKind(rawValue: UInt8(ascii: "n")) }
    @inlinable @inline(__always) public static var noticeResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "N")) }
    @inlinable @inline(__always) public static var notificationResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "A")) }
    @inlinable @inline(__always) public static var parameterDescription: BackendKind { BackendKind(rawValue: UInt8(ascii: "t")) }
    @inlinable @inline(__always) public static var parameterStatus: BackendKind { BackendKind(rawValue: UInt8(ascii: "S")) }
    @inlinable @inline(__always) public static var parseComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "1")) }
    @inlinable @inline(__always) public static var portalSuspended: BackendKind { BackendKind(rawValue: UInt8(ascii: "s")) }
    @inlinable @inline(__always) public static var readyForQuery: BackendKind { BackendKind(rawValue: UInt8(ascii: "Z")) }
    @inlinable @inline(__always) public static var rowDescription: BackendKind { BackendKind(rawValue: UInt8(ascii: "T")) }
}
