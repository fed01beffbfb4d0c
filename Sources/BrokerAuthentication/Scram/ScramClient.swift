// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Why a login by SCRAM keys does not go on.
package enum ScramClientError: Error, Equatable, Sendable {
    /// The message does not follow the grammar of RFC 5802, or does not belong to this exchange.
    case malformed(String)
    /// The server's secret of this user is another one: other salt, or other iterations.
    case otherSecret
    /// The server does not know the secret: its signature is wrong.
    case serverNotProven
}

/// The client's side of one SCRAM-SHA-256 exchange with keys in place of a password: nothing of it takes long.
package struct ScramClient: Sendable {
    private enum State: Sendable {
        case awaitsChallenge
        case awaitsSignature([UInt8])
        case finished
    }

    private var state = State.awaitsChallenge
    private let keys: ScramKeys
    private let nonce: String
    private let arithmetic: any ScramArithmetic

    package init(keys: ScramKeys, nonce: String, arithmetic: any ScramArithmetic) {
        self.keys = keys
        self.nonce = nonce
        self.arithmetic = arithmetic
    }

    /// PostgreSQL takes the name from the startup packet.
    private var firstBare: String { "n=,r=\(nonce)" }

    package var firstMessage: String { "n,,\(firstBare)" }

    /// Reads `r=…,s=…,i=…` and answers `c=…,r=…,p=…`.
    package mutating func answer(to challenge: [UInt8]) throws(ScramClientError) -> String {
        guard case .awaitsChallenge = state else { throw .malformed("a second challenge") }
        state = .finished
        guard let text = String(validating: challenge, as: UTF8.self) else {
            throw .malformed("a challenge that is no text")
        }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count >= 3, parts[0].hasPrefix("r="), parts[1].hasPrefix("s="),
            parts[2].hasPrefix("i="), let salt = base64Decode(String(parts[1].dropFirst(2))),
            let iterations = Int(parts[2].dropFirst(2))
        else { throw .malformed("a challenge without nonce, salt or iterations") }
        let whole = parts[0].dropFirst(2)
        guard whole.utf8.starts(with: nonce.utf8), whole.utf8.count > nonce.utf8.count else {
            throw .malformed("a challenge with another nonce")
        }
        guard salt == keys.secret.salt, iterations == keys.secret.iterations else {
            throw .otherSecret
        }
        let withoutProof = "c=\(base64Encode(Array("n,,".utf8))),r=\(whole)"
        let authMessage = Array("\(firstBare),\(text),\(withoutProof)".utf8)
        let signature = arithmetic.hmacSHA256(key: keys.secret.storedKey, authMessage)
        let proof = zip(keys.clientKey, signature).map { $0 ^ $1 }
        state = .awaitsSignature(
            arithmetic.hmacSHA256(key: keys.secret.serverKey, authMessage))
        return "\(withoutProof),p=\(base64Encode(proof))"
    }

    /// Reads `v=signature`.
    package mutating func check(_ serverFinal: [UInt8]) throws(ScramClientError) {
        guard case .awaitsSignature(let expected) = state else {
            throw .malformed("a signature that nobody asked for")
        }
        state = .finished
        guard let text = String(validating: serverFinal, as: UTF8.self), text.hasPrefix("v=") else {
            throw .malformed("a last message without a signature")
        }
        let value = text.dropFirst(2).prefix { $0 != "," }
        guard let signature = base64Decode(String(value)), arithmetic.equal(signature, expected)
        else { throw .serverNotProven }
    }
}
