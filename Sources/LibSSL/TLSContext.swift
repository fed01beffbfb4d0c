// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// What all sessions of clients have in common (SSL_CTX): certificate, key, authorities, and what is
/// negotiated. Sessions keep what they began with when another context takes its place.
@safe
package final class TLSContext {
    package let options: TLSServerOptions
    let context: OpaquePointer

    /// Reads the files (SSL_CTX_new and SSL_CTX_use_…).
    package init(_ options: TLSServerOptions) throws(TLSSetupError) {
        ERR_clear_error()
        guard let method = unsafe TLS_server_method(), let context = unsafe SSL_CTX_new(method)
        else { throw TLSSetupError(.library, TLSErrorQueue.take() ?? "no TLS") }
        unsafe self.context = unsafe context
        self.options = options
        unsafe pglease_ssl_prepare_server(context)
        unsafe SSL_CTX_set_alpn_select_cb(context, selectProtocol, nil)
        unsafe SSL_CTX_set_info_callback(context, noteProgress)
        // Nobody is there to be asked for a passphrase.
        unsafe SSL_CTX_set_default_passwd_cb(context) { _, _, _, _ in -1 }
        try restrictVersions()
        try chooseCiphers()
        try chooseKeyExchange()
        try useCertificate()
        try useAuthority()
    }

    // SAFETY: OpenSSL counts references: sessions keep the context alive.
    deinit { unsafe SSL_CTX_free(context) }

    // MARK: What is negotiated

    private func restrictVersions() throws(TLSSetupError) {
        let wanted = options.versions.map(\.rawValue)
        guard let lowest = wanted.min(), let highest = wanted.max() else {
            throw TLSSetupError(.protocols, "no version of TLS is left")
        }
        // SSL_CTX_set_min_proto_version and SSL_CTX_set_max_proto_version.
        guard unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, Int(lowest), nil) == 1,
            unsafe SSL_CTX_ctrl(context, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(highest), nil) == 1
        else { throw TLSSetupError(.protocols, TLSErrorQueue.take() ?? "refused by OpenSSL") }
        for version in TLSServerOptions.Version.allCases where !options.versions.contains(version) {
            unsafe SSL_CTX_set_options(context, version.refusal)
        }
    }

    private func chooseCiphers() throws(TLSSetupError) {
        if let ciphers = options.ciphers,
            unsafe SSL_CTX_set_cipher_list(context, ciphers) != 1
        {
            throw TLSSetupError(
                .ciphers, TLSErrorQueue.take() ?? "no cipher of that name",
                advice: "openssl ciphers -v lists them")
        }
        if let suites = options.cipherSuites,
            unsafe SSL_CTX_set_ciphersuites(context, suites) != 1
        {
            throw TLSSetupError(
                .cipherSuites, TLSErrorQueue.take() ?? "no cipher of that name",
                advice: "openssl ciphers -v -s -tls1_3 lists them")
        }
    }

    private func chooseKeyExchange() throws(TLSSetupError) {
        unsafe pglease_ssl_set_dh(context, options.diffieHellman.rawValue)
        switch options.curve {
        case .automatic: break
        case .none:
            // TLS 1.3 has no other exchange; before that no cipher with one is left.
            let ciphers = options.ciphers ?? "DEFAULT"
            guard unsafe SSL_CTX_set_cipher_list(context, ciphers + ":!kECDHE") == 1 else {
                throw TLSSetupError(.curve, "without curves no cipher is left")
            }
        case .named(let names):
            guard unsafe pglease_ssl_set_groups(context, names) == 1 else {
                ERR_clear_error()
                throw TLSSetupError(
                    .curve, "OpenSSL has no curve of that name",
                    advice: "openssl ecparam -list_curves lists them, X25519 and X448 aside")
            }
        }
    }

    // MARK: Certificates

    private func useCertificate() throws(TLSSetupError) {
        guard unsafe SSL_CTX_use_certificate_chain_file(context, options.certificateFile) == 1
        else {
            throw TLSSetupError(
                .certificate,
                Self.plain(TLSErrorQueue.takeAll(), else: "no certificate that OpenSSL can read"),
                advice:
                    "PEM is expected: the certificate first, then those that lead to its authority"
            )
        }
        guard
            unsafe SSL_CTX_use_PrivateKey_file(context, options.keyFile, SSL_FILETYPE_PEM) == 1,
            unsafe SSL_CTX_check_private_key(context) == 1
        else { throw keyError(TLSErrorQueue.takeAll()) }
    }

    private func keyError(_ reasons: [String]) -> TLSSetupError {
        if reasons.contains(where: { $0.hasSuffix("mismatch") }) {
            return TLSSetupError(
                .key, "the key does not belong to the certificate",
                advice: "give the key that the certificate was made for")
        }
        if reasons.contains(where: { Self.passphraseReasons.contains($0) }) {
            return TLSSetupError(
                .key, "the key is encrypted, and nobody is there to be asked for the passphrase",
                advice: "write it without one: openssl pkey -in … -out …")
        }
        return TLSSetupError(
            .key, Self.plain(reasons, else: "no private key that OpenSSL can read"),
            advice: "PEM is expected: -----BEGIN PRIVATE KEY-----")
    }

    /// What an encrypted key without a passphrase ends with, by its format and OpenSSL's version.
    private static let passphraseReasons: Set<String> = [
        "bad password read", "unable to get passphrase",
    ]

    /// The first reason, unless it only says in OpenSSL's words that nothing of use was found.
    private static func plain(_ reasons: [String], else text: String) -> String {
        let empty: Set<String> = ["unsupported", "no start line", "no certificate or crl found"]
        return reasons.first { !empty.contains($0) && !$0.hasSuffix(" lib") } ?? text
    }

    private func useAuthority() throws(TLSSetupError) {
        guard options.clientCertificate != .notAsked else { return }
        guard let file = options.authorityFile else {
            throw TLSSetupError(.authority, "is needed to check certificates of clients")
        }
        guard unsafe SSL_CTX_load_verify_file(context, file) == 1,
            let names = unsafe SSL_load_client_CA_file(file)
        else {
            throw TLSSetupError(
                .authority,
                Self.plain(TLSErrorQueue.takeAll(), else: "no certificate that OpenSSL can read"),
                advice: "PEM is expected: one or more certificates of authorities")
        }
        // SAFETY: the context owns the list from here on.
        unsafe SSL_CTX_set_client_CA_list(context, names)
        let strictness =
            options.clientCertificate == .required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | strictness, nil)
    }
}

extension TLSServerOptions.Version {
    /// SSL_OP_NO_TLSv1 and its like.
    fileprivate var refusal: UInt64 {
        switch self {
        case .tls1: 1 << 26
        case .tls11: 1 << 28
        case .tls12: 1 << 27
        case .tls13: 1 << 29
        }
    }
}

/// How far the certificate in force is from its end.
extension TLSContext {
    package enum Validity: Sendable, Equatable {
        case valid, expired, notYetValid
    }

    /// By the clock of this machine (X509_cmp_current_time).
    package var validity: Validity {
        guard let certificate = unsafe SSL_CTX_get0_certificate(context) else { return .valid }
        if unsafe X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0 { return .expired }
        if unsafe X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0 {
            return .notYetValid
        }
        return .valid
    }

    /// SHA-256 of the certificate (X509_digest): tells whether it is another one.
    package var fingerprint: [UInt8] {
        guard let certificate = unsafe SSL_CTX_get0_certificate(context) else { return [] }
        return unsafe digest(of: certificate, EVP_sha256())
    }
}

/// X509_digest.
func digest(of certificate: OpaquePointer, _ kind: OpaquePointer?) -> [UInt8] {
    unsafe [UInt8](unsafeUninitializedCapacity: Int(EVP_MAX_MD_SIZE)) { buffer, count in
        var length: UInt32 = 0
        // SAFETY: no digest is longer than EVP_MAX_MD_SIZE.
        let isMade = unsafe X509_digest(certificate, kind, buffer.baseAddress, &length) == 1
        count = isMade ? Int(length) : 0
    }
}

/// ALPN, as PostgreSQL 17 has it: who offers protocols has to offer this one.
private func selectProtocol(
    _ ssl: OpaquePointer?, _ chosen: UnsafeMutablePointer<UnsafePointer<UInt8>?>?,
    _ chosenLength: UnsafeMutablePointer<UInt8>?, _ offered: UnsafePointer<UInt8>?,
    _ offeredLength: UInt32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
    let name = Array("postgresql".utf8)
    var offset = 0
    // SAFETY: the list is `offeredLength` bytes long, each name behind its length; the answer points
    // into it.
    let offers = unsafe UnsafeBufferPointer(start: offered, count: Int(offeredLength))
    while offset < offers.count {
        let length = unsafe Int(offers[offset])
        guard offset + 1 + length <= offers.count else { break }
        if unsafe offers[(offset + 1)..<(offset + 1 + length)].elementsEqual(name) {
            unsafe chosen?.pointee = unsafe offered.map { unsafe $0 + offset + 1 }
            unsafe chosenLength?.pointee = UInt8(length)
            return SSL_TLSEXT_ERR_OK
        }
        offset += 1 + length
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
}

/// Each step of a handshake and each alert.
private func noteProgress(_ ssl: OpaquePointer?, _ kind: Int32, _ value: Int32) {
    // SAFETY: a stream outlives its session, and is what the session has for its data.
    guard let data = unsafe ssl.flatMap({ unsafe SSL_get_ex_data($0, 0) }) else { return }
    unsafe Unmanaged<TLSStream>.fromOpaque(data)._withUnsafeGuaranteedRef { $0.noteStep() }
}
