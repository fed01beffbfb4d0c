// SPDX-License-Identifier: Apache-2.0

/// A pattern of `*` (any run) and `?` (any one scalar).
package struct GlobPattern: Equatable, Sendable {
    package let text: String

    package init(_ text: String) { self.text = text }

    package var hasWildcards: Bool { text.utf8.contains { $0 == Self.star || $0 == Self.any } }

    private static let star = UInt8(ascii: "*")
    private static let any = UInt8(ascii: "?")

    /// Linear but for one level of going back: only the last `*` is ever tried again.
    package func matches(_ candidate: String) -> Bool {
        let pattern = Array(text.unicodeScalars)
        let subject = Array(candidate.unicodeScalars)
        var patternIndex = 0
        var subjectIndex = 0
        var afterStar: Int?
        var starSubject = 0
        while subjectIndex < subject.count {
            if patternIndex < pattern.count, pattern[patternIndex] == "*" {
                patternIndex += 1
                afterStar = patternIndex
                starSubject = subjectIndex
            } else if patternIndex < pattern.count,
                pattern[patternIndex] == "?" || pattern[patternIndex] == subject[subjectIndex]
            {
                patternIndex += 1
                subjectIndex += 1
            } else if let restart = afterStar {
                starSubject += 1
                subjectIndex = starSubject
                patternIndex = restart
            } else {
                return false
            }
        }
        return pattern[patternIndex...].allSatisfy { $0 == "*" }
    }
}
