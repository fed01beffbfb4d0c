// SPDX-License-Identifier: Apache-2.0

/// A bound that sidecars of many hosts share, as it stands here: what this one may have, and what it has and wants.
struct ShareBound {
    let key: UInt32
    var tally = ConnectionTally()
    var connecting = 0
    /// Leases under it, and the most of them since `takeBusiest`.
    var leases = 0
    var mostLeases = 0
    var allowance = ShareAllowance.nothing
    /// Why its table cannot be asked, and waiting is not the cure; nil: it can.
    var failure: ConnectFailure?
    /// It holds somebody back, and that was said; until it changes.
    var isWanted = false

    /// One that would be lost with its PostgreSQL is open.
    var hasWitness: Bool { tally.staying > connecting }

    /// From then on nothing is opened.
    var until: Instant { hasWitness ? allowance.until : min(allowance.until, allowance.alone) }

    /// Whether one more may not be opened. `now` nil: but for the time.
    func isFull(afterClosing: Int?, _ now: Instant?) -> Bool {
        if let now, until <= now { return true }
        return Scheduler.isFull(tally, allowance.limit, afterClosing)
    }

    mutating func lease(_ change: Int) {
        leases += change
        mostLeases = max(mostLeases, leases)
    }
}

/// The bounds by their keys.
struct ShareBounds {
    var all: [ShareBound] = []

    mutating func index(of key: UInt32) -> Int {
        if let index = all.firstIndex(where: { $0.key == key }) { return index }
        all.append(ShareBound(key: key))
        return all.count - 1
    }
}

/// What a sidecar says of itself when it asks for its share.
package struct ShareNeed: Equatable, Sendable {
    /// Connections in any state.
    package var used = 0
    /// Those that PostgreSQL may have let in.
    package var open = 0
    /// Connections that clients use or wait for, and those that are kept without any.
    package var want = 0

    package init() {}
}

extension Scheduler {
    /// What the pools under this bound have, and the most that they could have used since the last call.
    package mutating func takeNeed(ofShare key: UInt32, _ now: Instant) -> ShareNeed {
        let share = bounds.shares.index(of: key)
        var need = ShareNeed()
        need.used = bounds.shares.all[share].tally.total
        var waiting = 0
        var minimum = 0
        for pool in pools.live where pools[pool].share == share {
            need.open += pools[pool].counts.total - pools[pool].counts.connecting
            if pools[pool].queue.count > 0 {
                let room = mostLeases(pool, now) - pools[pool].counts.leased
                waiting += min(pools[pool].queue.count, max(0, room))
            }
            minimum += wantedMinimum(pool)
        }
        need.want = max(
            bounds.shares.all[share].mostLeases, bounds.shares.all[share].leases + waiting, minimum)
        bounds.shares.all[share].mostLeases = bounds.shares.all[share].leases
        return need
    }

    /// How many leases it may have, its reserve included where somebody has waited long enough for it.
    private func mostLeases(_ pool: Int, _ now: Instant) -> Int {
        var most = pools[pool].limits.size
        for queue in pools[pool].queue.queues where queue.head >= 0 {
            most = max(most, capacity(pool, Int(queue.head), now))
        }
        return most
    }

    /// Connections under this bound, in any state.
    package func places(ofShare key: UInt32) -> Int {
        bounds.shares.all.first { $0.key == key }?.tally.total ?? 0
    }

    /// What the bound's table said: opens what is wanted, or closes what is too much.
    mutating func changeShare(
        _ key: UInt32, _ allowance: ShareAllowance, isVoid: Bool, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        let share = bounds.shares.index(of: key)
        bounds.shares.all[share].allowance = allowance
        bounds.shares.all[share].isWanted = false
        if now < allowance.until { bounds.shares.all[share].failure = nil }
        for index in servers.slots.indices where servers.slots[index].state == .connecting {
            guard pools[servers.slots[index].pool].share == share else { continue }
            // It would be another PostgreSQL's, or nobody knows whose.
            if isVoid || servers.slots[index].openBy <= now {
                close(index, .unshared, now, &effects)
            }
        }
        shedOverShare(share, now, &effects)
        settleAll(now, &effects)
    }

    /// Its table refuses to answer: who waits is told why at the deadline, and a pool that starts has failed to.
    mutating func failShare(
        _ key: UInt32, _ failure: ConnectFailure, _ effects: inout [SchedulerEffect]
    ) {
        let share = bounds.shares.index(of: key)
        bounds.shares.all[share].failure = failure
        for pool in pools.live where pools[pool].share == share && pools[pool].startup != nil {
            pools[pool].startup = nil
            effects.append(.poolStartFailed(pools[pool].id, failure, attempts: 1))
        }
    }

    /// Idle connections close until the bound is met, those first that have been idle longest.
    private mutating func shedOverShare(
        _ share: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        while bounds.shares.all[share].tally.staying > bounds.shares.all[share].allowance.limit {
            var oldest: Int?
            for pool in pools.live where pools[pool].share == share {
                let candidate = Int(pools[pool].idle.back)
                guard candidate >= 0 else { continue }
                if let present = oldest,
                    servers.slots[present].since <= servers.slots[candidate].since
                {
                    continue
                }
                oldest = candidate
            }
            guard let oldest else { return }
            close(oldest, .surplus, now, &effects)
        }
    }

    /// A pool would open one more, and its shared bound has no room.
    mutating func wantShare(_ pool: Int, _ effects: inout [SchedulerEffect]) {
        guard let share = pools[pool].share, !bounds.shares.all[share].isWanted else { return }
        bounds.shares.all[share].isWanted = true
        effects.append(.shareWanted(bounds.shares.all[share].key))
    }

    /// An attempt that is not through by then is given up.
    mutating func limitAttempt(_ index: Int, _ pool: Int) {
        guard let share = pools[pool].share else { return }
        servers.slots[index].openBy = bounds.shares.all[share].until
        deadlines.set(DeadlineToken(.server, index), at: servers.slots[index].openBy)
    }

    /// The last connection under this bound is about to be gone: what is being opened has less time now.
    mutating func witnessLeaves(_ share: Int) {
        let bound = bounds.shares.all[share]
        guard bound.connecting > 0, !bound.hasWitness else { return }
        for index in servers.slots.indices where servers.slots[index].state == .connecting {
            guard pools[servers.slots[index].pool].share == share,
                bound.until < servers.slots[index].openBy
            else { continue }
            limitAttempt(index, servers.slots[index].pool)
        }
    }

    func isFullShare(_ pool: Int, afterClosing: Int?, _ now: Instant?) -> Bool {
        guard let share = pools[pool].share else { return false }
        return bounds.shares.all[share].isFull(afterClosing: afterClosing, now)
    }

    /// Whether closing another pool's connection makes room for one of this pool's: not while nothing may be opened.
    func sharesOpen(_ pool: Int, _ now: Instant) -> Bool {
        guard let share = pools[pool].share else { return true }
        return now < bounds.shares.all[share].until
    }
}
