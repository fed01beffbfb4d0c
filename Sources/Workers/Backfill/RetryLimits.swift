// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// How long a job bears what passes by itself: a broker or a server that restarts, a pool without a
/// free connection. Counted anew after each success.
package struct RetryLimits: Equatable, Sendable {
    /// Failures in a row, after which the job has failed.
    package var attempts = 10
    package var firstPause: Duration = .milliseconds(250)
    package var longestPause: Duration = .seconds(15)

    package init() {}

    /// After so many failures in a row.
    func pause(after failures: Int) -> Duration {
        var pause = firstPause
        for _ in 1..<max(1, failures) {
            pause = pause * 2
            if pause >= longestPause { return longestPause }
        }
        return min(pause, longestPause)
    }

    /// Runs `body` until it succeeds, fails for good, or has failed too often. `body` may have had
    /// its effect although it threw (a lost answer to COMMIT), so it must bear to be repeated.
    func run<Result: Sendable>(
        onFailure: (any Error) -> Void, _ body: () async throws -> Result
    ) async throws -> Result {
        var failures = 0
        while true {
            do {
                return try await body()
            } catch let error where error.passesByItself {
                try Task.checkCancellation()
                failures += 1
                if failures >= attempts { throw error }
                if failures == 1 { onFailure(error) }
                // Spread: jobs that failed together do not come back together.
                let pause = pause(after: failures) * Double.random(in: 0.5...1)
                try await Task.sleep(for: pause, clock: .continuous)
            }
        }
    }
}

extension Error {
    /// Whether the same may succeed a little later.
    var passesByItself: Bool {
        guard let error = self as? LeaseError else { return false }
        switch error.code {
        case .exhausted, .poolLock, .revoked, .serverLost, .brokerAway: return true
        case .serverUnreachable, .sql:
            guard let error = error.postgresError else { return false }
            return error.isWorthRetrying || error.sqlState.hasPrefix("08")
                || ["57P01", "57P02", "57P03", "53300"].contains(error.sqlState)
        default: return false
        }
    }
}
