// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import PostgresWire
import Testing

/// The example of RFC 7677, section 3: user "user", password "pencil".
private enum Example {
    static let arithmetic = PlainScramArithmetic()
    static let salt = "W22ZaJ0SNY7soEsUEjb6gQ=="
    static let clientNonce = "rOprNGfwEbeRWgbNEkqO"
    static let serverNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    static let clientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    static let serverFirst =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    static let withoutProof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    static let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    static let serverFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

    static let secret = ScramSecret.derive(
        password: "pencil", salt: base64Decode(salt) ?? [], iterations: 4096,
        arithmetic: arithmetic)

    static func server(_ secret: ScramSecret = secret) -> ScramServer {
        ScramServer(salt: secret.salt, iterations: secret.iterations, nonce: serverNonce)
    }

    /// A server that has answered the first message.
    static func serverAfterFirst() throws -> ScramServer {
        var server = server()
        _ = try server.handleFirst(Array(clientFirst.utf8))
        return server
    }
}

@Suite("SCRAM-SHA-256, the server's side")
struct ScramTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test("The arithmetic of the tests is SHA-256 and HMAC")
    func arithmetic() {
        let plain = PlainScramArithmetic()
        #expect(
            hexadecimal(plain.sha256(Array("abc".utf8)))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        // RFC 4231, case 2.
        #expect(
            hexadecimal(
                plain.hmacSHA256(
                    key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8)))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    }

    @Test("RFC 7677's exchange, byte for byte")
    func example() throws {
        var server = Example.server()
        #expect(
            try server.handleFirst(Array(Example.clientFirst.utf8)) == Example.serverFirst)
        let final = "\(Example.withoutProof),p=\(Example.proof)"
        let proof = try server.handleFinal(Array(final.utf8))
        let checked = proof.check(against: Example.secret, arithmetic: Example.arithmetic)
        #expect(checked?.answer == Example.serverFinal)
    }

    @Test("A wrong password and a mock secret end alike")
    func wrongPassword() throws {
        let other = ScramSecret.derive(
            password: "pen", salt: Example.secret.salt, iterations: 2,
            arithmetic: Example.arithmetic)
        let mock = ScramSecret.mock(user: "nobody", key: [1], arithmetic: Example.arithmetic)
        for secret in [other, mock] {
            var server = Example.server(secret)
            _ = try server.handleFirst(Array(Example.clientFirst.utf8))
            let final = Array("\(Example.withoutProof),p=\(Example.proof)".utf8)
            let proof = try server.handleFinal(final)
            #expect(proof.check(against: secret, arithmetic: Example.arithmetic) == nil)
        }
        let error = ScramError.wrongProof.pgError(user: "ann")
        #expect(error.sqlState == .invalidPassword)
        #expect(error.message == "password authentication failed for user \"ann\"")
    }

    @Test("A mock secret has a real one's shape and stays the same for a name")
    func mock() {
        let plain = Example.arithmetic
        let first = ScramSecret.mock(user: "a", key: [1], arithmetic: plain)
        #expect(first == ScramSecret.mock(user: "a", key: [1], arithmetic: plain))
        #expect(first.salt != ScramSecret.mock(user: "b", key: [1], arithmetic: plain).salt)
        #expect(first.salt != ScramSecret.mock(user: "a", key: [2], arithmetic: plain).salt)
        #expect(first.salt.count == 16)
        #expect(first.iterations == 4096)
    }

    @Test(
        "First messages that are answered",
        arguments: [
            "n,,n=,r=abc", "y,,n=,r=abc", "n,,n=user,r=abc,x=extension", "n,,n=a=2Cb,r=!~",
        ])
    func firstAccepted(message: String) throws {
        var server = Example.server()
        #expect(try server.handleFirst(Array(message.utf8)).hasPrefix("r="))
    }

    @Test(
        "First messages that are not",
        arguments: [
            "", "n", "n,", "n,,", "n,,n=", "n,,n=,", "n,,r=abc", "n,,n=,r=", "n,,n=,r=a b",
            "n,,n=,r=é", "n,,n=,r=abc,", "n,,n=,r=abc,x", "n,,n=,r=abc,=", "x,,n=,r=abc",
            "n,a=other,n=,r=abc", "n,b=other,n=,r=abc", "p=tls-server-end-point,,n=,r=abc",
            "n,,m=must,n=,r=abc", "n,,n=\u{0},r=abc", "n,,n=x,p=abc", "N,,n=,r=abc",
        ])
    func firstRefused(message: String) throws {
        var server = Example.server()
        #expect(throws: ScramError.self) { try server.handleFirst(Array(message.utf8)) }
        // Nothing is answered after an error.
        #expect(throws: ScramError.outOfOrder) {
            try server.handleFirst(Array(Example.clientFirst.utf8))
        }
    }

    @Test("What is not offered is called so")
    func unsupported() throws {
        for message in ["p=tls-unique,,n=,r=a", "n,a=x,n=,r=a", "n,,m=x,n=,r=a"] {
            var server = Example.server()
            #expect {
                try server.handleFirst(Array(message.utf8))
            } throws: {
                if case .unsupported = $0 as? ScramError { true } else { false }
            }
        }
    }

    @Test("Over TLS the mechanism that binds is offered first")
    func offered() {
        var server = Example.server()
        #expect(server.mechanisms == ["SCRAM-SHA-256"])
        server.endPoint = [1, 2, 3]
        #expect(server.mechanisms == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"])
    }

    private func first(_ message: String, by mechanism: String, over endPoint: [UInt8]?) throws {
        var server = Example.server()
        server.endPoint = endPoint
        _ = try server.handleFirst(Array(message.utf8), by: mechanism)
    }

    @Test(
        "The flag of channel binding has to be true",
        arguments: [
            ("n", "SCRAM-SHA-256", true, true), ("y", "SCRAM-SHA-256", true, false),
            ("p=tls-server-end-point", "SCRAM-SHA-256", true, false),
            ("n", "SCRAM-SHA-256-PLUS", true, false), ("y", "SCRAM-SHA-256-PLUS", true, false),
            ("p=tls-server-end-point", "SCRAM-SHA-256-PLUS", true, true),
            ("p=tls-unique", "SCRAM-SHA-256-PLUS", true, false),
            ("p=", "SCRAM-SHA-256-PLUS", true, false),
            ("n", "SCRAM-SHA-256", false, true), ("y", "SCRAM-SHA-256", false, true),
            ("p=tls-server-end-point", "SCRAM-SHA-256", false, false),
            ("p=tls-server-end-point", "SCRAM-SHA-256-PLUS", false, false),
            ("n", "SCRAM-SHA-1", true, false),
        ] as [(String, String, Bool, Bool)])
    func flag(flag: String, mechanism: String, isOverTLS: Bool, isGood: Bool) throws {
        let message = "\(flag),,n=,r=abc"
        if isGood {
            try first(message, by: mechanism, over: isOverTLS ? [7] : nil)
        } else {
            #expect(throws: ScramError.self) {
                try first(message, by: mechanism, over: isOverTLS ? [7] : nil)
            }
        }
    }

    @Test("A client that was told there is no binding is not let in")
    func downgrade() {
        #expect {
            try first("y,,n=,r=abc", by: ScramServer.mechanism, over: [7])
        } throws: { error in
            guard case .notBound = error as? ScramError else { return false }
            return (error as? ScramError)?.pgError(user: "a").sqlState == .invalidAuthorization
        }
    }

    /// The final message of a client that knows the password, over a channel of this end point.
    private func final(bindingTo endPoint: [UInt8], header: String, serverFirst: String) -> [UInt8]
    {
        let plain = Example.arithmetic
        let binding = base64Encode(Array(header.utf8) + endPoint)
        let withoutProof = "c=\(binding),r=abc\(Example.serverNonce)"
        let message = Array("n=,r=abc,\(serverFirst),\(withoutProof)".utf8)
        let salted = plain.pbkdf2SHA256(
            password: Array("pencil".utf8), salt: Example.secret.salt, iterations: 4096)
        let clientKey = plain.hmacSHA256(key: salted, Array("Client Key".utf8))
        let signature = plain.hmacSHA256(key: plain.sha256(clientKey), message)
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        return Array("\(withoutProof),p=\(base64Encode(proof))".utf8)
    }

    @Test("The proof counts only on the channel that it was made for")
    func bound() throws {
        let header = "p=tls-server-end-point,,"
        let own: [UInt8] = [1, 2, 3]
        for (seen, isGood) in [(own, true), ([1, 2, 4], false), ([], false), (own + [0], false)] {
            var server = Example.server()
            server.endPoint = own
            let first = try server.handleFirst(
                Array("\(header)n=,r=abc".utf8), by: ScramServer.boundMechanism)
            let last = final(bindingTo: seen, header: header, serverFirst: first)
            if isGood {
                let proof = try server.handleFinal(last)
                let checked = proof.check(against: Example.secret, arithmetic: Example.arithmetic)
                #expect(checked?.answer.hasPrefix("v=") == true)
            } else {
                #expect {
                    try server.handleFinal(last)
                } throws: {
                    if case .notBound = $0 as? ScramError { true } else { false }
                }
            }
        }
    }

    @Test("Bytes that are not UTF-8 are refused")
    func notText() throws {
        var server = Example.server()
        #expect(throws: ScramError.self) { try server.handleFirst([110, 44, 44, 0xff]) }
        var second = try Example.serverAfterFirst()
        #expect(throws: ScramError.self) { try second.handleFinal([0xff]) }
    }

    @Test("The last message, cut anywhere, is refused")
    func finalTruncated() throws {
        let whole = Array("\(Example.withoutProof),p=\(Example.proof)".utf8)
        for length in 0..<whole.count {
            var server = try Example.serverAfterFirst()
            #expect(throws: ScramError.self) {
                try server.handleFinal(Array(whole.prefix(length)))
            }
        }
    }

    @Test("One byte changed anywhere in it is refused")
    func finalChanged() throws {
        let whole = Array("\(Example.withoutProof),p=\(Example.proof)".utf8)
        for index in whole.indices {
            var changed = whole
            changed[index] ^= 1
            var server = try Example.serverAfterFirst()
            let proof = try? server.handleFinal(changed)
            #expect(
                proof?.check(against: Example.secret, arithmetic: Example.arithmetic) == nil,
                "byte \(index)")
        }
    }

    @Test("Channel binding data must be that of the first message")
    func channelBinding() throws {
        var server = Example.server()
        _ = try server.handleFirst(Array("y,,n=user,r=\(Example.clientNonce)".utf8))
        let final = "\(Example.withoutProof),p=\(Example.proof)"
        #expect(throws: ScramError.self) { try server.handleFinal(Array(final.utf8)) }
    }

    @Test("Anything after the proof is refused")
    func afterProof() throws {
        for tail in [",", ",x=y", " "] {
            var server = try Example.serverAfterFirst()
            let final = "\(Example.withoutProof),p=\(Example.proof)\(tail)"
            #expect(throws: ScramError.self) { try server.handleFinal(Array(final.utf8)) }
        }
    }

    @Test("Messages out of order")
    func order() throws {
        var server = Example.server()
        #expect(throws: ScramError.outOfOrder) { try server.handleFinal([]) }
        #expect(throws: ScramError.outOfOrder) {
            try server.handleFirst(Array(Example.clientFirst.utf8))
        }
        var done = try Example.serverAfterFirst()
        let final = Array("\(Example.withoutProof),p=\(Example.proof)".utf8)
        _ = try done.handleFinal(final)
        #expect(throws: ScramError.outOfOrder) { try done.handleFinal(final) }
    }

    @Test("A secret is read as it is written")
    func secretText() throws {
        let secret = Example.secret
        #expect(secret.text.hasPrefix("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"))
        #expect(ScramSecret(parsing: secret.text) == secret)
        // Made by PostgreSQL 15.20 for the password "pencil".
        let theirs = try #require(ScramSecret(parsing: postgresSecret))
        let ours = ScramSecret.derive(
            password: "pencil", salt: theirs.salt, iterations: theirs.iterations,
            arithmetic: Example.arithmetic)
        #expect(ours == theirs)
    }

    @Test(
        "Secrets that are none",
        arguments: [
            "", "SCRAM-SHA-256", "SCRAM-SHA-256$", "SCRAM-SHA-256$4096:AAAA$AAAA:AAAA",
            "SCRAM-SHA-1$4096:AAAA$\(key):\(key)", "SCRAM-SHA-256$0:AAAA$\(key):\(key)",
            "SCRAM-SHA-256$-1:AAAA$\(key):\(key)", "SCRAM-SHA-256$+1:AAAA$\(key):\(key)",
            "SCRAM-SHA-256$x:AAAA$\(key):\(key)", "SCRAM-SHA-256$1:$\(key):\(key)",
            "SCRAM-SHA-256$1:AAA$\(key):\(key)", "SCRAM-SHA-256$1:AAAA$\(key)",
            "SCRAM-SHA-256$1:AAAA$\(key):\(key)$", "SCRAM-SHA-256$1:AAAA:$\(key):\(key)",
            "SCRAM-SHA-256$99999999999:AAAA$\(key):\(key)",
        ])
    func badSecrets(text: String) {
        #expect(ScramSecret(parsing: text) == nil)
    }

    @Test("The shape that the bad ones miss")
    func goodSecret() {
        #expect(ScramSecret(parsing: "SCRAM-SHA-256$1:AAAA$\(key):\(key)") != nil)
    }

    @Test(
        "Base64, RFC 4648 section 10",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
        ])
    func base64(plain: String, encoded: String) {
        #expect(base64Encode(Array(plain.utf8)) == encoded)
        #expect(base64Decode(encoded) == Array(plain.utf8))
    }

    @Test("All bytes survive")
    func base64Bytes() {
        let bytes = Array(UInt8.min...UInt8.max)
        #expect(base64Decode(base64Encode(bytes)) == bytes)
    }

    @Test(
        "Base64 that is not strict",
        arguments: [
            "Z", "Zg", "Zg=", "Zg===", "====", "=Zg=", "Z===", "Zg==Zg==", "Zh==", "Zm9=", "Zm8\n",
            "Zm-_", " Zm8=", "Zm 8",
        ])
    func badBase64(text: String) {
        #expect(base64Decode(text) == nil)
    }
}

/// 32 bytes of zero.
private let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

private let postgresSecret =
    "SCRAM-SHA-256$4096:zmNcukZAiREKddHf9UF9zg=="
    + "$wmvWnqfBhfznk2eku7q3qwPwjUQjHRDPvDvfnC69cCk=:HVOBzhrt0OvtWoPiS7OpQaZj8mK2aGMgyYt2AJm4Pic="
