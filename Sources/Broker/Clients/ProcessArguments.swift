// SPDX-License-Identifier: Apache-2.0

/// A command line as it may be shown: no secrets, no texts of programs or queries, not too long.
enum ProcessArguments {
    /// Bytes that are shown.
    static let limit = 200

    /// The arguments behind the program's name, of a command line as the kernel gives it: one string for each,
    /// a NUL behind each. nil: there are none.
    static func shown(_ commandLine: String) -> String? {
        var words = commandLine.split(separator: "\0", omittingEmptySubsequences: false)
            .map(String.init)
        if words.last == "" { words.removeLast() }
        if words.count == 1 {
            // A process that gave itself a title has it all in one.
            words = words[0].split(separator: " ").map(String.init)
        }
        guard words.count > 1 else { return nil }
        return cut(withoutSecrets(words.dropFirst()).joined(separator: " "))
    }

    private static func withoutSecrets(_ words: ArraySlice<String>) -> [String] {
        var shown: [String] = []
        var hidesNext = false
        for word in words {
            if hidesNext, !word.isEmpty {
                shown.append(hidden)
                hidesNext = false
                continue
            }
            hidesNext = announcesHidden(word)
            shown.append(redacted(word))
        }
        return shown.map { String($0.map { $0.isNewline || $0 < " " ? " " : $0 }) }
    }

    private static let hidden = "***"

    /// What follows is a secret, or the text of a query or a program: `--password x`, `-c 'SELECT …'`.
    private static func announcesHidden(_ word: String) -> Bool {
        guard word.hasPrefix("-"), !word.contains("=") else { return false }
        if isSecret(word) { return true }
        if ["--command", "--execute", "--eval"].contains(word) { return true }
        // Short options may be written together: psql -XAtc.
        let letters = word.dropFirst()
        return !letters.isEmpty && letters.count <= 6 && letters.allSatisfy(\.isLetter)
            && (letters.hasSuffix("c") || letters.hasSuffix("e"))
    }

    private static func redacted(_ word: String) -> String {
        guard let equals = word.firstIndex(of: "=") else { return SecretRedaction.redact(word) }
        let name = word[..<equals]
        let isText = ["--command", "--execute", "--eval"].contains(String(name))
        if isText || (!name.contains(" ") && isSecret(String(name))) {
            return name + "=" + hidden
        }
        return SecretRedaction.redact(word)
    }

    private static func isSecret(_ name: String) -> Bool {
        let name = name.lowercased()
        return ["pass", "pwd", "secret", "token", "key"].contains { name.contains($0) }
    }

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > limit else { return text }
        var end = text.utf8.index(text.startIndex, offsetBy: limit)
        while end.samePosition(in: text) == nil { end = text.utf8.index(before: end) }
        return text[..<end] + "…"
    }
}
