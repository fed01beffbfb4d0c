// SPDX-License-Identifier: Apache-2.0

/// Something that is counted by its cause. The raw value is the name that operators and metrics see.
protocol CountedCause: CaseIterable, Hashable, RawRepresentable, Sendable
where RawValue == String {}

/// How often each cause came up, from 0 on: every cause has a count, also one that never came.
struct Tally<Cause: CountedCause>: Equatable {
    private var counts: [Cause: Int] = [:]

    subscript(cause: Cause) -> Int { counts[cause] ?? 0 }

    mutating func count(_ cause: Cause) { counts[cause, default: 0] += 1 }

    /// All causes in the order of their declaration, for those who export them.
    var byName: [(name: String, count: Int)] {
        Cause.allCases.map { ($0.rawValue, self[$0]) }
    }
}
