// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import PostgresWire
import Testing

private let plain = PlainScramArithmetic()
private let secret = ScramSecret.derive(
    password: "pencil", salt: [1, 2, 3, 4], iterations: 3, arithmetic: plain)

/// The keys as a login of the password gives them.
private func keys(_ password: String = "pencil") throws -> ScramKeys {
    var server = ScramServer(salt: secret.salt, iterations: secret.iterations, nonce: "server")
    let challenge = try server.handleFirst(Array("n,,n=,r=client".utf8))
    let withoutProof = "c=biws,r=clientserver"
    let authMessage = Array("n=,r=client,\(challenge),\(withoutProof)".utf8)
    let salted = plain.pbkdf2SHA256(
        password: Array(password.utf8), salt: secret.salt, iterations: secret.iterations)
    let clientKey = plain.hmacSHA256(key: salted, Array("Client Key".utf8))
    let signature = plain.hmacSHA256(key: plain.sha256(clientKey), authMessage)
    let proof = base64Encode(zip(clientKey, signature).map { $0 ^ $1 })
    let checked = try server.handleFinal(Array("\(withoutProof),p=\(proof)".utf8)).check(
        against: secret, arithmetic: plain)
    return try #require(checked).keys
}

/// An authentication request of a server.
private func request(_ code: UInt32, _ data: [UInt8] = []) -> [UInt8] {
    var bytes: [UInt8] = [UInt8(ascii: "R")]
    for value in [UInt32(data.count + 8), code] {
        bytes += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
    }
    return bytes + data
}

private let offer = request(10, Array("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0".utf8))

extension KeyLogin {
    fileprivate mutating func step(_ bytes: [UInt8]) -> Step {
        bytes.withUnsafeBytes { look(at: $0) }
    }
}

@Suite("The login on a server with keys")
struct KeyLoginTests {
    private func login(_ hashed: HashedSecret) -> KeyLogin {
        KeyLogin(hashed, nonce: "ours", arithmetic: plain)
    }

    /// What was sent, without header and what stands before the message of SCRAM.
    private func said(_ step: KeyLogin.Step, skipping count: Int) throws -> [UInt8] {
        guard case .dealtWith(_, let answer) = step else {
            Issue.record("\(step)")
            return []
        }
        return Array(answer.dropFirst(5 + count))
    }

    /// Up to the challenge, by a real server.
    private func begun() throws -> (KeyLogin, ScramServer, challenge: [UInt8]) {
        var login = login(.keys(try keys()))
        var server = ScramServer(salt: secret.salt, iterations: secret.iterations, nonce: "theirs")
        let first = try said(login.step(offer), skipping: "SCRAM-SHA-256".utf8.count + 5)
        return (login, server, Array(try server.handleFirst(first).utf8))
    }

    @Test("The server lets the keys in that a client has shown")
    func exchange() throws {
        var (login, server, challenge) = try begun()
        var shown = server
        _ = try? shown.handleFirst([])
        var first = ScramServer(salt: secret.salt, iterations: secret.iterations, nonce: "theirs")
        _ = try first.handleFirst(Array("n,,n=,r=ours".utf8))
        server = first
        let final = try said(login.step(request(11, challenge)), skipping: 0)
        let checked = try server.handleFinal(final).check(against: secret, arithmetic: plain)
        let answer = try #require(checked).answer
        #expect(
            login.step(request(12, Array(answer.utf8)) + request(0))
                == .dealtWith(count: request(12, Array(answer.utf8)).count, answer: []))
        #expect(login.step(request(0)) == .notOurs)
    }

    @Test("Whatever else the server says first is libpq's")
    func notOurs() throws {
        for bytes in [
            request(0), request(3), request(5, [1, 2, 3, 4]), request(7),
            request(10, Array("SCRAM-SHA-512\0\0".utf8)), request(11), request(99),
            Array("E".utf8), Array("N".utf8), Array("HTTP/1.1 400".utf8),
        ] {
            var login = login(.keys(try keys()))
            #expect(login.step(bytes) == .notOurs, "\(bytes)")
        }
        var hashed = login(.md5("md5" + String(repeating: "0", count: 32)))
        #expect(hashed.step(offer) == .notOurs)
    }

    @Test("A message is dealt with when it is whole")
    func incomplete() throws {
        for count in 1..<offer.count {
            var login = login(.keys(try keys()))
            #expect(login.step(Array(offer.prefix(count))) == .incomplete, "\(count) bytes")
        }
        var login = login(.keys(try keys()))
        guard case .dealtWith(let count, _) = login.step(offer + [1, 2, 3]) else {
            Issue.record("the offer was not taken")
            return
        }
        #expect(count == offer.count)
    }

    @Test("A server that has another secret is told from one that lies")
    func otherSecret() throws {
        for challenge in ["r=oursx,s=AQIDBA==,i=4", "r=oursx,s=AQIDBQ==,i=3"] {
            var login = try begun().0
            #expect(login.step(request(11, Array(challenge.utf8))) == .failed(.otherSecret))
        }
        for challenge in [
            "", "r=oursx", "r=ours,s=AQIDBA==,i=3", "r=other,s=AQIDBA==,i=3",
            "r=oursx,s=AQIDBA==,i=x", "r=oursx,s=?,i=3", "r=oursx,i=3,s=AQIDBA==",
        ] {
            var login = try begun().0
            guard case .failed(.malformed) = login.step(request(11, Array(challenge.utf8))) else {
                Issue.record("\(challenge)")
                continue
            }
        }
        var binary = try begun().0
        guard case .failed(.malformed) = binary.step(request(11, [0xff, 0xfe])) else {
            Issue.record("a challenge of bytes was taken")
            return
        }
    }

    @Test("A server must show that it knows the secret")
    func notProven() throws {
        var skips = try begun().0
        #expect(skips.step(request(0)) == .failed(.serverNotProven))
        var early = try begun().0
        _ = early.step(request(11, Array("r=oursx,s=AQIDBA==,i=3".utf8)))
        #expect(early.step(request(0)) == .failed(.serverNotProven))
        for final in ["v=AAAA", "v=", "v=" + base64Encode([UInt8](repeating: 0, count: 32))] {
            var login = try begun().0
            _ = login.step(request(11, Array("r=oursx,s=AQIDBA==,i=3".utf8)))
            #expect(login.step(request(12, Array(final.utf8))) == .failed(.serverNotProven))
        }
    }

    @Test("Requests out of order end it", arguments: [UInt32(3), 5, 10, 12])
    func order(code: UInt32) throws {
        var login = try begun().0
        guard case .failed(.malformed) = login.step(request(code)) else {
            Issue.record("request \(code) was taken")
            return
        }
    }

    @Test("An error in between is libpq's to read")
    func error() throws {
        var login = try begun().0
        #expect(login.step([UInt8(ascii: "E"), 0, 0, 0, 20]) == .notOurs)
    }

    @Test("The hash of a password answers a server that asks for MD5")
    func md5() throws {
        // PostgreSQL 15's own of role m and password mpw.
        let hash = try #require(
            MD5Password.hash(password: Array("mpw".utf8), user: "m", arithmetic: plain))
        #expect(hash == "md585f16fa8ca9ff46bbb20e3ebd7b1efb1")
        var login = login(.md5(hash))
        let whole = request(5, [1, 2, 3, 4])
        guard case .dealtWith(whole.count, let answer) = login.step(whole) else {
            Issue.record("the request for MD5 was not taken")
            return
        }
        let expected = try #require(
            MD5Password.answer(hash: hash, salt: [1, 2, 3, 4], arithmetic: plain))
        #expect(expected.utf8.count == 35)
        #expect(Array(answer.dropFirst(5)) == Array(expected.utf8) + [0])
        #expect(login.step(request(0)) == .notOurs)
    }
}
