// SPDX-License-Identifier: Apache-2.0

/// How a server connection changes its state: one function moves it and keeps every count.
extension Scheduler {
    /// Takes a slot into use, or from one state to another.
    @inline(__always)
    mutating func move(_ index: Int, to state: ServerState, _ now: Instant) {
        let pool = servers.slots[index].pool
        if let old = servers.slots[index].state {
            guard Self.isLegal(old, state) else {
                contractBroken("server \(servers.id(index)) cannot go from \(old) to \(state)")
            }
            leave(old, index, pool)
        } else {
            guard state == .connecting else { contractBroken("a server begins with connecting") }
            tally(pool) { $0.total += 1 }
        }
        enter(state, index, pool, now)
    }

    /// The same of one that is in this state, where both are known when this is compiled: most of it is nothing then.
    @inline(__always)
    mutating func move(_ index: Int, from old: ServerState, to state: ServerState, _ now: Instant) {
        guard Self.isLegal(old, state), servers.slots[index].state == old else {
            contractBroken("server \(servers.id(index)) cannot go from \(old) to \(state)")
        }
        let pool = servers.slots[index].pool
        leave(old, index, pool)
        enter(state, index, pool, now)
    }

    @inline(__always)
    private mutating func enter(
        _ state: ServerState, _ index: Int, _ pool: Int, _ now: Instant
    ) {
        let slot = servers.slots.address(index)
        slot.pointee.state = state
        slot.pointee.since = now
        pools.address(pool).pointee.counts[state] += 1
        switch state {
        case .leased:
            if let share = pools[pool].share { bounds.shares.all[share].lease(1) }
        case .idle: pools[pool].idle.pushFront(index, in: &servers.slots)
        case .connecting:
            pools[pool].pending.pushFront(index, in: &servers.slots)
            if let share = pools[pool].share { bounds.shares.all[share].connecting += 1 }
        case .validating: pools[pool].pending.pushFront(index, in: &servers.slots)
        case .closing:
            tally(pool) { $0.closing += 1 }
            if let share = pools[pool].share { witnessLeaves(share) }
            if servers.slots[index].confinedTo != nil { pools[pool].counts.confined -= 1 }
        case .resetting, .cancelling: break
        }
    }

    /// The end of a slot: only from closing.
    mutating func free(_ index: Int) {
        let pool = servers.slots[index].pool
        leave(.closing, index, pool)
        tally(pool) { $0.total -= 1 }
        deadlines.remove(DeadlineToken(.server, index))
        servers.release(index)
    }

    @inline(__always)
    private mutating func leave(_ state: ServerState, _ index: Int, _ pool: Int) {
        pools.address(pool).pointee.counts[state] -= 1
        switch state {
        case .leased:
            if let share = pools[pool].share { bounds.shares.all[share].lease(-1) }
        case .idle: pools[pool].idle.remove(index, in: &servers.slots)
        case .connecting:
            pools[pool].pending.remove(index, in: &servers.slots)
            if let share = pools[pool].share { bounds.shares.all[share].connecting -= 1 }
        case .validating: pools[pool].pending.remove(index, in: &servers.slots)
        case .closing: tally(pool) { $0.closing -= 1 }
        case .resetting, .cancelling: break
        }
    }

    private mutating func tally(_ pool: Int, _ change: (inout ConnectionTally) -> Void) {
        change(&bounds.broker)
        change(&bounds.databases.tallies[pools[pool].databaseTally])
        change(&bounds.users.tallies[pools[pool].userTally])
        if let share = pools[pool].share { change(&bounds.shares.all[share].tally) }
        for scope in FenceScope.allCases {
            change(&bounds.fences[pools[pool].fences[scope]].tally)
        }
    }

    @inline(__always)
    private static func isLegal(_ from: ServerState, _ to: ServerState) -> Bool {
        switch from {
        case .connecting: to == .idle || to == .cancelling || to == .closing
        case .idle: to == .leased || to == .validating || to == .cancelling || to == .closing
        case .validating: to == .idle || to == .cancelling || to == .closing
        case .leased: to == .idle || to == .resetting || to == .cancelling || to == .closing
        case .resetting: to == .idle || to == .cancelling || to == .closing
        case .cancelling: to == .idle || to == .resetting || to == .closing
        case .closing: false
        }
    }

    mutating func close(
        _ index: Int, _ reason: CloseReason, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        move(index, to: .closing, now)
        effects.append(.closeServer(servers.id(index), reason))
    }

    /// A connection that nobody holds any more, and that lives: it becomes idle, unless something
    /// has to be done with it first. The pool is settled by the caller.
    mutating func becomeFree(_ index: Int, _ now: Instant, _ effects: inout [SchedulerEffect]) {
        if let reason = reasonToClose(index, now) {
            close(index, reason, now, &effects)
        } else if servers.slots[index].cancelsInFlight > 0 {
            move(index, to: .cancelling, now)
        } else if servers.slots[index].needsReset {
            move(index, to: .resetting, now)
            effects.append(.resetServer(servers.id(index)))
        } else {
            servers.slots[index].provenIn = callNumber
            move(index, to: .idle, now)
            if heldBackCount > 0, isMoreDeservedElsewhere(index, now) {
                close(index, .evicted, now, &effects)
            } else {
                armServer(index, now)
            }
        }
    }

    @inline(__always)
    private func reasonToClose(_ index: Int, _ now: Instant) -> CloseReason? {
        if let reason = servers.slots[index].closeWhenFree { return reason }
        let pool = servers.slots[index].pool
        if pools[pool].isClosed { return .poolClosed }
        if pools[pool].isPaused { return .paused }
        if servers.slots[index].expiresAt <= now { return .lifetime }
        if isOverSharedBound(pool) { return .surplus }
        return nil
    }

    /// Leaves an earlier deadline of the same connection where it is: it is looked at again then.
    @inline(__always)
    mutating func armServer(_ index: Int, _ now: Instant) {
        let token = DeadlineToken(.server, index)
        if deadlines.contains(token) { return }
        let idleUntil = now.adding(servers.slots[index].idleAllowance)
        let at = min(servers.slots[index].expiresAt, idleUntil)
        if at < .endOfTime { deadlines.set(token, at: at) }
    }
}
