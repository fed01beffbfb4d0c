// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The lines of `[databases]`, `[users]` and `[groups]`: a name and `key=value` pairs.
extension ConfigurationLoader {
    mutating func takeDatabase(_ line: ConfigurationReader.Line) {
        guard !Self.reservedDatabases.contains(line.key) else {
            errors.append(
                ConfigurationIssue(
                    line.origin, "databases.\(line.key)", "the name is the console's",
                    advice: "choose another name and give dbname=\(line.key)"))
            return
        }
        var entry = DatabaseEntry(name: line.key)
        let setting = "databases.\(line.key)"
        for pair in pairs(of: line.value, setting: setting, origin: line.origin) {
            takeDatabasePair(pair, into: &entry, setting: setting, origin: line.origin)
        }
        if entry.databaseName == nil, !entry.isFallback, entry.serverParameter("service") == nil {
            entry.databaseName = entry.name
        }
        add(entry, origin: line.origin)
    }

    static let reservedDatabases = ["pglease", "pgbouncer"]

    /// Adds an entry, in the place of an earlier one of its name.
    mutating func add(_ entry: DatabaseEntry, origin: SettingOrigin) {
        if let index = configuration.databases.firstIndex(where: { $0.name == entry.name }) {
            configuration.databases[index] = entry
            if case .file(_, _) = origin {
                warnRepeated("databases.\(entry.name)", origin, databaseOrigins[entry.name])
            }
        } else {
            configuration.databases.append(entry)
        }
        databaseOrigins[entry.name] = origin
    }

    mutating func takeUser(_ line: ConfigurationReader.Line) {
        var entry = UserEntry(name: line.key)
        fill(&entry, from: line, section: "users", keys: EntryKey<UserEntry>.all)
        if let index = configuration.users.firstIndex(where: { $0.name == entry.name }) {
            configuration.users[index] = entry
            warnRepeated("users.\(entry.name)", line.origin, userOrigins[entry.name])
        } else {
            configuration.users.append(entry)
        }
        userOrigins[entry.name] = line.origin
    }

    mutating func takeGroup(_ line: ConfigurationReader.Line) {
        var entry = GroupEntry(name: line.key)
        fill(&entry, from: line, section: "groups", keys: EntryKey<GroupEntry>.all)
        if let index = configuration.groups.firstIndex(where: { $0.name == entry.name }) {
            configuration.groups[index] = entry
            warnRepeated("groups.\(entry.name)", line.origin, groupOrigins[entry.name])
        } else {
            configuration.groups.append(entry)
        }
        groupOrigins[entry.name] = line.origin
    }

    mutating func takePeer(_ line: ConfigurationReader.Line) {
        guard let id = Int(line.key), (1...Self.greatestPeer).contains(id) else {
            errors.append(
                ConfigurationIssue(
                    line.origin, "peers.\(line.key)", "is no peer_id",
                    advice: "a line is N = host=… port=…, with the other's peer_id as N"
                ))
            return
        }
        var entry = PeerEntry(name: "\(id)", peerID: id)
        fill(&entry, from: line, section: "peers", keys: EntryKey<PeerEntry>.all)
        guard entry.host?.isEmpty == false else {
            errors.append(
                ConfigurationIssue(
                    line.origin, "peers.\(line.key)", "has no host",
                    advice: "give host=, a name or the folder of its Unix socket"))
            return
        }
        if let index = configuration.peers.firstIndex(where: { $0.peerID == id }) {
            configuration.peers[index] = entry
            warnRepeated("peers.\(id)", line.origin, nil)
        } else {
            configuration.peers.append(entry)
        }
    }

    /// Fourteen bits of each cancel key.
    static let greatestPeer = 16383

    private mutating func warnRepeated(
        _ setting: String, _ origin: SettingOrigin, _ earlier: SettingOrigin?
    ) {
        warnings.append(
            ConfigurationIssue(
                origin, setting,
                "is given again; the line of \(earlier ?? .defaults) is not used"))
    }

    private mutating func fill<Entry>(
        _ entry: inout Entry, from line: ConfigurationReader.Line, section: String,
        keys: [EntryKey<Entry>]
    ) {
        let setting = "\(section).\(line.key)"
        for pair in pairs(of: line.value, setting: setting, origin: line.origin) {
            guard let key = keys.first(where: { $0.accepts(pair.key) }) else {
                reportUnknownKey(
                    pair.key, setting: setting, origin: line.origin, known: keys.map(\.name))
                continue
            }
            assign(key, pair, into: &entry, setting: setting, origin: line.origin)
        }
    }

    private mutating func assign<Entry>(
        _ key: EntryKey<Entry>, _ pair: ConnectionPairs.Pair, into entry: inout Entry,
        setting: String, origin: SettingOrigin
    ) {
        do throws(SettingValueError) {
            try key.assign(pair.value, &entry)
        } catch {
            errors.append(
                ConfigurationIssue(
                    origin, "\(setting).\(key.name)", error.reason, advice: error.advice))
        }
    }

    private mutating func reportUnknownKey(
        _ key: String, setting: String, origin: SettingOrigin, known: [String]
    ) {
        let section = String(setting.prefix { $0 != "." })
        errors.append(
            ConfigurationIssue(
                origin, setting, "unknown key \(quoted(key))",
                advice: NameAdvice.forKey(key, section: section, known: known)))
    }

    // MARK: Databases

    /// Pairs, or a URI that pairs may follow.
    private mutating func pairs(
        of value: String, setting: String, origin: SettingOrigin
    ) -> [ConnectionPairs.Pair] {
        do throws(SettingValueError) {
            guard ConnectionURI.isURI(value) else {
                return try ConnectionPairs.parse(value[...])
            }
            let uri = value.prefix { $0 != " " && $0 != "\t" }
            return try ConnectionURI(uri).pairs
                + ConnectionPairs.parse(value[uri.endIndex...])
        } catch {
            let advice = Self.commentAdvice(value, origin) ?? error.advice
            errors.append(ConfigurationIssue(origin, setting, error.reason, advice: advice))
            return []
        }
    }

    private mutating func takeDatabasePair(
        _ pair: ConnectionPairs.Pair, into entry: inout DatabaseEntry, setting: String,
        origin: SettingOrigin
    ) {
        if let key = EntryKey<DatabaseEntry>.all.first(where: { $0.accepts(pair.key) }) {
            return assign(key, pair, into: &entry, setting: setting, origin: origin)
        }
        if DatabaseKeyword.startup.contains(pair.key) {
            entry.startupParameters.removeAll { $0.keyword == pair.key }
            entry.startupParameters.append(ServerParameter(pair.key, pair.value))
            return
        }
        switch DatabaseKeyword.judge(pair.key, pair.value) {
        case .passOn:
            entry.serverParameters.removeAll { $0.keyword == pair.key }
            entry.serverParameters.append(ServerParameter(pair.key, pair.value))
        case .drop: break
        case .warn(let why):
            warnings.append(ConfigurationIssue(origin, "\(setting).\(pair.key)", why))
        case .refuse(let why):
            errors.append(ConfigurationIssue(origin, "\(setting).\(pair.key)", why))
        case .unknown:
            reportUnknownKey(
                pair.key, setting: setting, origin: origin, known: DatabaseKeyword.allNames)
        }
    }

    /// An entry from a URI or key=value text that came with the environment or command line.
    mutating func databaseEntry(
        named name: String, from text: String, origin: SettingOrigin
    ) -> DatabaseEntry {
        var entry = DatabaseEntry(name: name)
        for pair in pairs(of: text, setting: "database URL", origin: origin) {
            takeDatabasePair(pair, into: &entry, setting: "database URL", origin: origin)
        }
        return entry
    }
}

extension EntryKey {
    func accepts(_ key: String) -> Bool { key == name || aliases.contains(key) }
}
