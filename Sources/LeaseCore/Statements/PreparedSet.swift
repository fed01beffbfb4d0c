/// The statements that one server has prepared, the least recently used first to go.
///
/// Owns one reference in the `StatementTable` for each of them.
///
/// Invariant: an entry is there, or on its way there. Whether one on its way arrives is known to
/// those who come behind it in the same batch (they fail with it), to others it is in doubt.
package struct PreparedSet {
    private struct Entry {
        var lastUse: UInt64
        /// The server has answered that it has it.
        var isThere: Bool
        /// Parse messages that it has not answered.
        var underWay = 0
        /// The batch of the last of these.
        var batch: UInt64 = 0
        /// Something was sent that may drop it.
        var isDoubted = false
    }

    package enum Presence: Equatable, Sendable {
        case absent, there
        /// To be dropped, if it is there, and prepared again.
        case inDoubt
    }

    private var entries: [StatementID: Entry] = [:]
    private var clock: UInt64 = 0

    package init() {}

    package var count: Int { entries.count }

    /// Whether the server will have it for a message of this batch. Marks it as used.
    package mutating func use(_ id: StatementID, batch: UInt64) -> Presence {
        guard let index = entries.index(forKey: id) else { return .absent }
        clock += 1
        entries.values[index].lastUse = clock
        let entry = entries.values[index]
        if entry.isDoubted { return .inDoubt }
        return entry.underWay > 0 && entry.batch != batch ? .inDoubt : .there
    }

    package func contains(_ id: StatementID) -> Bool { entries[id] != nil }

    /// The server has it.
    package mutating func add(_ id: StatementID, in table: inout StatementTable) {
        clock += 1
        if entries[id] == nil {
            table.retain(id)
            entries[id] = Entry(lastUse: clock, isThere: true)
        } else {
            entries[id]!.isThere = true
            entries[id]!.lastUse = clock
        }
    }

    /// The server is told to prepare it.
    package mutating func sent(
        _ id: StatementID, batch: UInt64, in table: inout StatementTable
    ) {
        clock += 1
        if entries[id] == nil {
            table.retain(id)
            entries[id] = Entry(lastUse: clock, isThere: false)
        }
        entries[id]!.underWay += 1
        entries[id]!.batch = batch
        entries[id]!.isDoubted = false
        entries[id]!.lastUse = clock
    }

    /// The server has answered that it prepared it.
    package mutating func arrived(_ id: StatementID) {
        guard let index = entries.index(forKey: id) else { return }
        entries.values[index].underWay -= 1
        entries.values[index].isThere = true
    }

    /// The server refused to prepare it, or skipped that.
    package mutating func missed(_ id: StatementID, in table: inout StatementTable) {
        guard entries[id] != nil else { return }
        entries[id]!.underWay -= 1
        if entries[id]!.underWay == 0, !entries[id]!.isThere { remove(id, in: &table) }
    }

    /// The server has dropped it, and is about to prepare it again.
    package mutating func dropped(_ id: StatementID) { entries[id]?.isThere = false }

    /// Something was sent that may drop it.
    package mutating func doubt(_ id: StatementID) { entries[id]?.isDoubted = true }

    package mutating func doubtAll() {
        for index in entries.values.indices { entries.values[index].isDoubted = true }
    }

    package mutating func remove(_ id: StatementID, in table: inout StatementTable) {
        guard entries.removeValue(forKey: id) != nil else { return }
        table.release(id)
    }

    /// The server has dropped all of them; those that it was told since are on their way.
    package mutating func forgetAll(in table: inout StatementTable) {
        for (id, entry) in entries {
            if entry.underWay == 0 { remove(id, in: &table) } else { dropped(id) }
        }
    }

    package mutating func removeAll(in table: inout StatementTable) {
        for id in entries.keys { table.release(id) }
        entries.removeAll(keepingCapacity: true)
    }

    /// The one to drop when there are too many. Walks them all: only at the bound, which is a few
    /// hundred. One that is on its way is none: whether there is something to drop is not known.
    package var leastRecentlyUsed: StatementID? {
        var oldest: (id: StatementID, use: UInt64)?
        for (id, entry) in entries where entry.underWay == 0 {
            if oldest.map({ entry.lastUse < $0.use }) ?? true { oldest = (id, entry.lastUse) }
        }
        return oldest?.id
    }
}
