/// How one client shows who it is. `auth_type` names one for all clients, a rule of an HBA file one for those
/// that it is about.
package enum AuthenticationMethod: Equatable, Sendable {
    /// Nobody is asked.
    case trust
    /// The kernel's word about the user at the other end of the Unix socket, and nothing else.
    case peer
    /// As `peer`; a client that the kernel's word does not let in is asked for a password, as
    /// `scramSHA256` does.
    case peerOrPassword
    /// A password, proven by SCRAM-SHA-256.
    case scramSHA256
    /// A password, proven by MD5 or by SCRAM-SHA-256, as its secret is stored.
    case md5
    /// The user at the other end of the Unix socket must have the role's name, or be let in as it by a map of
    /// `auth_ident_file`.
    case peerByRule(map: String?)
    /// Nobody is let in: a rule says so.
    case reject
    /// No rule is for the client.
    case noRule
}
