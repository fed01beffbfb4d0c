// SPDX-License-Identifier: Apache-2.0

// `public`, and inlinable, because the optimizer does not inline `package` functions into other
// modules (Swift 6.3, without library evolution): in the relay's loops these are comparisons, not
// calls.

/// The type byte of a message that a client sends, after its startup packet.
///
/// A struct over the byte, not an enum: a byte that the protocol does not know is a value that can
/// be compared and refused, and reading one costs nothing. The kinds are computed, so that a switch
/// in another module is one over constants.
@frozen public struct FrontendKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable @inline(__always)
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable @inline(__always)
    init(_ letter: Unicode.Scalar) { rawValue = UInt8(ascii: letter) }

    @inlinable @inline(__always)
    public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable @inline(__always)
    public static func ~= (pattern: Self, value: Self) -> Bool {
        pattern.rawValue == value.rawValue
    }

    @inlinable public static var bind: Self { Self("B") }
    @inlinable public static var close: Self { Self("C") }
    @inlinable public static var copyData: Self { Self("d") }
    @inlinable public static var copyDone: Self { Self("c") }
    @inlinable public static var copyFail: Self { Self("f") }
    @inlinable public static var describe: Self { Self("D") }
    @inlinable public static var execute: Self { Self("E") }
    @inlinable public static var flush: Self { Self("H") }
    @inlinable public static var functionCall: Self { Self("F") }
    @inlinable public static var parse: Self { Self("P") }
    /// PasswordMessage, SASLInitialResponse, SASLResponse and GSSResponse share one byte.
    @inlinable public static var password: Self { Self("p") }
    @inlinable public static var query: Self { Self("Q") }
    @inlinable public static var sync: Self { Self("S") }
    @inlinable public static var terminate: Self { Self("X") }
}

/// The type byte of a message that a server sends.
@frozen public struct BackendKind: RawRepresentable, Hashable, Sendable {
    public let rawValue: UInt8

    @inlinable @inline(__always)
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    @inlinable @inline(__always)
    init(_ letter: Unicode.Scalar) { rawValue = UInt8(ascii: letter) }

    @inlinable @inline(__always)
    public static func == (left: Self, right: Self) -> Bool { left.rawValue == right.rawValue }

    @inlinable @inline(__always)
    public static func ~= (pattern: Self, value: Self) -> Bool {
        pattern.rawValue == value.rawValue
    }

    @inlinable public static var authentication: Self { Self("R") }
    @inlinable public static var backendKeyData: Self { Self("K") }
    @inlinable public static var bindComplete: Self { Self("2") }
    @inlinable public static var closeComplete: Self { Self("3") }
    @inlinable public static var commandComplete: Self { Self("C") }
    @inlinable public static var copyBothResponse: Self { Self("W") }
    @inlinable public static var copyData: Self { Self("d") }
    @inlinable public static var copyDone: Self { Self("c") }
    @inlinable public static var copyInResponse: Self { Self("G") }
    @inlinable public static var copyOutResponse: Self { Self("H") }
    @inlinable public static var dataRow: Self { Self("D") }
    @inlinable public static var emptyQueryResponse: Self { Self("I") }
    @inlinable public static var errorResponse: Self { Self("E") }
    @inlinable public static var functionCallResponse: Self { Self("V") }
    @inlinable public static var negotiateProtocolVersion: Self { Self("v") }
    @inlinable public static var noData: Self { Self("n") }
    @inlinable public static var noticeResponse: Self { Self("N") }
    @inlinable public static var notificationResponse: Self { Self("A") }
    @inlinable public static var parameterDescription: Self { Self("t") }
    @inlinable public static var parameterStatus: Self { Self("S") }
    @inlinable public static var parseComplete: Self { Self("1") }
    @inlinable public static var portalSuspended: Self { Self("s") }
    @inlinable public static var readyForQuery: Self { Self("Z") }
    @inlinable public static var rowDescription: Self { Self("T") }
}
