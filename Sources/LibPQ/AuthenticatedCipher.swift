// SPDX-License-Identifier: Apache-2.0

import COpenSSL

/// AES-256 in Galois/counter mode, to open what others have sealed. Owns nothing between two calls.
package struct AuthenticatedCipher: Sendable {
    package static let keyLength = 32
    package static let nonceLength = 12
    package static let tagLength = 16

    private let key: [UInt8]

    /// Nil when the key has not 32 bytes.
    package init?(key: [UInt8]) {
        guard key.count == Self.keyLength else { return nil }
        self.key = key
    }

    /// The text of `sealed`, which is nonce, ciphertext and tag in a row; nil when it was sealed with
    /// another key, or changed.
    package func open(_ sealed: [UInt8]) -> [UInt8]? {
        let length = sealed.count - Self.nonceLength - Self.tagLength
        guard length >= 0, length <= Int(Int32.max), let context = unsafe EVP_CIPHER_CTX_new()
        else { return nil }
        defer { unsafe EVP_CIPHER_CTX_free(context) }
        let nonce = Array(sealed[..<Self.nonceLength])
        let ciphertext = Array(sealed[Self.nonceLength..<(Self.nonceLength + length)])
        var tag = Array(sealed[(Self.nonceLength + length)...])
        // SAFETY: key, nonce and tag have the lengths that the cipher reads; GCM writes as many
        // bytes as it is given, and its end none.
        guard
            unsafe EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, key, nonce) == 1,
            unsafe EVP_CIPHER_CTX_ctrl(
                context, EVP_CTRL_AEAD_SET_TAG, Int32(Self.tagLength), &tag) == 1
        else { return nil }
        var text = [UInt8](repeating: 0, count: length + Self.tagLength)
        var written: Int32 = 0
        var rest: Int32 = 0
        guard
            unsafe EVP_DecryptUpdate(context, &text, &written, ciphertext, Int32(length)) == 1,
            Int(written) == length,
            // Nothing of the text counts before this has looked at the tag.
            unsafe EVP_DecryptFinal_ex(context, &tag, &rest) == 1
        else { return nil }
        return Array(text[..<length])
    }
}
