// SPDX-License-Identifier: Apache-2.0

/// PostgreSQL's text form of one-dimensional arrays: `{1,NULL,"a \"b\""}`.
enum PostgresArrayText {
    static func arrayType(of element: any PostgresEncodable.Type) -> PostgresType {
        switch element {
        case is Int.Type, is Int64.Type, is Int?.Type, is Int64?.Type,
            is UInt32.Type:
            .int8Array
        case is Int32.Type, is Int32?.Type, is UInt16.Type: .int4Array
        case is Int16.Type, is Int8.Type: .int2Array
        case is Double.Type, is Double?.Type: .float8Array
        default: .unspecified
        }
    }

    /// Nil is NULL.
    static func encode(_ elements: [String?]) -> String {
        var text = "{"
        for (index, element) in elements.enumerated() {
            if index > 0 { text += "," }
            guard let element else {
                text += "NULL"
                continue
            }
            text += "\""
            for scalar in element.unicodeScalars {
                if scalar == "\"" || scalar == "\\" { text += "\\" }
                text.unicodeScalars.append(scalar)
            }
            text += "\""
        }
        return text + "}"
    }

    /// Nil when it is no array of one dimension that counts from 1.
    static func decode(_ text: String) -> [String?]? {
        var rest = Substring(text)
        guard rest.popFirst() == "{" else { return nil }
        var elements: [String?] = []
        if rest == "}" { return elements }
        while true {
            guard let element = takeElement(&rest) else { return nil }
            elements.append(element)
            switch rest.popFirst() {
            case ",": continue
            case "}": return rest.isEmpty ? elements : nil
            default: return nil
            }
        }
    }

    /// The outer nil is a text that is cut off; the inner one is NULL.
    private static func takeElement(_ rest: inout Substring) -> String?? {
        var element = ""
        if rest.first == "\"" {
            rest.removeFirst()
            while let character = rest.popFirst() {
                if character == "\"" { return .some(element) }
                if character == "\\" {
                    guard let escaped = rest.popFirst() else { return nil }
                    element.append(escaped)
                } else {
                    element.append(character)
                }
            }
            return nil
        }
        while let character = rest.first, character != ",", character != "}" {
            if character == "{" || character == "\"" { return nil }
            rest.removeFirst()
            if character == "\\" {
                guard let escaped = rest.popFirst() else { return nil }
                element.append(escaped)
            } else {
                element.append(character)
            }
        }
        if rest.isEmpty || element.isEmpty { return nil }
        return element.uppercased() == "NULL" ? .some(nil) : .some(element)
    }
}

/// The text forms of `bytea`.
enum ByteaText {
    private static let digits = Array("0123456789abcdef".utf8)

    static func hex(_ bytes: [UInt8]) -> String {
        var text = Array("\\x".utf8)
        text.reserveCapacity(2 + bytes.count * 2)
        for byte in bytes {
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads both forms of `bytea_output`; nil when it is neither.
    static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        if text.count >= 2, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: "x") {
            return decodeHex(text)
        }
        return decodeEscaped(text)
    }

    private static func decodeHex(_ text: Span<UInt8>) -> [UInt8]? {
        if text.count % 2 != 0 { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 2 - 1)
        for index in stride(from: 2, to: text.count, by: 2) {
            guard let high = value(text[index]), let low = value(text[index + 1]) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func decodeEscaped(_ text: Span<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = []
        var index = 0
        while index < text.count {
            guard text[index] == UInt8(ascii: "\\") else {
                bytes.append(text[index])
                index += 1
                continue
            }
            if index + 1 < text.count, text[index + 1] == UInt8(ascii: "\\") {
                bytes.append(UInt8(ascii: "\\"))
                index += 2
                continue
            }
            guard index + 3 < text.count else { return nil }
            var byte = 0
            for offset in 1...3 {
                let digit = Int(text[index + offset]) - Int(UInt8(ascii: "0"))
                guard (0...7).contains(digit) else { return nil }
                byte = byte * 8 + digit
            }
            guard let octal = UInt8(exactly: byte) else { return nil }
            bytes.append(octal)
            index += 4
        }
        return bytes
    }
}
