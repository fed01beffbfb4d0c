// SPDX-License-Identifier: Apache-2.0

/// The name between double quotes, for use in SQL text.
package func quotedIdentifier(_ name: String) -> String {
    var quoted = "\""
    for scalar in name.unicodeScalars where scalar != "\0" {
        if scalar == "\"" { quoted.unicodeScalars.append(scalar) }
        quoted.unicodeScalars.append(scalar)
    }
    quoted += "\""
    return quoted
}

/// The text as a literal that means the same whatever `standard_conforming_strings` is:
/// with a backslash inside it is written in the escape form.
package func quotedLiteral(_ text: String) -> String {
    let hasBackslash = text.utf8.contains(UInt8(ascii: "\\"))
    var quoted = hasBackslash ? "E'" : "'"
    for scalar in text.unicodeScalars where scalar != "\0" {
        if scalar == "'" || scalar == "\\" { quoted.unicodeScalars.append(scalar) }
        quoted.unicodeScalars.append(scalar)
    }
    quoted += "'"
    return quoted
}

/// The text as a literal of ASCII alone: it means the same whatever `client_encoding` and
/// `standard_conforming_strings` are, and the server takes its bytes as they are, as it takes those
/// of a startup packet.
package func asciiLiteral(_ text: String) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var isEscaped = false
    var quoted: [UInt8] = []
    for byte in text.utf8 where byte != 0 {
        switch byte {
        case UInt8(ascii: "'"):
            quoted += [byte, byte]
        case UInt8(ascii: "\\"):
            isEscaped = true
            quoted += [byte, byte]
        case 32...126:
            quoted.append(byte)
        default:
            isEscaped = true
            quoted += [
                UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int(byte >> 4)],
                digits[Int(byte & 15)],
            ]
        }
    }
    return (isEscaped ? "E'" : "'") + String(decoding: quoted, as: UTF8.self) + "'"
}
