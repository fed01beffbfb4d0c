// SPDX-License-Identifier: Apache-2.0

/// Texts of strangers (application names, purposes, arguments) as a terminal can show them.
package enum DisplayText {
    /// Combining marks on one character; more is ornament that spills over the lines around it.
    private static let mostMarks = 3

    /// Without what would move the cursor, change colours or turn the line's direction: controls
    /// become U+FFFD, line breaks and tabs a blank, and invisible format characters go.
    package static func clean(_ text: String, asciiOnly: Bool = false) -> String {
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return text }
        var result = String.UnicodeScalarView()
        var marks = mostMarks
        for scalar in text.unicodeScalars {
            switch kind(of: scalar) {
            case .blank:
                result.append(" ")
                marks = 0
            case .control:
                result.append(asciiOnly ? "?" : "\u{FFFD}")
                marks = 0
            case .invisible: continue
            case .mark:
                // A mark without a character before it would go to the neighbour's.
                if asciiOnly || marks >= mostMarks { continue }
                marks += 1
                result.append(scalar)
            case .narrow, .wide:
                marks = 0
                result.append(asciiOnly && !scalar.isASCII ? "?" : scalar)
            }
        }
        return String(result)
    }

    /// The columns that a cleaned text takes, by the rules of wcwidth(3).
    package static func width(_ text: String) -> Int {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.utf8.count }
        return text.unicodeScalars.reduce(0) { $0 + width($1) }
    }

    /// As it is, or its beginning and a mark that something is missing; never wider than `width`.
    package static func cut(_ text: String, to width: Int, glyphs: Glyphs) -> String {
        if width <= 0 { return "" }
        if self.width(text) <= width { return text }
        var taken = String.UnicodeScalarView()
        var used = 0
        for scalar in text.unicodeScalars {
            let next = self.width(scalar)
            if used + next > width - 1 { break }
            used += next
            taken.append(scalar)
        }
        return String(taken) + glyphs.ellipsis
    }

    /// Cut, or filled with blanks, to exactly `width` columns.
    package static func fit(
        _ text: String, to width: Int, _ alignment: Alignment = .left, glyphs: Glyphs
    ) -> String {
        let cut = cut(text, to: width, glyphs: glyphs)
        let blanks = String(repeating: " ", count: max(0, width - self.width(cut)))
        return alignment == .left ? cut + blanks : blanks + cut
    }

    package enum Alignment: Sendable { case left, right }

    private static func width(_ scalar: Unicode.Scalar) -> Int {
        if scalar.isASCII { return 1 }
        switch kind(of: scalar) {
        case .mark, .invisible: return 0
        case .wide: return 2
        case .narrow, .blank, .control: return 1
        }
    }

    private enum Kind { case blank, control, invisible, mark, narrow, wide }

    private static func kind(of scalar: Unicode.Scalar) -> Kind {
        switch scalar.value {
        case 0x20..<0x7F: return .narrow
        case 0x09, 0x0A, 0x0D: return .blank
        // Vowels and finals of Korean syllables join the initial before them.
        case 0x1160...0x11FF: return .mark
        default: break
        }
        switch scalar.properties.generalCategory {
        case .control, .privateUse, .unassigned, .surrogate: return .control
        case .lineSeparator, .paragraphSeparator, .spaceSeparator: return .blank
        case .format: return .invisible
        case .nonspacingMark, .enclosingMark: return .mark
        default: return WideCharacters.contain(scalar) ? .wide : .narrow
        }
    }
}

/// The few signs beyond letters that the screens use, in both of a terminal's languages.
package struct Glyphs: Equatable, Sendable {
    package let ellipsis: String
    package let bars: [String]
    package let pointer: String
    package let isASCII: Bool

    package static let unicode = Glyphs(
        ellipsis: "…", bars: ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"], pointer: "▸",
        isASCII: false)
    package static let ascii = Glyphs(
        ellipsis: "~", bars: ["_", ".", "-", ":", "=", "+", "*", "#"], pointer: ">", isASCII: true)

    func clean(_ text: String) -> String { DisplayText.clean(text, asciiOnly: isASCII) }

    /// A bar for each value between 0 and `top`; a blank where there is none.
    func sparkline(_ values: [Double?], top: Double) -> String {
        values.map { value in
            guard let value else { return " " }
            let share = top > 0 ? min(1, max(0, value / top)) : 0
            // Nothing has the lowest bar to itself, and only what is full the highest.
            if share <= 0 { return bars[0] }
            if share >= 1 { return bars[bars.count - 1] }
            return bars[1 + Int(share * Double(bars.count - 2))]
        }.joined()
    }
}
