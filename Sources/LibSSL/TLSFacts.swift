// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// What is known of an established session.
extension TLSStream {
    /// Version and cipher, as pgbouncer writes them: `TLSv1.3/TLS_AES_256_GCM_SHA384`, and before TLS 1.3
    /// with the curve of the key exchange, `…/ECDH=X25519`.
    package var summary: String {
        unsafe withSession { ssl in
            let version = unsafe String(cString: SSL_get_version(ssl))
            let cipher = unsafe SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))
            var text = unsafe "\(version)/\(cipher.map { unsafe String(cString: $0) } ?? "")"
            guard unsafe SSL_version(ssl) < TLSServerOptions.Version.tls13.rawValue else {
                return text
            }
            let group = unsafe pglease_ssl_negotiated_group(ssl)
            if group != 0, let name = unsafe OBJ_nid2sn(group) {
                unsafe text += "/ECDH=\(String(cString: name))"
            }
            return text
        }
    }

    /// The client asked for PostgreSQL's protocol by ALPN (SSL_get0_alpn_selected).
    package var hasNamedProtocol: Bool {
        unsafe withSession { ssl in
            var name: UnsafePointer<UInt8>?
            var length: UInt32 = 0
            unsafe SSL_get0_alpn_selected(ssl, &name, &length)
            return length > 0
        }
    }

    /// `tls-server-end-point` of RFC 5929: a hash of our certificate, by the function that it is signed with,
    /// SHA-256 instead of weaker ones. nil where its signature has none, as Ed25519.
    package var serverEndPoint: [UInt8]? {
        unsafe withSession { ssl in
            guard let certificate = unsafe SSL_get_certificate(ssl) else { return nil }
            var digestNumber: Int32 = 0
            guard
                unsafe X509_get_signature_info(certificate, &digestNumber, nil, nil, nil) == 1,
                digestNumber != NID_undef
            else { return nil }
            let isWeak = digestNumber == NID_md5 || digestNumber == NID_sha1
            let kind =
                unsafe isWeak
                ? EVP_sha256() : EVP_get_digestbyname(OBJ_nid2sn(digestNumber))
            guard unsafe kind != nil else { return nil }
            let hash = unsafe digest(of: certificate, kind)
            return hash.isEmpty ? nil : hash
        }
    }

    /// Who the client is by its certificate.
    package enum PeerName: Equatable, Sendable {
        /// It showed none.
        case noCertificate
        /// The first common name of its subject.
        case name(String)
        /// Its subject has none.
        case nameless
        /// A name that two programs would read in two ways.
        case ambiguous
    }

    /// A certificate that is not good ends the handshake, so one that is there was verified
    /// (SSL_get0_peer_certificate).
    package var peerName: PeerName {
        unsafe withSession { ssl in
            guard let certificate = unsafe SSL_get0_peer_certificate(ssl),
                unsafe SSL_get_verify_result(ssl) == X509_V_OK
            else { return .noCertificate }
            guard let subject = unsafe X509_get_subject_name(certificate) else { return .nameless }
            let index = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
            guard index >= 0, let entry = unsafe X509_NAME_get_entry(subject, index),
                let value = unsafe X509_NAME_ENTRY_get_data(entry)
            else { return .nameless }
            var text: UnsafeMutablePointer<UInt8>?
            let length = unsafe ASN1_STRING_to_UTF8(&text, value)
            guard length >= 0, let text = unsafe text else { return .ambiguous }
            // SAFETY: OpenSSL made `length` bytes, which are ours to free.
            defer { unsafe CRYPTO_free(text, #file, 0) }
            let bytes = unsafe UnsafeBufferPointer(start: text, count: Int(length))
            guard unsafe !bytes.contains(0),
                let name = unsafe String(validating: bytes, as: UTF8.self)
            else { return .ambiguous }
            return name.isEmpty ? .nameless : .name(name)
        }
    }
}
