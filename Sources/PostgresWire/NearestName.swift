// SPDX-License-Identifier: Apache-2.0

/// "did you mean": the known name that is fewest edits away.
package enum NearestName {
    package static func of(_ name: String, among known: some Sequence<String>) -> String? {
        let lowered = Array(name.asciiLowercased.utf8.prefix(64))
        var best: (name: String, distance: Int)?
        for candidate in known {
            let distance = distance(lowered, Array(candidate.asciiLowercased.utf8))
            if distance < best?.distance ?? Int.max { best = (candidate, distance) }
        }
        guard let best, best.distance <= max(1, lowered.count / 3) else { return nil }
        return best.name
    }

    /// Levenshtein's, two rows at a time.
    private static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        guard !left.isEmpty else { return right.count }
        var previous = Array(0...right.count)
        for (row, byte) in left.enumerated() {
            var current = [row + 1]
            for (column, other) in right.enumerated() {
                let substitution = previous[column] + (byte == other ? 0 : 1)
                current.append(min(substitution, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[right.count]
    }
}
