// SPDX-License-Identifier: Apache-2.0

/// How one client shows who it is. `auth_type` names one for all clients, a rule of an HBA file one for those
/// that it is about.
package enum AuthenticationMethod: Equatable, Sendable {
    /// Nobody is asked. The role must be known where there is an `auth_file` or an `auth_query`.
    case trust
    /// Nobody is asked, and the role is the one of the database's line.
    case any
    /// The kernel's word about the user at the other end of the Unix socket, and nothing else.
    case peer
    /// As `peer`; a client that the kernel's word does not let in is asked for a password, as
    /// `scramSHA256` does.
    case peerOrPassword
    /// A password, proven by SCRAM-SHA-256.
    case scramSHA256
    /// A password, proven by MD5; by SCRAM-SHA-256 where the secret is one of SCRAM.
    case md5
    /// The password itself.
    case plain
    /// The password itself, which PAM judges; nil is the usual service.
    case pam(service: String?)
    /// The password itself, which a directory judges.
    case ldap(LDAPDirectory)
    /// The name in the client's certificate must be the role's, or be let in as it by a map of
    /// `auth_ident_file`.
    case cert(map: String?)
    /// The user at the other end of the Unix socket must have the role's name, or be let in as it by a map of
    /// `auth_ident_file`.
    case peerByRule(map: String?)
    /// Nobody is let in: a rule says so.
    case reject
    /// No rule is for the client.
    case noRule
}
