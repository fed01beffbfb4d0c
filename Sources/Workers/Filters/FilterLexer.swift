// SPDX-License-Identifier: Apache-2.0

/// Cuts a filter's text into words.
struct FilterLexer {
    enum Token: Equatable {
        /// A bare word, as written; a keyword or a column.
        case word(String)
        /// Between double quotes: always a column.
        case quoted(String)
        case string(String)
        case number(String)
        /// Operators and punctuation.
        case symbol(String)
        case semicolon
    }

    private let characters: [Character]
    private var position = 0

    init(_ text: String) { characters = Array(text) }

    static func tokens(of text: String) throws(FilterError) -> [Token] {
        var lexer = FilterLexer(text)
        var tokens: [Token] = []
        while let token = try lexer.next() { tokens.append(token) }
        return tokens
    }

    private mutating func next() throws(FilterError) -> Token? {
        while position < characters.count, characters[position].isWhitespace { position += 1 }
        guard position < characters.count else { return nil }
        let first = characters[position]
        switch first {
        case "'": return .string(try quotedText(until: "'"))
        case "\"": return .quoted(try quotedText(until: "\""))
        case ";":
            position += 1
            return .semicolon
        case "(", ")", ",":
            position += 1
            return .symbol(String(first))
        case "<", ">", "=", "!", ":": return .symbol(operatorText())
        default: break
        }
        if first.isLetter || first == "_" { return .word(word()) }
        if isDigit(first) || first == "-" || first == "+" || first == "." {
            return .number(try number())
        }
        throw FilterError("\"\(first)\" at character \(position + 1) has no meaning here")
    }

    /// A doubled quote stands for itself, as in SQL.
    private mutating func quotedText(until quote: Character) throws(FilterError) -> String {
        let start = position
        position += 1
        var text = ""
        while position < characters.count {
            let character = characters[position]
            position += 1
            if character != quote {
                text.append(character)
            } else if position < characters.count, characters[position] == quote {
                text.append(quote)
                position += 1
            } else {
                return text
            }
        }
        throw FilterError("the quote at character \(start + 1) is not closed")
    }

    private mutating func operatorText() -> String {
        let start = position
        while position < characters.count, "<>=!:".contains(characters[position]) { position += 1 }
        return String(characters[start..<position])
    }

    private mutating func word() -> String {
        let start = position
        while position < characters.count,
            characters[position].isLetter || characters[position].isNumber
                || characters[position] == "_" || characters[position] == "$"
        {
            position += 1
        }
        return String(characters[start..<position])
    }

    private mutating func number() throws(FilterError) -> String {
        let start = position
        position += 1
        while position < characters.count {
            let character = characters[position]
            let followsExponent = "eE".contains(characters[position - 1])
            guard
                isDigit(character) || character == "." || character == "e" || character == "E"
                    || (followsExponent && (character == "-" || character == "+"))
            else { break }
            position += 1
        }
        let text = String(characters[start..<position])
        guard let value = Double(text), value.isFinite else {
            throw FilterError("\"\(text)\" at character \(start + 1) is no number")
        }
        return text
    }

    private func isDigit(_ character: Character) -> Bool { "0123456789".contains(character) }
}
