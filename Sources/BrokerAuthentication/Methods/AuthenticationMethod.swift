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
    /// Nobody is let in.
    case reject
}
