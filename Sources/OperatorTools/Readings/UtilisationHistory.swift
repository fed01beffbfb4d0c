// SPDX-License-Identifier: Apache-2.0

/// What was leased and who waited during the last minutes, as far as somebody looked.
///
/// Invariant: samples in the order of time, none older than `span`.
package struct UtilisationHistory: Equatable, Sendable {
    private struct Sample: Equatable, Sendable {
        let time: Duration
        let utilisation: Double?
        let waiting: Int
    }

    /// The time that one column of a sparkline stands for.
    static let step = Duration.seconds(5)
    static let span = Duration.seconds(1800)
    private var samples: [Sample] = []

    package init() {}

    package mutating func add(_ reading: BrokerReading, at time: Duration) {
        let capacity = reading.capacity.map { max(1, $0) }
        samples.append(
            Sample(
                time: time, utilisation: capacity.map { Double(reading.leased) / Double($0) },
                waiting: reading.waiting))
        let stale = samples.prefix { time - $0.time > Self.span }.count
        // Now and then: each removal moves the whole array.
        if stale > 100 { samples.removeFirst(stale) }
    }

    /// The highest of each step, the newest last; nil where nobody looked. A step ends at a multiple
    /// of its length, so that a bar that is drawn stays what it is.
    func utilisation(columns: Int, now: Duration) -> [Double?] {
        buckets(columns, now) { $0.utilisation }
    }

    func waiting(columns: Int, now: Duration) -> [Double?] {
        buckets(columns, now) { Double($0.waiting) }
    }

    private func buckets(
        _ columns: Int, _ now: Duration, _ value: (Sample) -> Double?
    ) -> [Double?] {
        guard columns > 0 else { return [] }
        var bars = [Double?](repeating: nil, count: columns)
        let last = Self.number(now)
        for sample in samples.reversed() {
            let place = columns - 1 - (last - Self.number(sample.time))
            if place < 0 { break }
            guard place < columns, let value = value(sample) else { continue }
            bars[place] = max(bars[place] ?? 0, value)
        }
        return bars
    }

    private static func number(_ time: Duration) -> Int {
        Int(time.components.seconds / step.components.seconds)
    }
}
