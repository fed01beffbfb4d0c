// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Versions of TLS, as pgbouncer's settings name them.
extension ValueSyntax where Value == TLSProtocols {
    /// `client_tls_protocols`: any versions.
    static var tlsProtocols: Self {
        Self(kind: .list, parse: parseTLSProtocols, render: renderTLSProtocols)
    }

    /// `server_tls_protocols`. libpq takes a span, so a list with a gap is refused instead of being widened.
    static var tlsSpan: Self {
        Self(
            kind: .list,
            parse: { text throws(SettingValueError) in
                let value = try parseTLSProtocols(text)
                guard !value.hasGap else {
                    throw SettingValueError(
                        "\(quoted(text)) leaves a version out in between",
                        advice: "libpq takes a lowest and a highest version")
                }
                return value
            },
            render: renderTLSProtocols)
    }

    /// Names between commas or colons, each added, or taken away with `!` in front.
    @Sendable
    private static func parseTLSProtocols(_ text: String) throws(SettingValueError) -> TLSProtocols
    {
        var named = Set<Int>()
        let items = text.split { $0 == "," || $0 == ":" }.map { String($0.trimmedBlanks) }
        for item in items where !item.isEmpty {
            let isTakenAway = item.hasPrefix("!")
            let name = isTakenAway ? String(item.dropFirst().trimmedBlanks) : item
            guard let indices = indices(of: name.asciiLowercased) else {
                throw SettingValueError.notOneOf(
                    ["secure", "all", "legacy", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"], name)
            }
            if isTakenAway { named.subtract(indices) } else { named.formUnion(indices) }
        }
        if items.allSatisfy(\.isEmpty) { return .secure }
        guard let value = TLSProtocols(indices: named) else {
            throw SettingValueError("\(quoted(text)) leaves no version of TLS")
        }
        return value
    }

    private static func indices(of name: String) -> [Int]? {
        switch name {
        case "secure", "default": [2, 3]
        case "all", "legacy", "tlsv1": [0, 1, 2, 3]
        case "tlsv1.0": [0]
        case "tlsv1.1": [1]
        case "tlsv1.2": [2]
        case "tlsv1.3": [3]
        default: nil
        }
    }

    @Sendable
    private static func renderTLSProtocols(_ value: TLSProtocols) -> String {
        if value == .secure { return "secure" }
        if value == .all { return "all" }
        return value.versions.map { $0 == "TLSv1" ? "tlsv1.0" : $0.asciiLowercased }
            .joined(separator: ", ")
    }
}

/// `client_tls_ciphers` and `client_tls_ecdhcurve`: what OpenSSL reads. Empty is the default.
extension ValueSyntax where Value == String {
    static func openSSL(emptyIs standard: String) -> Self {
        Self(kind: .text, parse: { $0.isEmpty ? standard : $0 }, render: { $0 })
    }
}
