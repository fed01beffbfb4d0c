// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The body of a message of a console client, read from front to back.
struct ConsoleMessageBody {
    /// The body is too short, or its counts and lengths do not fit.
    struct Malformed: Error {}

    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { offset == bytes.count }

    mutating func byte() throws(Malformed) -> UInt8 {
        guard offset < bytes.count else { throw Malformed() }
        defer { offset += 1 }
        return bytes[offset]
    }

    mutating func string() throws(Malformed) -> [UInt8] {
        guard let range = cString(in: bytes, from: offset) else { throw Malformed() }
        offset = range.upperBound + 1
        return Array(bytes[range])
    }

    mutating func int16() throws(Malformed) -> Int16 {
        guard bytes.count - offset >= 2 else { throw Malformed() }
        defer { offset += 2 }
        return Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int16.self))
    }

    mutating func int32() throws(Malformed) -> Int32 {
        guard bytes.count - offset >= 4 else { throw Malformed() }
        defer { offset += 4 }
        return Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
    }

    /// A count and as many 16-bit codes.
    mutating func formats() throws(Malformed) -> [Int16] {
        let count = try int16()
        var codes: [Int16] = []
        for _ in 0..<max(0, Int(count)) { codes.append(try int16()) }
        return codes
    }

    /// A count and as many values with their lengths; only the count is of interest.
    mutating func skipValues() throws(Malformed) -> Int {
        let count = max(0, Int(try int16()))
        for _ in 0..<count {
            let length = try int32()
            guard length >= -1 else { throw Malformed() }
            guard length > 0 else { continue }
            guard bytes.count - offset >= Int(length) else { throw Malformed() }
            offset += Int(length)
        }
        return count
    }
}
