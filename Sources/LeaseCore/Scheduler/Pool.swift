// SPDX-License-Identifier: Apache-2.0

/// A pool's policy, with limits that the arithmetic relies on and durations as nanoseconds.
struct PoolLimits {
    let policy: PoolPolicy
    let size: Int
    let minimumSize: Int
    let reserveSize: Int
    let connectParallelism: Int
    let checkDelay: Int64
    let idleTimeout: Int64
    let lifetime: Int64
    let notifyAfter: Int64
    let reserveTimeout: Int64
    /// The reserve as it is lent to relieve a pool lock.
    let lockReserve: Int
    let lockDelay: Int64

    init(_ policy: PoolPolicy) {
        self.policy = policy
        size = max(1, policy.size)
        minimumSize = min(max(0, policy.minimumSize), max(1, policy.size))
        reserveSize = policy.reserveTimeout == nil ? 0 : max(0, policy.reserveSize)
        connectParallelism = max(1, policy.connectParallelism)
        checkDelay = Nanoseconds.from(policy.checkDelay)
        idleTimeout = Nanoseconds.from(policy.idleTimeout)
        lifetime = Nanoseconds.from(policy.lifetime)
        notifyAfter = Nanoseconds.from(policy.notifyAfter)
        reserveTimeout =
            reserveSize > 0 ? Nanoseconds.from(policy.reserveTimeout) : Nanoseconds.never
        lockReserve = max(0, policy.reserveSize)
        lockDelay = max(1_000_000, Nanoseconds.from(policy.lockDelay))
    }
}

/// One pool: its connections by state, its queue, and how its connects fare.
///
/// Invariant: `counts` and the two lists are those of the slots whose `pool` is this one; only
/// `Scheduler.move` changes them.
struct Pool {
    let id: PoolID
    var limits: PoolLimits
    var counts = ServerCounts()
    var idle = ServerList()
    /// Connecting and validating: what waiters may count on.
    var pending = ServerList()
    var queue = WaitQueue()
    /// Waiters that only a connection opened with their profile serves.
    var requiring = 0
    /// Its leases that their clients may park.
    var parking = ParkingCounts()
    /// Waiters that only a lease that ends can help, without those for whom one is being cleaned.
    var shortage = 0
    /// When those that are being cleaned have had their time; nil: nobody waits for one.
    var shortageDue: Instant?
    /// Whether it may hand out one more connection to a process.
    var contention = Contention()
    /// Whether its leases wait for each other, and who is helped.
    var lock = LockState()
    var backoff = Backoff()
    var startup: StartupProgress?
    var isPaused = false
    var isClosed = false
    /// The phase that was last announced.
    var phase = PoolPhase.running
    /// Its connects fail, and it has nothing else to live on.
    var isFailing = false
    /// Kept for groups' `minLeases`, and not in use by them.
    var unusedGuarantee: Int
    /// Where its connections are counted for the bounds it shares.
    var databaseTally: Int
    var userTally: Int
    /// The bound that it shares with other hosts.
    var share: Int?
    /// What PostgreSQL itself may limit.
    var fences: FencePlaces
    /// A bound that it shares keeps it from opening what it wants to open.
    var isHeldBack = false
    /// While all pools are settled: since when its oldest waiter waits; nil: it had its turn.
    var turn: Instant?

    /// Not every connection serves every waiter.
    @inline(__always)
    var isChoosy: Bool { requiring > 0 || counts.confined > 0 }

    @inline(__always)
    var givesOut: Bool { !isPaused && !isClosed }
}
