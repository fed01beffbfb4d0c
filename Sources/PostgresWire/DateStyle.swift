// SPDX-License-Identifier: Apache-2.0

/// The two halves of the setting DateStyle, and PostgreSQL's rules for what sets which.
package struct DateStyle: Equatable {
    enum Style: String {
        case iso = "ISO"
        case sql = "SQL"
        case postgres = "Postgres"
        case german = "German"
    }
    enum Order: String {
        case ymd = "YMD"
        case dmy = "DMY"
        case mdy = "MDY"
    }

    var style = Style.iso
    var order = Order.mdy

    /// As it is reported, for example "ISO, MDY".
    var text: String { "\(style.rawValue), \(order.rawValue)" }

    init() {}

    /// Reads a client's spelling; a half that it does not name is taken from `base`. Nil where
    /// PostgreSQL refuses it.
    init?(_ value: String, base: DateStyle) {
        guard let words = DateStyle.words(of: value) else { return nil }
        self = base
        var hasStyle = false
        var hasOrder = false
        for word in words {
            if let named = DateStyle.style(word) {
                guard !hasStyle || style == named else { return nil }
                style = named
                hasStyle = true
                // German dates are day first, unless an order is named.
                if named == .german, !hasOrder { order = .dmy }
            } else if let named = DateStyle.order(word) {
                guard !hasOrder || order == named else { return nil }
                order = named
                hasOrder = true
            } else if word == "default" {
                if !hasStyle { style = base.style }
                if !hasOrder { order = base.order }
            } else {
                return nil
            }
        }
    }

    /// What is in force once `first` is set and then `second`; nil where one of them is refused, or leaves a half to what was
    /// in force before.
    package static func joined(_ first: String, _ second: String) -> String? {
        var other = DateStyle()
        other.style = .sql
        other.order = .ymd
        let results = [DateStyle(), other].map { base in
            DateStyle(first, base: base).flatMap { DateStyle(second, base: $0) }
        }
        guard let result = results[0], result == results[1] else { return nil }
        return result.text
    }

    private static func style(_ word: String) -> Style? {
        switch word {
        case "iso": return .iso
        case "sql": return .sql
        case "german": return .german
        case _ where word.hasPrefix("postgres"): return .postgres
        default: return nil
        }
    }

    private static func order(_ word: String) -> Order? {
        switch word {
        case "ymd": return .ymd
        case "mdy", "us": return .mdy
        case "dmy": return .dmy
        case _ where word.hasPrefix("euro"): return .dmy
        case _ where word.hasPrefix("noneuro"): return .mdy
        default: return nil
        }
    }

    /// The words between commas, in lower case, each perhaps between double quotes; nil when the
    /// list is malformed.
    private static func words(of value: String) -> [String]? {
        var words: [String] = []
        for part in value.split(separator: ",", omittingEmptySubsequences: false) {
            var word = part.utf8.drop(while: isSpace)[...]
            while let last = word.last, isSpace(last) { word.removeLast() }
            if word.count >= 2, word.first == UInt8(ascii: "\""), word.last == UInt8(ascii: "\"") {
                word = word.dropFirst().dropLast()
            }
            guard !word.isEmpty, !word.contains(where: isSpace),
                !word.contains(UInt8(ascii: "\""))
            else { return value.utf8.allSatisfy(isSpace) ? [] : nil }
            words.append(String(decoding: word.map(lowercased), as: UTF8.self))
        }
        return words
    }
}
