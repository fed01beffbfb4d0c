// SPDX-License-Identifier: Apache-2.0

/// The check of a password as it was typed, of any length.
package enum PasswordCheck {
    /// Takes long where the secret is one of SCRAM: on a worker thread only.
    package static func fits(
        _ password: [UInt8], _ secret: StoredSecret, user: String, arithmetic: any ScramArithmetic
    ) -> Bool {
        switch secret {
        case .plain(let stored):
            // Hashes are of one length, and so the comparison tells nothing of that of the password.
            return !stored.isEmpty
                && arithmetic.equal(arithmetic.sha256(stored), arithmetic.sha256(password))
        case .md5(let hash):
            guard
                let own = MD5Password.hash(password: password, user: user, arithmetic: arithmetic)
            else { return false }
            return arithmetic.equal(Array(own.utf8), Array(hash.utf8))
        case .scram(let stored):
            let own = ScramSecret.derive(
                password: password, salt: stored.salt, iterations: stored.iterations,
                arithmetic: arithmetic)
            return arithmetic.equal(own.storedKey, stored.storedKey)
        }
    }
}
