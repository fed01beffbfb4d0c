// SPDX-License-Identifier: Apache-2.0

/// What is wrong with bytes that a source sent.
package struct ReplicationProtocolError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was being read, such as `Insert`.
    package let message: String
    package let problem: String

    package var description: String {
        "the source sent a \(message) that makes no sense: \(problem)"
    }
}

/// Reads one message of the replication protocol from the left: network byte order, texts that end
/// in NUL. Checks every length before it uses it.
struct ReplicationReader {
    private let bytes: [UInt8]
    private var offset: Int
    /// Named in errors.
    private let message: String

    init(_ bytes: [UInt8], from offset: Int = 0, reading message: String) {
        self.bytes = bytes
        self.offset = offset
        self.message = message
    }

    var remaining: Int { bytes.count - offset }

    func failure(_ problem: String) -> ReplicationProtocolError {
        ReplicationProtocolError(message: message, problem: problem)
    }

    mutating func byte() throws(ReplicationProtocolError) -> UInt8 {
        guard remaining >= 1 else { throw failure("it is cut off") }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func integer<Value: FixedWidthInteger & UnsignedInteger>(
        _ type: Value.Type
    ) throws(ReplicationProtocolError) -> Value {
        let width = Value.bitWidth / 8
        guard remaining >= width else { throw failure("it is cut off") }
        var value: Value = 0
        for _ in 0..<width {
            value = value << 8 | Value(bytes[offset])
            offset += 1
        }
        return value
    }

    mutating func int32() throws(ReplicationProtocolError) -> Int32 {
        Int32(bitPattern: try integer(UInt32.self))
    }

    mutating func int64() throws(ReplicationProtocolError) -> Int64 {
        Int64(bitPattern: try integer(UInt64.self))
    }

    mutating func logPosition() throws(ReplicationProtocolError) -> LogSequenceNumber {
        LogSequenceNumber(rawValue: try integer(UInt64.self))
    }

    /// A text that ends in NUL.
    mutating func text() throws(ReplicationProtocolError) -> String {
        guard let end = bytes[offset...].firstIndex(of: 0) else {
            throw failure("a text has no end")
        }
        defer { offset = end + 1 }
        return String(decoding: bytes[offset..<end], as: UTF8.self)
    }

    mutating func take(_ count: Int) throws(ReplicationProtocolError) -> ArraySlice<UInt8> {
        guard count >= 0, count <= remaining else {
            throw failure("a length of \(count) with \(remaining) bytes left")
        }
        defer { offset += count }
        return bytes[offset..<(offset + count)]
    }

    /// Call when everything has been read: what is left over belongs to nothing.
    func end() throws(ReplicationProtocolError) {
        if remaining != 0 { throw failure("\(remaining) bytes are left over") }
    }
}
