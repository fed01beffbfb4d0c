// SPDX-License-Identifier: Apache-2.0

/// Unicode's normal form NFKC, of texts that hold characters of Unicode 3.2 only: what SASLprep needs.
/// (The standard library has no compatibility forms, and Foundation costs megabytes.)
///
/// Each call reads the tables from their beginning, once for all decompositions and once for each pair
/// that may compose: tens of microseconds, next to the milliseconds that hashing a password takes.
enum NormalForm {
    /// Decomposed, in canonical order, and composed again.
    static func compatibilityComposed(_ codes: [UInt32]) -> [UInt32] {
        compose(ordered(decompose(codes)))
    }

    // MARK: Decomposition

    private static func decompose(_ codes: [UInt32]) -> [UInt32] {
        let known = decompositions(of: Set(codes.filter { $0 >= 0x80 && !Hangul.isSyllable($0) }))
        return codes.flatMap { code in
            Hangul.isSyllable(code) ? Hangul.decompose(code) : known[code] ?? [code]
        }
    }

    /// An entry of the table is twice the gap since the entry before, and then: for a run of codes that
    /// become one code each, how many they are, and what the first becomes, the others likewise; for a
    /// code that becomes several, which has one added to its gap, how many, and these.
    private static func decompositions(of wanted: Set<UInt32>) -> [UInt32: [UInt32]] {
        guard let highest = wanted.max() else { return [:] }
        return NumberReader.read(NormalFormTables.decompositions) { numbers in
            var found: [UInt32: [UInt32]] = [:]
            var code: UInt32 = 0
            while code <= highest, let gap = numbers.next(), let count = numbers.next() {
                code += gap / 2
                if gap % 2 == 1 {
                    let parts = (0..<count).map { _ in numbers.next()! }
                    if wanted.contains(code) { found[code] = parts }
                    code += 1
                } else {
                    let first = numbers.next()!
                    for step in 0..<count where wanted.contains(code + step) {
                        found[code + step] = [first + step]
                    }
                    code += count
                }
            }
            return found
        }
    }

    /// Marks behind a letter, by their class; those of one class stay as they come.
    private static func ordered(_ codes: [UInt32]) -> [UInt32] {
        var codes = codes
        var start = codes.startIndex
        while start < codes.endIndex {
            guard combiningClass(codes[start]) != 0 else {
                start += 1
                continue
            }
            let end = codes[start...].firstIndex { combiningClass($0) == 0 } ?? codes.endIndex
            let marks = codes[start..<end].enumerated().sorted { first, second in
                let classes = (combiningClass(first.element), combiningClass(second.element))
                return classes.0 == classes.1 ? first.offset < second.offset : classes.0 < classes.1
            }
            codes.replaceSubrange(start..<end, with: marks.map(\.element))
            start = end
        }
        return codes
    }

    private static func combiningClass(_ code: UInt32) -> UInt8 {
        Unicode.Scalar(code)?.properties.canonicalCombiningClass.rawValue ?? 0
    }

    // MARK: Composition

    private static func compose(_ codes: [UInt32]) -> [UInt32] {
        var composed: [UInt32] = []
        /// Where the letter stands that marks may be joined to.
        var starter = 0
        /// The class of the last code behind it that stays; nil: none does.
        var lastClass: UInt8?
        for code in codes {
            let itsClass = combiningClass(code)
            let isBlocked = lastClass.map { $0 >= itsClass } ?? false
            if starter < composed.count, !isBlocked, let one = composite(composed[starter], code) {
                composed[starter] = one
                continue
            }
            if itsClass == 0 {
                starter = composed.count
                lastClass = nil
            } else {
                lastClass = itsClass
            }
            composed.append(code)
        }
        return composed
    }

    /// The table has triples: the gap since the first code of the triple before; the second code; what
    /// both become.
    private static func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if let syllable = Hangul.compose(first, second) { return syllable }
        if second < 0x80 { return nil }
        return NumberReader.read(NormalFormTables.compositions) { numbers in
            var code: UInt32 = 0
            while code <= first, let gap = numbers.next(), let mark = numbers.next(),
                let one = numbers.next()
            {
                code += gap
                if code == first, mark == second { return one }
            }
            return nil
        }
    }
}

/// Korean syllables, which are computed from their letters (Unicode, section 3.12).
private enum Hangul {
    private static let syllables: UInt32 = 0xAC00
    private static let leading: UInt32 = 0x1100
    private static let vowels: UInt32 = 0x1161
    /// One before the first: 0 is no trailing letter.
    private static let trailing: UInt32 = 0x11A7
    private static let leadingCount: UInt32 = 19
    private static let vowelCount: UInt32 = 21
    private static let trailingCount: UInt32 = 28

    static func isSyllable(_ code: UInt32) -> Bool {
        code >= syllables && code < syllables + leadingCount * vowelCount * trailingCount
    }

    static func decompose(_ code: UInt32) -> [UInt32] {
        let index = code - syllables
        let rest = index % trailingCount
        let pair = [
            leading + index / (vowelCount * trailingCount),
            vowels + index % (vowelCount * trailingCount) / trailingCount,
        ]
        return rest == 0 ? pair : pair + [trailing + rest]
    }

    static func compose(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if (leading..<leading + leadingCount).contains(first),
            (vowels..<vowels + vowelCount).contains(second)
        {
            return syllables
                + ((first - leading) * vowelCount + second - vowels) * trailingCount
        }
        guard isSyllable(first), (first - syllables) % trailingCount == 0,
            (trailing + 1..<trailing + trailingCount).contains(second)
        else { return nil }
        return first + second - trailing
    }
}
