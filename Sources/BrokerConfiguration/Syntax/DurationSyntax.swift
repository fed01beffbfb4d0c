// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Durations as files write them, with what to say of those that are none.
extension DurationText {
    static func parse(
        _ text: String, bareUnit: Unit = .second
    ) throws(SettingValueError) -> Duration {
        switch read(text, bareUnit: bareUnit) {
        case .duration(let value): return value
        case .tooLong:
            throw SettingValueError("\(quoted(text)) is too long: at most 68 years")
        case .malformed:
            let bare = bareUnit == .millisecond ? "milliseconds" : "seconds"
            throw SettingValueError(
                "\(quoted(text)) is not a duration",
                advice: "a number of \(bare), or one with us, ms, s, min, h or d")
        }
    }
}
