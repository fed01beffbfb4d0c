// SPDX-License-Identifier: Apache-2.0

/// TLS for clients: the part of the table that OpenSSL reads.
extension Settings {
    static let clientTLSSettings: [SettingDescription] = [
        SettingDescription(
            "client_tls_sslmode", \.clientTlsSslmode, .choice,
            "disable: clients have no TLS. allow, prefer: those over TCP have it if they ask. "
                + "require: over TCP nobody gets in without. verify-ca, verify-full: each has to "
                + "show a certificate that client_tls_ca_file vouches for. The Unix socket has no "
                + "TLS."),
        SettingDescription(
            "client_tls_key_file", \.clientTlsKeyFile, .path,
            "Key of the certificate that clients are shown, PEM without a passphrase."),
        SettingDescription(
            "client_tls_cert_file", \.clientTlsCertFile, .path,
            "The certificate that clients are shown, PEM, followed by those that lead to its "
                + "authority. RELOAD reads both files again."),
        SettingDescription(
            "client_tls_ca_file", \.clientTlsCaFile, .path,
            "Certificates that may have signed those of clients. With it clients are asked for "
                + "one, and one that is shown has to be good in any mode."),
        SettingDescription(
            "client_tls_protocols", \.clientTlsProtocols, .tlsProtocols,
            "secure (TLS 1.2 and 1.3), all, or versions between commas, as tlsv1.2, tlsv1.3."),
        SettingDescription(
            "client_tls_ciphers", \.clientTlsCiphers, .openSSL(emptyIs: "default"),
            "Ciphers of TLS 1.2 and before, in OpenSSL's syntax; default, secure, fast and normal "
                + "are OpenSSL's own choice, all is every cipher that encrypts."),
        SettingDescription(
            "client_tls13_ciphers", \.clientTls13Ciphers, .optionalText,
            "Ciphers of TLS 1.3 between colons; empty is OpenSSL's own choice."),
        SettingDescription(
            "client_tls_dheparams", \.clientTlsDheparams, .choice(emptyIs: .auto),
            "Diffie-Hellman without curves, before TLS 1.3: auto is as strong as the key, legacy "
                + "is 1024 bits, none is off."),
        SettingDescription(
            "client_tls_ecdhcurve", \.clientTlsEcdhcurve, .openSSL(emptyIs: "auto"),
            "Curves of the key exchange, one name or several between colons; auto is OpenSSL's "
                + "own choice, none leaves them out before TLS 1.3."),
    ]
}
