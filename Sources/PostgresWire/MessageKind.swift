/// The type byte of a message that a client sends, after its startup packet.
///
/// A struct over the byte, not an enum: a byte that the protocol does not know is a value that can
/// be compared and refused, and reading one costs nothing. The kinds are computed, and
/// matching is our own, so that a switch in another module is one over constants (the generic `~=` of the
/// standard library goes through a witness table there).
package struct FrontendKind: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt8

    @inlinable @inline(__always)
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable @inline(__always)
    package static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable @inline(__always)
    package static func ~= (pattern: Self, value: Self) -> Bool {
        pattern.rawValue == value.rawValue
    }

    @inlinable @inline(__always) package static var bind: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "B")) }
    @inlinable @inline(__always) package static var close: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "C")) }
    @inlinable @inline(__always) package static var copyData: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "d")) }
    @inlinable @inline(__always) package static var copyDone: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "c")) }
    @inlinable @inline(__always) package static var copyFail: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "f")) }
    @inlinable @inline(__always) package static var describe: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "D")) }
    @inlinable @inline(__always) package static var execute: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "E")) }
    @inlinable @inline(__always) package static var flush: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "H")) }
    @inlinable @inline(__always) package static var functionCall: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "F")) }
    @inlinable @inline(__always) package static var parse: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "P")) }
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one byte.
    @inlinable @inline(__always) package static var password: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "p")) }
    @inlinable @inline(__always) package static var query: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "Q")) }
    @inlinable @inline(__always) package static var sync: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "S")) }
    @inlinable @inline(__always) package static var terminate: FrontendKind { FrontendKind(rawValue: UInt8(ascii: "X")) }
}

/// The type byte of a message that a server sends.
package struct BackendKind: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt8

    @inlinable @inline(__always)
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable @inline(__always)
    package static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable @inline(__always)
    package static func ~= (pattern: Self, value: Self) -> Bool {
        pattern.rawValue == value.rawValue
    }

    @inlinable @inline(__always) package static var authentication: BackendKind { BackendKind(rawValue: UInt8(ascii: "R")) }
    @inlinable @inline(__always) package static var backendKeyData: BackendKind { BackendKind(rawValue: UInt8(ascii: "K")) }
    @inlinable @inline(__always) package static var bindComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "2")) }
    @inlinable @inline(__always) package static var closeComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "3")) }
    @inlinable @inline(__always) package static var commandComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "C")) }
    @inlinable @inline(__always) package static var copyBothResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "W")) }
    @inlinable @inline(__always) package static var copyData: BackendKind { BackendKind(rawValue: UInt8(ascii: "d")) }
    @inlinable @inline(__always) package static var copyDone: BackendKind { BackendKind(rawValue: UInt8(ascii: "c")) }
    @inlinable @inline(__always) package static var copyInResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "G")) }
    @inlinable @inline(__always) package static var copyOutResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "H")) }
    @inlinable @inline(__always) package static var dataRow: BackendKind { BackendKind(rawValue: UInt8(ascii: "D")) }
    @inlinable @inline(__always) package static var emptyQueryResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "I")) }
    @inlinable @inline(__always) package static var errorResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "E")) }
    @inlinable @inline(__always) package static var functionCallResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "V")) }
    @inlinable @inline(__always) package static var negotiateProtocolVersion: BackendKind { BackendKind(rawValue: UInt8(ascii: "v")) }
    @inlinable @inline(__always) package static var noData: BackendKind { BackendKind(rawValue: UInt8(ascii: "n")) }
    @inlinable @inline(__always) package static var noticeResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "N")) }
    @inlinable @inline(__always) package static var notificationResponse: BackendKind { BackendKind(rawValue: UInt8(ascii: "A")) }
    @inlinable @inline(__always) package static var parameterDescription: BackendKind { BackendKind(rawValue: UInt8(ascii: "t")) }
    @inlinable @inline(__always) package static var parameterStatus: BackendKind { BackendKind(rawValue: UInt8(ascii: "S")) }
    @inlinable @inline(__always) package static var parseComplete: BackendKind { BackendKind(rawValue: UInt8(ascii: "1")) }
    @inlinable @inline(__always) package static var portalSuspended: BackendKind { BackendKind(rawValue: UInt8(ascii: "s")) }
    @inlinable @inline(__always) package static var readyForQuery: BackendKind { BackendKind(rawValue: UInt8(ascii: "Z")) }
    @inlinable @inline(__always) package static var rowDescription: BackendKind { BackendKind(rawValue: UInt8(ascii: "T")) }
}
