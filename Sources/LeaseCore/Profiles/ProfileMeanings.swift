// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Numbers for the sets of settings that bear on what a statement means when it is parsed
/// (`ParseMeaning`). Profiles that differ in `application_name` or a time-out only have the same number.
///
/// Invariant: a number is never used again for another set; 0 is the empty one.
struct ProfileMeanings {
    private var bySettings: [[ProfileEntry]: (number: UInt32, references: Int)] = [:]
    private var last: UInt32 = 0

    /// The number of what counts among these settings, with one more reference.
    mutating func intern(_ entries: [ProfileEntry]) -> UInt32 {
        let settings = Self.settings(of: entries)
        guard !settings.isEmpty else { return 0 }
        if let known = bySettings[settings] {
            bySettings[settings]!.references += 1
            return known.number
        }
        last += 1
        bySettings[settings] = (last, 1)
        return last
    }

    mutating func release(_ entries: [ProfileEntry]) {
        let settings = Self.settings(of: entries)
        guard let known = bySettings[settings] else { return }
        if known.references == 1 {
            bySettings[settings] = nil
        } else {
            bySettings[settings]!.references -= 1
        }
    }

    private static func settings(of entries: [ProfileEntry]) -> [ProfileEntry] {
        entries.filter { !ParseMeaning.isHarmless(setting: $0.name) }
    }
}
