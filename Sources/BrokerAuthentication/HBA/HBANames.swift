// SPDX-License-Identifier: Apache-2.0

/// The databases or users of a rule.
package struct HBANames: Equatable, Sendable {
    package internal(set) var isAll = false
    /// `sameuser`: the database of the user's own name.
    package internal(set) var isSameUser = false
    /// `replication`: connections for physical replication, which no other word lets in.
    package internal(set) var isReplication = false
    package internal(set) var names: Set<String> = []

    func containsDatabase(_ client: HBAClient) -> Bool {
        if client.wantsReplication { return isReplication }
        return isAll || (isSameUser && client.database == client.user)
            || names.contains(client.database)
    }

    func containsUser(_ client: HBAClient) -> Bool { isAll || names.contains(client.user) }
}

/// Which column names are read for: a keyword of one is a name in the other.
enum HBANameColumn {
    case databases, users

    var word: String { self == .databases ? "database" : "user" }
}

/// Reads the names of a column, and of the files that `@` names there.
struct HBANameReader {
    let column: HBANameColumn
    /// Returns the text of a file.
    let readFile: (String) throws(HBAMistake) -> String
    private(set) var names = HBANames()

    /// Files in files: deeper is a circle.
    private static let deepest = 10

    init(_ column: HBANameColumn, readFile: @escaping (String) throws(HBAMistake) -> String) {
        self.column = column
        self.readFile = readFile
    }

    /// `file` is where the word stands.
    mutating func take(_ word: HBAWord, in file: String, depth: Int = 0) throws(HBAMistake) {
        guard !word.isQuoted else {
            names.names.insert(word.text)
            return
        }
        switch (word.text, column) {
        case ("all", _): names.isAll = true
        case ("sameuser", .databases): names.isSameUser = true
        case ("replication", .databases): names.isReplication = true
        case ("samerole", .databases), ("samegroup", .databases):
            throw HBAMistake(
                "\"\(word.text)\" is not supported: the broker does not know who is a member",
                advice: "list the databases, or the users in the next column")
        default: try takeName(word.text, in: file, depth)
        }
    }

    private mutating func takeName(
        _ text: String, in file: String, _ depth: Int
    ) throws(HBAMistake) {
        switch text.first {
        case "+" where column == .users:
            throw HBAMistake(
                "\"\(text)\" is not supported: the broker does not know the members of roles",
                advice: "list the users, or put them into a file and write @file")
        case "/":
            throw HBAMistake(
                "\"\(text)\" is a regular expression, which is not supported",
                advice: "list the names; one that begins with / stands in double quotes")
        case "@":
            let name = String(text.dropFirst())
            guard !name.isEmpty else {
                throw HBAMistake("no file is named behind @")
            }
            guard depth < Self.deepest else {
                throw HBAMistake("\(text) is the \(Self.deepest)th file inside a file: a circle")
            }
            try takeFile(Self.path(name, besides: file), depth + 1)
        default: names.names.insert(text)
        }
    }

    /// Names between blanks, commas and line ends.
    private mutating func takeFile(_ path: String, _ depth: Int) throws(HBAMistake) {
        for line in HBALine.lines(of: try readFile(path)) {
            do throws(HBAMistake) {
                for word in try line.words() { try take(word, in: path, depth: depth) }
            } catch {
                throw error.at(path, line.number)
            }
        }
    }

    /// A file that is not named from the root lies beside the one that names it.
    static func path(_ name: String, besides file: String) -> String {
        guard !name.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return name }
        return file[...slash] + name
    }
}
