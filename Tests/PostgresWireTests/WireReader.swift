// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A second, plain reading of the protocol, written apart from the module under test: it takes a
/// message's body apart from the front and says when bytes are missing.
struct WireReader {
    struct Truncated: Error {}

    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func bytes(_ count: Int) throws -> [UInt8] {
        guard count >= 0, rest.count >= count else { throw Truncated() }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func unsigned(_ width: Int) throws -> UInt64 {
        try bytes(width).reduce(0) { $0 * 256 + UInt64($1) }
    }

    mutating func int32() throws -> Int { Int(Int32(truncatingIfNeeded: try unsigned(4))) }

    mutating func int16() throws -> Int { Int(Int16(truncatingIfNeeded: try unsigned(2))) }

    mutating func string() throws -> String {
        guard let end = rest.firstIndex(of: 0) else { throw Truncated() }
        defer { rest = rest[(end + 1)...] }
        return String(decoding: rest[..<end], as: UTF8.self)
    }

    mutating func value() throws -> String? {
        let length = try int32()
        return length == -1 ? nil : String(decoding: try bytes(length), as: UTF8.self)
    }

    /// A message of this kind, and its body.
    mutating func message(_ kind: Character) throws -> WireReader {
        guard try unsigned(1) == UInt64(kind.asciiValue ?? 0) else { throw Truncated() }
        return WireReader(try bytes(try int32() - 4))
    }
}

/// Runs `body` over the bytes of a text, with no NUL at its end.
func withBytes<Result>(
    of text: String, _ body: (UnsafeRawBufferPointer) throws -> Result
) rethrows -> Result {
    try Array(text.utf8).withUnsafeBytes(body)
}

/// The one message that `write` appends, to something that is there before it.
func written(_ kind: Character, _ write: (inout [UInt8]) -> Void) throws -> WireReader {
    var bytes: [UInt8] = [1, 2, 3]
    write(&bytes)
    var reader = WireReader(bytes)
    _ = try reader.bytes(3)
    let body = try reader.message(kind)
    guard reader.isAtEnd else { throw WireReader.Truncated() }
    return body
}
