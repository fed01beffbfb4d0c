// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// One setting of a session: a GUC's name, in lower case, and its value as the client wrote it.
package struct ProfileEntry: Hashable, Sendable {
    package let name: String
    package let value: String

    package init(name: String, value: String) {
        self.name = name
        self.value = value
    }
}

/// All sets of GUC values that clients want in force, each known by a number.
///
/// Clients and servers that refer to a profile count as references; the last one that goes frees
/// it. A number is never used again, so that a late one can only miss. Number 0, the server's own
/// defaults, is always there.
package struct ProfileTable: ~Copyable {
    private struct Record {
        var entries: [ProfileEntry]
        var references: Int
    }

    private var records: [ProfileID: Record] = [:]
    private var byEntries: [[ProfileEntry]: ProfileID] = [:]
    private var last: UInt32 = 0
    private var meanings = ProfileMeanings()

    package init() {}

    package var count: Int { records.count }

    /// The profile with these settings, with one more reference. A name that comes twice counts
    /// with its last value.
    package mutating func intern(_ settings: [ProfileEntry]) -> ProfileID {
        var entries: [ProfileEntry] = []
        for setting in settings {
            entries.removeAll { $0.name == setting.name }
            entries.append(setting)
        }
        guard !entries.isEmpty else { return .serverDefault }
        entries.sort { $0.name < $1.name }
        if let id = byEntries[entries] {
            retain(id)
            return id
        }
        last += 1
        let id = ProfileID(last, meaning: meanings.intern(entries))
        records[id] = Record(entries: entries, references: 1)
        byEntries[entries] = id
        return id
    }

    package mutating func retain(_ id: ProfileID) {
        guard id != .serverDefault else { return }
        precondition(records[id] != nil, "a profile that is gone is retained")
        records[id]!.references += 1
    }

    package mutating func release(_ id: ProfileID) {
        guard id != .serverDefault else { return }
        guard var record = records[id] else {
            preconditionFailure("a profile is released once too often")
        }
        record.references -= 1
        if record.references == 0 {
            records[id] = nil
            byEntries[record.entries] = nil
            meanings.release(record.entries)
        } else {
            records[id] = record
        }
    }

    package func entries(of id: ProfileID) -> [ProfileEntry] { records[id]?.entries ?? [] }

    /// What puts `target` in force on a connection where `current` is.
    package func setup(from current: ProfileID, to target: ProfileID) -> ProfileSetup {
        ProfileSetup(
            from: current == .serverDefault ? nil : entries(of: current), to: entries(of: target))
    }

    /// Time-outs are in force with the profile, so what the broker asks is better protected from them.
    package func hasTimeouts(_ id: ProfileID) -> Bool {
        entries(of: id).contains { ProfileSetup.timeouts.contains($0.name) }
    }
}
