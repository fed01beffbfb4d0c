// SPDX-License-Identifier: Apache-2.0

/// Keeps secrets out of lines: what follows a password keyword, and the password of a URI, becomes
/// `***`.
///
/// The last line of defence: code that logs does not hand secrets over, but a server's or a
/// library's own message may quote a connection string.
package enum SecretRedaction {
    /// Keywords whose value is hidden, wherever a word ends with one of them (`PGPASSWORD`,
    /// `sslpassword`); lower case.
    private static let keywords = ["password", "passwd", "secret"]

    /// Whether a metadata value is hidden for its key alone.
    package static func hides(key: String) -> Bool {
        let key = key.lowercased()
        return keywords.contains { key.hasSuffix($0) }
    }

    /// `text` without its secrets; the very same value when there is none.
    package static func redact(_ text: String) -> String {
        var text = text
        let secrets = text.withUTF8 { secretRanges(in: $0) }
        guard !secrets.isEmpty else { return text }
        let bytes = Array(text.utf8)
        var result: [UInt8] = []
        var position = 0
        for secret in secrets where secret.lowerBound >= position {
            result += bytes[position..<secret.lowerBound]
            result += "***".utf8
            position = secret.upperBound
        }
        result += bytes[position...]
        return String(decoding: result, as: UTF8.self)
    }

    /// One pass: looks around each `=`, each space or quote after a keyword, and each `://`.
    private static func secretRanges(in bytes: UnsafeBufferPointer<UInt8>) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var index = 0
        while index < bytes.count {
            let byte = bytes[index] | 0x20
            var secret: Range<Int>?
            if byte == UInt8(ascii: "d") || byte == UInt8(ascii: "t") {
                secret = valueAfterKeyword(endingAt: index + 1, in: bytes)
            } else if bytes[index] == UInt8(ascii: ":") {
                secret = passwordOfURI(startingAt: index, in: bytes)
            }
            if let secret {
                ranges.append(secret)
                index = max(secret.upperBound, index + 1)
            } else {
                index += 1
            }
        }
        return ranges
    }

    private static func valueAfterKeyword(
        endingAt end: Int, in bytes: UnsafeBufferPointer<UInt8>
    ) -> Range<Int>? {
        guard keywords.contains(where: { hasSuffix($0, endingAt: end, in: bytes) }) else {
            return nil
        }
        var index = end
        if index < bytes.count, bytes[index] == UInt8(ascii: "\"") { index += 1 }  // A JSON key.
        while index < bytes.count, isSpace(bytes[index]) { index += 1 }
        guard index < bytes.count else { return nil }
        let isAssigned = bytes[index] == UInt8(ascii: "=") || bytes[index] == UInt8(ascii: ":")
        if isAssigned {
            index += 1
            while index < bytes.count, isSpace(bytes[index]) { index += 1 }
        }
        guard index < bytes.count else { return nil }
        let quote = bytes[index]
        if quote == UInt8(ascii: "'") || (isAssigned && quote == UInt8(ascii: "\"")) {
            return index..<endOfQuoted(from: index, in: bytes)
        }
        // `password authentication failed` names no secret; `password=…` does.
        guard isAssigned else { return nil }
        let start = index
        while index < bytes.count, !isSpace(bytes[index]), bytes[index] != UInt8(ascii: "&") {
            index += 1
        }
        return start == index ? nil : start..<index
    }

    /// Past the closing quote; a backslash or a doubled quote does not end the value.
    private static func endOfQuoted(
        from start: Int, in bytes: UnsafeBufferPointer<UInt8>
    ) -> Int {
        let quote = bytes[start]
        var index = start + 1
        while index < bytes.count {
            if bytes[index] == UInt8(ascii: "\\") {
                index += 2
            } else if bytes[index] == quote {
                guard index + 1 < bytes.count, bytes[index + 1] == quote else { return index + 1 }
                index += 2
            } else {
                index += 1
            }
        }
        return bytes.count
    }

    /// `://user:PASSWORD@`, with the colon of the scheme at `colon`.
    private static func passwordOfURI(
        startingAt colon: Int, in bytes: UnsafeBufferPointer<UInt8>
    ) -> Range<Int>? {
        guard colon + 2 < bytes.count, bytes[colon + 1] == UInt8(ascii: "/"),
            bytes[colon + 2] == UInt8(ascii: "/")
        else { return nil }
        var passwordStart: Int?
        var passwordEnd: Int?
        var index = colon + 3
        while index < bytes.count, !isSpace(bytes[index]), bytes[index] != UInt8(ascii: "/") {
            if bytes[index] == UInt8(ascii: ":"), passwordStart == nil {
                passwordStart = index + 1
            } else if bytes[index] == UInt8(ascii: "@") {
                passwordEnd = index  // The last one: an unescaped password may hold another.
            }
            index += 1
        }
        guard let passwordStart, let passwordEnd, passwordStart < passwordEnd else { return nil }
        return passwordStart..<passwordEnd
    }

    private static func hasSuffix(
        _ keyword: String, endingAt end: Int, in bytes: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        let length = keyword.utf8.count
        guard end >= length else { return false }
        return keyword.utf8.enumerated().allSatisfy { offset, byte in
            bytes[end - length + offset] | 0x20 == byte
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (byte >= 9 && byte <= 13)
    }
}
