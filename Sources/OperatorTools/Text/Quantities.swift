// SPDX-License-Identifier: Apache-2.0

/// Figures as a person reads them: two or three digits and a unit.
package enum Quantity {
    /// `0.3 ms`, `12 ms`, `1.2 s`, `45 s`, `3 min`, `2.5 h`, `4 d`.
    package static func duration(microseconds: Int) -> String {
        let time = max(0, microseconds)
        // Where rounding would reach the next unit, the next unit says it.
        switch time {
        case 0: return "0 s"
        case ..<9_950: return "\(tenths(time, of: 1_000)) ms"
        case ..<999_500: return "\(rounded(time, 1_000)) ms"
        case ..<9_950_000: return "\(tenths(time, of: 1_000_000)) s"
        case ..<99_500_000: return "\(rounded(time, 1_000_000)) s"
        case ..<5_970_000_000: return "\(rounded(time, 60_000_000)) min"
        case ..<(99 * hour / 2): return "\(tenths(time, of: hour)) h"
        default: return "\(rounded(time, 24 * hour)) d"
        }
    }

    /// `512 B`, `1.2 kB`, `34 MB`.
    package static func bytes(_ count: Int) -> String {
        if count < 1000 { return "\(max(0, count)) B" }
        return scaled(count, ["kB", "MB", "GB", "TB", "PB", "EB"])
    }

    /// `999`, `1.2 k`, `34 M`.
    package static func count(_ count: Int) -> String {
        if count < 10_000 { return "\(count)" }
        return scaled(count, ["k", "M", "G", "T", "P", "E"])
    }

    private static let hour = 3_600_000_000

    private static func scaled(_ count: Int, _ units: [String]) -> String {
        var unit = 1000
        for name in units.dropLast() {
            if count < unit / 100 * 995 { return "\(tenths(count, of: unit)) \(name)" }
            if count < unit / 10 * 9_995 { return "\(rounded(count, unit)) \(name)" }
            unit *= 1000
        }
        return "\(rounded(count, unit)) \(units[units.count - 1])"
    }

    private static func rounded(_ value: Int, _ unit: Int) -> Int {
        value / unit + (value % unit >= unit - unit / 2 ? 1 : 0)
    }

    /// One decimal below ten of the unit, none above.
    private static func tenths(_ value: Int, of unit: Int) -> String {
        let tenths = rounded(value, unit / 10)
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10)" : "\(rounded(value, unit))"
    }
}
