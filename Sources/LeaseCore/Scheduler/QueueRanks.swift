// SPDX-License-Identifier: Apache-2.0

/// Who stands before whom in a queue of thousands, without walking it: sums of those that are still there, over ranks that
/// were given in the queue's order (a binary indexed tree).
struct QueueRanks {
    private var sums: [Int32]
    private var next: Int
    private let capacity: Int

    /// The first `count` ranks are taken, and there is room for as many more.
    init(count: Int) {
        capacity = 2 * count + 64
        next = count
        sums = Array(repeating: 0, count: capacity + 1)
        for index in 1...capacity {
            if index <= count { sums[index] += 1 }
            let parent = index + (index & -index)
            if parent <= capacity { sums[parent] += sums[index] }
        }
    }

    /// The rank of one that stands behind all others; nil: there is no room left.
    mutating func append() -> Int32? {
        guard next < capacity else { return nil }
        add(1, at: next)
        next += 1
        return Int32(next - 1)
    }

    mutating func remove(_ rank: Int32) { add(-1, at: Int(rank)) }

    /// How many of those that are there have a lower rank.
    func count(before rank: Int32, _ steps: inout UInt64) -> Int {
        var index = Int(rank)
        var sum: Int32 = 0
        while index > 0 {
            sum += sums[index]
            index &= index - 1
            steps &+= 1
        }
        return Int(sum)
    }

    private mutating func add(_ change: Int32, at rank: Int) {
        var index = rank + 1
        while index <= capacity {
            sums[index] += change
            index += index & -index
        }
    }
}
