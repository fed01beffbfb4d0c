// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What a client has sent to prove that it knows its password, and what it is computed over.
package struct ScramProof: Equatable, Sendable {
    let bytes: [UInt8]
    let authMessage: [UInt8]

    /// Checks it against what is known of the password. Answers the server's last message, `v=signature`, and
    /// what the client has given away with its proof; nil when the proof is wrong.
    package func check(
        against secret: ScramSecret, arithmetic: any ScramArithmetic
    ) -> (answer: String, keys: ScramKeys)? {
        let signature = arithmetic.hmacSHA256(key: secret.storedKey, authMessage)
        let clientKey = zip(bytes, signature).map { $0 ^ $1 }
        guard arithmetic.equal(arithmetic.sha256(clientKey), secret.storedKey) else { return nil }
        let answer =
            "v=" + base64Encode(arithmetic.hmacSHA256(key: secret.serverKey, authMessage))
        return (answer, ScramKeys(secret: secret, clientKey: clientKey))
    }
}

/// All that is needed to log in by SCRAM without the password: a secret, and the client's key that belongs to it.
///
/// Good for every server that has the very same secret of the user.
package struct ScramKeys: Equatable, Sendable {
    package let secret: ScramSecret
    let clientKey: [UInt8]
}
