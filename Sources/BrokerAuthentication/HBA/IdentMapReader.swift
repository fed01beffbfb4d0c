// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Reads `auth_ident_file`: lines of a map's name, a name of the system and a role, or `all` of them.
package struct IdentMapReader {
    private let file: String
    package private(set) var maps = IdentMaps()
    package private(set) var issues: [HBAIssue] = []

    package init(file: String, text: String) {
        self.file = file
        for line in HBALine.lines(of: text) {
            do throws(HBAMistake) {
                try read(line)
            } catch {
                issues.append(error.issue(file, line.number))
            }
        }
    }

    private mutating func read(_ line: HBALine) throws(HBAMistake) {
        let words = try line.words()
        guard let map = words.first else { return }
        if words.contains(where: \.isFollowedByComma) {
            throw HBAMistake("a list has no place in a map", advice: "write a line for each name")
        }
        if !map.isQuoted, ["include", "include_if_exists", "include_dir"].contains(map.text) {
            throw HBAMistake("\"\(map.text)\" is not supported", advice: "write the lines here")
        }
        guard words.count == 3 else {
            throw HBAMistake(
                words.count < 3 ? "a column is missing" : "there are more than three columns",
                advice: "a line is: map-name system-username database-username")
        }
        if let expression = words[1...].first(where: { !$0.isQuoted && $0.text.hasPrefix("/") }) {
            throw HBAMistake(
                "\(quoted(expression.text)) is a regular expression, which is not supported",
                advice: "write a line for each name; one that begins with / stands in double quotes"
            )
        }
        let role = words[2]
        if !role.isQuoted, role.text.hasPrefix("+") {
            throw HBAMistake(
                "\(quoted(role.text)) is not supported: the broker does not know the members of roles",
                advice: "write a line for each of them")
        }
        maps.entries[map.text, default: []].append(
            IdentMaps.Entry(
                systemName: words[1].text, role: role.isKeyword("all") ? nil : role.text))
    }
}
