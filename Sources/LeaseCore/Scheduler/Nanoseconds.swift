// SPDX-License-Identifier: Apache-2.0

/// Time as the scheduler computes with it: bare nanoseconds, `.max` for "never". A policy's
/// durations are converted once, when the policy arrives, so that a decision compares integers.
enum Nanoseconds {
    static let never = Int64.max

    static func from(_ duration: Duration?) -> Int64 {
        guard let duration else { return never }
        return max(0, duration.wholeNanoseconds)
    }
}

extension Instant {
    static let endOfTime = Instant(nanoseconds: .max)

    /// The moment this many nanoseconds later; the end of time rather than overflow.
    @inline(__always)
    func adding(_ nanoseconds: Int64) -> Instant {
        let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
        return Instant(nanoseconds: overflow ? .max : sum)
    }

    /// How many nanoseconds ago `earlier` was; 0 if it is yet to come.
    @inline(__always)
    func nanoseconds(since earlier: Instant) -> Int64 {
        let (difference, overflow) = nanoseconds.subtractingReportingOverflow(earlier.nanoseconds)
        return overflow ? .max : max(0, difference)
    }
}
