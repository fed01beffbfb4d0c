// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What to do about a name that its place does not know: it belongs elsewhere, has a longer or shorter name
/// here, or is misspelt.
enum NameAdvice {
    /// For the main section, the environment and `--set`. `render` shows a setting's name as it is
    /// written there.
    static func forSetting(
        _ name: String, render: (String) -> String = { $0 }
    ) -> String? {
        if let advice = exact(name, render) { return advice }
        let known =
            Settings.all.map(\.name) + ReplacedSetting.byName.keys.sorted()
            + sections.flatMap(\.keys)
        guard let nearest = NearestName.of(name, among: known) else { return nil }
        let isSetting = Settings.byName[nearest] != nil || ReplacedSetting.byName[nearest] != nil
        return isSetting ? "did you mean \(render(nearest))?" : exact(nearest, render)
    }

    /// For a key of a line of `section`, which knows `known`.
    static func forKey(_ key: String, section: String, known: [String]) -> String? {
        if Settings.byName[key] != nil {
            let own = known.filter { key.hasSuffix("_\($0)") }.max { $0.utf8.count < $1.utf8.count }
            return own.map { "did you mean \($0)?" }
                ?? "\(key) is a setting of [pglease], not of one line"
        }
        if let other = sections.first(where: { $0.name != section && $0.keys.contains(key) }) {
            return "\(key) belongs to a line of [\(other.name)]"
        }
        return NearestName.of(key, among: known).map { "did you mean \($0)?" }
    }

    private static let sections: [(name: String, keys: [String])] = [
        ("databases", DatabaseKeyword.allNames),
        ("users", EntryKey<UserEntry>.all.map(\.name)),
        ("groups", EntryKey<GroupEntry>.all.map(\.name)),
        ("peers", EntryKey<PeerEntry>.all.map(\.name)),
    ]

    /// The name is a key of a line, or lacks only the first word of exactly one setting's name.
    private static func exact(_ name: String, _ render: (String) -> String) -> String? {
        let longer = Settings.all.map(\.name).filter { setting in
            setting.hasSuffix("_\(name)")
                && !setting.dropLast(name.utf8.count + 1).contains("_")
        }
        let general =
            longer.first { $0 == "default_\(name)" } ?? (longer.count == 1 ? longer[0] : nil)
        guard let section = sections.first(where: { $0.keys.contains(name) }) else {
            return general.map { "did you mean \(render($0))?" }
        }
        let place = "\(name) belongs to a line of [\(section.name)]"
        return general.map { "did you mean \(render($0))? \(place)" } ?? place
    }
}
