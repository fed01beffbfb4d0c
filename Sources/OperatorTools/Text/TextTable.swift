// SPDX-License-Identifier: Apache-2.0

/// A column of a `TextTable`.
package struct TextColumn: Equatable, Sendable {
    package let title: String
    package let alignment: DisplayText.Alignment
    /// As narrow as it may become when there is not enough room; nil: never cut.
    package let minimum: Int?
    /// Wide enough from the start for what comes later, so that columns do not jump.
    package let usual: Int
    /// As wide as it may become where width is limited at all.
    package let most: Int
    /// Where room is scarce the lowest goes first; before them go columns that say nothing.
    package let importance: Int

    package init(
        _ title: String, _ alignment: DisplayText.Alignment = .left, minimum: Int? = nil,
        most: Int = .max, usual: Int = 0, importance: Int = 5
    ) {
        self.title = title
        self.alignment = alignment
        self.minimum = minimum
        self.most = most
        self.usual = usual
        self.importance = importance
    }
}

/// Rows in aligned columns, never wider than asked for and never wrapped.
package struct TextTable: Equatable, Sendable {
    package let columns: [TextColumn]
    /// Cleaned texts, one for each column.
    package let rows: [[String]]
    package let glyphs: Glyphs
    private static let gap = 2

    package init(columns: [TextColumn], rows: [[String]], glyphs: Glyphs) {
        self.columns = columns
        self.rows = rows
        self.glyphs = glyphs
    }

    /// The heading, then the rows. Without a width every text is whole.
    package func lines(width: Int?) -> [String] {
        let widths = widths(within: width)
        return ([columns.map(\.title)] + rows).map { line($0, widths) }
    }

    /// The same with a strong heading, and a style for each row.
    func lines(width: Int?, _ styles: [Style]) -> [Line] {
        zip(lines(width: width), [.strong] + styles).map { Line($0, $1) }
    }

    private func line(_ cells: [String], _ widths: [Int]) -> String {
        let shown = widths.indices.filter { widths[$0] > 0 }
        var line = ""
        for index in shown {
            if !line.isEmpty { line += String(repeating: " ", count: Self.gap) }
            line += DisplayText.fit(
                cells[index], to: widths[index], columns[index].alignment, glyphs: glyphs)
        }
        return String(line.trimmingBlanks)
    }

    /// Zero for a column that has to stay out.
    private func widths(within width: Int?) -> [Int] {
        var widths = columns.indices.map { index in
            rows.reduce(max(DisplayText.width(columns[index].title), columns[index].usual)) {
                max($0, DisplayText.width($1[index]))
            }
        }
        guard let width else { return widths }
        // A name of ten thousand letters asks for no more than there is.
        for index in widths.indices {
            widths[index] = min(widths[index], columns[index].most, width)
        }
        func least(_ index: Int) -> Int { min(widths[index], columns[index].minimum ?? .max) }
        var shown = Array(columns.indices)
        func needed(_ part: (Int) -> Int) -> Int {
            shown.reduce(0) { $0 + part($1) } + Self.gap * max(0, shown.count - 1)
        }
        let worth = columns.indices.map { index in
            !rows.isEmpty && rows.allSatisfy { $0[index] == "-" } ? 0 : columns[index].importance
        }
        while shown.count > 1, needed(least) > width,
            let worst = shown.min(by: { worth[$0] < worth[$1] })
        {
            shown.removeAll { $0 == worst }
        }
        var excess = needed { widths[$0] } - width
        while excess > 0,
            let widest = shown.filter({ widths[$0] > least($0) }).max(by: {
                widths[$0] < widths[$1]
            })
        {
            widths[widest] -= 1
            excess -= 1
        }
        if excess > 0, let only = shown.first { widths[only] = max(0, min(widths[only], width)) }
        return columns.indices.map { shown.contains($0) ? widths[$0] : 0 }
    }
}

extension String {
    /// Without the blanks at its end.
    var trimmingBlanks: Substring {
        var text = self[...]
        while text.last == " " { text.removeLast() }
        return text
    }
}
