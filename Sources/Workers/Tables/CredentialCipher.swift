// SPDX-License-Identifier: Apache-2.0

import LibPQ
import PostgresWire

/// Reads passwords that the config database keeps encrypted: AES-256-GCM, as base64 of nonce,
/// ciphertext and tag.
package struct CredentialCipher: Sendable {
    private let cipher: AuthenticatedCipher

    /// `text` is the key of 32 bytes, in hexadecimal, in base64 (also the one for URLs), or as it
    /// is. Throws ``CredentialKeyError``.
    package init(key text: String) throws(CredentialKeyError) {
        let candidates = [Self.hexadecimal(text), Self.base64(text), Array(text.utf8)]
        let ciphers = candidates.compactMap { $0.flatMap(AuthenticatedCipher.init) }
        guard let first = ciphers.first else { throw CredentialKeyError() }
        cipher = first
    }

    /// The password that a stored text stands for: what cannot be decrypted is one as it is.
    package func password(from stored: String) -> String {
        guard let sealed = base64Decode(stored), let bytes = cipher.open(sealed),
            let password = String(validating: bytes, as: UTF8.self)
        else { return stored }
        return password
    }

    private static func hexadecimal(_ text: String) -> [UInt8]? {
        let digits = text.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
        guard digits.count == 2 * AuthenticatedCipher.keyLength, !digits.contains(nil) else {
            return nil
        }
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(digits[$0]! << 4 | digits[$0 + 1]!)
        }
    }

    private static func base64(_ text: String) -> [UInt8]? {
        var plain = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        while !plain.utf8.count.isMultiple(of: 4) { plain += "=" }
        return base64Decode(plain)
    }
}

/// CREDENTIAL_ENCRYPTION_KEY is no key.
package struct CredentialKeyError: Error, CustomStringConvertible {
    package let description =
        "CREDENTIAL_ENCRYPTION_KEY must be a key of 32 bytes, in base64 or hexadecimal"
}
