// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Reads an ini file and what it includes into lines; knows nothing of settings.
///
/// The rules are pgbouncer's: comments begin a line with `;` or `#`, a value is the rest of its
/// line, `%include` continues in another file (and in the section that is open).
struct ConfigurationReader {
    /// `key = value` with its section.
    struct Line: Equatable {
        let section: String
        let key: String
        let value: String
        let origin: SettingOrigin
    }

    private(set) var lines: [Line] = []
    /// Each section with the place of its first heading.
    private(set) var sections: [(name: String, origin: SettingOrigin)] = []
    private(set) var issues: [ConfigurationIssue] = []
    private(set) var files: [String] = []

    private let readFile: (String) throws(FileReadError) -> [UInt8]
    private var section: String?
    /// The files that are open, outermost first.
    private var open: [String] = []
    static let deepestInclude = 10

    init(readFile: @escaping (String) throws(FileReadError) -> [UInt8]) {
        self.readFile = readFile
    }

    mutating func read(_ path: String) {
        do throws(FileReadError) {
            take(try readFile(path), of: path)
        } catch {
            issues.append(
                ConfigurationIssue(
                    .file(path: path, line: 0), nil, "cannot be read: \(error.reason)"))
        }
    }

    private mutating func take(_ bytes: [UInt8], of path: String) {
        files.append(path)
        open.append(path)
        var content = bytes[...]
        if content.starts(with: [0xEF, 0xBB, 0xBF]) { content = content.dropFirst(3) }
        let rows = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, row) in rows.enumerated() {
            takeRow(row, origin: .file(path: path, line: index + 1))
        }
        open.removeLast()
    }

    private mutating func takeRow(_ row: ArraySlice<UInt8>, origin: SettingOrigin) {
        guard row.count <= ConfigurationFile.longestLine else {
            return report(
                origin, "the line is longer than \(ConfigurationFile.longestLine) bytes")
        }
        guard let text = String(validating: row, as: UTF8.self), !row.contains(0) else {
            return report(origin, "the line is not UTF-8 text")
        }
        let content = text.trimmedBlanks
        switch content.first {
        case nil, ";", "#": return
        case "[": takeHeading(content, origin: origin)
        case "%": takeDirective(content, origin: origin)
        default: takePair(content, origin: origin)
        }
    }

    private mutating func takeHeading(_ content: Substring, origin: SettingOrigin) {
        guard let close = content.firstIndex(of: "]") else {
            return report(origin, "the section's \"[\" has no \"]\"")
        }
        let rest = content[close...].dropFirst().trimmedBlanks
        guard rest.isEmpty || rest.hasPrefix(";") || rest.hasPrefix("#") else {
            return report(origin, "text after the section's \"]\"")
        }
        let name = String(content[..<close].dropFirst().trimmedBlanks)
        section = name
        if !sections.contains(where: { $0.name == name }) {
            sections.append((name, origin))
        }
    }

    private mutating func takeDirective(_ content: Substring, origin: SettingOrigin) {
        let word = content.prefix { $0 != " " && $0 != "\t" }
        guard word == "%include" else {
            return report(origin, "\(quoted(word)) is not %include")
        }
        let name = String(content[word.endIndex...].trimmedBlanks)
        guard !name.isEmpty else { return report(origin, "%include names no file") }
        guard open.count <= Self.deepestInclude else {
            return report(origin, "%include is nested deeper than \(Self.deepestInclude) files")
        }
        include(name, origin: origin)
    }

    /// A relative name is tried as pgbouncer does, from the working folder, then beside the file
    /// that includes it.
    private mutating func include(_ name: String, origin: SettingOrigin) {
        var candidates = [name]
        if !name.hasPrefix("/"), let slash = open.last?.lastIndex(of: "/"), let outer = open.last {
            candidates.append(String(outer[...slash]) + name)
        }
        var failure: FileReadError?
        for candidate in candidates {
            if let start = open.firstIndex(of: candidate) {
                let cycle = (open[start...] + [candidate]).joined(separator: " -> ")
                return report(origin, "%include goes in a circle: \(cycle)")
            }
            do throws(FileReadError) {
                let bytes = try readFile(candidate)
                return take(bytes, of: candidate)
            } catch {
                failure = failure ?? error
            }
        }
        report(origin, "%include \(quoted(name)): \(failure?.reason ?? "cannot be read")")
    }

    private mutating func takePair(_ content: Substring, origin: SettingOrigin) {
        var rest = content
        guard let key = Self.takeKey(&rest) else {
            return report(origin, "the name's double quote is not closed")
        }
        rest = rest.trimmedBlanks
        guard rest.first == "=", !key.isEmpty else {
            // What stands here may be a password on the wrong line: it is not quoted.
            return report(
                origin, "a line without \"=\"",
                advice: "write name = value; a comment begins with ;")
        }
        guard let section else {
            return report(
                origin, "\(quoted(key)) stands before the first section",
                advice: "begin with [pglease] or [databases]")
        }
        lines.append(
            Line(
                section: section, key: key, value: String(rest.dropFirst().trimmedBlanks),
                origin: origin))
    }

    /// A bare word, or a name in double quotes with inner ones doubled; nil when not closed.
    private static func takeKey(_ rest: inout Substring) -> String? {
        guard rest.first == "\"" else {
            let word = rest.prefix { $0 != "=" && $0 != " " && $0 != "\t" }
            rest = rest[word.endIndex...]
            return String(word)
        }
        rest = rest.dropFirst()
        var key = ""
        while let character = rest.first {
            rest = rest.dropFirst()
            if character == "\"" {
                guard rest.first == "\"" else { return key }
                rest = rest.dropFirst()
            }
            key.append(character)
        }
        return nil
    }

    private mutating func report(
        _ origin: SettingOrigin, _ reason: String, advice: String? = nil
    ) {
        issues.append(ConfigurationIssue(origin, nil, reason, advice: advice))
    }
}
