// SPDX-License-Identifier: Apache-2.0

/// What PostgreSQL had no room for when it refused a connection with 53300.
package enum FenceScope: UInt8, CaseIterable, Sendable {
    /// `max_connections`, reserved slots, or what is not known.
    case server
    /// The database's CONNECTION LIMIT.
    case database
    /// The role's CONNECTION LIMIT.
    case role
}

/// Which limits of PostgreSQL a pool meets: pools with the same number meet the same one.
package struct FenceKeys: Hashable, Sendable {
    /// The host and port.
    package var server: UInt32
    /// The database on that server.
    package var database: UInt32
    /// The role on that server.
    package var role: UInt32

    package init(server: UInt32, database: UInt32, role: UInt32) {
        self.server = server
        self.database = database
        self.role = role
    }

    fileprivate subscript(scope: FenceScope) -> UInt32 {
        switch scope {
        case .server: server
        case .database: database
        case .role: role
        }
    }
}

/// A limit of PostgreSQL that is not the broker's to set: it shows when a connection is refused.
///
/// It is taken for the present bound of all pools under it. One attempt at a time goes beyond it, after a
/// pause; two that succeed in a row lift it.
struct Fence {
    /// Connections under it, of all pools.
    var tally = ConnectionTally()
    /// How many there was room for when PostgreSQL last refused one; nil: it does not refuse.
    private(set) var limit: Int?
    /// When one more may be tried.
    private(set) var backoff = Backoff()
    /// A place that a connection of ours had just left was gone to somebody else: giving up another has to
    /// wait.
    private var isContested = false
    private var grown = 0

    /// The bound that counts now. `now` nil: without the attempt beyond it.
    func bound(_ now: Instant?) -> Int? {
        guard let limit else { return nil }
        if let now, backoff.allowsAttempt(now) { return limit + 1 }
        return limit
    }

    /// Whether closing one of ours is a way to open another.
    func allowsReplacing(_ now: Instant) -> Bool { !isContested || backoff.allowsAttempt(now) }

    /// When another attempt beyond the limit is due; nil: nothing has to be waited for.
    func pausesUntil(_ now: Instant) -> Instant? {
        limit == nil || backoff.allowsAttempt(now) ? nil : backoff.until
    }

    /// `places`: connections of ours that PostgreSQL serves.
    mutating func refuse(
        _ failure: ConnectFailure, begunAt begun: Instant, places: Int, now: Instant, pause: Int64
    ) {
        if limit != nil, backoff.knowsAlready(attemptBegunAt: begun) {
            backoff.update(failure)
            return
        }
        isContested = limit.map { places < $0 } ?? false
        limit = places
        grown = 0
        backoff.fail(failure, now: now, pause: pause)
    }

    mutating func admit(begunAt begun: Instant, places: Int) {
        guard let limit else { return }
        isContested = false
        guard places > limit else { return }
        self.limit = places
        if backoff.knowsAlready(attemptBegunAt: begun) { return }
        grown += 1
        if grown < Self.growthThatLifts {
            backoff.cutShort()
        } else {
            self.limit = nil
            grown = 0
            backoff.succeed()
        }
    }

    /// An operator acted: the next attempt need not wait.
    mutating func cutShort() {
        isContested = false
        backoff.cutShort()
    }

    /// The last refusal is old enough for another attempt, if somebody waits.
    mutating func doubt(_ now: Instant) {
        guard let pause = pausesUntil(now) else { return }
        let tried = backoff.failedAt.adding(Self.longestPause.wholeNanoseconds)
        if tried <= now, pause > now { backoff.cutShort() }
    }

    private static let growthThatLifts = 2
    /// One attempt a second costs a full server little, and a place that comes free is soon found.
    static let longestPause = Duration.seconds(1)
}

/// The fences of a pool, as places in the table.
struct FencePlaces: Equatable {
    var server: Int
    var database: Int
    var role: Int

    @inline(__always)
    subscript(scope: FenceScope) -> Int {
        switch scope {
        case .server: server
        case .database: database
        case .role: role
        }
    }
}

/// Fences by what they are about.
struct FenceTable {
    private enum Key: Hashable {
        case shared(FenceScope, UInt32)
        /// A pool that says nothing of its server shares it with no other.
        case own(FenceScope, PoolID)
    }

    private var places: [Key: Int] = [:]
    private var fences: [Fence] = []

    var count: Int { fences.count }

    @inline(__always)
    subscript(place: Int) -> Fence {
        _read { yield fences[place] }
        _modify { yield &fences[place] }
    }

    mutating func places(of keys: FenceKeys?, in pool: PoolID) -> FencePlaces {
        FencePlaces(
            server: place(keys, .server, pool), database: place(keys, .database, pool),
            role: place(keys, .role, pool))
    }

    private mutating func place(_ keys: FenceKeys?, _ scope: FenceScope, _ pool: PoolID) -> Int {
        let key = keys.map { Key.shared(scope, $0[scope]) } ?? .own(scope, pool)
        if let known = places[key] { return known }
        places[key] = fences.count
        fences.append(Fence())
        return fences.count - 1
    }
}

extension BoundSet {
    init(_ scope: FenceScope) {
        switch scope {
        case .server: self = .serverFence
        case .database: self = .databaseFence
        case .role: self = .roleFence
        }
    }
}

/// What a refusal for want of room means, and its end.
extension Scheduler {
    /// The pause before the next attempt, in nanoseconds.
    mutating func fenceIn(
        _ pool: Int, _ failure: ConnectFailure, begunAt begun: Instant, _ now: Instant
    ) -> Int64 {
        let policy = pools[pool].limits.policy
        let place = pools[pool].fences[failure.scope]
        // A pool's minimum, which nobody needs now, has time.
        let longest =
            waiters.count == 0
            ? max(policy.retryMinimum, policy.retryMaximum)
            : max(policy.retryMinimum, min(policy.retryMaximum, Fence.longestPause))
        let pause = bounds.fences[place].backoff.nextPause(
            minimum: policy.retryMinimum, maximum: longest, using: &random)
        let held = placesHeld(under: place, failure.scope)
        bounds.fences[place].refuse(
            failure, begunAt: begun, places: held, now: now, pause: pause)
        return max(0, bounds.fences[place].backoff.until.nanoseconds(since: now))
    }

    /// PostgreSQL took this one.
    mutating func passFences(_ server: Int, begunAt begun: Instant) {
        let pool = servers.slots[server].pool
        for scope in FenceScope.allCases {
            let place = pools[pool].fences[scope]
            if bounds.fences[place].limit == nil { continue }
            let held = placesHeld(under: place, scope)
            bounds.fences[place].admit(begunAt: begun, places: held)
        }
    }

    /// Connections that PostgreSQL has let in and that are not gone.
    private func placesHeld(under place: Int, _ scope: FenceScope) -> Int {
        var count = 0
        for index in servers.slots.indices where servers.slots[index].hasPlace {
            guard servers.slots[index].state != nil else { continue }
            if pools[servers.slots[index].pool].fences[scope] == place { count += 1 }
        }
        return count
    }

    func isFenced(_ pool: Int) -> Bool {
        FenceScope.allCases.contains { bounds.fences[pools[pool].fences[$0]].limit != nil }
    }

    /// Whether a fence that is in force is about both.
    func shareFence(_ pool: Int, _ other: Int) -> Bool {
        FenceScope.allCases.contains { scope in
            let place = pools[pool].fences[scope]
            return place == pools[other].fences[scope] && bounds.fences[place].limit != nil
        }
    }

    /// Bounds of PostgreSQL's own that one more connection would exceed.
    func fullFences(_ pool: Int, afterClosing: Int?, _ now: Instant?) -> BoundSet {
        var full: BoundSet = []
        for scope in FenceScope.allCases {
            let place = pools[pool].fences[scope]
            guard let bound = bounds.fences[place].bound(now) else { continue }
            if Self.isFull(bounds.fences[place].tally, bound, afterClosing) {
                full.insert(BoundSet(scope))
            }
        }
        return full
    }

    /// The refusal that the pool lives under; nil: there is room.
    func fenceFailure(_ pool: Int) -> ConnectFailure? {
        let full = fullFences(pool, afterClosing: nil, nil)
        guard let scope = FenceScope.allCases.first(where: { full.contains(BoundSet($0)) }) else {
            return nil
        }
        return bounds.fences[pools[pool].fences[scope]].backoff.failure
    }

    /// Whether a connection may be closed for one that these bounds keep from being opened.
    func allowsReplacing(_ pool: Int, _ full: BoundSet, _ now: Instant) -> Bool {
        FenceScope.allCases.allSatisfy { scope in
            !full.contains(BoundSet(scope))
                || bounds.fences[pools[pool].fences[scope]].allowsReplacing(now)
        }
    }

    /// Until when nothing beyond a fence is tried.
    func fencePause(_ pool: Int, _ now: Instant) -> Instant? {
        var latest: Instant?
        for scope in FenceScope.allCases {
            let pause = bounds.fences[pools[pool].fences[scope]].pausesUntil(now)
            if let pause { latest = max(latest ?? pause, pause) }
        }
        return latest
    }

    mutating func cutShortFences(_ pool: Int) {
        for scope in FenceScope.allCases { bounds.fences[pools[pool].fences[scope]].cutShort() }
    }

    /// Somebody waits: what was refused a while ago is tried again, whatever the pause.
    mutating func doubtFences(_ pool: Int, _ now: Instant) {
        for scope in FenceScope.allCases { bounds.fences[pools[pool].fences[scope]].doubt(now) }
    }
}
