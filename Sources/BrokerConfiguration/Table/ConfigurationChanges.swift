// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// One difference between two configurations, as a reload reports it.
package struct SettingChange: Equatable, Sendable {
    /// A setting, or "databases.app.pool_size", or "databases.app" for a whole line.
    package let name: String
    /// nil: not there before.
    package let old: String?
    /// nil: gone.
    package let new: String?
    /// It stays as it was until the next start.
    package let needsRestart: Bool
}

extension SettingChange: CustomStringConvertible {
    package var description: String {
        let text =
            switch (old, new) {
            case (nil, let new?): "\(name): added (\(new))"
            case (_?, nil): "\(name): removed"
            case (let old, let new): "\(name): \(quoted(old ?? "")) -> \(quoted(new ?? ""))"
            }
        return needsRestart ? text + ", needs a restart" : text
    }
}

extension Configuration {
    /// What differs in `new`, in the order of the documentation. Secrets appear as `***`.
    package func changes(to new: Configuration) -> [SettingChange] {
        var changes: [SettingChange] = []
        for setting in Settings.all {
            let before = setting.text(in: settings)
            let after = setting.text(in: new.settings)
            if before != after {
                changes.append(
                    SettingChange(
                        name: setting.name, old: before, new: after,
                        needsRestart: !setting.changeable))
            }
        }
        changes += Self.changes(from: databases, to: new.databases, section: "databases")
        changes += Self.changes(from: users, to: new.users, section: "users")
        changes += Self.changes(from: groups, to: new.groups, section: "groups")
        changes += Self.changes(from: peers, to: new.peers, section: "peers")
        let order = groups.map(\.name)
        let newOrder = new.groups.map(\.name)
        if order != newOrder, order.sorted() == newOrder.sorted() {
            changes.append(
                SettingChange(
                    name: "groups", old: order.joined(separator: ", "),
                    new: newOrder.joined(separator: ", "), needsRestart: false))
        }
        return changes
    }

    private static func changes<Entry: ConfigurationEntry>(
        from old: [Entry], to new: [Entry], section: String
    ) -> [SettingChange] {
        var changes: [SettingChange] = []
        for entry in old {
            let name = "\(section).\(entry.name)"
            guard let successor = new.first(where: { $0.name == entry.name }) else {
                changes.append(
                    SettingChange(
                        name: name, old: shown(entry), new: nil, needsRestart: false))
                continue
            }
            if entry != successor {
                changes += keyChanges(from: entry, to: successor, name: name)
            }
        }
        for entry in new where !old.contains(where: { $0.name == entry.name }) {
            changes.append(
                SettingChange(
                    name: "\(section).\(entry.name)", old: nil, new: shown(entry),
                    needsRestart: false))
        }
        return changes
    }

    private static func keyChanges<Entry: ConfigurationEntry>(
        from old: Entry, to new: Entry, name: String
    ) -> [SettingChange] {
        let before = old.keyTexts
        let after = new.keyTexts
        var keys = before.map(\.key)
        keys += after.map(\.key).filter { !keys.contains($0) }
        return keys.compactMap { key in
            let old = before.first { $0.key == key }
            let new = after.first { $0.key == key }
            guard old?.text != new?.text else { return nil }
            return SettingChange(
                name: "\(name).\(key)", old: old?.shown, new: new?.shown, needsRestart: false)
        }
    }

    private static func shown(_ entry: some ConfigurationEntry) -> String {
        entry.keyTexts.map { "\($0.key)=\($0.shown)" }.joined(separator: " ")
    }
}

/// A key of a line with its value; only `shown` may leave the process.
struct KeyText {
    let key: String
    let text: String
    let isSecret: Bool

    var shown: String { isSecret ? "***" : text }
}

/// A line of one of the sections, taken apart for comparison.
protocol ConfigurationEntry: Equatable, Sendable {
    var name: String { get }
    var keyTexts: [KeyText] { get }
}

extension DatabaseEntry: ConfigurationEntry {
    var keyTexts: [KeyText] {
        let parameters = (serverParameters + startupParameters).map {
            KeyText(
                key: $0.keyword, text: $0.value, isSecret: ServerParameter.isSecret($0.keyword))
        }
        return parameters
            + EntryKey<DatabaseEntry>.all.compactMap { key in
                // The password's text is its value here, so that a new one is seen as a change.
                let text = key.name == "password" ? password?.value : key.text(self)
                return text.map { KeyText(key: key.name, text: $0, isSecret: key.isSecret) }
            }
    }
}

extension UserEntry: ConfigurationEntry {
    var keyTexts: [KeyText] { EntryKey<UserEntry>.all.compactMap { $0.keyText(of: self) } }
}

extension GroupEntry: ConfigurationEntry {
    var keyTexts: [KeyText] { EntryKey<GroupEntry>.all.compactMap { $0.keyText(of: self) } }
}

extension PeerEntry: ConfigurationEntry {
    var keyTexts: [KeyText] { EntryKey<PeerEntry>.all.compactMap { $0.keyText(of: self) } }
}

extension EntryKey {
    fileprivate func keyText(of entry: Entry) -> KeyText? {
        text(entry).map { KeyText(key: name, text: $0, isSecret: isSecret) }
    }
}
