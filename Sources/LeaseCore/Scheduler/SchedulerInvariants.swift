// SPDX-License-Identifier: Apache-2.0

/// What the scheduler keeps count of is not what its slots say.
package struct BrokenInvariant: Error {
    package let reason: String
}

/// One statement of `checkInvariants`.
func demand(_ holds: Bool, _ otherwise: @autoclosure () -> String) throws(BrokenInvariant) {
    if !holds { throw BrokenInvariant(reason: otherwise()) }
}

/// Recomputes from the slots what the scheduler keeps count of.
extension Scheduler {
    package func checkInvariants() throws(BrokenInvariant) {
        try deadlines.checkInvariants()
        var leasesOfGroup = Array(repeating: 0, count: groups.accounts.count)
        var waitingInGroup = leasesOfGroup
        for pool in pools.live {
            try checkServers(pool, &leasesOfGroup)
            try checkQueue(pool, &waitingInGroup)
            try demand(
                pools[pool].unusedGuarantee == unusedGuarantee(pool),
                "pool \(pool): guarantees miscounted")
        }
        for (group, account) in groups.accounts.all.enumerated() {
            guard let account else { continue }
            try demand(account.leases == leasesOfGroup[group], "group \(group): leases miscounted")
            try demand(
                account.waiting == waitingInGroup[group], "group \(group): waiters miscounted")
        }
        try demand(
            heldBackCount == pools.live.count { pools[$0].isHeldBack }, "held back pools miscounted"
        )
        try demand(
            waiters.count == pools.live.reduce(0) { $0 + pools[$1].queue.count },
            "waiters miscounted")
        var parked = ParkingCounts()
        for pool in pools.live {
            parked.allowed += pools[pool].parking.allowed
            parked.recalled += pools[pool].parking.recalled
        }
        try demand(parked == parking, "leases that may be parked miscounted")
        try checkTallies()
    }

    private func checkServers(_ pool: Int, _ leasesOfGroup: inout [Int]) throws(BrokenInvariant) {
        var counts = ServerCounts()
        var parked = ParkingCounts()
        var leasesInQueue = Array(repeating: 0, count: pools[pool].queue.queues.count)
        for slot in servers.slots.all where slot.pool == pool {
            guard let state = slot.state else { continue }
            counts[state] += 1
            if slot.confinedTo != nil, state != .closing {
                counts.confined += 1
                try demand(state != .connecting, "a confined connection that was never leased")
            }
            try demand((slot.lease != nil) == (state == .leased), "a lease without its state")
            if let lease = slot.lease {
                if lease.parking != .none { parked.allowed += 1 }
                if lease.parking == .recalled { parked.recalled += 1 }
                leasesInQueue[lease.queue] += 1
                leasesOfGroup[pools[pool].queue.queues[lease.queue].group] += 1
            }
        }
        try demand(parked == pools[pool].parking, "pool \(pool): parking miscounted")
        try demand(counts == pools[pool].counts, "pool \(pool): servers miscounted")
        try demand(counts.idle == pools[pool].idle.count, "pool \(pool): idle list")
        try demand(
            counts.connecting + counts.validating == pools[pool].pending.count,
            "pool \(pool): pending list")
        for (queue, leases) in leasesInQueue.enumerated() {
            try demand(
                pools[pool].queue.queues[queue].leases == leases,
                "pool \(pool): leases of queue \(queue) miscounted")
        }
        var candidate = pools[pool].idle.front
        var length = 0
        while candidate >= 0 {
            let slot = servers.slots[Int(candidate)]
            try demand(slot.state == .idle && slot.pool == pool, "idle list holds a stranger")
            candidate = slot.next
            length += 1
        }
        try demand(length == counts.idle, "pool \(pool): idle list broken")
    }

    private func checkQueue(_ pool: Int, _ waitingInGroup: inout [Int]) throws(BrokenInvariant) {
        let queue = pools[pool].queue
        var count = 0
        var requiring = 0
        for (index, group) in queue.queues.enumerated() {
            var candidate = group.head
            var length = 0
            var previousSince = Instant(nanoseconds: .min)
            while candidate >= 0 {
                let waiter = waiters.slots[Int(candidate)]
                try demand(
                    waiter.pool == pool && waiter.queue == index, "a waiter in a wrong queue")
                try demand(previousSince <= waiter.since, "a queue out of order")
                try demand(
                    deadlines.contains(DeadlineToken(.waiter, Int(candidate))),
                    "a waiter without a deadline")
                try demand(
                    waiters.index(of: waiter.client) == Int(candidate), "a waiter without a client")
                if waiter.need.requiresProfile { requiring += 1 }
                previousSince = waiter.since
                length += 1
                candidate = waiter.next
            }
            try demand(length == group.count, "pool \(pool): queue \(index) miscounted")
            try demand((group.nextActive >= 0) == (length > 0), "pool \(pool): ring is wrong")
            waitingInGroup[group.group] += length
            count += length
        }
        try demand(count == queue.count, "pool \(pool): waiters miscounted")
        try demand(requiring == pools[pool].requiring, "pool \(pool): requiring miscounted")
        try demand((queue.cursor >= 0) == (count > 0), "pool \(pool): cursor without waiters")
        if queue.cursor >= 0 {
            try demand(
                queue.credits > 0 && queue.credits <= queue.queues[queue.cursor].weight,
                "pool \(pool): credits out of range")
        }
    }

    private func checkTallies() throws(BrokenInvariant) {
        var all = ConnectionTally()
        var databases = Array(
            repeating: ConnectionTally(), count: bounds.databases.tallies.count)
        var users = Array(repeating: ConnectionTally(), count: bounds.users.tallies.count)
        var shares = Array(repeating: ConnectionTally(), count: bounds.shares.all.count)
        var shared = Array(repeating: 0, count: bounds.shares.all.count)
        var connecting = shared
        var fences = Array(repeating: ConnectionTally(), count: bounds.fences.count)
        for pool in pools.live.map({ pools[$0] }) {
            all.total += pool.counts.total
            all.closing += pool.counts.closing
            databases[pool.databaseTally].total += pool.counts.total
            databases[pool.databaseTally].closing += pool.counts.closing
            users[pool.userTally].total += pool.counts.total
            users[pool.userTally].closing += pool.counts.closing
            if let share = pool.share {
                shares[share].total += pool.counts.total
                shares[share].closing += pool.counts.closing
                shared[share] += pool.counts.leased
                connecting[share] += pool.counts.connecting
            }
            for scope in FenceScope.allCases {
                fences[pool.fences[scope]].total += pool.counts.total
                fences[pool.fences[scope]].closing += pool.counts.closing
            }
        }
        for (place, tally) in fences.enumerated() {
            try demand(tally == bounds.fences[place].tally, "servers under a fence miscounted")
        }
        try demand(all == bounds.broker, "servers of the broker miscounted")
        try demand(databases == bounds.databases.tallies, "servers by database miscounted")
        try demand(shares == bounds.shares.all.map(\.tally), "servers by share miscounted")
        try demand(shared == bounds.shares.all.map(\.leases), "leases by share miscounted")
        try demand(
            connecting == bounds.shares.all.map(\.connecting), "attempts by share miscounted")
        try demand(users == bounds.users.tallies, "servers by user miscounted")
    }
}
