// SPDX-License-Identifier: Apache-2.0

/// A text that is one statement which changes one setting of the session, and nothing else.
///
/// Only what can be read without doubt: ASCII literals that mean the same under every setting of the
/// lexer, none of the settings that RESET ALL leaves alone.
package enum SessionSetting: Equatable, Sendable {
    /// The name in lower case, the value as `set_config` takes it.
    case set(name: String, value: String)
    case reset(name: String)
    case resetAll

    /// Longer values are not read.
    package static let valueLimit = 8192

    /// Lists whose elements PostgreSQL quotes (GUC_LIST_QUOTE).
    package static let quotedLists: Set<String> = [
        "local_preload_libraries", "search_path", "session_preload_libraries",
        "shared_preload_libraries", "temp_tablespaces", "unix_socket_directories",
    ]

    /// `SET [SESSION] name { = | TO } { value [, …] | DEFAULT }`, `SET TIME ZONE 'value'`,
    /// `SELECT [pg_catalog.]set_config('name', 'value', false)` and `RESET { name | ALL }`; nil for
    /// all else. Allocates nothing for other statements. With `callsSetConfig` false the text is known
    /// to have no `set_config`.
    package static func parse(
        _ sql: UnsafeRawBufferPointer, callsSetConfig: Bool = true
    ) -> SessionSetting? {
        var cursor = SQLCursor(sql)
        guard cursor.skipSpace() else { return nil }
        let setting: SessionSetting?
        switch lowercased(cursor.byte) {
        case UInt8(ascii: "s"):
            if cursor.take("set") {
                setting = takeSet(&cursor)
            } else if callsSetConfig, cursor.take("select") {
                setting = takeCall(&cursor)
            } else {
                return nil
            }
        case UInt8(ascii: "r"):
            guard cursor.take("reset") else { return nil }
            setting = takeReset(&cursor)
        default:
            return nil
        }
        guard let setting, cursor.skipSpace() else { return nil }
        while cursor.byte == UInt8(ascii: ";") {
            cursor.advance()
            guard cursor.skipSpace() else { return nil }
        }
        return cursor.isAtEnd ? setting : nil
    }

    // MARK: Statements

    static func takeSet(_ cursor: inout SQLCursor) -> SessionSetting? {
        guard cursor.skipSpace() else { return nil }
        if cursor.take("session") {
            // No reserved word: `SET session.x = 1` sets a variable of that name.
            guard cursor.skipSpace(), cursor.byte != UInt8(ascii: "."),
                cursor.byte != UInt8(ascii: "=")
            else { return nil }
            if cursor.take("authorization") {
                return cursor.skipSpace() && cursor.take("default")
                    ? .reset(name: "session_authorization") : nil
            }
        }
        if cursor.take("time") {
            guard cursor.skipSpace(), cursor.take("zone"), cursor.skipSpace() else { return nil }
            if cursor.take("default") || cursor.take("local") { return .reset(name: "timezone") }
            guard let zone = takeLiteral(&cursor) else { return nil }
            return .set(name: "timezone", value: zone)
        }
        var behindNames = cursor
        if behindNames.take("names"), behindNames.skipSpace(),
            behindNames.byte != UInt8(ascii: "="), behindNames.byte != UInt8(ascii: ".")
        {
            cursor = behindNames
            if cursor.isAtEnd || cursor.byte == UInt8(ascii: ";") || cursor.take("default") {
                return .reset(name: "client_encoding")
            }
            return takeLiteral(&cursor).map { .set(name: "client_encoding", value: $0) }
        }
        guard let name = takeName(&cursor), cursor.skipSpace() else { return nil }
        if cursor.byte == UInt8(ascii: "=") {
            cursor.advance()
        } else if !cursor.take("to") {
            return nil
        }
        guard mayFollow(name), cursor.skipSpace() else { return nil }
        if cursor.take("default") { return .reset(name: name) }
        return takeValues(&cursor, isQuoted: quotedLists.contains(name)).map {
            .set(name: name, value: $0)
        }
    }

    private static func takeCall(_ cursor: inout SQLCursor) -> SessionSetting? {
        guard cursor.skipSpace() else { return nil }
        if cursor.take("pg_catalog") {
            guard take(".", &cursor) else { return nil }
        }
        guard cursor.take("set_config"), take("(", &cursor), let spelled = takeLiteral(&cursor),
            take(",", &cursor), let value = takeLiteral(&cursor), take(",", &cursor),
            cursor.take("false"), take(")", &cursor)
        else { return nil }
        let bytes = Array(spelled.utf8)
        guard !bytes.isEmpty, bytes.allSatisfy({ isPlain($0) || $0 == UInt8(ascii: ".") }) else {
            return nil
        }
        let name = String(decoding: bytes.map(lowercased), as: UTF8.self)
        return mayFollow(name) ? .set(name: name, value: value) : nil
    }

    static func takeReset(_ cursor: inout SQLCursor) -> SessionSetting? {
        guard cursor.skipSpace() else { return nil }
        if cursor.take("all") { return .resetAll }
        guard let name = takeName(&cursor), cursor.skipSpace() else { return nil }
        switch name {
        case "time" where cursor.take("zone"):
            return .reset(name: "timezone")
        case "session" where cursor.take("authorization"):
            return .reset(name: "session_authorization")
        case "transaction" where cursor.take("isolation"):
            guard cursor.skipSpace(), cursor.take("level") else { return nil }
            return .reset(name: "transaction_isolation")
        default:
            return .reset(name: name)
        }
    }

    /// RESET ALL leaves these alone: the next client would see them.
    private static func mayFollow(_ name: String) -> Bool {
        switch name {
        case "role", "session_authorization", "is_superuser", "seed": false
        default: !name.hasPrefix("transaction_")
        }
    }

    // MARK: Words

    /// Takes the sign, and the space on both sides of it.
    private static func take(_ sign: Unicode.Scalar, _ cursor: inout SQLCursor) -> Bool {
        guard cursor.skipSpace(), cursor.byte == UInt8(ascii: sign) else { return false }
        cursor.advance()
        return cursor.skipSpace()
    }

    /// The name in lower case that is the first argument of a call: the cursor is behind the function's name. nil:
    /// it is no plain literal.
    static func takeFirstLiteral(_ cursor: inout SQLCursor) -> String? {
        guard take("(", &cursor), let spelled = takeLiteral(&cursor), cursor.skipSpace(),
            cursor.byte == UInt8(ascii: ",")
        else { return nil }
        return String(decoding: spelled.utf8.map(lowercased), as: UTF8.self)
    }

    static func takeName(_ cursor: inout SQLCursor) -> String? {
        var name: [UInt8] = []
        while true {
            guard let part = cursor.takeIdentifier(), isUntruncated(part), part.allSatisfy(isPlain)
            else { return nil }
            name += part.map(lowercased)
            guard cursor.byte == UInt8(ascii: ".") else { break }
            name.append(UInt8(ascii: "."))
            cursor.advance()
        }
        return String(decoding: name, as: UTF8.self)
    }

    /// The values as PostgreSQL joins them.
    private static func takeValues(_ cursor: inout SQLCursor, isQuoted: Bool) -> String? {
        var list = ""
        while true {
            guard let value = takeValue(&cursor, isQuoted: isQuoted) else { return nil }
            list += value
            guard list.utf8.count <= valueLimit, cursor.skipSpace() else { return nil }
            guard cursor.byte == UInt8(ascii: ",") else { return list }
            cursor.advance()
            list += ", "
            guard cursor.skipSpace() else { return nil }
        }
    }

    private static func takeValue(_ cursor: inout SQLCursor, isQuoted: Bool) -> String? {
        let first = cursor.byte
        if first == UInt8(ascii: "-") || first == UInt8(ascii: "+") || isDigit(first) {
            return takeNumber(&cursor)
        }
        let value: String
        if first == UInt8(ascii: "'") {
            guard let literal = takeLiteral(&cursor) else { return nil }
            value = literal
        } else {
            guard let word = cursor.takeIdentifier(), isUntruncated(word),
                word.allSatisfy({ $0 < 0x80 }), word != Array("default".utf8) || first == 0x22
            else { return nil }
            value = String(decoding: word, as: UTF8.self)
        }
        guard isQuoted, !isPlainName(value) else { return value }
        return quotedIdentifier(value)
    }

    private static func takeNumber(_ cursor: inout SQLCursor) -> String? {
        var digits: [UInt8] = []
        let isNegative = cursor.byte == UInt8(ascii: "-")
        if isNegative || cursor.byte == UInt8(ascii: "+") { cursor.advance() }
        var points = 0
        while isDigit(cursor.byte) || cursor.byte == UInt8(ascii: ".") {
            if cursor.byte == UInt8(ascii: ".") { points += 1 }
            digits.append(cursor.byte)
            cursor.advance()
        }
        guard let first = digits.first, let last = digits.last, isDigit(first), isDigit(last),
            points <= 1, !isIdentifierByte(cursor.byte)
        else { return nil }
        // As text, a number that begins with 0 would be octal.
        if first == UInt8(ascii: "0"), digits.count > 1, digits[1] != UInt8(ascii: ".") {
            return nil
        }
        return (isNegative ? "-" : "") + String(decoding: digits, as: UTF8.self)
    }

    /// What is between single quotes: no backslash, which `standard_conforming_strings` decides
    /// about, and ASCII only, which is the same in every encoding.
    private static func takeLiteral(_ cursor: inout SQLCursor) -> String? {
        guard cursor.byte == UInt8(ascii: "'") else { return nil }
        cursor.advance()
        var text: [UInt8] = []
        while !cursor.isAtEnd {
            if cursor.byte == UInt8(ascii: "'") {
                cursor.advance()
                guard cursor.byte == UInt8(ascii: "'") else {
                    return text.count <= valueLimit ? String(decoding: text, as: UTF8.self) : nil
                }
            }
            guard cursor.byte < 0x80, cursor.byte != UInt8(ascii: "\\") else { return nil }
            text.append(cursor.byte)
            cursor.advance()
        }
        return nil
    }

    /// PostgreSQL cuts longer names.
    private static func isUntruncated(_ name: [UInt8]) -> Bool { name.count < 64 }

    private static func isPlain(_ byte: UInt8) -> Bool { isIdentifierByte(byte) && byte < 0x80 }

    /// A name that means the same without double quotes.
    private static func isPlainName(_ name: String) -> Bool {
        guard let first = name.utf8.first, !isDigit(first) else { return false }
        return name.utf8.allSatisfy {
            $0 &- UInt8(ascii: "a") < 26 || isDigit($0) || $0 == UInt8(ascii: "_")
        }
    }
}
