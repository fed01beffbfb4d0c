// SPDX-License-Identifier: Apache-2.0

/// Values by a statement, found without hashing it when it was looked up lately.
struct StatementMap<Value> {
    /// In no order, as `ids`.
    var values: [Value] = []
    private(set) var ids: [StatementID] = []
    private var positions: [StatementID: Int] = [:]
    /// Where those lay that were looked up last, by the low bits of their slots: a guess, to be looked at.
    private var guesses: [Int] = []

    private static var guessCount: Int { 64 }

    var count: Int { ids.count }
    var all: Zip2Sequence<[StatementID], [Value]> { zip(ids, values) }

    /// Its index in `values`, good until something is added or removed.
    @inline(__always)
    mutating func position(of id: StatementID) -> Int? {
        guard !ids.isEmpty else { return nil }
        let guess = guesses[Int(id.slot) & (Self.guessCount - 1)]
        if guess < ids.count, ids[guess] == id { return guess }
        return findPosition(of: id)
    }

    private mutating func findPosition(of id: StatementID) -> Int? {
        guard let position = positions[id] else { return nil }
        guesses[Int(id.slot) & (Self.guessCount - 1)] = position
        return position
    }

    subscript(id: StatementID) -> Value? {
        get { positions[id].map { values[$0] } }
        set {
            guard let newValue else {
                remove(id)
                return
            }
            if let position = positions[id] {
                values[position] = newValue
                return
            }
            if guesses.isEmpty { guesses = Array(repeating: 0, count: Self.guessCount) }
            positions[id] = values.count
            ids.append(id)
            values.append(newValue)
        }
    }

    @discardableResult
    mutating func remove(_ id: StatementID) -> Value? {
        guard let position = positions.removeValue(forKey: id) else { return nil }
        // The last one takes its place.
        ids.swapAt(position, ids.count - 1)
        values.swapAt(position, values.count - 1)
        ids.removeLast()
        if position < ids.count { positions[ids[position]] = position }
        return values.removeLast()
    }

    mutating func removeAll() {
        ids.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
        positions.removeAll(keepingCapacity: true)
    }
}
