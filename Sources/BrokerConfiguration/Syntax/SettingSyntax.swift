// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Syntaxes that belong to one or two settings, or to one key of a line.
extension ValueSyntax where Value == String? {
    /// `unix_socket_dir`: a folder, `@name` for an abstract socket, "none", or "" to choose.
    static var socketFolder: Self {
        Self(
            kind: .path,
            parse: { text throws(SettingValueError) in
                if text == "none" { return nil }
                guard text.utf8.count + SocketFolder.longestFileName <= SocketFolder.longestPath
                else {
                    throw SettingValueError(
                        "the folder's name is too long for a Unix socket",
                        advice: "the whole path may have \(SocketFolder.longestPath) bytes")
                }
                return text
            },
            render: { $0 ?? "none" })
    }

    /// `server_check_query`: `<empty>` is the empty query, "" switches the check off.
    static var checkQuery: Self {
        Self(
            kind: .text,
            parse: { $0.isEmpty ? nil : $0 == "<empty>" ? "" : $0 },
            render: { query in query.map { $0.isEmpty ? "<empty>" : $0 } ?? "" })
    }
}

extension ValueSyntax where Value == [PeerMapping] {
    /// `peer_map`: `system user:role` pairs between commas.
    static var peerMap: Self {
        Self(
            kind: .list,
            parse: { text throws(SettingValueError) in
                var mappings: [PeerMapping] = []
                for item in SettingText.list(text) {
                    let parts = item.split(separator: ":", omittingEmptySubsequences: false)
                        .map { String($0.trimmedBlanks) }
                    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
                        throw SettingValueError(
                            "\(quoted(item)) is not a pair",
                            advice: "system_user:role, either may be *")
                    }
                    mappings.append(PeerMapping(systemUser: parts[0], role: parts[1]))
                }
                return mappings
            },
            render: { $0.map { "\($0.systemUser):\($0.role)" }.joined(separator: ", ") })
    }
}

extension ValueSyntax where Value == MetricsAddress? {
    /// `metrics_listen`: empty is nowhere.
    static var metricsAddress: Self {
        Self(
            kind: .text,
            parse: { text throws(SettingValueError) in
                text.isEmpty ? nil : try MetricsAddress(text)
            },
            render: { $0?.text ?? "" })
    }
}

extension ValueSyntax where Value == Secret? {
    static var secret: Self {
        Self(
            kind: .text, parse: { $0.isEmpty ? nil : Secret($0) },
            render: { $0 == nil ? "" : "***" })
    }
}

extension ValueSyntax where Value == Secret? {
    /// `auth_ldap_options`: its password is not shown.
    static var ldapOptions: Self {
        Self(
            kind: .text, parse: { $0.isEmpty ? nil : Secret($0) },
            render: { $0.map { masked($0.value) } ?? "" })
    }

    /// From the password's name to its end, also where the quotes are wrong.
    private static func masked(_ options: String) -> String {
        guard let name = options.firstRange(of: "ldapbindpasswd") else { return options }
        var isInside = options[..<name.lowerBound].count { $0 == "\"" } % 2 == 1
        let rest = options[name.upperBound...]
        let end =
            rest.firstIndex { character in
                if character == "\"" { isInside.toggle() }
                return !isInside && (character.isWhitespace || character == ",")
            } ?? rest.endIndex
        return options[..<name.upperBound] + "=***" + masked(String(rest[end...]))
    }
}

extension ValueSyntax where Value == GlobPattern {
    static var glob: Self {
        Self(
            kind: .text,
            parse: { text throws(SettingValueError) in
                guard !text.isEmpty else { throw SettingValueError("the pattern is empty") }
                return GlobPattern(text)
            },
            render: { $0.text })
    }
}
