// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The texts that pgbouncer's settings are written in.
enum SettingText {
    static func boolean(_ text: String) throws(SettingValueError) -> Bool {
        switch text.asciiLowercased {
        case "1", "yes", "on", "true": return true
        case "0", "no", "off", "false": return false
        default:
            throw SettingValueError("\(quoted(text)) is not a boolean", advice: "write 1 or 0")
        }
    }

    /// A whole number, also with a sign and hexadecimal, as pgbouncer reads it. What is more than any machine has is
    /// the most that there may be: people write it for "no limit".
    static func integer(
        _ text: String, in range: ClosedRange<Int>
    ) throws(SettingValueError) -> Int {
        let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]
        let isHexadecimal = digits.hasPrefix("0x") || digits.hasPrefix("0X")
        let isNumber =
            isHexadecimal
            ? digits.utf8.count > 2 && digits.utf8.dropFirst(2).allSatisfy(isHexDigit)
            : !digits.isEmpty && digits.utf8.allSatisfy(isDigit)
        let sign = text.hasPrefix("-") ? "-" : ""
        guard isNumber,
            let value = isHexadecimal
                ? Int(sign + digits.dropFirst(2), radix: 16) : Int(sign + digits)
        else {
            let advice = text.contains(";") ? "a comment needs a line of its own" : nil
            let reason =
                isNumber ? "\(quoted(text)) is out of range" : "\(quoted(text)) is not a number"
            throw SettingValueError(
                reason + ", \(range.lowerBound) to \(range.upperBound)", advice: advice)
        }
        guard isHexadecimal || digits.count == 1 || !digits.hasPrefix("0") else {
            throw SettingValueError(
                "\(quoted(text)) begins with a zero",
                advice: "pgbouncer takes some such numbers for octal: write it without")
        }
        if range.upperBound >= 100_000, value > range.upperBound, value <= Int(Int32.max) {
            return range.upperBound
        }
        guard range.contains(value) else {
            throw SettingValueError(
                "\(value) is out of range, \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    static func octalMode(_ text: String) throws(SettingValueError) -> Int {
        guard let value = Int(text, radix: 8), (0...0o777).contains(value) else {
            throw SettingValueError("\(quoted(text)) is not a file mode", advice: "such as 0770")
        }
        return value
    }

    /// Items between commas; blanks around them and empty items do not count.
    static func list(_ text: String) -> [String] {
        text.split(separator: ",").map { String($0.trimmedBlanks) }.filter { !$0.isEmpty }
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
    }

    static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }
}

extension StringProtocol {
    /// Without the blanks of an ini file at both ends.
    var trimmedBlanks: SubSequence {
        func isBlank(_ character: Character) -> Bool {
            character == " " || character == "\t" || character == "\r" || character == "\r\n"
        }
        guard let first = firstIndex(where: { !isBlank($0) }),
            let last = lastIndex(where: { !isBlank($0) })
        else { return self[endIndex...] }
        return self[first...last]
    }
}
