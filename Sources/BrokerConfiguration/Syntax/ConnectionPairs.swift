// SPDX-License-Identifier: Apache-2.0

/// The `key=value key='quoted value'` text of a line, read as pgbouncer reads it: blanks may stand
/// around `=`, a quote inside quotes is written twice, and a value is never empty unless quoted.
struct ConnectionPairs {
    struct Pair: Equatable {
        let key: String
        let value: String
    }

    /// Never quotes a value: what is malformed may be a password.
    static func parse(_ text: Substring) throws(SettingValueError) -> [Pair] {
        var rest = text.trimmedBlanks
        var pairs: [Pair] = []
        while !rest.isEmpty {
            let key = rest.prefix { $0 != "=" && $0 != " " && $0 != "\t" }
            rest = rest[key.endIndex...].trimmedBlanks
            guard rest.first == "=", !key.isEmpty else {
                if let last = pairs.last {
                    throw SettingValueError(
                        "after \(last.key): a word without \"=\"",
                        advice: "a value with blanks needs single quotes")
                }
                throw SettingValueError("a word without \"=\"", advice: "write key=value pairs")
            }
            rest = rest.dropFirst().trimmedBlanks
            let value = try takeValue(&rest, key: key)
            pairs.append(Pair(key: String(key), value: value))
            rest = rest.trimmedBlanks
        }
        return pairs
    }

    private static func takeValue(
        _ rest: inout Substring, key: Substring
    ) throws(SettingValueError) -> String {
        guard rest.first == "'" else {
            let value = rest.prefix { $0 != " " && $0 != "\t" }
            rest = rest[value.endIndex...]
            guard !value.isEmpty else {
                throw SettingValueError("\(key) has no value", advice: "'' is the empty text")
            }
            return String(value)
        }
        rest = rest.dropFirst()
        var value = ""
        while let character = rest.first {
            rest = rest.dropFirst()
            if character == "'" {
                guard rest.first == "'" else { return value }
                rest = rest.dropFirst()
            }
            value.append(character)
        }
        throw SettingValueError("the quote of \(key) is not closed")
    }
}
