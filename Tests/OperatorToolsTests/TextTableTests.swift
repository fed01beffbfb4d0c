// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import OperatorTools

@Suite("Tables")
struct TextTableTests {
    private let columns = [
        TextColumn("ID", .right, importance: 9), TextColumn("NAME", minimum: 6, importance: 5),
        TextColumn("STATE", minimum: 4, importance: 7), TextColumn("KIND", importance: 1),
    ]

    private func table(_ rows: [[String]]) -> TextTable {
        TextTable(columns: columns, rows: rows, glyphs: .unicode)
    }

    @Test("Without a width every text is whole")
    func whole() {
        let long = String(repeating: "n", count: 300)
        let lines = table([["1", long, "idle", "direct"], ["22", "日本", "x", "y"]]).lines(width: nil)
        #expect(lines[1] == " 1  \(long)  idle   direct")
        #expect(lines[2] == "22  日本\(String(repeating: " ", count: 296))  x      y")
    }

    @Test("Texts are cut before a column goes, and the least important goes first")
    func narrow() {
        let rows = [["1", "abcdefghij", "idle in xact", "explicit"]]
        #expect(table(rows).lines(width: 38)[1] == " 1  abcdefghij  idle in xact  explicit")
        #expect(table(rows).lines(width: 34)[1] == " 1  abcdefgh…  idle in …  explicit")
        #expect(table(rows).lines(width: 20)[1] == " 1  abcdef…  idle i…")
        #expect(table(rows).lines(width: 12)[1] == " 1  idle in…")
        #expect(table(rows).lines(width: 3)[1] == " 1")
        #expect(table(rows).lines(width: 1) == ["…", "1"])
    }

    @Test("A column that says nothing goes before one that does")
    func empty() {
        let lines = table([["1", "abcdefgh", "-", "explicit"]]).lines(width: 24)
        #expect(lines[0] == "ID  NAME      KIND")
    }

    @Test("No line is ever wider than asked for")
    func never() {
        let reading = Fixture.reading(leases: 28, waiters: 14, locks: 3)
        for panel in Panel.allCases {
            let table = panel.table(panel.rows(of: reading), glyphs: .unicode)
            for width in 1...160 {
                for line in table.lines(width: width) {
                    #expect(DisplayText.width(line) <= width, "\(panel) at \(width): \(line)")
                }
            }
        }
    }
}
