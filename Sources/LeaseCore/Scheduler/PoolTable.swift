// SPDX-License-Identifier: Apache-2.0

/// The pools, in slots that are used again, and which number has which slot.
///
/// Invariant: `live` holds the slots of the pools that are not gone, each once.
struct PoolTable: ~Copyable {
    private static let neverOpened: Int32 = -1
    private static let gone: Int32 = -2

    private var pools = SlotArray<Pool>()
    private(set) var live: [Int] = []
    private var free: [Int] = []
    private var slotOfNumber: [Int32] = []

    /// nil: the pool is gone. A number that was never opened is a broken contract.
    @inline(__always)
    func index(of pool: PoolID) -> Int? {
        let number = Int(pool.rawValue)
        guard number < slotOfNumber.count, slotOfNumber[number] != Self.neverOpened else {
            contractBroken("\(pool) was never opened")
        }
        let slot = slotOfNumber[number]
        return slot == Self.gone ? nil : Int(slot)
    }

    /// For views: nil also for a number that was never opened.
    func knownIndex(of pool: PoolID) -> Int? {
        let number = Int(pool.rawValue)
        guard number < slotOfNumber.count, slotOfNumber[number] >= 0 else { return nil }
        return Int(slotOfNumber[number])
    }

    /// Where the pool lies, for many accesses in a row; until one is added.
    @inline(__always)
    func address(_ slot: Int) -> UnsafeMutablePointer<Pool> { pools.address(slot) }

    @inline(__always)
    subscript(slot: Int) -> Pool {
        unsafeAddress { UnsafePointer(pools.address(slot)) }
        unsafeMutableAddress { pools.address(slot) }
    }

    mutating func insert(_ pool: Pool) -> Int {
        let number = Int(pool.id.rawValue)
        while slotOfNumber.count <= number { slotOfNumber.append(Self.neverOpened) }
        guard slotOfNumber[number] == Self.neverOpened else {
            contractBroken("\(pool.id) was opened before")
        }
        let slot: Int
        if let reused = free.popLast() {
            slot = reused
            pools[slot] = pool
        } else {
            slot = pools.count
            pools.append(pool)
        }
        slotOfNumber[number] = Int32(slot)
        live.append(slot)
        return slot
    }

    mutating func remove(_ slot: Int) {
        slotOfNumber[Int(pools[slot].id.rawValue)] = Self.gone
        live.removeAll { $0 == slot }
        free.append(slot)
    }
}
