// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import OperatorTools

@Suite("The screen's state")
struct TopModelTests {
    private func leases(_ model: TopModel) -> [String] {
        model.rows(.leases).compactMap { $0.record.text("lease_id") }
    }

    private func type(_ text: String, into model: inout TopModel) {
        for letter in text { _ = model.handle(.character(letter)) }
    }

    @Test("Each key sorts by its column, and turns it round when pressed again")
    func sorts() {
        var model = Fixture.model(leases: 9)
        #expect(leases(model).first == "1")
        for (key, first, last) in [
            ("w", "9", "1"), ("a", "1", "9"), ("i", "8", "1"), ("g", "1", "3"), ("p", "7", "1"),
        ] {
            type(key, into: &model)
            #expect(leases(model).first == first, "by \(key)")
            type(key, into: &model)
            #expect(leases(model).first == last, "by \(key), turned round")
        }
    }

    @Test("What is null sorts below every time")
    func nulls() {
        var model = Fixture.model(leases: 4)
        type("i", into: &model)
        #expect(leases(model) == ["4", "2", "1", "3"])
    }

    @Test("The cursor stays on its lease when others come and go, and near it when it ends")
    func cursor() {
        var model = Fixture.model(leases: 5)
        _ = model.handle(.down)
        _ = model.handle(.down)
        #expect(model.selected?.record.text("lease_id") == "3")
        func receive(_ kept: (Int) -> Bool) {
            var reading = Fixture.reading(leases: 5)
            let all = Fixture.leases(5)
            let rows = all.records.enumerated().filter { kept($0.offset) }.map(\.element.values)
            reading.tables[.leases] = ConsoleTable(columns: all.columns, rows: rows)
            model.received(reading, at: .seconds(101))
        }
        receive { $0 != 0 }
        #expect(model.selected?.record.text("lease_id") == "3")
        receive { $0 != 0 && $0 != 2 }
        #expect(model.selected?.record.text("lease_id") == "4")
        receive { _ in false }
        #expect(model.selected == nil)
        #expect(model.handle(.character("K")) == nil)
        #expect(model.mode == .panels)
    }

    @Test("The cursor stops at both ends")
    func ends() {
        var model = Fixture.model(leases: 3)
        for key: Key in [.up, .home, .pageUp] {
            _ = model.handle(key)
            #expect(model.place(in: .leases) == 0)
        }
        for key: Key in [.end, .down, .pageDown] {
            _ = model.handle(key)
            #expect(model.place(in: .leases) == 2)
        }
    }

    @Test("A lease is ended only after y, and it is the one that was asked about")
    func kill() {
        var model = Fixture.model(leases: 3)
        _ = model.handle(.down)
        #expect(model.handle(.character("K")) == nil)
        guard case .askingToKill(lease: "2", _) = model.mode else {
            Issue.record("asks about \(model.mode)")
            return
        }
        // Meanwhile the order changes.
        model.received(Fixture.reading(leases: 1), at: .seconds(102))
        #expect(model.handle(.character("y")) == .kill(lease: "2"))
        #expect(model.mode == .panels)
        model.killed("2", failure: "no such lease")
        #expect(model.message == .init(text: "lease 2: no such lease", isFailure: true))
    }

    @Test(
        "Anything but y leaves the lease alone",
        arguments: [Key.character("n"), .enter, .escape, .character(" "), .unknown, .down])
    func refuse(key: Key) {
        var model = Fixture.model(leases: 3)
        _ = model.handle(.character("K"))
        #expect(model.handle(key) == nil)
        #expect(model.mode == .panels)
    }

    @Test("Only leases can be ended, and a link of a lock is one")
    func otherPanels() {
        for steps in 1...4 {
            var model = Fixture.model(leases: 3, waiters: 2, locks: 2)
            for _ in 0..<steps { _ = model.handle(.tab) }
            _ = model.handle(.character("K"))
            if model.panel == .locks {
                #expect(
                    model.mode
                        == .askingToKill(lease: "0", holder: "pid 77 since 5.0 s"))
                continue
            }
            #expect(model.mode == .panels)
            #expect(model.message?.isFailure == true)
        }
    }

    @Test("Tab goes round, Shift-Tab back")
    func tab() {
        var model = Fixture.model(leases: 1)
        for _ in Panel.allCases { _ = model.handle(.tab) }
        #expect(model.panel == .leases)
        _ = model.handle(.backTab)
        #expect(model.panel == .groups)
    }

    @Test("A filter shows what contains it; Escape brings back what was before")
    func filter() {
        var model = Fixture.model(leases: 30, waiters: 3)
        type("/仕事", into: &model)
        #expect(leases(model) == ["1", "15", "29"])
        _ = model.handle(.enter)
        #expect(model.mode == .panels)
        type("/x", into: &model)
        #expect(leases(model).isEmpty)
        _ = model.handle(.escape)
        #expect(model.filter == "仕事")
        #expect(leases(model).count == 3)
        _ = model.handle(.escape)
        #expect(leases(model).count == 30)
        type("/FAMILY", into: &model)
        #expect(leases(model).count == 2)
        for _ in 0..<7 { _ = model.handle(.backspace) }
        #expect(model.mode == .panels)
        #expect(leases(model).count == 30)
    }

    @Test("A screen that is held keeps what it shows")
    func held() {
        var model = Fixture.model(leases: 3)
        #expect(model.handle(.character(" ")) == nil)
        model.received(Fixture.reading(leases: 1), at: .seconds(101))
        #expect(leases(model).count == 3)
        #expect(model.handle(.character(" ")) == .readNow)
        model.received(Fixture.reading(leases: 1), at: .seconds(102))
        #expect(leases(model).count == 1)
    }

    @Test("The interval has a smallest and a largest step")
    func interval() {
        var model = Fixture.model(leases: 1)
        type("+", into: &model)
        #expect(model.interval == .seconds(2))
        for _ in 0..<20 { type("+", into: &model) }
        #expect(model.interval == .seconds(60))
        for _ in 0..<20 { type("-", into: &model) }
        #expect(model.interval == .milliseconds(200))
    }

    @Test("Enter shows a row and Escape goes back")
    func details() {
        var model = Fixture.model(leases: 3)
        _ = model.handle(.enter)
        #expect(model.mode == .details(.leases, identity: "1 9000"))
        _ = model.handle(.character("j"))
        #expect(model.mode == .details(.leases, identity: "2 9001"))
        _ = model.handle(.escape)
        #expect(model.mode == .panels)
    }

    @Test("q and Ctrl-C leave from everywhere but a question and a text")
    func leaving() {
        for open: Key? in [nil, .character("?"), .enter] {
            var model = Fixture.model(leases: 3)
            if let open { _ = model.handle(open) }
            #expect(model.handle(.character("q")) == .quit)
        }
        for open: Key in [.character("/"), .character("K")] {
            var model = Fixture.model(leases: 3)
            _ = model.handle(open)
            #expect(model.handle(.character("q")) == nil)
            #expect(model.handle(.interrupt) == .quit)
        }
    }

    @Test("A broker that is away keeps the moment since when")
    func away() {
        var model = Fixture.model(leases: 1)
        model.lost("gone", at: .seconds(101))
        model.lost("still gone", at: .seconds(105))
        #expect(model.link == .away(reason: "still gone", since: .seconds(101)))
        model.received(Fixture.reading(leases: 1), at: .seconds(106))
        #expect(model.link == .live)
    }
}
