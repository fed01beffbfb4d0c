// SPDX-License-Identifier: Apache-2.0

/// What libpq refuses by itself, without a word of the server's that has an SQLSTATE, and will refuse again:
/// trying once more, or waiting, changes nothing.
///
/// Read from libpq's messages, which are English as long as nobody calls setlocale(3). A text that is not known
/// here is taken for something that may pass (a refused port, a name that does not resolve, a time-out).
package enum FinalFailure: Equatable, Sendable, CaseIterable {
    /// The server asks for a password, and none was given.
    case noPassword
    /// The server wants to be shown in a way that libpq does not know, or was told not to use.
    case authenticationMethod
    /// The server did not show that it knows the password, or is not who it should be.
    case serverNotProven
    /// TLS: refused by the server, a certificate that does not fit, files that cannot be used.
    case encryption
    /// Values of parameters, the service file.
    case parameters

    /// `message`: one line of libpq's, with or without `connection to server … failed: ` before it.
    package init?(message: String) {
        let text = Self.withoutAddress(message)
        let found = Self.texts.first { kind in
            kind.beginnings.contains { text.hasPrefix($0) }
        }
        if let found {
            self = found.cause
        } else if Self.isFinalOfTLS(text) {
            self = .encryption
        } else if text.hasPrefix("invalid "), text.contains(" value: \"") {
            self = .parameters
        } else {
            return nil
        }
    }

    static let addressBeginnings = ["connection to server at ", "connection to server on socket "]

    private static func withoutAddress(_ message: String) -> Substring {
        let text = message[...]
        guard addressBeginnings.contains(where: { text.hasPrefix($0) }) else { return text }
        let mark = " failed: "
        var rest = text
        while !rest.isEmpty {
            if rest.hasPrefix(mark) { return rest.dropFirst(mark.count) }
            rest = rest.dropFirst()
        }
        return text
    }

    private static let texts: [(cause: FinalFailure, beginnings: [String])] = [
        (.noPassword, ["fe_sendauth: no password supplied"]),
        (
            .authenticationMethod,
            [
                "authentication method ", "Crypt authentication not supported",
                "Kerberos 4 authentication not supported",
                "Kerberos 5 authentication not supported",
                "GSSAPI authentication not supported", "SSPI authentication not supported",
                "SCM_CRED authentication method not supported",
                "none of the server's SASL authentication mechanisms are supported",
                "channel binding is required", "channel binding required",
                "server offered SCRAM-SHA-256-PLUS authentication over a non-SSL connection",
            ]
        ),
        (
            .serverNotProven,
            [
                "incorrect server signature", "could not verify server signature",
                "malformed SCRAM message", "invalid SCRAM response",
                "error received from server in SCRAM exchange",
                "fe_sendauth: invalid authentication request from server",
                "fe_sendauth: error in SASL authentication",
                "duplicate SASL authentication request",
                "AuthenticationSASLFinal received from server",
                "no client response found after SASL exchange success", "requirepeer specifies ",
            ]
        ),
        (
            .encryption,
            [
                "server does not support SSL, but SSL was required",
                "received invalid response to SSL negotiation",
                "received unencrypted data after SSL response", "server certificate for ",
                "root certificate file ", "could not read root certificate file ",
                "could not open certificate file ", "could not read certificate file ",
                "could not load private key file ", "certificate does not match private key file ",
                "certificate present, but not private key file ", "private key file ",
                "could not get home directory to locate root certificate file",
                "could not load SSL engine ", "could not initialize SSL engine ",
                "host name must be specified for a verified SSL connection",
                "could not set minimum SSL protocol version",
                "could not set maximum SSL protocol version",
            ]
        ),
        (
            .parameters,
            [
                "invalid connection option ", "invalid port number: ", "invalid integer value ",
                "invalid SSL protocol version range", "invalid URI ", "could not match ",
                "could not look up ", "definition of service ", "service file ",
                "syntax error in service file ", "nested service specifications not supported",
                "Unix-domain socket path ", "sslmode value ", "gssencmode value ",
                "host name must be specified", "requirepeer parameter is not supported",
            ]
        ),
    ]

    /// `SSL error: …` is also what a connection that broke off ends with.
    private static func isFinalOfTLS(_ text: Substring) -> Bool {
        let beginnings = ["SSL error: ", "could not establish SSL connection: "]
        guard let beginning = beginnings.first(where: { text.hasPrefix($0) }) else { return false }
        let reason = text.dropFirst(beginning.count)
        return Self.finalReasons.contains { reason.hasPrefix($0) }
            || (reason.contains(" alert ") && !reason.hasSuffix("alert internal error"))
    }

    private static let finalReasons = [
        "certificate verify failed", "unsupported protocol", "no protocols available",
        "wrong version number", "no ciphers available", "no shared cipher", "dh key too small",
        "ee key too small", "ca md too weak", "wrong signature type",
        "no suitable signature algorithm",
    ]
}
