// SPDX-License-Identifier: Apache-2.0

/// PostgreSQL's MD5 passwords: what is stored is the hash of password and user name, what is sent the hash of that
/// and a salt.
package enum MD5Password {
    /// "md5" and 32 digits; nil where there is no MD5.
    package static func hash(
        password: [UInt8], user: String, arithmetic: any ScramArithmetic
    ) -> String? {
        arithmetic.md5(password + user.utf8).map { "md5" + hexadecimal($0) }
    }

    /// What a client that knows the stored hash sends for this salt.
    package static func answer(
        hash: String, salt: [UInt8], arithmetic: any ScramArithmetic
    ) -> String? {
        arithmetic.md5(Array(hash.utf8.dropFirst(3)) + salt).map { "md5" + hexadecimal($0) }
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(
            decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
