/// Durations as files write them: seconds with or without a fraction, as in pgbouncer, or a number
/// with a unit. All arithmetic is in whole nanoseconds, so what is written back reads the same.
enum DurationText {
    enum Unit: String, CaseIterable {
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

    /// Sixty-eight years: what fits in the 32 bit seconds of old interfaces.
    static let maximum = Duration.seconds(Int64(Int32.max))

    static func parse(
        _ text: String, bareUnit: Unit = .second
    ) throws(SettingValueError) -> Duration {
        let bytes = Array(text.utf8)
        guard let numberEnd = numberEnd(bytes) else { throw malformed(text, bareUnit) }
        let suffix = String(decoding: bytes[numberEnd...], as: Unicode.UTF8.self)
            .trimmedBlanks.asciiLowercased
        guard let unit = suffix.isEmpty ? bareUnit : Unit(rawValue: suffix) else {
            throw malformed(text, bareUnit)
        }
        guard let value = nanoseconds(bytes[..<numberEnd], unit: unit), value <= maximum else {
            throw SettingValueError("\(quoted(text)) is too long: at most 68 years")
        }
        return value
    }

    /// The index after digits, or digits with one point among them; nil when there is no digit.
    private static func numberEnd(_ bytes: [UInt8]) -> Int? {
        var index = 0
        var digits = 0
        var points = 0
        while index < bytes.count {
            if SettingText.isDigit(bytes[index]) {
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

    private static func malformed(_ text: String, _ bareUnit: Unit) -> SettingValueError {
        let bare = bareUnit == .millisecond ? "milliseconds" : "seconds"
        return SettingValueError(
            "\(quoted(text)) is not a duration",
            advice: "a number of \(bare), or one with us, ms, s, min, h or d")
    }

    /// A number of `unit`, with as many decimals as it needs.
    static func render(_ duration: Duration, in unit: Unit = .second) -> String {
        let parts = duration.components
        let nanoseconds = parts.seconds * 1_000_000_000 + parts.attoseconds / 1_000_000_000
        let whole = nanoseconds / unit.nanoseconds
        var remainder = nanoseconds % unit.nanoseconds
        guard remainder != 0 else { return "\(whole)" }
        var decimals = ""
        var scale = unit.nanoseconds
        while remainder != 0, scale > 1 {
            scale /= 10
            decimals += "\(remainder / scale)"
            remainder %= scale
        }
        return "\(whole).\(decimals)"
    }
}
