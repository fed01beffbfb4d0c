// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import OperatorTools

@Suite("Texts on a terminal")
struct DisplayTextTests {
    @Test(
        "Widths are those of wcwidth",
        arguments: [
            ("abc", 3), ("日本語", 6), ("e\u{301}", 1), ("한글", 4), ("\u{1112}\u{1161}\u{11AB}", 2),
            ("👍", 2), ("ｆｕｌｌ", 8), ("naïve", 5), ("…", 1), ("█", 1), ("🇩🇪", 2), ("", 0),
        ] as [(String, Int)])
    func width(text: String, expected: Int) {
        #expect(DisplayText.width(text) == expected)
    }

    @Test("Nothing that moves the cursor, turns the line or hides gets through")
    func clean() {
        #expect(DisplayText.clean("a\u{1B}[31mb\u{7}") == "a\u{FFFD}[31mb\u{FFFD}")
        #expect(DisplayText.clean("a\tb\nc\u{2028}d") == "a b c d")
        #expect(DisplayText.clean("\u{202E}abc\u{200B}\u{FEFF}") == "abc")
        #expect(DisplayText.clean("\u{9B}2J") == "\u{FFFD}2J")
        #expect(DisplayText.clean("\u{301}a") == "a")
        #expect(DisplayText.clean("日é", asciiOnly: true) == "??")
        #expect(DisplayText.clean("plain text") == "plain text")
    }

    @Test("A tower of combining marks is cut down")
    func marks() {
        let tower = "a" + String(repeating: "\u{301}", count: 5000)
        #expect(DisplayText.clean(tower).unicodeScalars.count == 4)
    }

    @Test("A cut text is never too wide and says that something is missing")
    func cut() {
        #expect(DisplayText.cut("abcdef", to: 4, glyphs: .unicode) == "abc…")
        #expect(DisplayText.cut("abcd", to: 4, glyphs: .unicode) == "abcd")
        // A wide character does not fit into one column.
        #expect(DisplayText.cut("日本語", to: 4, glyphs: .unicode) == "日…")
        #expect(DisplayText.cut("日本語", to: 5, glyphs: .ascii) == "日本~")
        #expect(DisplayText.cut("abc", to: 0, glyphs: .unicode) == "")
        for name in Fixture.hostileNames {
            let clean = DisplayText.clean(name)
            for width in 0...30 {
                #expect(
                    DisplayText.width(DisplayText.cut(clean, to: width, glyphs: .unicode)) <= width)
                let fitted = DisplayText.fit(clean, to: width, .right, glyphs: .unicode)
                #expect(DisplayText.width(fitted) == width)
            }
        }
    }

    @Test(
        "Durations have a unit and two or three digits",
        arguments: [
            (0, "0 s"), (1, "0.0 ms"), (300, "0.3 ms"), (9_949, "9.9 ms"), (9_950, "10 ms"),
            (999_499, "999 ms"), (999_500, "1.0 s"), (1_234_567, "1.2 s"), (9_949_999, "9.9 s"),
            (9_950_000, "10 s"), (45_000_000, "45 s"), (99_499_999, "99 s"),
            (99_500_000, "2 min"), (180_000_000, "3 min"), (3_600_000_000, "60 min"),
            (5_970_000_000, "1.7 h"), (36_000_000_000, "10 h"), (360_000_000_000, "4 d"),
            (-5, "0 s"),
        ] as [(Int, String)])
    func durations(microseconds: Int, expected: String) {
        #expect(Quantity.duration(microseconds: microseconds) == expected)
    }

    @Test(
        "Bytes and counts have a unit",
        arguments: [
            (0, "0 B", "0"), (999, "999 B", "999"), (1000, "1.0 kB", "1000"),
            (9_949, "9.9 kB", "9949"), (34_000, "34 kB", "34 k"), (999_499, "999 kB", "999 k"),
            (999_500, "1.0 MB", "1.0 M"), (5_000_000_000_000, "5.0 TB", "5.0 T"),
        ] as [(Int, String, String)])
    func amounts(amount: Int, bytes: String, count: String) {
        #expect(Quantity.bytes(amount) == bytes)
        #expect(Quantity.count(amount) == count)
    }

    @Test("A figure of any size has an answer")
    func extremes() {
        for value in [Int.max, Int.min, Int.max / 2] {
            #expect(Quantity.duration(microseconds: value).utf8.count < 16)
            #expect(Quantity.bytes(value).utf8.count < 16)
        }
    }

    @Test("Only nothing has the lowest bar, and only all the highest")
    func sparkline() {
        let line = Glyphs.unicode.sparkline([nil, 0, 0.01, 0.5, 0.99, 1, 7], top: 1)
        #expect(line == " ▁▂▅▇██")
        #expect(Glyphs.ascii.sparkline([0, 1], top: 0) == "__")
    }
}
