// SPDX-License-Identifier: Apache-2.0

/// Draws a `TopModel`: exactly `height` lines, none wider than `width`.
package struct TopDrawing {
    let model: TopModel
    let width: Int
    let height: Int
    /// On the clock of the readings.
    let now: Duration
    let glyphs: Glyphs

    package init(_ model: TopModel, width: Int, height: Int, now: Duration, glyphs: Glyphs) {
        self.model = model
        self.width = max(1, width)
        self.height = max(1, height)
        self.now = now
        self.glyphs = glyphs
    }

    package func lines() -> [Line] {
        let header = TopHeader(self).lines(atMost: TopHeader.height(height))
        let footer = footer()
        let room = max(0, height - header.count - 1)
        var body =
            switch model.mode {
            case .help: help(room)
            case .details(let panel, let identity): details(panel, identity, room)
            case .panels, .askingToKill, .typingFilter: panels(room)
            }
        body = Array(body.prefix(room))
        while body.count < room { body.append(Line()) }
        let all = height == 1 ? [footer] : header + body + [footer]
        return all.prefix(height).map { $0.cut(to: width, glyphs: glyphs) }
    }

    /// What PgDn goes by: the rows of the panel in focus.
    package var pageLength: Int {
        max(1, PanelHeights(model, room: height - TopHeader.height(height) - 1)[model.panel] - 2)
    }

    // MARK: Panels

    private func panels(_ room: Int) -> [Line] {
        guard model.reading != nil else { return [] }
        let heights = PanelHeights(model, room: room)
        return Panel.allCases.flatMap { panel in
            heights[panel] > 0 ? lines(of: panel, heights[panel]) : []
        }
    }

    private func lines(of panel: Panel, _ height: Int) -> [Line] {
        let rows = model.rows(panel)
        let isFocused = panel == model.panel
        let visible = height - 1
        // The cursor stays in the middle as long as there are rows on both sides.
        let place = isFocused ? model.place(in: panel) : 0
        let first = max(0, min(place - visible / 2, rows.count - visible))
        let shown = rows[first..<min(rows.count, first + max(0, visible))]
        // One column is the margin in which the cursor's mark stands.
        let texts = panel.table(shown, glyphs: glyphs).lines(width: width - 1)
        var lines = [
            heading(panel, texts[0], isFocused, first: first, shown: shown.count, of: rows.count)
        ]
        for (offset, row) in shown.enumerated() {
            let isSelected = isFocused && first + offset == place
            let text = (isSelected ? glyphs.pointer : " ") + texts[offset + 1]
            var line = Line(text, isSelected ? .selected : panel.style(of: row))
            if isSelected { line.fill(to: width, .selected) }
            lines.append(line)
        }
        if rows.isEmpty && visible > 0 {
            let reason = model.filter.isEmpty ? "none" : "none that matches"
            // Without a row to stand on, the cursor's mark shows the focus here.
            lines.append(Line((isFocused ? glyphs.pointer : " ") + reason, .faint))
        }
        return lines
    }

    private func heading(
        _ panel: Panel, _ titles: String, _ isFocused: Bool, first: Int, shown: Int, of count: Int
    ) -> Line {
        let style: Style = isFocused ? .focusedHeading : .heading
        // The titles never lose a word for it: then the figure is left out.
        let figure = shown < count ? " \(first + 1)-\(first + shown) of \(count)" : ""
        var line = Line(" " + titles, style)
        if line.width + figure.count <= width {
            line.fill(to: width - figure.count, style)
            line.add(figure, style)
        }
        line.fill(to: width, style)
        return line
    }

    // MARK: One row

    private func details(_ panel: Panel, _ identity: String, _ room: Int) -> [Line] {
        let singular = panel.name.dropLast()
        guard let row = model.rows(panel).first(where: { $0.identity == identity }),
            let columns = model.reading?.tables[panel.question]?.columns
        else {
            return [
                Line(" This \(singular) is over.", .strong), Line(),
                Line(" Esc goes back.", .faint),
            ]
        }
        let names = columns.reduce(0) { max($0, $1.name.count) }
        var lines = [Line(" The \(singular), all fields", .focusedHeading)]
        lines[0].fill(to: width, .focusedHeading)
        var fields: [Line] = []
        for (column, value) in zip(columns, row.record.values) {
            var line = Line(
                " " + DisplayText.fit(column.name, to: names + 2, glyphs: glyphs), .faint)
            line.add(value.map(glyphs.clean) ?? "-", value == nil ? .faint : .plain)
            if column.name.hasSuffix("_us"), let time = value.flatMap({ Int($0) }) {
                line.add("  (\(Quantity.duration(microseconds: time)))", .faint)
            }
            fields.append(line)
        }
        let isTooLong = fields.count > room - 1 && width >= 70
        return lines + (isTooLong ? inTwoColumns(fields) : fields)
    }

    /// Those that need the whole width come last.
    private func inTwoColumns(_ fields: [Line]) -> [Line] {
        let short = fields.filter { $0.width < width / 2 }
        let half = (short.count + 1) / 2
        let pairs = (0..<half).map { index in
            var line = short[index]
            guard index + half < short.count else { return line }
            line.fill(to: width / 2)
            for span in short[index + half].spans { line.add(span.text, span.style) }
            return line
        }
        return pairs + fields.filter { $0.width >= width / 2 }
    }

    // MARK: Help and the last line

    private func help(_ room: Int) -> [Line] {
        let keys = [
            ("Tab, Shift-Tab", "the next panel, the one before"),
            ("arrows, j k", "choose a row; PgUp PgDn Home End go further"),
            ("Enter", "all fields of the row"), ("K", "end the lease (asks first)"),
            ("a w i g p", "sort by age, waited, idle, group, pid; again: the other way round"),
            ("/", "only rows in which a text occurs; Esc ends it"),
            ("space", "hold the screen, and go on"), ("+ -", "read less often, more often"),
            ("r", "read now"), ("Ctrl-L", "draw everything again"), ("q", "quit"),
        ]
        var lines = [Line(" Keys", .focusedHeading)]
        lines[0].fill(to: width, .focusedHeading)
        for (key, meaning) in keys {
            var line = Line(" " + DisplayText.fit(key, to: 16, glyphs: glyphs), .strong)
            line.add(meaning)
            lines.append(line)
        }
        lines += [
            Line(),
            Line(" ! marks a lease that is held longer than lease_warn_after.", .faint),
            Line(" A bar of a sparkline is the highest of 5 seconds.", .faint),
        ]
        return lines
    }

    private func footer() -> Line {
        switch model.mode {
        case .askingToKill(let lease, let holder):
            return Line(" End lease \(lease), \(glyphs.clean(holder))? y/n", .alarm).asking(
                width, glyphs, " y/n")
        case .typingFilter:
            return Line(" /\(glyphs.clean(model.filter))_", .strong)
        case .help: return Line(" any key goes back   q quit", .faint)
        case .details: return Line(" Esc back   j k next row   K end the lease   q quit", .faint)
        case .panels: break
        }
        if let message = model.message {
            return Line(" " + glyphs.clean(message.text), message.isFailure ? .alarm : .good)
        }
        var line = Line()
        if !model.filter.isEmpty {
            line.add(" only \"\(glyphs.clean(model.filter))\", Esc: all ", .strong)
        }
        let count = model.rows(model.panel).count
        if count > 0 { line.add(" \(model.place(in: model.panel) + 1)/\(count)", .strong) }
        line.add(" by \(model.order.name)\(model.isReversed ? ", reversed" : "")", .strong)
        line.add(
            " (awigp)  q quit  ? help  Tab panel  Enter show  K kill  / find",
            .faint)
        return line
    }
}

extension Line {
    /// A question that is too long keeps its end, which says how to answer.
    fileprivate func asking(_ width: Int, _ glyphs: Glyphs, _ end: String) -> Line {
        if self.width <= width { return self }
        var line = Line(
            DisplayText.cut(text, to: max(0, width - end.count), glyphs: glyphs), .alarm)
        line.add(end, .alarm)
        return line
    }
}
