// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A lock that is being relieved.
struct LockModel {
    /// The group whose cap it is about; nil: the pool's size.
    var group: GroupID?
}

/// What the scheduler may say and do about pools whose leases wait for each other.
extension EffectOracle {
    mutating func locked(_ lock: PoolLock) throws(Violation) {
        try require(pools[lock.pool] != nil, "\(lock.pool) is locked, and does not exist")
        try checkCycle(lock)
        locked[lock.pool] = LockModel(group: lock.group)
    }

    /// Every lease that it is about is named, and its holder waits: the thread, if it is certain.
    func checkCycle(_ lock: PoolLock) throws(Violation) {
        let what = "\(lock.pool) (\(lock.grade))"
        let leases = servers.values.compactMap { model in
            guard let lease = model.lease else { return nil as LeaseID? }
            let isMeant = lock.group.map { $0 == lease.group } ?? (model.pool == lock.pool)
            return isMeant ? lease.id : nil
        }
        try require(
            Set(leases) == Set(lock.links.map(\.lease)), "\(what): not all leases are named")
        for link in lock.links {
            let waits = waiters.values.contains { waiter in
                let owner = waiter.request.owner
                if lock.grade == .certain { return holdsCertainly(link.owner, owner) }
                return owner.processID == link.owner.processID
            }
            try require(waits, "\(what): lease \(link.lease) is not waited with")
        }
    }

    /// Whether the request's process holds one of the leases that wait for each other.
    func holdsOne(_ request: LeaseRequest, _ pool: PoolID, _ lock: LockModel) -> Bool {
        servers.values.contains { model in
            guard let lease = model.lease else { return false }
            let isMeant = lock.group.map { $0 == lease.group } ?? (model.pool == pool)
            return isMeant && lease.owner.processID == request.owner.processID
        }
    }

    func holdsCertainly(_ holder: OwnerKey, _ waiter: OwnerKey) -> Bool {
        holder.thread != nil && holder == waiter
    }

    mutating func lent(
        _ pool: PoolID, _ client: ClientID, _ now: Instant
    ) throws(Violation) {
        guard let model = pools[pool], let waiter = waiters[client] else {
            throw Violation("the reserve of \(pool) is lent to \(client), who does not wait")
        }
        let what = "the reserve of \(pool), lent to \(client)"
        guard let lock = locked[pool] else { throw Violation("\(what): is not locked") }
        let leases = servers.values.filter { $0.pool == pool && $0.phase == .leased }
        let most = model.policy.size + model.policy.reserveSize
        try require(leases.count < most, "\(what): is spent")
        try require(
            holdsOne(waiter.request, pool, lock), "\(what): its process holds nothing")
        if let group = lock.group {
            try require(waiter.request.group == group, "\(what): is not of \(group)")
        }
        lentTo[pool] = client
        try require(
            mayLease(waiter.request, now, isLent: true), "\(what): over a cap or a guarantee")
    }
}
