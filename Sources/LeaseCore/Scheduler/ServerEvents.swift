// SPDX-License-Identifier: Apache-2.0

/// What the shell reports of server connections.
extension Scheduler {
    mutating func serverConnected(
        _ server: ServerID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        let pool = servers.slots[index].pool
        switch state(of: index) {
        case .connecting: break
        case .closing:
            staleEvents &+= 1
            return
        case .idle, .validating, .leased, .resetting, .cancelling:
            illegal("serverConnected", index)
        }
        servers.slots[index].hasPlace = true
        if servers.slots[index].openBy <= now {
            close(index, .unshared, now, &effects)
            settleWidely(pool, now, &effects)
            return
        }
        servers.slots[index].openBy = .endOfTime
        passFences(index, begunAt: servers.slots[index].connectedAt)
        servers.slots[index].connectedAt = now
        servers.slots[index].jitter = random.nanoseconds(in: 900...1100)
        setLifetime(index)
        pools[pool].backoff.succeed()
        pools[pool].isFailing = false
        announcePhase(pool, &effects)
        if pools[pool].startup != nil {
            pools[pool].startup = nil
            effects.append(.poolStarted(pools[pool].id))
        }
        becomeFree(index, now, &effects)
        settleWidely(pool, now, &effects)
        serverReached(by: pool, now, &effects)
    }

    mutating func serverConnectFailed(
        _ server: ServerID, _ failure: ConnectFailure, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        switch state(of: index) {
        case .connecting: break
        case .closing:
            staleEvents &+= 1
            return
        case .idle, .validating, .leased, .resetting, .cancelling:
            illegal("serverConnectFailed", index)
        }
        let pool = servers.slots[index].pool
        let begun = servers.slots[index].connectedAt
        let profile = servers.slots[index].openedProfile
        close(index, .connectFailed, now, &effects)
        connectFailed(pool, failure, begunAt: begun, profile: profile, now, &effects)
        settleWidely(pool, now, &effects)
        if failure.kind != .transient { serverReached(by: pool, now, &effects) }
    }

    /// A check or a reset went well.
    mutating func serverProven(
        _ server: ServerID, after expected: ServerState, profile: ProfileID?, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        guard isIn(expected, index) else { return }
        if let profile {
            servers.slots[index].profile = profile
            servers.slots[index].needsReset = false
        }
        becomeFree(index, now, &effects)
        settleWidely(servers.slots[index].pool, now, &effects)
    }

    /// A check or a reset failed.
    mutating func serverUseless(
        _ server: ServerID, after expected: ServerState, _ reason: CloseReason, _ now: Instant,
        _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        guard isIn(expected, index) else { return }
        close(index, reason, now, &effects)
        settleWidely(servers.slots[index].pool, now, &effects)
    }

    /// False, and counted, if the connection was ordered to be closed meanwhile.
    private mutating func isIn(_ expected: ServerState, _ index: Int) -> Bool {
        let state = state(of: index)
        if state == expected { return true }
        guard state == .closing else { illegal("the end of \(expected)", index) }
        staleEvents &+= 1
        return false
    }

    mutating func serverLost(
        _ server: ServerID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        switch state(of: index) {
        case .idle, .validating, .resetting, .cancelling:
            suspectServer(of: servers.slots[index].pool)
            close(index, .lost, now, &effects)
            settleWidely(servers.slots[index].pool, now, &effects)
        case .leased:
            // Seen while it was idle, told after it was granted: its client will find out too.
            servers.slots[index].closeWhenFree = .lost
        case .closing: staleEvents &+= 1
        case .connecting: illegal("serverLost", index)
        }
    }

    mutating func cancelStarted(_ server: ServerID, _ now: Instant) {
        guard let index = live(server) else { return }
        servers.slots[index].cancelsInFlight += 1
        switch state(of: index) {
        case .idle: move(index, to: .cancelling, now)
        case .leased, .validating, .resetting, .cancelling: break
        case .closing: staleEvents &+= 1
        case .connecting: illegal("cancelStarted", index)
        }
    }

    mutating func cancelFinished(
        _ server: ServerID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        guard servers.slots[index].cancelsInFlight > 0 else {
            illegal("cancelFinished without a start", index)
        }
        servers.slots[index].cancelsInFlight -= 1
        switch state(of: index) {
        case .cancelling:
            guard servers.slots[index].cancelsInFlight == 0 else { return }
            becomeFree(index, now, &effects)
            settleWidely(servers.slots[index].pool, now, &effects)
        case .leased, .validating, .resetting: break
        case .closing: staleEvents &+= 1
        case .connecting, .idle: illegal("cancelFinished", index)
        }
    }

    mutating func serverClosed(
        _ server: ServerID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        guard let index = live(server) else { return }
        guard state(of: index) == .closing else { illegal("serverClosed", index) }
        let pool = servers.slots[index].pool
        free(index)
        let isGone = announceEmpty(pool, &effects)
        if heldBackCount > 0 {
            settleAll(now, &effects)
        } else if !isGone {
            settle(pool, now, &effects)
        }
    }

    /// How long a connection may live and be idle, by its pool's present policy.
    mutating func setLifetime(_ index: Int) {
        let pool = servers.slots[index].pool
        let jitter = servers.slots[index].jitter
        let lifetime = Self.scale(pools[pool].limits.lifetime, perMille: jitter)
        servers.slots[index].expiresAt = servers.slots[index].connectedAt.adding(lifetime)
        servers.slots[index].idleAllowance = Self.scale(
            pools[pool].limits.idleTimeout, perMille: jitter)
    }

    private static func scale(_ nanoseconds: Int64, perMille: Int64) -> Int64 {
        if nanoseconds == Nanoseconds.never { return nanoseconds }
        let (scaled, overflow) = (nanoseconds / 1000).multipliedReportingOverflow(by: perMille)
        return overflow ? Nanoseconds.never : scaled
    }
}
