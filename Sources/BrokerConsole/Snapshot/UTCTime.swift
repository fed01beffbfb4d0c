// SPDX-License-Identifier: Apache-2.0

/// A moment as UTC with milliseconds: `2026-11-23T11:05:33.123Z`.
///
/// Computed from the day count, without `gmtime`: a line costs no look-up of time zone data.
package struct UTCTime: Equatable, Sendable {
    /// Since 1970.
    package let seconds: Int
    package let nanoseconds: Int

    package init(seconds: Int, nanoseconds: Int) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package func append(to bytes: inout [UInt8]) {
        var days = seconds / 86_400
        var rest = seconds % 86_400
        if rest < 0 {
            days -= 1
            rest += 86_400
        }
        let date = Self.civilDate(daysSinceEpoch: days)
        Self.appendPadded(date.year, digits: 4, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.appendPadded(date.month, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: "-"))
        Self.appendPadded(date.day, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: "T"))
        Self.appendPadded(rest / 3600, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.appendPadded(rest / 60 % 60, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        Self.appendPadded(rest % 60, digits: 2, to: &bytes)
        bytes.append(UInt8(ascii: "."))
        Self.appendPadded(nanoseconds / 1_000_000, digits: 3, to: &bytes)
        bytes.append(UInt8(ascii: "Z"))
    }

    /// The date of a day count since 1970-01-01 in the Gregorian calendar: eras of 400 years,
    /// years that begin in March so that the leap day is a year's last.
    private static func civilDate(daysSinceEpoch: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = daysSinceEpoch + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra =
            (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return (year, month, day)
    }

    private static func appendPadded(_ value: Int, digits: Int, to bytes: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            bytes.append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }

    /// `2026-11-23 17:00:00.123 UTC`, for events.
    var consoleText: String { text(until: 23) }

    /// `2026-11-23 17:00:00 UTC`, as pgbouncer writes it.
    var secondsText: String { text(until: 19) }

    private func text(until end: Int) -> String {
        var bytes: [UInt8] = []
        append(to: &bytes)
        bytes[10] = UInt8(ascii: " ")
        return String(decoding: bytes[..<end], as: Unicode.UTF8.self) + " UTC"
    }
}
