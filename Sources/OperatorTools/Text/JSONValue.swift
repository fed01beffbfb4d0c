// SPDX-License-Identifier: Apache-2.0

/// JSON on its way out.
package enum JSONValue: Equatable, Sendable {
    case null
    /// Whole, as the console wrote it; what is no JSON number becomes a text.
    case number(String)
    case text(String)
    case array([JSONValue])
    case object([Member])

    package struct Member: Equatable, Sendable {
        package let name: String
        package let value: JSONValue

        package init(_ name: String, _ value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// One line.
    package var serialised: String {
        var text = ""
        append(to: &text)
        return text
    }

    private func append(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .number(let digits):
            if Self.isNumber(digits) {
                text += digits
            } else {
                Self.append(quoted: digits, to: &text)
            }
        case .text(let value): Self.append(quoted: value, to: &text)
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += ", " }
                value.append(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { text += ", " }
                Self.append(quoted: member.name, to: &text)
                text += ": "
                member.value.append(to: &text)
            }
            text += "}"
        }
    }

    /// An integer or a decimal fraction, without a zero in front.
    private static func isNumber(_ text: String) -> Bool {
        let parts = text.drop { $0 == "-" }.split(
            separator: ".", omittingEmptySubsequences: false)
        guard text.prefix(2) != "--", parts.count <= 2,
            parts.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } })
        else { return false }
        return parts[0] == "0" || !parts[0].hasPrefix("0")
    }

    private static func append(quoted value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            // U+2028 and its neighbour end a line in JavaScript; 7F to 9F are a terminal's controls.
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
