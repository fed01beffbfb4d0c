// SPDX-License-Identifier: Apache-2.0

/// What the broker has of a role's password, where it is not the password itself, and can log in with all the same.
package enum HashedSecret: Equatable, Sendable {
    case keys(ScramKeys)
    /// "md5" and 32 hexadecimal digits: for servers that ask for MD5.
    case md5(String)
}
