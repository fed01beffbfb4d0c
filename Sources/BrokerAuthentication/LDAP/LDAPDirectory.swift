// SPDX-License-Identifier: Apache-2.0

/// A directory that judges passwords: where its servers are, and by which name it knows a user.
package struct LDAPDirectory: Equatable, Sendable {
    package enum Scope: Equatable, Sendable {
        case base, oneLevel, subtree
    }

    /// One entry is looked for, and its name is the user's.
    package struct Search: Equatable, Sendable {
        package var base: String
        package var scope = Scope.subtree
        /// With `$username` where the user's name belongs.
        package var filter: String
        /// Who asks; empty is nobody in particular.
        package var bindName = ""
        package var bindPassword = ""
        /// What the answer is to hold, so that it does not hold everything.
        package var attribute: String

        package func filter(for user: String) -> String {
            filter.split(separator: "$username", omittingEmptySubsequences: false)
                .joined(separator: LDAPDirectory.escapedInFilter(user))
        }

        /// A name that takes the directory as long to refuse, for users that it does not have.
        package func decoy(for user: String) -> String {
            "\(attribute)=\(LDAPDirectory.escapedInName(user)),\(base)"
        }
    }

    package enum Lookup: Equatable, Sendable {
        /// The user's name between these two is its name in the directory.
        case name(prefix: String, suffix: String)
        case search(Search)
    }

    /// As URIs, in the order in which they are asked. Empty: the name service knows the servers of `base`.
    package let servers: [String]
    /// The connection is encrypted before anything is said (StartTLS).
    package let startsTLS: Bool
    package let lookup: Lookup

    /// Passwords cross the network as they are typed.
    package var isInTheClear: Bool {
        guard !startsTLS else { return false }
        return servers.isEmpty || servers.contains { !$0.hasPrefix("ldaps://") && !Self.isHere($0) }
    }

    package static let clearTextWarning =
        "passwords cross the network to the LDAP server as they are typed: ldaptls=1 or ldaps encrypts them"

    private static func isHere(_ uri: String) -> Bool {
        ["127.", "localhost:", "[::1]:"].contains { uri.hasPrefix("ldap://" + $0) }
    }

    /// The name that is asked for with the user's password; nil where none can be made of the user's. Not for
    /// `search`.
    package static func name(of user: String, prefix: String, suffix: String) -> String? {
        // A name of attributes: what the user is called stays one value of it.
        if prefix.contains("=") { return prefix + escapedInName(user) + suffix }
        // DOMAIN\user or user@domain, which know no escapes.
        guard !user.contains(where: { ",=\\\"<>;".contains($0) || $0.isNewline }) else {
            return nil
        }
        return prefix + user + suffix
    }

    /// RFC 4515: what has a meaning in a filter stands for itself.
    static func escapedInFilter(_ text: String) -> String {
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "*": escaped += "\\2a"
            case "(": escaped += "\\28"
            case ")": escaped += "\\29"
            case "\\": escaped += "\\5c"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    /// RFC 4514: what has a meaning in a distinguished name stands for itself.
    static func escapedInName(_ text: String) -> String {
        let scalars = Array(text.unicodeScalars)
        var escaped = ""
        for (index, scalar) in scalars.enumerated() {
            let isAtAnEnd =
                scalar == " " && (index == 0 || index == scalars.count - 1)
                || scalar == "#" && index == 0
            if isAtAnEnd || "\"+,;<>=\\".unicodeScalars.contains(scalar) { escaped += "\\" }
            escaped.unicodeScalars.append(scalar)
        }
        return escaped
    }
}
