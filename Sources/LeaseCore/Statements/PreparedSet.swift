/// The statements that one server has prepared, the least recently used first to go.
///
/// Owns one reference in the `StatementTable` for each of them.
package struct PreparedSet {
    private var lastUse: [StatementID: UInt64] = [:]
    private var clock: UInt64 = 0

    package init() {}

    package var count: Int { lastUse.count }

    /// True, and marked as used, if the server has it.
    package mutating func use(_ id: StatementID) -> Bool {
        guard let index = lastUse.index(forKey: id) else { return false }
        clock += 1
        lastUse.values[index] = clock
        return true
    }

    package func contains(_ id: StatementID) -> Bool { lastUse[id] != nil }

    package mutating func add(_ id: StatementID, in table: inout StatementTable) {
        clock += 1
        guard lastUse.updateValue(clock, forKey: id) == nil else { return }
        table.retain(id)
    }

    package mutating func remove(_ id: StatementID, in table: inout StatementTable) {
        guard lastUse.removeValue(forKey: id) != nil else { return }
        table.release(id)
    }

    package mutating func removeAll(in table: inout StatementTable) {
        for id in lastUse.keys { table.release(id) }
        lastUse.removeAll(keepingCapacity: true)
    }

    /// The one to drop when there are too many. Walks them all: only at the bound, which is a few hundred.
    package var leastRecentlyUsed: StatementID? {
        lastUse.min { $0.value < $1.value }?.key
    }
}
