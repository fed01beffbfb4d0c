// SPDX-License-Identifier: Apache-2.0

/// A page of the manual in the language of man(7).
struct Roff {
    private(set) var text: String

    init(_ name: String, section: Int, version: String, _ summary: String) {
        text = ".TH \(name.uppercased()) \(section) \"\" \"pglease \(version)\" \"pglease\"\n"
        heading("NAME")
        text += "\(Self.escaped(name)) \\- \(Self.escaped(summary))\n"
    }

    mutating func heading(_ title: String) { text += ".SH \(Self.escaped(title))\n" }

    mutating func subheading(_ title: String) { text += ".SS \"\(Self.escaped(title))\"\n" }

    mutating func paragraph(_ words: String) { text += ".PP\n\(Self.line(words))\n" }

    /// A name in bold, and what is said of it, indented.
    mutating func entry(_ name: String, _ words: String...) {
        text += ".TP\n\\fB\(Self.escaped(name))\\fR\n"
        text += words.map { Self.line($0) }.joined(separator: "\n.br\n") + "\n"
    }

    /// As it is, line by line.
    mutating func verbatim(_ lines: String) {
        text += ".PP\n.nf\n"
        for line in lines.split(separator: "\n", omittingEmptySubsequences: false) {
            text += "\(Self.line(String(line)))\n"
        }
        text += ".fi\n"
    }

    /// What begins with a control character of roff is text all the same.
    private static func line(_ text: String) -> String {
        let escaped = escaped(text)
        return escaped.hasPrefix(".") || escaped.hasPrefix("'") ? "\\&\(escaped)" : escaped
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "\\": result += "\\e"
            case "-": result += "\\-"
            case "\"": result += "\\(dq"
            default: result.append(character)
            }
        }
    }
}
