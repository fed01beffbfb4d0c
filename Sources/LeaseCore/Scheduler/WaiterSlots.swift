// SPDX-License-Identifier: Apache-2.0

/// One client that waits for a lease.
struct Waiter {
    var client = ClientID(slot: 0, generation: 0)
    var pool = 0
    /// Its group's queue in the pool.
    var queue = 0
    var owner = OwnerKey(processID: 0)
    var need = ServerNeed(profile: .serverDefault)
    var deadline = Instant.endOfTime
    var since = Instant.zero
    var useSince = Instant.zero
    /// When it is told its place next, and how long it has waited then.
    var notifyAt = Instant.endOfTime
    var notifyInterval = Nanoseconds.never
    /// When the pool's reserve is open to it.
    var reserveAt = Instant.endOfTime
    /// The planning pass in which a connection on its way was found for it.
    var coveredIn: UInt64 = 0
    /// Its own in `WaitQueue.ranks`, where there are any.
    var rank: Int32 = 0

    var next: Int32 = -1
    var previous: Int32 = -1
}

/// The table of waiters, and which client is which: O(1) from a client to its place in a queue.
struct WaiterSlots {
    var slots: [Waiter] = []
    private var free: [Int32] = []
    /// By the client's slot: its waiter, or -1.
    private var waiterOfClient: [Int32] = []

    var count: Int { slots.count - free.count }

    func index(of client: ClientID) -> Int? {
        let slot = Int(client.slot)
        guard slot < waiterOfClient.count, waiterOfClient[slot] >= 0 else { return nil }
        let index = Int(waiterOfClient[slot])
        return slots[index].client == client ? index : nil
    }

    mutating func insert(_ waiter: Waiter) -> Int {
        let slot = Int(waiter.client.slot)
        while waiterOfClient.count <= slot { waiterOfClient.append(-1) }
        if waiterOfClient[slot] >= 0 { contractBroken("client slot \(slot) waits already") }
        let index: Int
        if let reused = free.popLast() {
            index = Int(reused)
            slots[index] = waiter
        } else {
            index = slots.count
            slots.append(waiter)
        }
        waiterOfClient[slot] = Int32(index)
        return index
    }

    mutating func remove(_ index: Int) {
        waiterOfClient[Int(slots[index].client.slot)] = -1
        free.append(Int32(index))
    }
}
