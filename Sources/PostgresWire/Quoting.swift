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
