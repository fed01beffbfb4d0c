// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import PostgresWire
import Testing

private let plain = PlainScramArithmetic()

@Suite("Secrets, and users that do not exist")
struct StoredSecretTests {
    private func list(_ count: Int, _ secret: (Int) -> String) throws -> UserList {
        try UserList(
            parsing: (0..<count).map { "\"u\($0)\" \"\(secret($0))\"" }.joined(separator: "\n"))
    }

    private func forms(_ list: UserList?, recent: SecretForm? = nil) -> Set<SecretForm> {
        let unknown = UnknownUsers(key: [7], like: list, arithmetic: plain)
        return Set((0..<64).map { unknown.form(of: "stranger \($0)", recent: recent) })
    }

    @Test("A user that does not exist looks like one who does")
    func unknownForms() throws {
        let scram = ScramSecret.derive(
            password: "x", salt: [UInt8](repeating: 3, count: 12), iterations: 5,
            arithmetic: plain)
        let hash = "md5" + String(repeating: "a", count: 32)
        #expect(forms(nil) == [.usual])
        #expect(try forms(list(3) { _ in "" }) == [.usual])
        #expect(try forms(list(3) { _ in "secret" }) == [.plain])
        #expect(try forms(list(2) { _ in hash }) == [.md5])
        #expect(
            try forms(list(2) { _ in scram.text }) == [.scram(iterations: 5, saltLength: 12)])
        #expect(try forms(list(4) { $0 < 2 ? hash : "p" }) == [.md5, .plain])
        #expect(forms(nil, recent: .md5) == [.md5])
        #expect(try forms(list(1) { _ in "p" }, recent: .md5) == [.md5, .plain])
    }

    @Test("It always looks the same")
    func unknownStays() throws {
        let list = try list(9) {
            $0.isMultiple(of: 2) ? "p" : "md5" + String(repeating: "b", count: 32)
        }
        let unknown = UnknownUsers(key: [7], like: list, arithmetic: plain)
        for number in 0..<32 {
            let name = "stranger \(number)"
            #expect(unknown.form(of: name, recent: nil) == unknown.form(of: name, recent: nil))
        }
        let mock = unknown.secret(of: "a", iterations: 9, saltLength: 40)
        #expect(mock == unknown.secret(of: "a", iterations: 9, saltLength: 40))
        #expect(mock.salt.count == 40)
        #expect(mock.iterations == 9)
        // A listed password is shown with the salt that its user would have if it did not exist.
        #expect(unknown.derive([1], for: "a").salt == unknown.secret(of: "a").salt)
        #expect(unknown.derive([1], for: "a") != unknown.derive([2], for: "a"))
    }

    @Test("MD5 is MD5")
    func md5() {
        // RFC 1321.
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                String(repeating: "1234567890", count: 8), "57edf4a22be3c955ac49da2e2107b67a"
            ),
        ] {
            #expect(
                MD5Password.hash(password: Array(text.utf8), user: "", arithmetic: plain)
                    == "md5\(digest)")
        }
    }

    @Test("A password fits its secret however that is stored")
    func fits() throws {
        let password = Array("pencil".utf8)
        let secrets: [StoredSecret] = [
            .plain(password),
            .md5(try #require(MD5Password.hash(password: password, user: "a", arithmetic: plain))),
            .scram(
                ScramSecret.derive(
                    password: password, salt: [1], iterations: 2, arithmetic: plain)),
        ]
        for secret in secrets {
            #expect(PasswordCheck.fits(password, secret, user: "a", arithmetic: plain))
            for wrong in [[], Array("pencils".utf8), Array("Pencil".utf8), [0xff]] {
                #expect(!PasswordCheck.fits(wrong, secret, user: "a", arithmetic: plain))
            }
        }
        #expect(!PasswordCheck.fits(password, secrets[1], user: "b", arithmetic: plain))
        #expect(!PasswordCheck.fits([], .plain([]), user: "a", arithmetic: plain))
    }

    @Test("The answer of auth_query: one row of a name and a secret")
    func answers() {
        func found(_ rows: [[String?]], error: PgError? = nil) -> QueriedSecret? {
            var bytes: [UInt8] = []
            bytes.appendParseComplete()
            bytes.appendBindComplete()
            for row in rows { bytes.appendDataRow(texts: row) }
            if let error {
                bytes.appendErrorResponse(error)
            } else {
                bytes.appendCommandComplete("SELECT 1")
            }
            bytes.appendReadyForQuery(.idle)
            var answer = AuthenticationAnswer(about: "ann")
            var result: QueriedSecret?
            bytes.withUnsafeBytes { raw in
                var offset = 0
                while offset < raw.count {
                    let header = MessageHeader(raw, at: offset)
                    let start = offset + MessageHeader.size
                    offset = start + header.bodyLength
                    result = answer.take(
                        BackendKind(rawValue: header.kind),
                        UnsafeRawBufferPointer(rebasing: raw[start..<offset]))
                }
            }
            return result
        }
        #expect(found([["ann", "secret"]]) == .found(.plain(Array("secret".utf8))))
        #expect(found([["ann", nil]]) == .found(.plain([])))
        #expect(found([]) == .nobody)
        #expect(found([[nil, "secret"]]) == .nobody)
        #expect(found([["ann", "a"], ["ann", "a"]]) == .unusable("more than one row"))
        #expect(found([["bob", "secret"]]) == .unusable("the name of another user"))
        #expect(found([["ann"]]) == .unusable("1 column in place of 2"))
        #expect(found([["ann", "x", "y"]]) == .unusable("3 columns in place of 2"))
        #expect(found([["ann", "SCRAM-SHA-256$1"]]) == .unusable("a secret that is malformed"))
        let refusal = PgError.error(.insufficientPrivilege, "no")
        #expect(found([], error: refusal) == .refused(refusal))
        #expect(found([["ann", "x"]], error: refusal) == .refused(refusal))
    }

    @Test("The user's name is a parameter of the question")
    func question() {
        let bytes = AuthenticationAnswer.question("SELECT $1", about: "a'; DROP")
        var expected: [UInt8] = []
        expected.appendParse(name: "", query: "SELECT $1")
        expected.appendBind(texts: ["a'; DROP"])
        expected.appendExecute()
        expected.appendSync()
        #expect(bytes == expected)
    }
}
