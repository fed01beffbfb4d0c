// SPDX-License-Identifier: Apache-2.0

/// One thing that is wrong with an HBA or ident file, or worth a warning.
package struct HBAIssue: Equatable, Sendable {
    package let file: String
    /// From 1; 0 for the file as such.
    package let line: Int
    package let reason: String
    package let advice: String?

    package init(_ file: String, _ line: Int, _ reason: String, advice: String? = nil) {
        self.file = file
        self.line = line
        self.reason = reason
        self.advice = advice
    }
}

/// A word of an HBA or ident file.
struct HBAWord: Equatable {
    var text: String
    /// It begins with a double quote: a keyword is a name then.
    var isQuoted: Bool
    /// A comma comes next: the word after it belongs to the same column.
    var isFollowedByComma = false
    /// Where it ends in its line, in bytes.
    var end: Int

    /// Whether it is that keyword, which in quotes it is not.
    func isKeyword(_ keyword: String) -> Bool { !isQuoted && text == keyword }
}

/// The words of one line. Lines whose last character is a backslash go on in the next, as in PostgreSQL.
struct HBALine {
    /// Of its first line in the file, from 1.
    let number: Int
    let bytes: [UInt8]

    /// The lines of a file, comments and empty ones included.
    static func lines(of text: String) -> [HBALine] {
        var lines: [HBALine] = []
        var begun: HBALine?
        let parts = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            var bytes = Array(part)
            if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
            let goesOn = bytes.last == UInt8(ascii: "\\")
            if goesOn { bytes.removeLast() }
            let line = HBALine(
                number: begun?.number ?? index + 1, bytes: (begun?.bytes ?? []) + bytes)
            begun = goesOn ? line : nil
            if !goesOn { lines.append(line) }
        }
        if let begun { lines.append(begun) }
        return lines
    }

    /// Takes the line apart. Throws why it cannot be.
    func words() throws(HBAMistake) -> [HBAWord] {
        var words: [HBAWord] = []
        var offset = 0
        while offset < bytes.count {
            switch bytes[offset] {
            case UInt8(ascii: "#"):
                return words
            case UInt8(ascii: ","):
                guard let last = words.indices.last, !words[last].isFollowedByComma else {
                    throw HBAMistake(
                        "a comma follows nothing", advice: "names stand between commas")
                }
                words[last].isFollowedByComma = true
                offset += 1
            case let byte where Self.isBlank(byte):
                offset += 1
            default:
                words.append(try word(at: &offset))
            }
        }
        return words
    }

    /// Takes a word. Quotes may stand anywhere in it, and hide blanks, commas and `#`; two of them inside quotes
    /// are one.
    private func word(at offset: inout Int) throws(HBAMistake) -> HBAWord {
        let quote = UInt8(ascii: "\"")
        let isQuoted = bytes[offset] == quote
        var text: [UInt8] = []
        var isInside = false
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte == quote {
                if isInside, offset + 1 < bytes.count, bytes[offset + 1] == quote {
                    text.append(quote)
                    offset += 1
                } else {
                    isInside.toggle()
                }
            } else if !isInside,
                Self.isBlank(byte) || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "#")
            {
                break
            } else {
                guard byte != 0 else { throw HBAMistake("a zero byte is no part of a name") }
                text.append(byte)
            }
            offset += 1
        }
        guard !isInside else { throw HBAMistake("a double quote is not closed on its line") }
        return HBAWord(text: String(decoding: text, as: UTF8.self), isQuoted: isQuoted, end: offset)
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
}

/// What is wrong with a line.
struct HBAMistake: Error {
    let reason: String
    var advice: String?
    /// Where it is, if that is another file than the one that is read.
    var place: (file: String, line: Int)?

    init(_ reason: String, advice: String? = nil) {
        self.reason = reason
        self.advice = advice
    }

    /// The same, at a place; the place that is known already stays.
    func at(_ file: String, _ line: Int) -> HBAMistake {
        guard place == nil else { return self }
        var mistake = self
        mistake.place = (file, line)
        return mistake
    }

    func issue(_ file: String, _ line: Int) -> HBAIssue {
        HBAIssue(place?.file ?? file, place?.line ?? line, reason, advice: advice)
    }
}
