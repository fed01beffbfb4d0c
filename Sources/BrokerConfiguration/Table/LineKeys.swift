// SPDX-License-Identifier: Apache-2.0

/// The keys that a line of each section may have, for the manual.
package enum LineKeys {
    /// pglease's own, and libpq's that are passed on.
    package static var databases: [String] { DatabaseKeyword.allNames }
    package static var users: [String] { EntryKey<UserEntry>.all.map(\.name) }
    package static var groups: [String] { EntryKey<GroupEntry>.all.map(\.name) }
    package static var peers: [String] { EntryKey<PeerEntry>.all.map(\.name) }
}

extension SettingKind {
    /// What may be written, in a few words.
    package var shownValues: String {
        switch self {
        case .boolean: "0 or 1"
        case .integer(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .limit(let range): "\(range.lowerBound) to \(range.upperBound), 0 is none"
        case .number(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .duration(zeroIsOff: true): "a duration, 0 is off"
        case .duration(zeroIsOff: false): "a duration"
        case .milliseconds: "milliseconds, or a duration with a unit"
        case .choice(let words): words.joined(separator: ", ")
        case .octalMode: "a mode in octal digits"
        case .text: "a text"
        case .path: "a path"
        case .list: "a list, between commas"
        }
    }
}
