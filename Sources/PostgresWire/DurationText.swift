// SPDX-License-Identifier: Apache-2.0

/// Durations as people write them: seconds with or without a fraction, or a number with a unit.
/// All arithmetic is in whole nanoseconds, so what is written back reads the same.
package enum DurationText {
    package enum Unit: String, CaseIterable, Sendable {
        case microsecond = "us"
        case millisecond = "ms"
        case second = "s"
        case minute = "min"
        case hour = "h"
        case day = "d"

        var nanoseconds: Int64 {
            switch self {
            case .microsecond: 1_000
            case .millisecond: 1_000_000
            case .second: 1_000_000_000
            case .minute: 60_000_000_000
            case .hour: 3_600_000_000_000
            case .day: 86_400_000_000_000
            }
        }
    }

    package enum Reading: Equatable, Sendable {
        case duration(Duration)
        case malformed
        /// Longer than `maximum`.
        case tooLong
    }

    /// Sixty-eight years: what fits in the 32 bit seconds of old interfaces.
    package static let maximum = Duration.seconds(Int64(Int32.max))

    /// A number and a unit in any case, blanks between them allowed; `bareUnit` is that of a number alone.
    package static func read(_ text: String, bareUnit: Unit = .second) -> Reading {
        let bytes = Array(text.utf8)
        guard let numberEnd = numberEnd(bytes) else { return .malformed }
        var suffix = bytes[numberEnd...].drop(while: isSpace)
        while let last = suffix.last, isSpace(last) { suffix.removeLast() }
        let name = String(decoding: suffix.map(lowercased), as: UTF8.self)
        guard let unit = name.isEmpty ? bareUnit : Unit(rawValue: name) else { return .malformed }
        guard let value = nanoseconds(bytes[..<numberEnd], unit: unit), value <= maximum else {
            return .tooLong
        }
        return .duration(value)
    }

    /// The index after digits, or digits with one point among them; nil when there is no digit.
    private static func numberEnd(_ bytes: [UInt8]) -> Int? {
        var index = 0
        var digits = 0
        var points = 0
        while index < bytes.count {
            if isDigit(bytes[index]) {
                digits += 1
            } else if bytes[index] == UInt8(ascii: "."), points == 0 {
                points += 1
            } else {
                break
            }
            index += 1
        }
        return digits > 0 ? index : nil
    }

    /// nil when it does not fit; what is finer than a nanosecond is cut.
    private static func nanoseconds(_ number: ArraySlice<UInt8>, unit: Unit) -> Duration? {
        var total: Int64 = 0
        var scale = unit.nanoseconds
        var inFraction = false
        for byte in number {
            if byte == UInt8(ascii: ".") {
                inFraction = true
                continue
            }
            let digit = Int64(byte - UInt8(ascii: "0"))
            if inFraction {
                scale /= 10
                let (sum, overflow) = total.addingReportingOverflow(digit * scale)
                if overflow { return nil }
                total = sum
            } else {
                let (tens, overflowTens) = total.multipliedReportingOverflow(by: 10)
                let (sum, overflowSum) = tens.addingReportingOverflow(digit * unit.nanoseconds)
                if overflowTens || overflowSum { return nil }
                total = sum
            }
        }
        return .nanoseconds(total)
    }

    /// A number of `unit`, with as many decimals as it needs; what these cannot say is cut.
    package static func render(_ duration: Duration, in unit: Unit = .second) -> String {
        let parts = duration.components
        let nanoseconds = parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000
        let whole = nanoseconds / unit.nanoseconds
        var remainder = nanoseconds % unit.nanoseconds
        guard remainder != 0 else { return "\(whole)" }
        var decimals = ""
        var scale = unit.nanoseconds
        // A minute and longer units have parts that no number of decimals says exactly.
        while remainder != 0, scale >= 10 {
            scale /= 10
            decimals += "\(remainder / scale)"
            remainder %= scale
        }
        return "\(whole).\(decimals)"
    }
}
