// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The arithmetic of SCRAM-SHA-256 and MD5. It is injected: this module has no cryptography, and a password
/// check should not have one of its own.
package protocol ScramArithmetic: Sendable {
    func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8]
    func sha256(_ message: [UInt8]) -> [UInt8]
    func pbkdf2SHA256(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8]
    /// nil: not to be had here (FIPS).
    func md5(_ message: [UInt8]) -> [UInt8]?
    /// Compares in a time that does not tell where two arrays of one length differ.
    func equal(_ first: [UInt8], _ second: [UInt8]) -> Bool
}

/// What a server keeps of a password, as in `pg_authid.rolpassword`. Both keys have 32 bytes.
package struct ScramSecret: Equatable, Sendable {
    package static let defaultIterations = 4096
    package static let keyLength = 32

    package let iterations: Int
    package let salt: [UInt8]
    package let storedKey: [UInt8]
    package let serverKey: [UInt8]

    package init?(iterations: Int, salt: [UInt8], storedKey: [UInt8], serverKey: [UInt8]) {
        guard iterations > 0, iterations <= Int(Int32.max), !salt.isEmpty,
            storedKey.count == Self.keyLength, serverKey.count == Self.keyLength
        else { return nil }
        self.iterations = iterations
        self.salt = salt
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// Reads `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
    package init?(parsing text: String) {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "SCRAM-SHA-256" else { return nil }
        let first = parts[1].split(separator: ":", omittingEmptySubsequences: false)
        let second = parts[2].split(separator: ":", omittingEmptySubsequences: false)
        guard first.count == 2, second.count == 2, first[0].utf8.allSatisfy(isDigit),
            let iterations = Int(first[0]), let salt = base64Decode(String(first[1])),
            let storedKey = base64Decode(String(second[0])),
            let serverKey = base64Decode(String(second[1]))
        else { return nil }
        self.init(iterations: iterations, salt: salt, storedKey: storedKey, serverKey: serverKey)
    }

    /// Computes the secret of a password.
    ///
    /// The password is prepared first (`SASLprep`), as PostgreSQL and the drivers do it.
    package static func derive(
        password: [UInt8], salt: [UInt8], iterations: Int = defaultIterations,
        arithmetic: any ScramArithmetic
    ) -> ScramSecret {
        precondition(iterations > 0 && !salt.isEmpty, "a SCRAM secret needs a salt and iterations")
        let salted = arithmetic.pbkdf2SHA256(
            password: SASLprep.prepare(password), salt: salt, iterations: iterations)
        let clientKey = arithmetic.hmacSHA256(key: salted, Array("Client Key".utf8))
        let storedKey = arithmetic.sha256(clientKey)
        let serverKey = arithmetic.hmacSHA256(key: salted, Array("Server Key".utf8))
        guard
            let secret = ScramSecret(
                iterations: iterations, salt: salt, storedKey: storedKey, serverKey: serverKey)
        else { preconditionFailure("SHA-256 gives 32 bytes") }
        return secret
    }

    package static func derive(
        password: String, salt: [UInt8], iterations: Int = defaultIterations,
        arithmetic: any ScramArithmetic
    ) -> ScramSecret {
        derive(
            password: Array(password.utf8), salt: salt, iterations: iterations,
            arithmetic: arithmetic)
    }

    /// The secret of a user that does not exist. No password fits it, and the salt of one name
    /// stays the same for as long as `key`, a random value of this process, does: neither shape nor
    /// repetition tells.
    package static func mock(
        user: String, key: [UInt8], iterations: Int = defaultIterations, saltLength: Int = 16,
        arithmetic: any ScramArithmetic
    ) -> ScramSecret {
        var salt: [UInt8] = []
        while salt.count < saltLength {
            salt += arithmetic.hmacSHA256(key: key, Array("salt:\(salt.count):\(user)".utf8))
        }
        let storedKey = arithmetic.hmacSHA256(key: key, Array("stored:\(user)".utf8))
        let serverKey = arithmetic.hmacSHA256(key: key, Array("server:\(user)".utf8))
        guard
            let secret = ScramSecret(
                iterations: iterations, salt: Array(salt.prefix(saltLength)), storedKey: storedKey,
                serverKey: serverKey)
        else { preconditionFailure("SHA-256 gives 32 bytes") }
        return secret
    }

    /// As ``init(parsing:)`` reads it.
    package var text: String {
        "SCRAM-SHA-256$\(iterations):\(base64Encode(salt))"
            + "$\(base64Encode(storedKey)):\(base64Encode(serverKey))"
    }
}
