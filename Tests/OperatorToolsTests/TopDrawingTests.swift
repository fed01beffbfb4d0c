// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import OperatorTools

@Suite("The screen's lines")
struct TopDrawingTests {
    private static let sizes = [
        (80, 24), (20, 5), (132, 50), (300, 100), (79, 13), (1, 1), (10, 2),
    ]

    private func check(_ model: TopModel, _ what: String) {
        for (width, height) in Self.sizes {
            for glyphs in [Glyphs.unicode, .ascii] {
                let lines = Fixture.draw(model, width, height, glyphs)
                #expect(lines.count == height, "\(what) at \(width)x\(height)")
                for line in lines {
                    #expect(line.width <= width, "\(what) at \(width)x\(height): \(line.text)")
                    #expect(line.width == DisplayText.width(line.text))
                    #expect(!line.text.unicodeScalars.contains { $0.value < 0x20 })
                    if glyphs.isASCII {
                        #expect(line.text.utf8.allSatisfy { $0 < 0x80 }, "\(line.text)")
                    }
                }
            }
        }
    }

    @Test("Whatever is to be shown, the lines fit the screen")
    func fits() {
        for (leases, waiters, locks) in [(0, 0, 0), (1, 0, 0), (30, 14, 3), (200, 50, 0)] {
            for keys in ["", "?", "K", "/日本", "\r", "ww", " ", "\t", "\t\t", "\t\t\t\t"] {
                var model = Fixture.model(leases: leases, waiters: waiters, locks: locks)
                var decoder = KeyDecoder()
                for key in decoder.feed(keys.utf8) { _ = model.handle(key) }
                check(model, "\(leases) leases after \(keys.debugDescription)")
                model.lost("a reason \u{1B}[2J", at: .seconds(101))
                check(model, "\(leases) leases away after \(keys.debugDescription)")
            }
        }
        check(TopModel(address: "/nowhere", interval: .seconds(1)), "before the first reading")
    }

    @Test("The header says how the broker is")
    func header() {
        let lines = Fixture.draw(Fixture.model(leases: 9, waiters: 3), 80, 24).map(\.text)
        #expect(lines[0].hasPrefix("pglease 0.1.0  active"))
        #expect(lines[0].hasSuffix("every 1.0 s"))
        #expect(
            lines[1] == "leases 9/10  waiting 3, oldest 4.2 s  warned 1  servers 12  clients 17/500"
        )
        #expect(lines[2].contains("90 %"))
    }

    @Test("The header has this host's shares of bounds that other hosts share")
    func shares() {
        func line(_ state: String, used: String, want: String, _ name: String) -> Line {
            var reading = Fixture.reading(leases: 9)
            reading.tables[.shares] = Fixture.table(
                ["bound", "state", "total", "share", "used", "want"],
                [[name, state, "40", "5", used, want]])
            var model = TopModel(address: "/nowhere", interval: .seconds(1))
            model.received(reading, at: .zero)
            return Fixture.draw(model, 120, 24)[1]
        }
        #expect(
            line("open", used: "5", want: "4", "orders").text
                == "leases 9/10  waiting 0  warned 1  servers 12  clients 17/500  share orders 5/5 of 40"
        )
        #expect(
            line("failing", used: "4", want: "4", "orders").text.hasSuffix(
                "share orders 4/5 of 40, failing"))
        #expect(line("open", used: "5", want: "5", "\u{1B}[2J").text.contains("\u{FFFD}[2J 5/5"))
    }

    @Test("The row under the cursor is always on the screen, and only one")
    func cursor() {
        var model = Fixture.model(leases: 1000, waiters: 20)
        for step in 0..<60 {
            for (width, height) in [(80, 24), (40, 8), (132, 50)] {
                let lines = Fixture.draw(model, width, height)
                let marked = lines.filter { $0.text.hasPrefix("▸") }
                #expect(marked.count == 1)
                let lease = model.selected?.record.text("lease_id") ?? ""
                #expect(marked[0].text.contains(" \(lease) "), "step \(step)")
            }
            _ = model.handle(step % 5 == 0 ? .pageDown : .down)
        }
        _ = model.handle(.end)
        #expect(Fixture.draw(model, 80, 24).contains { $0.text.hasPrefix("▸") })
    }

    @Test(
        "A thousand leases leave room for those who wait, and how many there are is said")
    func many() {
        let lines = Fixture.draw(Fixture.model(leases: 1000, waiters: 20), 100, 24).map(\.text)
        #expect(lines.contains { $0.hasPrefix(" WAITER") })
        #expect(lines.contains { $0.hasPrefix(" POOL") })
        #expect(lines[23].hasPrefix(" 1/1000 by age"))
        let wide = Fixture.draw(Fixture.model(leases: 1000), 200, 24).map(\.text)
        #expect(wide.contains { $0.contains("LEASE") && $0.hasSuffix(" 1-13 of 1000") })
    }

    @Test("The newest event that matters is told until it is old")
    func news() {
        func header(age: String, level: String) -> String {
            var reading = Fixture.reading(leases: 1)
            reading.tables[.events] = Fixture.table(
                ["kind", "level", "age_us", "message"],
                [
                    ["leak", level, age, "a lease is held \u{1B}[2J"],
                    ["reload", "notice", "5", "nothing changed"],
                ])
            var model = TopModel(address: "x", interval: .seconds(1))
            model.received(reading, at: .zero)
            return Fixture.draw(model, 80, 24)[3].text
        }
        #expect(
            header(age: "12000000", level: "warning") == "12 s ago: a lease is held \u{FFFD}[2J")
        #expect(header(age: "700000000", level: "warning").isEmpty)
        #expect(header(age: "12000000", level: "info").isEmpty)
    }

    @Test("Nothing to show is said")
    func nothing() {
        let lines = Fixture.draw(Fixture.model(leases: 0), 80, 24).map(\.text)
        let heading = lines.firstIndex { $0.contains("LEASE  ") && $0.contains("AGE") }
        #expect(heading.map { lines[$0 + 1] } == "▸none")
    }

    @Test("All fields of a row are there, also where one column of them is too long")
    func details() {
        var model = Fixture.model(leases: 3)
        _ = model.handle(.enter)
        for height in [14, 24] {
            let text = Fixture.draw(model, 80, height).map(\.text).joined(separator: "\n")
            for column in Fixture.leases(0).columns { #expect(text.contains(column.name)) }
        }
        model.received(Fixture.reading(leases: 0), at: .seconds(104))
        #expect(Fixture.draw(model, 80, 24).contains { $0.text == " This lease is over." })
    }

    @Test("A question keeps its end, however long the names are")
    func question() {
        var model = Fixture.model(leases: 12)
        _ = model.handle(.end)
        _ = model.handle(.up)
        _ = model.handle(.up)
        _ = model.handle(.character("K"))
        for width in [12, 40, 80] {
            let last = Fixture.draw(model, width, 24).last
            #expect(last?.text.hasSuffix("y/n") == true)
        }
    }

    @Test("A broker that is away has a banner, and what was last seen stays")
    func banner() {
        var model = Fixture.model(leases: 3)
        model.lost("Connection refused", at: .seconds(101))
        let lines = Fixture.draw(model, 80, 24)
        #expect(lines[1].text.contains("no answer for 2.0 s, trying again: Connection refused"))
        #expect(lines[1].spans.allSatisfy { $0.style == .alarm })
        #expect(lines.contains { $0.text.contains("LEASE") })
        #expect(Fixture.draw(model, 60, 5)[0].text.contains("no answer"))
    }

    @Test("A column that the broker lacks is a dash or left out")
    func absent() {
        var model = TopModel(address: "x", interval: .seconds(1))
        model.received(
            BrokerReading(
                tables: [
                    .pools: Fixture.table(["database", "user"], [["app", "app"]]),
                    .leases: Fixture.table(["lease_id"], [["5"]]),
                ], takenAt: 0), at: .zero)
        let text = Fixture.draw(model, 80, 24).map(\.text).joined(separator: "\n")
        #expect(text.contains("app/app"))
        #expect(text.contains("    5"))
    }

    @Test("Only lines that changed are written again")
    func painting() {
        var painter = TerminalPainter(coloured: true)
        var lines = [Line("one"), Line("two", .alarm), Line("日本")]
        let first = painter.paint(lines, width: 10)
        #expect(first.contains("\u{1B}[2J") && first.contains("one") && first.contains("two"))
        #expect(painter.paint(lines, width: 10).isEmpty)
        lines[1] = Line("TWO")
        #expect(
            painter.paint(lines, width: 3)
                == "\u{1B}[?2026h\u{1B}[2;1H\u{1B}[0mTWO\u{1B}[0m\u{1B}[?2026l")
        lines.append(Line("four"))
        #expect(painter.paint(lines, width: 10).contains("\u{1B}[2J"))
        painter.forget()
        #expect(painter.paint(lines, width: 10).contains("one"))
    }

    @Test("Without colours no colour is written")
    func colourless() {
        let styles: [Style] = [
            .plain, .faint, .strong, .heading, .focusedHeading, .good, .warning, .alarm, .selected,
        ]
        for style in styles {
            let text = TerminalPainter.inline(Line("x", style), coloured: false)
            #expect(!text.contains(/;[349]\d/))
        }
    }
}
