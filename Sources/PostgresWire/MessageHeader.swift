// SPDX-License-Identifier: Apache-2.0

// `public`, and inlinable, because the optimizer does not inline `package` functions into other modules (Swift
// 6.3, without library evolution): in the relay's loops these are comparisons, not calls.

/// The five bytes in front of every message after startup: a type byte and a big-endian length
/// that counts itself but not the type byte.
@frozen public struct MessageHeader: Equatable, Sendable {
    /// Bytes of a header on the wire.
    @inlinable @inline(__always)
    public static var size: Int { 5 }

    public let kind: UInt8

    /// Bytes of the body, 0 or more; the whole message is `MessageHeader.size + bodyLength`.
    public let bodyLength: Int

    @inlinable
    public init(kind: UInt8, bodyLength: Int) {
        self.kind = kind
        self.bodyLength = bodyLength
    }

    /// Reads the header at `offset`.
    ///
    /// The caller has made sure that five bytes are there. A length that cannot be (under 4, or
    /// with its top bit set) is answered as a `bodyLength` below zero: the caller refuses it before
    /// any arithmetic.
    @inlinable @inline(__always)
    public init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        assert(offset >= 0 && bytes.count - offset >= MessageHeader.size)
        kind = bytes[offset]
        let length = bytes.loadUnaligned(fromByteOffset: offset + 1, as: UInt32.self).bigEndian
        bodyLength = Int(Int32(bitPattern: length)) - 4
    }
}
