// SPDX-License-Identifier: Apache-2.0

/// Growing pauses between attempts: each twice the one before up to a limit, of which a random half
/// is taken away so that many who failed together do not come back together.
package struct RetryDelay: Equatable, Sendable {
    package let first: Duration
    package let limit: Duration
    /// How many pauses have been given since the last success.
    package private(set) var failures = 0

    package init(first: Duration, limit: Duration) {
        self.first = first
        self.limit = limit
    }

    package mutating func next(using random: inout some RandomNumberGenerator) -> Duration {
        var pause = first
        for _ in 0..<min(failures, 30) where pause < limit { pause = pause * 2 }
        failures += 1
        pause = min(pause, limit)
        return pause * Double.random(in: 0.5...1, using: &random)
    }

    package mutating func succeeded() { failures = 0 }
}
