// SPDX-License-Identifier: Apache-2.0

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
    /// As long as a password message may be.
    package static let longestSecret = 65_535

    private var secrets: [String: StoredSecret] = [:]

    /// A list without users.
    package init() {}

    package init(parsing text: String) throws(UserListError) {
        try self.init(parsing: Array(text.utf8))
    }

    /// A password may be of any bytes.
    package init(parsing text: [UInt8]) throws(UserListError) {
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            try read(Array(line), number: index + 1)
        }
    }

    package func secret(for user: String) -> StoredSecret? { secrets[user] }

    package var users: [String] { secrets.keys.sorted() }

    /// How the secrets are stored with which somebody can log in, in the order of the users.
    var forms: [SecretForm] {
        users.compactMap { user in secrets[user].flatMap { $0.isEmpty ? nil : $0.form } }
    }

    /// Some user can log in with a password.
    package var hasSecrets: Bool { secrets.values.contains { !$0.isEmpty } }

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
        let name = try Self.takeField(line, from: &offset, number: number)
        guard !name.isEmpty else {
            throw UserListError(line: number, reason: "the user name is empty")
        }
        guard let user = String(validating: name, as: UTF8.self) else {
            throw UserListError(line: number, reason: "the user name is not UTF-8 text")
        }
        while offset < line.count, line[offset] != UInt8(ascii: "\"") { offset += 1 }
        guard offset < line.count else {
            throw UserListError(
                line: number, reason: "the secret in double quotes is missing after the user name")
        }
        let text = try Self.takeField(line, from: &offset, number: number)
        guard !text.contains(0) else {
            throw UserListError(line: number, reason: "the secret has a NUL in it")
        }
        guard text.count <= Self.longestSecret else {
            throw UserListError(
                line: number, reason: "the secret is longer than \(Self.longestSecret) bytes")
        }
        guard let secret = StoredSecret(parsing: text) else {
            throw UserListError(line: number, reason: "the SCRAM secret is malformed")
        }
        secrets[user] = secret
    }

    /// Takes a quoted field that begins at `offset`.
    private static func takeField(
        _ line: [UInt8], from offset: inout Int, number: Int
    ) throws(UserListError) -> [UInt8] {
        var field: [UInt8] = []
        offset += 1
        while offset < line.count {
            if line[offset] == UInt8(ascii: "\"") {
                offset += 1
                guard offset < line.count, line[offset] == UInt8(ascii: "\"") else {
                    return field
                }
            }
            field.append(line[offset])
            offset += 1
        }
        throw UserListError(line: number, reason: "a double quote is not closed on its line")
    }
}
