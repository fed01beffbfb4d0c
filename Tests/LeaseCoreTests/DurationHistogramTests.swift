// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LeaseCore

/// Where each duration is counted.
@Suite struct DurationHistogramTests {
    /// The bucket that a duration of so many nanoseconds fell into, 22 for longer than all.
    private func bucket(of nanoseconds: Int64) -> Int {
        var histogram = DurationHistogram()
        histogram.record(nanoseconds)
        return histogram.cumulative.firstIndex(of: 1) ?? DurationHistogram.boundCount
    }

    @Test func aBoundBelongsToItsBucketAndTheNextNanosecondDoesNot() {
        for index in 0..<DurationHistogram.boundCount {
            let bound = DurationHistogram.bound(index)
            #expect(bucket(of: bound) == index)
            #expect(bucket(of: bound - 1) == index)
            #expect(bucket(of: bound + 1) == index + 1)
        }
    }

    @Test(arguments: [
        (Int64.min, 0), (-1, 0), (0, 0), (1, 0), (49_999, 0), (50_000, 0), (50_001, 1),
        (100_000, 1), (100_001, 2), (150_000, 2), (200_000, 2), (1_000_000_000, 15),
        (104_857_600_000, 21), (104_857_600_001, 22), (Int64.max, 22),
    ])
    func buckets(_ nanoseconds: Int64, _ expected: Int) {
        #expect(bucket(of: nanoseconds) == expected)
    }

    @Test func everythingIsCountedAndSummed() {
        var histogram = DurationHistogram()
        for exponent in 0..<40 { histogram.record(Int64(1) << Int64(exponent)) }
        #expect(histogram.count == 40)
        #expect(histogram.nanoseconds == (1 << 40) - 1)
        let cumulative = histogram.cumulative
        #expect(cumulative == cumulative.sorted())
        // 2^37 ns and longer are more than 104.9 s.
        #expect(cumulative.last == 37)
        var sum = DurationHistogram()
        sum += histogram
        sum += histogram
        #expect(sum.count == 80 && sum.nanoseconds == 2 * histogram.nanoseconds)
        #expect(sum.cumulative == cumulative.map { $0 * 2 })
    }
}

/// Which groups have a histogram of their own.
@Suite struct GroupTimesTests {
    @Test func namesBeyondTheLimitShareOne() {
        var table = GroupTimesTable()
        for index in 0..<GroupTimesTable.limit {
            #expect(table.times(of: "g\(index)", isConfigured: false).group == "g\(index)")
        }
        #expect(table.times(of: "late", isConfigured: false).group == GroupTimesTable.otherName)
        #expect(table.times(of: "g7", isConfigured: false).group == "g7")
        #expect(table.times(of: "named", isConfigured: true).group == "named")
        #expect(table.times(of: "named", isConfigured: false).group == "named")
        #expect(table.inOrder.count == GroupTimesTable.limit + 2)
        #expect(Set(table.inOrder.map(\.group)).count == table.inOrder.count)
    }

    /// A client may call itself that; the name is never there twice.
    @Test func aGroupThatIsCalledOther() {
        var table = GroupTimesTable()
        let one = table.times(of: "other", isConfigured: false)
        #expect(table.times(of: "other", isConfigured: false) === one)
        #expect(table.inOrder.map(\.group) == ["other"])
        let configured = table.times(of: "other", isConfigured: true)
        #expect(Set(table.inOrder.map(\.group)).count == table.inOrder.count)
        #expect(configured === one)
    }

    @Test func whatWasCountedStays() {
        var table = GroupTimesTable()
        table.times(of: "a", isConfigured: false).hold.record(1)
        table.times(of: "a", isConfigured: false).hold.record(1)
        #expect(table.inOrder.first?.hold.count == 2)
    }
}
