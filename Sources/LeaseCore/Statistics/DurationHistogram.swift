// SPDX-License-Identifier: Apache-2.0

/// How long something took, counted in buckets that double: 50 µs, 100 µs, 200 µs … 105 s, longer.
///
/// The bounds are the same everywhere and never change, so that Prometheus can sum over pools, brokers and
/// time. Recording is a few instructions and allocates nothing.
package struct DurationHistogram {
    package init() {}

    /// What the first bucket holds at most, in nanoseconds.
    package static let unit: Int64 = 50_000
    package static let boundCount = 22

    /// The buckets by themselves (not summed up); the last is for what is longer than every bound.
    private var counts = [23 of UInt64](repeating: 0)
    package private(set) var nanoseconds: Int64 = 0

    /// The longest duration that a bucket holds, in nanoseconds.
    package static func bound(_ bucket: Int) -> Int64 { unit << Int64(bucket) }

    @inline(__always)
    package mutating func record(_ nanoseconds: Int64) {
        let time = max(nanoseconds, 0)
        // How many whole units lie below it: 0 up to and with the first bound, 1 up to the second …
        let units = UInt64(max(time, 1) - 1) / UInt64(Self.unit)
        let bucket = UInt64.bitWidth - units.leadingZeroBitCount
        counts[min(bucket, Self.boundCount)] &+= 1
        self.nanoseconds &+= time
    }

    package var count: UInt64 {
        var sum: UInt64 = 0
        for bucket in counts.indices { sum += counts[bucket] }
        return sum
    }

    /// How many lasted no longer than each bound.
    package var cumulative: [UInt64] {
        var sum: UInt64 = 0
        return (0..<Self.boundCount).map {
            sum += counts[$0]
            return sum
        }
    }

    package static func += (sum: inout DurationHistogram, next: DurationHistogram) {
        for bucket in sum.counts.indices { sum.counts[bucket] &+= next.counts[bucket] }
        sum.nanoseconds &+= next.nanoseconds
    }
}
