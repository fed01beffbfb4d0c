// SPDX-License-Identifier: Apache-2.0

/// How fast a job goes and when it will be done.
struct ProgressMeter: Sendable {
    /// How much the last batch weighs against all before it.
    private static let weight = 0.3

    private(set) var count: Int
    var total: Int
    /// Rows a second, smoothed; nil before the first batch.
    private(set) var rate: Double?
    private var last: ContinuousClock.Instant

    /// A job that goes on begins with a count, which says nothing of its speed.
    init(count: Int, total: Int, now: ContinuousClock.Instant) {
        self.count = count
        self.total = total
        last = now
    }

    mutating func wrote(_ rows: Int, now: ContinuousClock.Instant) {
        count += rows
        let time = last.duration(to: now) / .seconds(1)
        last = now
        guard time > 0 else { return }
        let current = Double(rows) / time
        rate = rate.map { $0 + ProgressMeter.weight * (current - $0) } ?? current
    }

    /// Nil while nothing is known of the speed. A table that has grown is nearly done.
    var remaining: Duration? {
        guard let rate, rate > 0 else { return nil }
        return .seconds((Double(max(0, total - count)) / rate).rounded())
    }

    /// From 0 to 100.
    var percent: Double {
        total > 0 ? min(100, (Double(count) / Double(total) * 1000).rounded() / 10) : 100
    }
}
