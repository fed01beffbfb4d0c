// SPDX-License-Identifier: Apache-2.0

/// What a broker offers to clients that want TLS.
package struct TLSServerOptions: Equatable, Sendable {
    package enum Version: Int32, Sendable, CaseIterable {
        case tls1 = 0x0301
        case tls11 = 0x0302
        case tls12 = 0x0303
        case tls13 = 0x0304
    }

    /// Whether clients are asked for a certificate. One that is shown must always be good.
    package enum ClientCertificate: Sendable {
        case notAsked, optional, required
    }

    package enum DiffieHellman: Int32, Sendable {
        case none = 0
        /// As strong as the certificate's key.
        case automatic = 1
        /// 1024 bits.
        case legacy = 2
    }

    package enum Curve: Equatable, Sendable {
        /// No exchange over a curve before TLS 1.3, which has no other.
        case none
        case automatic
        /// One name or several between colons.
        case named(String)
    }

    /// PEM: the certificate, and those between it and its authority.
    package var certificateFile: String
    package var keyFile: String
    /// PEM: who may have signed certificates of clients.
    package var authorityFile: String?
    package var clientCertificate = ClientCertificate.notAsked
    package var versions: Set<Version> = [.tls12, .tls13]
    /// Of TLS 1.2 and before, in OpenSSL's syntax; nil is OpenSSL's own choice.
    package var ciphers: String?
    /// Of TLS 1.3; nil is OpenSSL's own choice.
    package var cipherSuites: String?
    package var diffieHellman = DiffieHellman.automatic
    package var curve = Curve.automatic

    package init(certificateFile: String, keyFile: String) {
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }
}
