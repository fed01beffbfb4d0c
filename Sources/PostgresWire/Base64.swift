// SPDX-License-Identifier: Apache-2.0

private let base64Alphabet = Array(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

/// RFC 4648 with padding, in one line.
package func base64Encode(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    text.reserveCapacity((bytes.count + 2) / 3 * 4)
    var index = 0
    while index < bytes.count {
        let left = bytes.count - index
        let first = UInt32(bytes[index]) << 16
        let second = left > 1 ? UInt32(bytes[index + 1]) << 8 : 0
        let third = left > 2 ? UInt32(bytes[index + 2]) : 0
        let group = first | second | third
        text.append(base64Alphabet[Int(group >> 18)])
        text.append(base64Alphabet[Int(group >> 12 & 63)])
        text.append(left > 1 ? base64Alphabet[Int(group >> 6 & 63)] : UInt8(ascii: "="))
        text.append(left > 2 ? base64Alphabet[Int(group & 63)] : UInt8(ascii: "="))
        index += 3
    }
    return String(decoding: text, as: UTF8.self)
}

/// The bytes of a strict encoding: padded, nothing between the groups, unused bits zero; nil for
/// all else.
package func base64Decode(_ text: String) -> [UInt8]? {
    let input = Array(text.utf8)
    guard input.count.isMultiple(of: 4) else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(input.count / 4 * 3)
    for start in stride(from: 0, to: input.count, by: 4) {
        let isLast = start + 4 == input.count
        var padding = 0
        if isLast, input[start + 3] == UInt8(ascii: "=") {
            padding = input[start + 2] == UInt8(ascii: "=") ? 2 : 1
        }
        var group: UInt32 = 0
        for offset in 0..<(4 - padding) {
            guard let digit = base64Digit(input[start + offset]) else { return nil }
            group |= digit << UInt32(18 - 6 * offset)
        }
        let unused: UInt32 = padding == 2 ? 0xffff : padding == 1 ? 0xff : 0
        guard group & unused == 0 else { return nil }
        bytes.append(UInt8(truncatingIfNeeded: group >> 16))
        if padding < 2 { bytes.append(UInt8(truncatingIfNeeded: group >> 8)) }
        if padding < 1 { bytes.append(UInt8(truncatingIfNeeded: group)) }
    }
    return bytes
}

private func base64Digit(_ byte: UInt8) -> UInt32? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): return UInt32(byte - UInt8(ascii: "A"))
    case UInt8(ascii: "a")...UInt8(ascii: "z"): return UInt32(byte - UInt8(ascii: "a")) + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): return UInt32(byte - UInt8(ascii: "0")) + 52
    case UInt8(ascii: "+"): return 62
    case UInt8(ascii: "/"): return 63
    default: return nil
    }
}
