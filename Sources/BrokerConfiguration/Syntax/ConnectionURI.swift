// SPDX-License-Identifier: Apache-2.0

/// A `postgresql://` URI taken apart into libpq's keywords.
///
/// pglease needs the parts (the database's name, the user) and libpq must not be given the whole,
/// so it is read here by libpq's rules: several hosts, percent escapes, parameters after `?`.
struct ConnectionURI {
    private(set) var pairs: [ConnectionPairs.Pair] = []

    /// `postgresql://`, `postgres://`, and SQLAlchemy's `postgresql+driver://`.
    static func isURI(_ text: some StringProtocol) -> Bool {
        guard let scheme = schemeEnd(Substring(text)) else { return false }
        let name = Substring(text)[..<scheme].split(
            separator: "+", maxSplits: 1, omittingEmptySubsequences: false)[0]
        return name == "postgresql" || name == "postgres"
    }

    private static func schemeEnd(_ text: Substring) -> Substring.Index? {
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else {
            return nil
        }
        return colon
    }

    init(_ text: Substring) throws(SettingValueError) {
        guard let colon = Self.schemeEnd(text) else {
            throw SettingValueError("this is not a postgresql:// URI")
        }
        let rest = text[colon...].dropFirst(3)
        let queryStart = rest.firstIndex(of: "?") ?? rest.endIndex
        let pathStart = rest[..<queryStart].firstIndex(of: "/") ?? queryStart
        var authority = rest[..<pathStart]
        if let at = authority.lastIndex(of: "@"), Self.separatesUser(at, in: authority) {
            try takeUser(authority[..<at])
            authority = authority[at...].dropFirst()
        }
        try takeHosts(authority)
        if pathStart < queryStart {
            try append("dbname", rest[pathStart..<queryStart].dropFirst())
        }
        if queryStart < rest.endIndex {
            try takeQuery(rest[queryStart...].dropFirst())
        }
    }

    /// "@name" alone is an abstract socket, not an empty user.
    private static func separatesUser(
        _ at: Substring.Index, in authority: Substring
    ) -> Bool {
        at != authority.startIndex
    }

    private mutating func takeUser(_ text: Substring) throws(SettingValueError) {
        let colon = text.firstIndex(of: ":") ?? text.endIndex
        try append("user", text[..<colon])
        if colon < text.endIndex {
            try append("password", text[colon...].dropFirst())
        }
    }

    private mutating func takeHosts(_ text: Substring) throws(SettingValueError) {
        guard !text.isEmpty else { return }
        var hosts: [String] = []
        var ports: [String] = []
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let (host, port) = try Self.hostAndPort(item)
            hosts.append(host)
            ports.append(port)
        }
        if hosts.contains(where: { !$0.isEmpty }) {
            pairs.append(.init(key: "host", value: hosts.joined(separator: ",")))
        }
        if ports.contains(where: { !$0.isEmpty }) {
            pairs.append(.init(key: "port", value: ports.joined(separator: ",")))
        }
    }

    private static func hostAndPort(
        _ item: Substring
    ) throws(SettingValueError) -> (host: String, port: String) {
        var host = item
        var port: Substring = ""
        if item.first == "[" {
            guard let close = item.firstIndex(of: "]") else {
                throw SettingValueError("the URI's \"[\" has no \"]\"")
            }
            host = item[..<close].dropFirst()
            let after = item[close...].dropFirst()
            guard after.isEmpty || after.first == ":" else {
                throw SettingValueError("the URI has text between \"]\" and the port")
            }
            port = after.dropFirst()
        } else if let colon = item.firstIndex(of: ":") {
            host = item[..<colon]
            port = item[colon...].dropFirst()
        }
        return (try decode(host), try decode(port))
    }

    private mutating func takeQuery(_ text: Substring) throws(SettingValueError) {
        for item in text.split(separator: "&") {
            guard let equals = item.firstIndex(of: "=") else {
                throw SettingValueError("a parameter of the URI has no \"=\"")
            }
            let key = try Self.decode(item[..<equals])
            // libpq's own exception for JDBC's word.
            if key == "ssl", item[equals...].dropFirst() == "true" {
                pairs.append(.init(key: "sslmode", value: "require"))
            } else {
                try append(key, item[equals...].dropFirst())
            }
        }
    }

    /// A later value takes the place of an earlier one, as in libpq.
    private mutating func append(_ key: String, _ text: Substring) throws(SettingValueError) {
        guard !text.isEmpty else { return }
        let value = try Self.decode(text)
        pairs.removeAll { $0.key == key }
        pairs.append(.init(key: key, value: value))
    }

    private static func decode(_ text: Substring) throws(SettingValueError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexadecimal),
                let low = rest.popFirst().flatMap(hexadecimal), high | low != 0
            else {
                throw SettingValueError("the URI has a \"%\" without two hexadecimal digits")
            }
            bytes.append(high << 4 | low)
        }
        guard let value = String(validating: bytes, as: UTF8.self) else {
            throw SettingValueError("the URI's escapes are not UTF-8")
        }
        return value
    }

    private static func hexadecimal(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }
}
