// SPDX-License-Identifier: Apache-2.0

/// What a client needs of the connection that serves it.
struct ServerNeed: Equatable {
    /// One with this profile in force is preferred.
    var profile: ProfileID
    /// It must also have been opened with it.
    var requiresProfile = false
    /// It must not be confined to another process than this; nil: to none.
    var peer: PeerID?
    /// Until then one of the process's own that is being cleaned is waited for, rather than one more
    /// confined to the process; zero: not at all.
    var awaitsOwnUntil = Instant.zero

    init(profile: ProfileID) { self.profile = profile }

    @inline(__always)
    init(of request: LeaseRequest, _ now: Instant) {
        profile = request.profile
        requiresProfile = request.requiresProfile
        peer = request.peer
        if request.wantsHandOut { awaitsOwnUntil = now.adding(Self.patience) }
    }

    /// Ten milliseconds: cleaning takes a fraction of one, opening another connection three.
    private static let patience: Int64 = 10_000_000

    /// Whether every connection that fits one of them fits the other.
    @inline(__always)
    func isMet(alikeWith other: ServerNeed) -> Bool {
        peer == other.peer && awaitsOwnUntil == other.awaitsOwnUntil
            && requiresProfile == other.requiresProfile
            && (!requiresProfile || profile == other.profile)
    }
}

/// Which connection serves which client: the one place that knows it.
extension Scheduler {
    @inline(__always)
    func fits(_ server: Int, _ need: ServerNeed) -> Bool {
        isOpen(server, to: need.peer)
            && (!need.requiresProfile || servers.slots[server].openedProfile == need.profile)
    }

    /// Whether clients of this process may be given the connection.
    @inline(__always)
    func isOpen(_ server: Int, to peer: PeerID?) -> Bool {
        guard let confinedTo = servers.slots[server].confinedTo else { return true }
        return confinedTo == peer
    }

    /// The idle connection that serves this need best: one that is confined to its process comes
    /// before others, so that few become confined; then one that has its profile in force, if it is
    /// among the first few and needs no check.
    @inline(__always)
    func idleServer(_ pool: Int, for need: ServerNeed, _ now: Instant) -> Int? {
        let newest = Int(pools[pool].idle.front)
        if newest < 0 { return nil }
        // Nearly always: the one used last, which nobody else has a claim to, as it is needed.
        if pools[pool].counts.confined == 0, !need.requiresProfile,
            servers.slots[newest].profile == need.profile,
            !pools[pool].limits.policy.roundRobin
        {
            return newest
        }
        return searchedIdle(pool, for: need, now)
    }

    @inline(__always)
    private func searchedIdle(_ pool: Int, for need: ServerNeed, _ now: Instant) -> Int? {
        if pools[pool].counts.confined > 0, let peer = need.peer {
            let own = preferredIdle(pool, for: need, now) { servers.slots[$0].confinedTo == peer }
            if let own { return own }
            if ownBeingCleaned(pool, for: need, now) != nil { return nil }
        }
        return preferredIdle(pool, for: need, now) { servers.slots[$0].confinedTo == nil }
    }

    /// A connection confined to the client's process that comes free within moments, if it is worth
    /// waiting for and this pass has not promised it to another.
    func ownBeingCleaned(_ pool: Int, for need: ServerNeed, _ now: Instant) -> Int? {
        guard now < need.awaitsOwnUntil, pools[pool].counts.resetting > 0, let peer = need.peer
        else { return nil }
        return servers.slots.indices.first { index in
            let slot = servers.slots[index]
            return slot.state == .resetting && slot.confinedTo == peer && slot.pool == pool
                && slot.closeWhenFree == nil && slot.claimedIn != passNumber
        }
    }

    /// Among the idle connections that are `eligible`.
    @inline(__always)
    private func preferredIdle(
        _ pool: Int, for need: ServerNeed, _ now: Instant, _ eligible: (Int) -> Bool
    ) -> Int? {
        let newest = Int(pools[pool].idle.front)
        // One that came free or was checked just now is used, in turns too: else a short check
        // delay would check one after the other, and grant none.
        let oldestFirst =
            pools[pool].limits.policy.roundRobin && servers.slots[newest].provenIn != callNumber
        var candidate = oldestFirst ? Int(pools[pool].idle.back) : newest
        var first: Int?
        var seen = 0
        while candidate >= 0, seen < 8 {
            let index = candidate
            candidate = Int(oldestFirst ? servers.slots[index].previous : servers.slots[index].next)
            if !eligible(index) { continue }
            if need.requiresProfile {
                if servers.slots[index].openedProfile == need.profile { return index }
                continue
            }
            if servers.slots[index].profile == need.profile {
                return first == nil || !needsCheck(index, now) ? index : first
            }
            if first == nil { first = index }
            seen += 1
        }
        return first
    }
}
