// SPDX-License-Identifier: Apache-2.0

/// The answers that a server owes, in their order: a ring that nobody shares, as something is put in and taken out for
/// every message.
///
/// Invariant: the capacity is a power of two, and `mask` one less; `count` entries lie from `head` on.
struct OutstandingQueue: ~Copyable {
    private var entries: UnsafeMutablePointer<Outstanding>
    private var mask: Int
    private var head = 0
    private(set) var count = 0

    private static var usualCapacity: Int { 8 }

    init() {
        entries = .allocate(capacity: Self.usualCapacity)
        mask = Self.usualCapacity - 1
    }

    /// An entry is trivial: there is nothing to deinitialize.
    deinit { entries.deallocate() }

    @inline(__always)
    var isEmpty: Bool { count == 0 }

    @inline(__always)
    var first: Outstanding? { count == 0 ? nil : entries[head] }

    @inline(__always)
    var last: Outstanding? { count == 0 ? nil : entries[(head + count - 1) & mask] }

    @inline(__always)
    subscript(index: Int) -> Outstanding {
        get {
            precondition(index >= 0 && index < count, "no such answer is owed")
            return entries[(head + index) & mask]
        }
        set {
            precondition(index >= 0 && index < count, "no such answer is owed")
            entries[(head + index) & mask] = newValue
        }
    }

    @inline(__always)
    mutating func append(_ entry: Outstanding) {
        if count > mask { grow() }
        (entries + ((head + count) & mask)).initialize(to: entry)
        count += 1
    }

    @inline(never)
    private mutating func grow() {
        let larger = UnsafeMutablePointer<Outstanding>.allocate(capacity: 2 * (mask + 1))
        for index in 0..<count { (larger + index).initialize(to: self[index]) }
        entries.deallocate()
        entries = larger
        mask = 2 * mask + 1
        head = 0
    }

    @inline(__always)
    mutating func removeFirst() -> Outstanding {
        precondition(count > 0, "an answer comes that is not owed")
        let entry = entries[head]
        head = (head + 1) & mask
        count -= 1
        return entry
    }

    @inline(__always)
    mutating func removeAll() { count = 0 }

    mutating func remove(at index: Int) -> Outstanding {
        let entry = self[index]
        removeSubrange(index..<index + 1)
        return entry
    }

    mutating func removeSubrange(_ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "no such answers are owed")
        var index = range.upperBound
        while index < count {
            self[index - range.count] = self[index]
            index += 1
        }
        count -= range.count
    }

    /// A copy of all of them.
    var all: [Outstanding] {
        var all: [Outstanding] = []
        all.reserveCapacity(count)
        for index in 0..<count { all.append(self[index]) }
        return all
    }

    func firstIndex(where predicate: (Outstanding) -> Bool) -> Int? {
        for index in 0..<count where predicate(self[index]) { return index }
        return nil
    }

    func contains(where predicate: (Outstanding) -> Bool) -> Bool {
        firstIndex(where: predicate) != nil
    }

    func count(where predicate: (Outstanding) -> Bool) -> Int {
        var found = 0
        for index in 0..<count where predicate(self[index]) { found += 1 }
        return found
    }
}
