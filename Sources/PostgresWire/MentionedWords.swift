// SPDX-License-Identifier: Apache-2.0

/// Words that stand anywhere in a text, within literals and bodies, too.
package struct MentionedWords: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let prepare = MentionedWords(rawValue: 1)
    package static let deallocate = MentionedWords(rawValue: 2)
    package static let execute = MentionedWords(rawValue: 4)
    /// RESET, DISCARD, DEFAULT, TIME ZONE LOCAL, or SET NAMES without a name: a setting may go back to its default.
    package static let reset = MentionedWords(rawValue: 8)
    /// DEALLOCATE or DISCARD, and ALL.
    package static let all = MentionedWords(rawValue: 16)

    package static let ofStatements: MentionedWords = [.prepare, .deallocate, .execute, .all]

    package static func inText(_ text: UnsafeRawBufferPointer) -> MentionedWords {
        var found: MentionedWords = []
        var hasAll = false
        var hasDiscard = false
        var isBehindZone = false
        var index = 0
        while index < text.count {
            guard isWordByte(text[index]) else {
                index += 1
                continue
            }
            var end = index + 1
            while end < text.count, isWordByte(text[end]) { end += 1 }
            let isBehind = isBehindZone
            isBehindZone = false
            switch end - index {
            case 3: if text.isWord("all", at: index) { hasAll = true }
            case 4: isBehindZone = text.isWord("zone", at: index)
            case 5:
                if text.isWord("reset", at: index)
                    || (isBehind && text.isWord("local", at: index))
                    || (text.isWord("names", at: index) && text.endsStatement(at: end))
                {
                    found.formUnion(.reset)
                }
            case 7:
                if text.isWord("prepare", at: index) { found.formUnion(.prepare) }
                if text.isWord("execute", at: index) { found.formUnion(.execute) }
                if text.isWord("default", at: index) { found.formUnion(.reset) }
                if text.isWord("discard", at: index) {
                    found.formUnion(.reset)
                    hasDiscard = true
                }
            case 10: if text.isWord("deallocate", at: index) { found.formUnion(.deallocate) }
            default: break
            }
            index = end
        }
        if hasAll, hasDiscard || found.contains(.deallocate) { found.formUnion(.all) }
        return found
    }

    /// Whether something that the text calls may put a setting back: it calls something, or is a DO, and says so in a
    /// literal or a body. What it does by itself is known without guessing (`SettingsReset`).
    package static func mayResetWithin(_ text: UnsafeRawBufferPointer) -> Bool {
        var mayCall = false
        var says = false
        var index = 0
        while index < text.count {
            switch text[index] {
            case UInt8(ascii: "("):
                mayCall = true
                index += 1
            case UInt8(ascii: "'"):
                let end = text.end(ofQuoted: index)
                says = says || text.part(index..<end).isReset
                index = end
            case UInt8(ascii: "\""):
                index = text.end(ofQuoted: index)
            case UInt8(ascii: "$"):
                let end = text.end(ofDollarQuoted: index)
                says = says || text.part(index..<end).isReset
                index = end
            case let byte where isWordByte(byte):
                let start = index
                while index < text.count, isWordByte(text[index]) { index += 1 }
                if index - start == 2, text.isWord("do", at: start) { mayCall = true }
            default: index += 1
            }
            if mayCall, says { return true }
        }
        return false
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func part(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[range])
    }

    fileprivate var isReset: Bool { MentionedWords.inText(self).contains(.reset) }

    /// Behind the quote that ends what begins with one at `start`, or the text's end. One that is doubled ends
    /// it and begins the next.
    fileprivate func end(ofQuoted start: Int) -> Int {
        var index = start + 1
        while index < count {
            if self[index] == self[start] { return index + 1 }
            index += 1
        }
        return count
    }

    /// Behind the body that begins with a dollar at `start`, or behind the dollar if it begins none ($1).
    fileprivate func end(ofDollarQuoted start: Int) -> Int {
        var tagEnd = start + 1
        while tagEnd < count, isWordByte(self[tagEnd]) { tagEnd += 1 }
        guard tagEnd < count, self[tagEnd] == UInt8(ascii: "$") else { return start + 1 }
        let tag = part(start..<tagEnd + 1)
        var index = tagEnd + 1
        while index + tag.count <= count {
            if self[index] == UInt8(ascii: "$"), part(index..<index + tag.count).elementsEqual(tag)
            {
                return index + tag.count
            }
            index += 1
        }
        return count
    }

    /// The text ends there, or its statement, or the literal that it stands in.
    fileprivate func endsStatement(at place: Int) -> Bool {
        guard place < count else { return true }
        return switch self[place] {
        case 0, UInt8(ascii: ";"), UInt8(ascii: "'"), UInt8(ascii: "$"): true
        default: false
        }
    }

    /// Whether the word, in lower case, stands there in any case.
    fileprivate func isWord(_ word: StaticString, at start: Int) -> Bool {
        for index in 0..<word.utf8CodeUnitCount
        where lowercased(self[start + index]) != word.utf8Start[index] {
            return false
        }
        return true
    }

    /// Whether these bytes stand somewhere in it, and are not part of a longer name.
    package func holds(_ name: [UInt8]) -> Bool {
        guard let first = name.first, count >= name.count else { return false }
        for start in 0...(count - name.count) where self[start] == first {
            let end = start + name.count
            guard self[start..<end].elementsEqual(name),
                start == 0 || !isWordByte(self[start - 1]),
                end == count || !isWordByte(self[end])
            else { continue }
            return true
        }
        return false
    }
}

/// A dollar sign may end the tag of a body.
private func isWordByte(_ byte: UInt8) -> Bool {
    isIdentifierByte(byte) && byte != UInt8(ascii: "$")
}
