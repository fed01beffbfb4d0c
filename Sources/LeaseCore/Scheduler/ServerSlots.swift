// SPDX-License-Identifier: Apache-2.0

/// Who holds a server connection, from the grant to the return.
struct Lease {
    var id: LeaseID
    var client: ClientID
    var owner: OwnerKey
    /// Since when its client's session was in use.
    var useSince: Instant
    /// The group's queue in the server's pool.
    var queue: Int
    var parking = LeaseParking.none
}

/// Whether the client of a lease may park it.
enum LeaseParking {
    case none
    case allowed
    /// It was asked back: it is not parked any more.
    case recalled
}

/// One server connection, or a free place for one.
struct ServerSlot {
    var generation: UInt32 = 1
    /// nil: the slot is free.
    var state: ServerState?
    var pool = 0
    /// With which it was opened, and which is in force now.
    var openedProfile = ProfileID.serverDefault
    var profile = ProfileID.serverDefault
    /// The process that had its descriptor: it serves no other any more.
    var confinedTo: PeerID?
    /// Since when it is in its state.
    var since = Instant.zero
    /// When opening began, then when it was opened.
    var connectedAt = Instant.zero
    /// PostgreSQL let it in: it takes a place there until it is gone.
    var hasPlace = false
    /// Per mille of `lifetime` and `idleTimeout` that are this connection's: 900 to 1100.
    var jitter: Int64 = 1000
    var expiresAt = Instant.endOfTime
    /// While it is being opened under a shared bound: when it is given up.
    var openBy = Instant.endOfTime
    /// How long it may be idle, in nanoseconds.
    var idleAllowance = Nanoseconds.never
    var cancelsInFlight = 0
    /// State was left behind by the last lease.
    var needsReset = false
    /// It is closed, for this reason, as soon as no client holds it.
    var closeWhenFree: CloseReason?
    /// The call of `handle` in which it was last known to be alive: no check is due in that call.
    var provenIn: UInt64 = 0
    /// The planning pass in which a waiter counted on it.
    var claimedIn: UInt64 = 0
    var lease: Lease?

    /// Links of the list that its state puts it in.
    var next: Int32 = -1
    var previous: Int32 = -1
}

/// The table of server connections. A slot's generation rises when it is freed, so that a late
/// callback does not meet the next user of its slot.
struct ServerSlots: ~Copyable {
    var slots = SlotArray<ServerSlot>()
    private var free: [Int32] = []

    /// The slot of a live connection; nil for one that is gone.
    @inline(__always)
    func index(of server: ServerID) -> Int? {
        let index = Int(server.slot)
        guard index < slots.count, slots[index].generation == server.generation,
            slots[index].state != nil
        else { return nil }
        return index
    }

    @inline(__always)
    func id(_ index: Int) -> ServerID {
        ServerID(slot: UInt32(truncatingIfNeeded: index), generation: slots[index].generation)
    }

    /// A free slot, to be filled by the caller.
    mutating func take() -> Int {
        if let index = free.popLast() { return Int(index) }
        slots.append(ServerSlot())
        return slots.count - 1
    }

    mutating func release(_ index: Int) {
        var fresh = ServerSlot()
        fresh.generation = slots[index].generation &+ 1
        slots[index] = fresh
        free.append(Int32(index))
    }
}

/// A doubly linked list through the slots' own links; the front is the newest.
struct ServerList {
    private(set) var front: Int32 = -1
    private(set) var back: Int32 = -1
    private(set) var count = 0

    @inline(__always)
    mutating func pushFront(_ index: Int, in slots: inout SlotArray<ServerSlot>) {
        slots[index].previous = -1
        slots[index].next = front
        if front >= 0 { slots[Int(front)].previous = Int32(index) } else { back = Int32(index) }
        front = Int32(index)
        count += 1
    }

    @inline(__always)
    mutating func remove(_ index: Int, in slots: inout SlotArray<ServerSlot>) {
        let next = slots[index].next
        let previous = slots[index].previous
        if previous >= 0 { slots[Int(previous)].next = next } else { front = next }
        if next >= 0 { slots[Int(next)].previous = previous } else { back = previous }
        slots[index].next = -1
        slots[index].previous = -1
        count -= 1
    }
}
