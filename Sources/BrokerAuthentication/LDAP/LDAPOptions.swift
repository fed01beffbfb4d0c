// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Why `auth_ldap_options`, or what stands behind `ldap` in a rule, cannot be read. Never quotes what may be a
/// password.
package struct LDAPOptionsError: Error, Equatable {
    package let reason: String
    package let advice: String?

    init(_ reason: String, advice: String? = nil) {
        self.reason = reason
        self.advice = advice
    }
}

/// Reads options of LDAP as pgbouncer and PostgreSQL write them: `name=value` between blanks or commas, with double
/// quotes around what has some in it.
struct LDAPOptions {
    private var values: [String: String] = [:]
    private var scope: LDAPDirectory.Scope?

    private static let names = [
        "ldapserver", "ldapport", "ldapscheme", "ldaptls", "ldapprefix", "ldapsuffix", "ldapbasedn",
        "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter", "ldapurl",
    ]

    static func directory(of text: String) throws(LDAPOptionsError) -> LDAPDirectory {
        var options = LDAPOptions()
        for word in try words(of: text) { try options.take(word) }
        return try options.directory()
    }

    // MARK: Words

    private static func words(of text: String) throws(LDAPOptionsError) -> [String] {
        let quote = UInt8(ascii: "\"")
        var words: [String] = []
        var word: [UInt8] = []
        var (isInside, isBegun) = (false, false)
        let bytes = Array(text.utf8)
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte == quote {
                if isInside, index + 1 < bytes.count, bytes[index + 1] == quote {
                    word.append(quote)
                    index += 1
                } else {
                    isInside.toggle()
                }
                isBegun = true
            } else if !isInside, HBALine.isBlank(byte) || byte == UInt8(ascii: ",") {
                if isBegun { words.append(String(decoding: word, as: UTF8.self)) }
                (word, isBegun) = ([], false)
            } else {
                word.append(byte)
                isBegun = true
            }
            index += 1
        }
        guard !isInside else {
            throw LDAPOptionsError("a double quote of the LDAP options is not closed")
        }
        if isBegun { words.append(String(decoding: word, as: UTF8.self)) }
        return words
    }

    private mutating func take(_ word: String) throws(LDAPOptionsError) {
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, Self.names.contains(String(parts[0])) else {
            let shown = parts[0].hasPrefix("ldap") ? " \(quoted(parts[0].prefix(40)))" : ""
            throw LDAPOptionsError(
                "a word\(shown) of the LDAP options is no option",
                advice:
                    "write name=value, in double quotes where the value has blanks or commas; names are "
                    + Self.names.joined(separator: ", "))
        }
        let (name, value) = (String(parts[0]), String(parts[1]))
        guard !value.isEmpty else {
            throw LDAPOptionsError(
                "\(name) has no value",
                advice: "a value with blanks or commas stands in double quotes")
        }
        guard values[name] == nil || name != "ldapurl" && values["ldapurl"] != nil else {
            throw LDAPOptionsError("\(name) is given twice")
        }
        values[name] = value
        if name == "ldapurl" { try takeURL(value) }
    }

    // MARK: ldapurl

    /// RFC 4516: `ldap://host:port/base?attribute?scope?filter`.
    private mutating func takeURL(_ text: String) throws(LDAPOptionsError) {
        guard let colon = text.firstRange(of: "://") else {
            throw LDAPOptionsError("ldapurl is no URL", advice: Self.urlForm)
        }
        let scheme = text[..<colon.lowerBound].lowercased()
        guard scheme == "ldap" || scheme == "ldaps" else {
            throw LDAPOptionsError(
                "ldapurl begins with neither ldap:// nor ldaps://", advice: Self.urlForm)
        }
        let rest = text[colon.upperBound...]
        let slash = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        values["ldapscheme"] = scheme
        values["ldapport"] = nil
        values["ldapserver"] = rest[..<slash].isEmpty ? nil : String(rest[..<slash])
        let path = rest[slash...].first == "/" ? rest[slash...].dropFirst() : rest[slash...]
        let parts = path.split(separator: "?", maxSplits: 4, omittingEmptySubsequences: false)
            .map { Self.percentDecoded($0) }
        guard parts.allSatisfy({ $0 != nil }) else {
            throw LDAPOptionsError("ldapurl has a % without two hexadecimal digits")
        }
        func part(_ index: Int) -> String? {
            guard index < parts.count, let part = parts[index], !part.isEmpty else { return nil }
            return part
        }
        guard part(4) == nil else { throw LDAPOptionsError("ldapurl has extensions") }
        values["ldapbasedn"] = part(0)
        values["ldapsearchattribute"] = part(1)?.split(separator: ",").first.map(String.init)
        switch part(2)?.lowercased() {
        case nil, "base": scope = .base
        case "one": scope = .oneLevel
        case "sub": scope = .subtree
        default:
            throw LDAPOptionsError(
                "the scope of ldapurl is unknown", advice: "scopes are base, one and sub")
        }
        values["ldapsearchfilter"] = part(3)
    }

    private static let urlForm = "a URL is ldap://host:port/base?attribute?scope?filter"

    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, digits.allSatisfy({ $0 != UInt8(ascii: "+") }),
                let decoded = UInt8(String(decoding: digits, as: UTF8.self), radix: 16),
                decoded != 0
            else { return nil }
            bytes.append(decoded)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    // MARK: What they mean together

    private func directory() throws(LDAPOptionsError) -> LDAPDirectory {
        let lookup = try lookup()
        let scheme = values["ldapscheme"] ?? "ldap"
        guard scheme == "ldap" || scheme == "ldaps" else {
            throw LDAPOptionsError("ldapscheme is neither ldap nor ldaps")
        }
        let startsTLS = values["ldaptls"] == "1"
        guard startsTLS || values["ldaptls"] == nil || values["ldaptls"] == "0" else {
            throw LDAPOptionsError(
                "ldaptls is neither 1 nor 0", advice: "1 encrypts the connection (StartTLS)")
        }
        guard !startsTLS || scheme == "ldap" else {
            throw LDAPOptionsError("ldaptls=1 encrypts what ldaps has encrypted already")
        }
        let servers = try servers(scheme)
        if servers.isEmpty {
            guard case .search = lookup else {
                throw LDAPOptionsError(
                    "ldapserver is missing",
                    advice: "only with ldapbasedn the name service can tell the servers")
            }
        }
        return LDAPDirectory(servers: servers, startsTLS: startsTLS, lookup: lookup)
    }

    private func lookup() throws(LDAPOptionsError) -> LDAPDirectory.Lookup {
        let searches = [
            "ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter",
        ]
        if values["ldapprefix"] != nil || values["ldapsuffix"] != nil {
            if let search = searches.first(where: { values[$0] != nil }) {
                throw LDAPOptionsError(
                    "\(search) belongs to a search, ldapprefix and ldapsuffix make a name without one",
                    advice: "write only one of the two")
            }
            return .name(prefix: values["ldapprefix"] ?? "", suffix: values["ldapsuffix"] ?? "")
        }
        guard let base = values["ldapbasedn"] else {
            throw LDAPOptionsError(
                "the LDAP options have none of ldapbasedn, ldapprefix and ldapsuffix",
                advice: "one of them says by which name the directory knows a user")
        }
        if values["ldapsearchattribute"] != nil, values["ldapsearchfilter"] != nil {
            throw LDAPOptionsError("there is an ldapsearchattribute beside an ldapsearchfilter")
        }
        let attribute = values["ldapsearchattribute"] ?? "uid"
        guard attribute.utf8.allSatisfy(Self.isOfAnAttribute) else {
            throw LDAPOptionsError("\(quoted(attribute.prefix(80))) is no name of an attribute")
        }
        let filter = values["ldapsearchfilter"] ?? "(\(attribute)=$username)"
        guard filter.contains("$username") else {
            throw LDAPOptionsError(
                "ldapsearchfilter does not ask for $username",
                advice: "it would find the same entry for every user")
        }
        return .search(
            LDAPDirectory.Search(
                base: base, scope: scope ?? .subtree, filter: filter,
                bindName: values["ldapbinddn"] ?? "", bindPassword: values["ldapbindpasswd"] ?? "",
                attribute: attribute))
    }

    private static func isOfAnAttribute(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: ";"):
            true
        default: false
        }
    }

    private func servers(_ scheme: String) throws(LDAPOptionsError) -> [String] {
        var port = scheme == "ldaps" ? 636 : 389
        if let text = values["ldapport"] {
            guard text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(text),
                (1...65535).contains(number)
            else { throw LDAPOptionsError("ldapport is no number from 1 to 65535") }
            port = number
        }
        var servers: [String] = []
        for host in (values["ldapserver"] ?? "").split(separator: " ") {
            servers.append("\(scheme)://\(try Self.address(host, port))")
        }
        return servers
    }

    /// `host`, `host:port`, `[address]:port`, or an address of IPv6 as it is.
    private static func address(
        _ host: Substring, _ port: Int
    ) throws(LDAPOptionsError) -> String {
        let isKnown = host.utf8.allSatisfy {
            isOfAnAttribute($0) || "_:[]%".utf8.contains($0)
        }
        guard isKnown else {
            throw LDAPOptionsError(
                "ldapserver has \(quoted(host.prefix(80))), which is no host",
                advice: "write names or addresses, with blanks between them")
        }
        let colons = host.count { $0 == ":" }
        if host.hasPrefix("[") { return host.hasSuffix("]") ? "\(host):\(port)" : String(host) }
        if colons > 1 { return "[\(host)]:\(port)" }
        return colons == 1 ? String(host) : "\(host):\(port)"
    }
}

extension LDAPDirectory {
    package init(options: String) throws(LDAPOptionsError) {
        self = try LDAPOptions.directory(of: options)
    }
}
