// SPDX-License-Identifier: Apache-2.0

/// What the attempts of all pools of one server tell: whether it can be reached.
///
/// While it cannot, its pools together make one attempt in `pace`, for as long as anybody waits: service is back
/// within that after PostgreSQL is, however long it was away, and a server that starts is not stormed. The longer and
/// longer pauses of `Backoff` are for pools that nobody waits for.
struct Outage {
    private(set) var isOn = false
    /// A connection broke, and nothing was heard since: one attempt at a time finds out.
    private(set) var isSuspected = false
    /// The last attempt on the server began then.
    private var attemptedAt = Instant.zero
    private var attemptedBy = -1
    /// An attempt that began before that tells nothing new.
    private var reachedAt = Instant.zero

    /// Nanoseconds. No more than two attempts a second.
    static let pace: Int64 = 500_000_000
    /// The pool that made the last attempt lets another one go first: it may have a trouble of its own.
    private static let courtesy: Int64 = 20_000_000
    /// Attempts that hang at the same time, on a server that answers nothing.
    static let mostAttempts = 4

    mutating func attempt(by pool: Int, _ now: Instant) {
        attemptedAt = now
        attemptedBy = pool
    }

    /// No answer of the server's, or that it is not ready.
    mutating func fail(begunAt begun: Instant) {
        if begun >= reachedAt { isOn = true }
    }

    mutating func suspect() { isSuspected = true }

    /// It answered: true if that was not known.
    mutating func reach(_ now: Instant) -> Bool {
        reachedAt = now
        let wasInDoubt = isOn || isSuspected
        isOn = false
        isSuspected = false
        return wasInDoubt
    }

    func nextAttempt(for pool: Int) -> Instant {
        attemptedAt.adding(attemptedBy == pool ? Self.pace + Self.courtesy : Self.pace)
    }
}

/// The servers by their place in the table of fences.
struct OutageTable {
    private var outages: [Outage] = []

    subscript(place: Int) -> Outage {
        get { place < outages.count ? outages[place] : Outage() }
        set {
            while outages.count <= place { outages.append(Outage()) }
            outages[place] = newValue
        }
    }
}

extension Scheduler {
    /// The server of this pool is away, and the pool has nothing that says otherwise.
    func outage(of pool: Int) -> Outage? {
        let outage = bounds.outages[pools[pool].fences.server]
        guard outage.isOn, !pools[pool].backoff.isQuiet || pools[pool].counts.connected == 0 else {
            return nil
        }
        return outage
    }

    /// All that the pool had broke, and why is not known yet.
    func isUnproven(_ pool: Int) -> Bool {
        pools[pool].counts.connected == 0 && bounds.outages[pools[pool].fences.server].isSuspected
    }

    mutating func suspectServer(of pool: Int) {
        bounds.outages[pools[pool].fences.server].suspect()
    }

    /// When the pool may try again to connect, as far as failures have a say.
    func nextAttempt(_ pool: Int) -> Instant {
        let own = pools[pool].backoff.isQuiet ? .zero : pools[pool].backoff.until
        guard let outage = outage(of: pool) else { return own }
        let next = outage.nextAttempt(for: pool)
        return pools[pool].queue.count > 0 ? next : max(own, next)
    }

    /// It has been under way for so long that nobody should count on it.
    func hangs(_ server: Int, _ now: Instant) -> Bool {
        servers.slots[server].state == .connecting
            && servers.slots[server].connectedAt.adding(Outage.pace) <= now
            && outage(of: servers.slots[server].pool) != nil
    }

    /// An attempt that was made for those who wait, before the pool's own pause was over.
    func isOutOfTurn(_ pool: Int, begunAt begun: Instant) -> Bool {
        !pools[pool].backoff.isQuiet && begun < pools[pool].backoff.until
    }

    /// The server spoke: its pools need not pause any more.
    mutating func serverReached(
        by pool: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let server = pools[pool].fences.server
        guard bounds.outages[server].reach(now) else { return }
        for other in pools.live where other != pool && pools[other].fences.server == server {
            switch pools[other].backoff.failure?.kind {
            case .permanent, .saturated: continue
            case .transient: pools[other].backoff.cutShort()
            case nil: break
            }
            settle(other, now, &effects)
        }
    }
}
