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
        #expect(list.secret(for: "ann") == .plain("secret"))
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
        #expect(try UserList(parsing: line).secret(for: user) == .plain(secret))
        #expect(try UserList(parsing: "\n\(line)\n\n").secret(for: user) == .plain(secret))
    }

    @Test("Of two lines for a user the last counts")
    func lastWins() throws {
        let list = try UserList(parsing: "\"a\" \"1\"\n\"b\" \"2\"\n\"a\" \"3\"")
        #expect(list.secret(for: "a") == .plain("3"))
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
}
