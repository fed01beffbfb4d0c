// SPDX-License-Identifier: Apache-2.0

/// Lines of a screen to what a terminal understands (ECMA-48): only lines that have changed, each
/// written over the old one, so that nothing flickers.
package struct TerminalPainter: Sendable {
    private var shown: [Line] = []
    private let coloured: Bool

    /// Alternate screen, no cursor, no wrapping.
    package static let enter = "\u{1B}[?1049h\u{1B}[?25l\u{1B}[?7l\u{1B}[2J"
    package static let leave = "\u{1B}[0m\u{1B}[?7h\u{1B}[?25h\u{1B}[?1049l"

    package init(coloured: Bool) { self.coloured = coloured }

    /// What is on the terminal is not known any more.
    package mutating func forget() { shown = [] }

    /// `lines` of a terminal that is `width` columns wide.
    package mutating func paint(_ lines: [Line], width: Int) -> String {
        var text = ""
        if shown.count != lines.count {
            shown = []
            text += "\u{1B}[0m\u{1B}[2J"
        }
        for (row, line) in lines.enumerated()
        where row >= shown.count || shown[row] != line {
            text += "\u{1B}[\(row + 1);1H"
            append(line, to: &text)
            // At the right edge the cursor stands on the last character.
            if line.width < width { text += "\u{1B}[K" }
        }
        shown = lines
        if text.isEmpty { return "" }
        // Terminals that know it (mode 2026) show the frame at once; the others ignore it.
        return "\u{1B}[?2026h" + text + "\u{1B}[?2026l"
    }

    private func append(_ line: Line, to text: inout String) {
        var column = 1
        for span in line.spans {
            text += "\u{1B}[0\(Self.code(span.style, coloured))m\(span.text)"
            column += DisplayText.width(span.text)
            // Where the terminal's idea of a character's width differs, the next text is in place.
            if !span.text.utf8.allSatisfy({ $0 < 0x80 }) { text += "\u{1B}[\(column)G" }
        }
        text += "\u{1B}[0m"
    }

    /// One line among others of a terminal, with its newline left out.
    package static func inline(_ line: Line, coloured: Bool) -> String {
        line.spans.map { span in
            let code = code(span.style, coloured)
            return code.isEmpty ? span.text : "\u{1B}[0\(code)m\(span.text)\u{1B}[0m"
        }.joined()
    }

    private static func code(_ style: Style, _ coloured: Bool) -> String {
        switch style {
        case .plain: ""
        case .faint: ";2"
        case .strong: ";1"
        case .heading: coloured ? ";30;47" : ";7"
        case .focusedHeading: coloured ? ";1;37;44" : ";1;7"
        case .good: coloured ? ";32" : ""
        case .warning: coloured ? ";33" : ";1"
        case .alarm: coloured ? ";1;37;41" : ";1;7"
        case .selected: ";7"
        }
    }
}
