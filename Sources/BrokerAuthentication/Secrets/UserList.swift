import PostgresWire

/// Why a userlist is refused, and where.
package struct UserListError: Error, Equatable, Sendable {
    /// From 1.
    package let line: Int
    /// Without the content of the line, which may hold a password.
    package let reason: String

    package init(line: Int, reason: String) {
        self.line = line
        self.reason = reason
    }
}

/// The users and secrets of pgbouncer's `auth_file`.
///
/// A line is `"user" "secret"`; two double quotes inside a field stand for one; what follows the
/// second field is ignored, as are lines that begin with ';' or '#'. Of a user that is listed
/// twice, the last line counts.
package struct UserList: Sendable {
    package enum StoredSecret: Equatable, Sendable {
        case plain(String)
        /// "md5" and 32 hexadecimal digits.
        case md5(String)
        case scram(ScramSecret)
    }

    private var secrets: [String: StoredSecret] = [:]

    /// A list without users.
    package init() {}

    package init(parsing text: String) throws(UserListError) {
        let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            try read(Array(line), number: index + 1)
        }
    }

    package func secret(for user: String) -> StoredSecret? { secrets[user] }

    package var users: [String] { secrets.keys.sorted() }

    private mutating func read(_ line: [UInt8], number: Int) throws(UserListError) {
        var offset = 0
        while offset < line.count, isSpace(line[offset]) { offset += 1 }
        guard offset < line.count, line[offset] != UInt8(ascii: ";"),
            line[offset] != UInt8(ascii: "#")
        else { return }
        guard line[offset] == UInt8(ascii: "\"") else {
            throw UserListError(
                line: number, reason: "a line begins with the user name in double quotes")
        }
        let user = try Self.takeField(line, from: &offset, number: number)
        guard !user.isEmpty else {
            throw UserListError(line: number, reason: "the user name is empty")
        }
        while offset < line.count, line[offset] != UInt8(ascii: "\"") { offset += 1 }
        guard offset < line.count else {
            throw UserListError(
                line: number, reason: "the secret in double quotes is missing after the user name")
        }
        let text = try Self.takeField(line, from: &offset, number: number)
        secrets[user] = try Self.secret(text, number: number)
    }

    /// Takes a quoted field that begins at `offset`.
    private static func takeField(
        _ line: [UInt8], from offset: inout Int, number: Int
    ) throws(UserListError) -> String {
        var field: [UInt8] = []
        offset += 1
        while offset < line.count {
            if line[offset] == UInt8(ascii: "\"") {
                offset += 1
                guard offset < line.count, line[offset] == UInt8(ascii: "\"") else {
                    return String(decoding: field, as: UTF8.self)
                }
            }
            field.append(line[offset])
            offset += 1
        }
        throw UserListError(line: number, reason: "a double quote is not closed on its line")
    }

    private static func secret(
        _ text: String, number: Int
    ) throws(UserListError) -> StoredSecret {
        if text.utf8.starts(with: "SCRAM-SHA-256$".utf8) {
            guard let secret = ScramSecret(parsing: text) else {
                throw UserListError(line: number, reason: "the SCRAM secret is malformed")
            }
            return .scram(secret)
        }
        let isMD5 =
            text.utf8.count == 35 && text.utf8.starts(with: "md5".utf8)
            && text.utf8.dropFirst(3).allSatisfy { isDigit($0) || (97...102).contains($0) }
        return isMD5 ? .md5(text) : .plain(text)
    }
}
