// SPDX-License-Identifier: Apache-2.0

/// The range of the string that begins at `offset`, without its NUL; nil when no NUL follows.
@inlinable
package func cString(in bytes: UnsafeRawBufferPointer, from offset: Int) -> Range<Int>? {
    guard offset >= 0, offset < bytes.count, let end = firstNUL(in: bytes, from: offset) else {
        return nil
    }
    return offset..<end
}

/// Where the first NUL is, from `offset` on; nil when there is none. Eight bytes at a time.
@inlinable
package func firstNUL(in bytes: UnsafeRawBufferPointer, from offset: Int) -> Int? {
    var index = offset
    while index + 8 <= bytes.count {
        let word = UInt64(
            littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
        // The lowest bit that is set belongs to the first byte that is zero.
        let zeros = (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080
        if zeros != 0 { return index + zeros.trailingZeroBitCount / 8 }
        index += 8
    }
    while index < bytes.count {
        if bytes[index] == 0 { return index }
        index += 1
    }
    return nil
}

/// Whether no byte has its highest bit set. Eight bytes at a time.
func isASCII(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var index = 0
    var bits: UInt64 = 0
    while index + 8 <= bytes.count {
        bits |= bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
        index += 8
    }
    while index < bytes.count {
        bits |= UInt64(bytes[index])
        index += 1
    }
    return bits & 0x8080_8080_8080_8080 == 0
}

/// The same; where the bytes may end early, up to their end.
func cString(
    in bytes: UnsafeRawBufferPointer, from offset: Int, mayEndEarly: Bool
) -> Range<Int>? {
    if let range = cString(in: bytes, from: offset) { return range }
    return mayEndEarly && offset <= bytes.count ? offset..<bytes.count : nil
}

/// The text at a range of a message. Bytes that are not UTF-8 (the server's encoding may be
/// another) are repaired.
func text(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> String {
    String(decoding: bytes[range], as: UTF8.self)
}

/// What an ErrorResponse or a NoticeResponse says, as far as this project reads it.
package struct ErrorFields: Equatable, Sendable {
    package var severity: PgError.Severity
    package var sqlState: SQLState
    package var message: String
    package var detail: String?
    package var hint: String?
    package var position: Int?

    /// Reads the body; nil when it is cut off or has no SQLSTATE.
    package init?(body: UnsafeRawBufferPointer) { self.init(body, mayEndEarly: false) }

    /// Reads the beginning of a body, as far as it is there; nil when that has no SQLSTATE. PostgreSQL
    /// sends severity and SQLSTATE in front of everything that can be long.
    package init?(prefix: UnsafeRawBufferPointer) { self.init(prefix, mayEndEarly: true) }

    private init?(_ body: UnsafeRawBufferPointer, mayEndEarly: Bool) {
        var severity: PgError.Severity?
        var localizedSeverity: PgError.Severity?
        var state: SQLState?
        message = ""
        var offset = 0
        while true {
            guard offset < body.count else {
                if mayEndEarly { break }
                return nil
            }
            let code = body[offset]
            if code == 0 { break }
            guard let range = cString(in: body, from: offset + 1, mayEndEarly: mayEndEarly) else {
                return nil
            }
            switch Unicode.Scalar(code) {
            case "S": localizedSeverity = PgError.Severity(rawValue: text(body, range))
            case "V": severity = PgError.Severity(rawValue: text(body, range))
            case "C": state = SQLState(rawValue: text(body, range))
            case "M": message = text(body, range)
            case "D": detail = text(body, range)
            case "H": hint = text(body, range)
            case "P": position = Int(text(body, range))
            default: break
            }
            offset = range.upperBound + 1
        }
        guard let state else { return nil }
        // S is in the server's language; V came with PostgreSQL 9.6.
        self.severity = severity ?? localizedSeverity ?? .error
        sqlState = state
    }

    /// Whether a NoticeResponse says that the server ends this connection: PostgreSQL announces a crash
    /// of another backend and an immediate shutdown by a warning of class 57P0 and no error.
    package static func announcesEnd(notice body: UnsafeRawBufferPointer) -> Bool {
        var offset = 0
        while offset < body.count, body[offset] != 0,
            let range = cString(in: body, from: offset + 1)
        {
            if body[offset] == UInt8(ascii: "C") {
                return body[range].starts(with: [0x35, 0x37, 0x50, 0x30])
            }
            offset = range.upperBound + 1
        }
        return false
    }

    package var pgError: PgError {
        PgError(
            severity: severity, sqlState: sqlState, message: message, detail: detail, hint: hint,
            position: position)
    }
}

/// What a ParameterStatus says.
package struct ParameterStatusBody: Equatable, Sendable {
    package var name: String
    package var value: String

    /// Reads the body; nil when it is cut off.
    package init?(body: UnsafeRawBufferPointer) { self.init(body, mayEndEarly: false) }

    /// Reads the beginning of a body: the value as far as it is there; nil when the name is cut off.
    package init?(prefix: UnsafeRawBufferPointer) { self.init(prefix, mayEndEarly: true) }

    private init?(_ body: UnsafeRawBufferPointer, mayEndEarly: Bool) {
        guard let nameRange = cString(in: body, from: 0),
            let valueRange = cString(
                in: body, from: nameRange.upperBound + 1, mayEndEarly: mayEndEarly)
        else { return nil }
        name = text(body, nameRange)
        value = text(body, valueRange)
    }
}

/// What a client answers to AuthenticationSASL: the mechanism it chose and its first message.
package struct SASLInitialResponse: Equatable, Sendable {
    package var mechanism: String
    /// nil when the client sent none, which the length -1 says.
    package var data: [UInt8]?

    /// Reads the body of the 'p' message; nil when its lengths do not fit.
    package init?(body: UnsafeRawBufferPointer) {
        guard let range = cString(in: body, from: 0) else { return nil }
        let start = range.upperBound + 1
        guard body.count - start >= 4 else { return nil }
        let bits = body.loadUnaligned(fromByteOffset: start, as: UInt32.self).bigEndian
        let length = Int(Int32(bitPattern: bits))
        mechanism = text(body, range)
        if length == -1, body.count == start + 4 {
            data = nil
        } else if length >= 0, body.count - start - 4 == length {
            data = Array(body[(start + 4)...])
        } else {
            return nil
        }
    }
}
