// SPDX-License-Identifier: Apache-2.0

/// The lines above the panels: the broker as a whole, and its last minutes.
struct TopHeader {
    private let model: TopModel
    private let width: Int
    private let now: Duration
    private let glyphs: Glyphs

    init(_ drawing: TopDrawing) {
        model = drawing.model
        width = drawing.width
        now = drawing.now
        glyphs = drawing.glyphs
    }

    /// Of a screen of that many lines.
    static func height(_ screen: Int) -> Int { screen < 8 ? 1 : screen < 12 ? 2 : 4 }

    /// The most important first.
    func lines(atMost count: Int) -> [Line] {
        var lines = [identity]
        if let reading = model.reading { lines += [figures(reading), sparklines(reading)] }
        // In a small window the figures are what must be seen, and before them the banner.
        if count == 1, lines.count > 1 { lines.swapAt(0, 1) }
        if let banner {
            lines.insert(banner, at: count == 1 ? 0 : 1)
        } else {
            lines.append(model.reading.map(news) ?? Line())
        }
        return Array(lines.prefix(count))
    }

    private var identity: Line {
        var line = Line()
        guard let reading = model.reading else {
            line.add("pglease top", .strong)
            line.add("  connecting to \(glyphs.clean(model.address))")
            return line
        }
        line.add(glyphs.clean(reading.version), .strong)
        let phase = reading.phase
        line.add("  ")
        line.add(phase, phase == "active" ? .good : .warning)
        if let uptime = reading.uptime {
            line.add("  up \(Quantity.duration(microseconds: uptime))")
        }
        let held = model.isHeld ? "held (space goes on)" : "every \(interval)"
        let end = "\(glyphs.clean(model.address))  \(held)"
        let room = width - line.width - 2
        if DisplayText.width(end) <= room {
            line.fill(to: width - DisplayText.width(end))
            line.add(end, model.isHeld ? .warning : .faint)
        } else if held.count <= room {
            line.fill(to: width - held.count)
            line.add(held, model.isHeld ? .warning : .faint)
        }
        return line
    }

    private var interval: String {
        Quantity.duration(microseconds: Int(model.interval / .microseconds(1)))
    }

    /// Why nobody answers.
    private var banner: Line? {
        guard case .away(let reason, let since) = model.link else { return nil }
        let away = Quantity.duration(microseconds: Int((now - since) / .microseconds(1)))
        var line = Line(" no answer for \(away), trying again: \(glyphs.clean(reason))", .alarm)
        line = line.cut(to: width, glyphs: glyphs)
        line.fill(to: width, .alarm)
        return line
    }

    /// The newest event that somebody should know of, as long as it is news.
    private func news(_ reading: BrokerReading) -> Line {
        let events = reading.records(.events)
        let grave: Set<String?> = ["warning", "error"]
        guard let event = events.last(where: { grave.contains($0.text("level")) }),
            let age = event.integer("age_us"), age < 600_000_000
        else { return Line() }
        let text = event.text("message") ?? event.text("kind") ?? ""
        return Line(
            "\(Quantity.duration(microseconds: age)) ago: \(glyphs.clean(text))",
            event.text("level") == "error" ? .alarm : .faint)
    }

    private func figures(_ reading: BrokerReading) -> Line {
        var line = Line()
        func add(_ name: String, _ value: String, _ style: Style = .strong) {
            if line.width > 0 { line.add("  ") }
            line.add("\(name) ")
            line.add(value, style)
        }
        if reading.waiting > 0 {
            let wait = Quantity.duration(microseconds: reading.oldestWait)
            add("leases", share(reading.leased, reading.capacity), .warning)
            add("waiting", "\(reading.waiting), oldest \(wait)", .warning)
        } else {
            add("leases", share(reading.leased, reading.capacity))
            add("waiting", "0")
        }
        if reading.warned > 0 { add("warned", "\(reading.warned)", .warning) }
        if reading.locks > 0 { add("LOCKS", "\(reading.locks)", .alarm) }
        add("servers", share(reading.servers, reading.serverLimit))
        if let clients = reading.clients { add("clients", share(clients, reading.clientLimit)) }
        // How much of this host's share is used, and what there is for all hosts together.
        for bound in reading.records(.shares).prefix(2) {
            var value = share(bound.integer("used") ?? 0, bound.integer("share"))
            if let total = bound.integer("total") { value += " of \(Quantity.count(total))" }
            let isFailing = bound.text("state") == "failing"
            let isShort = (bound.integer("want") ?? 0) > (bound.integer("share") ?? .max)
            add(
                "share \(glyphs.clean(bound.text("bound") ?? ""))",
                isFailing ? "\(value), failing" : value,
                isFailing || isShort ? .warning : .strong)
        }
        return line
    }

    private func share(_ count: Int, _ limit: Int?) -> String {
        limit.map { "\(Quantity.count(count))/\(Quantity.count($0))" } ?? Quantity.count(count)
    }

    private func sparklines(_ reading: BrokerReading) -> Line {
        let titles = "used  waiting ".count
        // A figure behind each line, and room between them.
        let columns = min(60, (width - titles - 16) / 2)
        if columns < 6 { return Line() }
        let used = model.history.utilisation(columns: columns, now: now)
        let waiting = model.history.waiting(columns: columns, now: now)
        let share = reading.capacity.map { 100 * reading.leased / max(1, $0) }
        let most = waiting.compactMap { $0 }.max() ?? 0
        var line = Line("used ", .faint)
        line.add(glyphs.sparkline(used, top: 1), .good)
        line.add(" \(share.map { "\($0) %" } ?? "")")
        line.fill(to: columns + 12)
        line.add(" ")
        line.add("waiting ", .faint)
        line.add(glyphs.sparkline(waiting, top: max(1, most)), most > 0 ? .warning : .good)
        line.add(" \(Quantity.count(reading.waiting))")
        return line
    }
}
