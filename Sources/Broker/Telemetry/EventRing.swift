// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore

/// The last few hundred events, oldest first, in a fixed space.
///
/// An incident that comes again within seconds is counted on the event that tells of it, for ten minutes
/// at most; so thousands of refused waiters are one event. No kind takes more than half of the space: a
/// storm of one does not push the others out. Invariant: ids rise, and are never used again; `latest` has the
/// newest event of every incident in the ring.
struct EventRing {
    struct Entry {
        let id: Int64
        /// When it happened first.
        let time: UTCTime
        let began: Instant
        /// When it happened last: `incident` is that of then.
        var last: Instant
        var count: Int
        var incident: Incident
    }

    private struct Key: Hashable {
        let kind: EventKind
        let pool: UInt32
        let cause: String
    }

    static let capacity = 512
    static let capacityOfKind = capacity / 2
    /// Again within this time of the last one: the same incident. Attempts to connect are far apart.
    static func coalescing(of kind: EventKind) -> Duration {
        kind == .connectFailed ? .seconds(60) : .seconds(10)
    }

    static let longestIncident = Duration.seconds(600)

    private(set) var entries: [Entry] = []
    private var latest: [Key: Int64] = [:]
    private var countOfKind: [EventKind: Int] = [:]
    private var lastID: Int64 = 0

    init() { entries.reserveCapacity(Self.capacity) }

    /// Counts an incident that came in this very moment before: thousands of waiters may be refused in one
    /// turn, and one of them is enough to tell of. False: it is to be recorded.
    mutating func countAgain(
        _ kind: EventKind, pool: UInt32, cause: String, now: Instant
    ) -> Bool {
        guard let id = latest[Key(kind: kind, pool: pool, cause: cause)],
            let index = index(of: id), entries[index].last == now
        else { return false }
        entries[index].count += 1
        return true
    }

    mutating func record(_ incident: Incident, at time: UTCTime, now: Instant) {
        let key = Self.key(of: incident)
        if let id = latest[key], let index = index(of: id),
            now - entries[index].last <= Self.coalescing(of: incident.kind),
            now - entries[index].began <= Self.longestIncident
        {
            entries[index].last = now
            entries[index].count += 1
            entries[index].incident = incident
            return
        }
        makeRoom(for: incident.kind)
        lastID += 1
        entries.append(
            Entry(id: lastID, time: time, began: now, last: now, count: 1, incident: incident))
        latest[key] = lastID
        countOfKind[incident.kind, default: 0] += 1
    }

    private mutating func makeRoom(for kind: EventKind) {
        if countOfKind[kind, default: 0] >= Self.capacityOfKind,
            let oldest = entries.firstIndex(where: { $0.incident.kind == kind })
        {
            remove(oldest)
        } else if entries.count >= Self.capacity {
            remove(0)
        }
    }

    private mutating func remove(_ index: Int) {
        let entry = entries.remove(at: index)
        let key = Self.key(of: entry.incident)
        if latest[key] == entry.id { latest[key] = nil }
        countOfKind[entry.incident.kind, default: 0] -= 1
    }

    private static func key(of incident: Incident) -> Key {
        Key(kind: incident.kind, pool: incident.pool, cause: incident.cause)
    }

    /// Ids rise: found by halving.
    private func index(of id: Int64) -> Int? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].id == id ? low : nil
    }
}
