// SPDX-License-Identifier: Apache-2.0

/// How a part of a line stands out. Nothing is said by it alone.
package enum Style: Equatable, Sendable {
    case plain, faint, strong, heading, focusedHeading, good, warning, alarm, selected
}

/// Text of one style; cleaned.
package struct Span: Equatable, Sendable {
    package let text: String
    package let style: Style

    package init(_ text: String, _ style: Style = .plain) {
        self.text = text
        self.style = style
    }
}

/// One line of the screen.
package struct Line: Equatable, Sendable {
    package private(set) var spans: [Span] = []
    package private(set) var width = 0

    package init() {}

    package init(_ text: String, _ style: Style = .plain) { add(text, style) }

    package mutating func add(_ text: String, _ style: Style = .plain) {
        if text.isEmpty { return }
        spans.append(Span(text, style))
        width += DisplayText.width(text)
    }

    package var text: String { spans.map(\.text).joined() }

    /// Blanks up to a column.
    mutating func fill(to column: Int, _ style: Style = .plain) {
        if width < column { add(String(repeating: " ", count: column - width), style) }
    }

    /// What does not fit goes, with a mark.
    func cut(to width: Int, glyphs: Glyphs) -> Line {
        if self.width <= width { return self }
        var line = Line()
        for span in spans {
            let room = width - line.width
            if room <= 0 { break }
            let isWhole = DisplayText.width(span.text) <= room
            line.add(DisplayText.cut(span.text, to: room, glyphs: glyphs), span.style)
            if !isWhole { break }
        }
        return line
    }
}
