// SPDX-License-Identifier: Apache-2.0

/// The statements that one server has prepared, the least recently used first to go.
///
/// Owns one reference in the `StatementTable` for each of them.
///
/// Invariant: an entry is there, or on its way there. Whether one on its way arrives is known to
/// those who come behind it in the same batch (they fail with it), to others it is in doubt. A name is that of
/// one entry, or of one of `superseded`.
package struct PreparedSet {
    /// A statement as this server has it.
    package struct Copy: Equatable, Sendable {
        /// Its name here: the one under which it was parsed.
        package var name: [UInt8]
        /// When this server was sent its Parse, by the clock of the `StatementTable`.
        package var since: UInt64

        package init(name: [UInt8], since: UInt64) {
            self.name = name
            self.since = since
        }
    }

    private struct Entry {
        var copy: Copy
        var lastUse: UInt64
        /// The server has answered that it has it.
        var isThere: Bool
        /// Parse messages that it has not answered.
        var underWay = 0
        /// The batch of the last of these.
        var batch: UInt64 = 0
        /// Something was sent that may drop it.
        var isDoubted = false

        func presence(in batch: UInt64, since: UInt64) -> Presence {
            let isCertain =
                !isDoubted && copy.since >= since && (underWay == 0 || self.batch == batch)
            return isCertain ? .there(copy.name) : .inDoubt(copy.name)
        }
    }

    package enum Presence: Equatable, Sendable {
        case absent
        /// Under this name.
        case there([UInt8])
        /// To be dropped, if it is there, and prepared again under this name.
        case inDoubt([UInt8])
    }

    private var entries = StatementMap<Entry>()
    private var clock: UInt64 = 0
    /// Names that nobody uses any more, which the server is still to be told to drop.
    private var superseded: [[UInt8]] = []

    package init() {}

    package var count: Int { entries.count }
    /// Names that the server may have besides.
    package var supersededCount: Int { superseded.count }

    /// Whether the server will have it for a message of this batch, parsed no earlier than at `since`. Marks
    /// it as used.
    package mutating func use(
        _ id: StatementID, batch: UInt64, since: UInt64 = 0
    ) -> Presence {
        guard let index = entries.position(of: id) else { return .absent }
        clock += 1
        entries.values[index].lastUse = clock
        return entries.values[index].presence(in: batch, since: since)
    }

    package func contains(_ id: StatementID) -> Bool { entries[id] != nil }
    package func name(of id: StatementID) -> [UInt8]? { entries[id]?.copy.name }

    /// It is there, and nothing about it is on its way.
    package func isSettled(_ id: StatementID) -> Bool {
        guard let entry = entries[id] else { return false }
        return entry.isThere && entry.underWay == 0 && !entry.isDoubted
    }

    /// The server has it: it was not dropped after all.
    package mutating func add(_ id: StatementID, _ copy: Copy, in table: inout StatementTable) {
        clock += 1
        guard entries[id] == nil else {
            if entries[id]!.copy.name == copy.name {
                entries[id]!.isThere = true
                entries[id]!.lastUse = clock
            } else {
                superseded.append(copy.name)
            }
            return
        }
        table.retain(id)
        entries[id] = Entry(copy: copy, lastUse: clock, isThere: true)
    }

    /// The server is told to prepare it.
    package mutating func sent(
        _ id: StatementID, as copy: Copy, batch: UInt64, in table: inout StatementTable
    ) {
        clock += 1
        if entries[id] == nil {
            table.retain(id)
            entries[id] = Entry(copy: copy, lastUse: clock, isThere: false)
        }
        entries[id]!.copy = copy
        entries[id]!.underWay += 1
        entries[id]!.batch = batch
        entries[id]!.isDoubted = false
        entries[id]!.lastUse = clock
    }

    /// The server has answered that it prepared it.
    package mutating func arrived(_ id: StatementID) {
        guard let index = entries.position(of: id) else { return }
        entries.values[index].underWay -= 1
        entries.values[index].isThere = true
    }

    /// The server refused to prepare it, or skipped that. What it had before may be there yet, and is older.
    package mutating func missed(_ id: StatementID, in table: inout StatementTable) {
        guard entries[id] != nil else { return }
        entries[id]!.underWay -= 1
        guard entries[id]!.underWay == 0 else { return }
        if entries[id]!.isThere { entries[id]!.isDoubted = true } else { remove(id, in: &table) }
    }

    /// The server has dropped it, and is about to prepare it again.
    package mutating func dropped(_ id: StatementID) { entries[id]?.isThere = false }

    /// Something was sent that may drop it.
    package mutating func doubt(_ id: StatementID) { entries[id]?.isDoubted = true }

    package mutating func doubtAll() {
        for index in entries.values.indices { entries.values[index].isDoubted = true }
    }

    /// What the server has for `fresh` stands for `id` from now on.
    package mutating func adopt(
        _ id: StatementID, from fresh: StatementID, in table: inout StatementTable
    ) {
        guard var entry = entries.remove(fresh) else { return }
        if let present = entries[id] {
            guard present.underWay == 0 else {
                // Another Parse of it is on its way: that one will do.
                superseded.append(entry.copy.name)
                table.release(fresh)
                return
            }
            superseded.append(present.copy.name)
            entry.lastUse = max(entry.lastUse, present.lastUse)
        } else {
            table.retain(id)
        }
        table.release(fresh)
        entries[id] = entry
    }

    /// Names that the server is to be told to drop now.
    package mutating func takeSuperseded() -> [[UInt8]] {
        guard !superseded.isEmpty else { return [] }
        defer { superseded = [] }
        return superseded
    }

    /// The server still has what goes by this name, and nobody needs it.
    package mutating func supersede(_ name: [UInt8]) {
        if !superseded.contains(name) { superseded.append(name) }
    }

    @discardableResult
    package mutating func remove(_ id: StatementID, in table: inout StatementTable) -> Copy? {
        guard let entry = entries.remove(id) else { return nil }
        table.release(id)
        return entry.copy
    }

    /// Nobody will ask for it again. One that is on its way stays: its answers are still to be counted, and it goes
    /// when there are too many.
    package mutating func abandon(_ id: StatementID, in table: inout StatementTable) -> Copy? {
        entries[id]?.underWay == 0 ? remove(id, in: &table) : nil
    }

    /// The server has dropped this one by a DEALLOCATE; one that it was told since is on its way.
    package mutating func forget(_ id: StatementID, in table: inout StatementTable) {
        guard let entry = entries[id] else { return }
        if entry.underWay == 0 { remove(id, in: &table) } else { dropped(id) }
    }

    /// The server has dropped all of them; those that it was told since are on their way.
    package mutating func forgetAll(in table: inout StatementTable) {
        superseded = []
        for (id, entry) in entries.all {
            if entry.underWay == 0 { remove(id, in: &table) } else { dropped(id) }
        }
    }

    package mutating func removeAll(in table: inout StatementTable) {
        for id in entries.ids { table.release(id) }
        entries.removeAll()
        superseded = []
    }

    /// The one to drop when there are too many. Walks them all: only at the bound, which is a few
    /// hundred. One that is on its way is none: whether there is something to drop is not known.
    package var leastRecentlyUsed: StatementID? {
        var oldest: (id: StatementID, use: UInt64)?
        for (id, entry) in entries.all where entry.underWay == 0 {
            if oldest.map({ entry.lastUse < $0.use }) ?? true { oldest = (id, entry.lastUse) }
        }
        return oldest?.id
    }
}
