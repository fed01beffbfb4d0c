// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import PostgresWire
import Testing

@Suite("pgbouncer's userlist.txt")
struct UserListTests {
    @Test("Plain, md5 and SCRAM secrets, comments and blank lines")
    func kinds() throws {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        let scram = "SCRAM-SHA-256$4096:AAAA$\(key):\(key)"
        let list = try UserList(
            parsing: """
                ; a comment
                # another "x

                "ann" "secret"
                  "bob"\t"md50123456789abcdef0123456789abcdef" ignored "too"\r
                "cat""s""\(scram)"
                """.replacing("\"cat\"\"s\"\"", with: "\"cat\"\"s\" \""))
        #expect(list.users == ["ann", "bob", "cat\"s"])
        #expect(list.secret(for: "ann") == .plain(Array("secret".utf8)))
        #expect(list.secret(for: "bob") == .md5("md50123456789abcdef0123456789abcdef"))
        #expect(list.secret(for: "cat\"s") == ScramSecret(parsing: scram).map { .scram($0) })
        #expect(list.secret(for: "dan") == nil)
    }

    @Test(
        "Fields",
        arguments: [
            ("\"a\" \"b\"", "a", "b"), ("\"a\"\"b\" \"c\"\"\"", "a\"b", "c\""),
            ("\"a\" \"\"", "a", ""), ("\"a\" x \"b\"", "a", "b"), ("\"é\" \"ü;#\"", "é", "ü;#"),
            ("\"a\" \"b\r\"\r", "a", "b\r"), ("\"a\" \"md5short\"", "a", "md5short"),
            (
                "\"a\" \"md5g123456789abcdef0123456789abcdef\"", "a",
                "md5g123456789abcdef0123456789abcdef"
            ),
            ("\"a\" \"scram\"", "a", "scram"), ("\"a b\" \"c d\"", "a b", "c d"),
        ])
    func fields(line: String, user: String, secret: String) throws {
        #expect(try UserList(parsing: line).secret(for: user) == .plain(Array(secret.utf8)))
        #expect(
            try UserList(parsing: "\n\(line)\n\n").secret(for: user) == .plain(Array(secret.utf8)))
    }

    @Test("Of two lines for a user the last counts")
    func lastWins() throws {
        let list = try UserList(parsing: "\"a\" \"1\"\n\"b\" \"2\"\n\"a\" \"3\"")
        #expect(list.secret(for: "a") == .plain(Array("3".utf8)))
        #expect(list.users == ["a", "b"])
        #expect(UserList().users.isEmpty)
    }

    @Test(
        "Errors name the line and not what is in it",
        arguments: [
            ("ann secret", 1), ("\n\nann \"secret\"", 3), ("\"a\" \"b\"\n\"a", 2),
            ("\"a\"", 1), ("\"a\" secret", 1), ("\"a\" \"secret", 1), ("\"\" \"secret\"", 1),
            ("; x\r\n\"a\" \"SCRAM-SHA-256$secret\"", 2), ("\"a\" \"secret\"\"", 1),
        ])
    func errors(text: String, line: Int) {
        #expect {
            _ = try UserList(parsing: text)
        } throws: {
            guard let error = $0 as? UserListError else { return false }
            return error.line == line && !error.reason.contains("ann")
                && !error.reason.contains("SCRAM-SHA-256$")
        }
    }

    @Test("A password is bytes, of any encoding and up to 65,535 of them")
    func bytes() throws {
        let odd: [UInt8] = [0xff, 0x80, 0x5c, 0x27]
        let list = try UserList(parsing: Array("\"a\" \"".utf8) + odd + Array("\"".utf8))
        #expect(list.secret(for: "a") == .plain(odd))
        let longest = [UInt8](repeating: 0x78, count: 65_535)
        let line = Array("\"a\" \"".utf8) + longest
        #expect(try UserList(parsing: line + [0x22]).secret(for: "a") == .plain(longest))
        #expect(throws: UserListError(line: 1, reason: "the secret is longer than 65535 bytes")) {
            try UserList(parsing: line + [0x78, 0x22])
        }
        #expect(throws: UserListError(line: 1, reason: "the secret has a NUL in it")) {
            try UserList(parsing: Array("\"a\" \"b".utf8) + [0, 0x22])
        }
        #expect(throws: UserListError(line: 1, reason: "the user name is not UTF-8 text")) {
            try UserList(parsing: [0x22, 0xff, 0x22, 0x20, 0x22, 0x22])
        }
    }
}
