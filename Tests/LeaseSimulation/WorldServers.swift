// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The world's side of server connections.
extension SchedulerWorld {
    mutating func act(on effect: SchedulerEffect) {
        switch effect {
        case .openServer(let server, let pool, let profile): connect(server, pool, profile)
        case .closeServer(let server, _):
            plan(
                .serverClosed(server),
                after: .microseconds(Int.random(in: 0...5000, using: &random)))
        case .validateServer(let server):
            answer(
                server, success: .validationSucceeded(server), failure: .validationFailed(server))
        case .resetServer(let server):
            let clean = SchedulerEvent.resetSucceeded(server, profile: .serverDefault)
            answer(server, success: clean, failure: .resetFailed(server))
        case .grant(let client, let server, _, _):
            grants += 1
            hold(client, server)
        case .reject(let client, _):
            rejections += 1
            leave(client)
        case .notifyWaiter, .poolPhaseChanged, .connectFailed, .poolStarted, .poolStartFailed,
            .poolPaused, .unwatchLeases, .poolRelieved, .reclaimParked, .recallLease:
            break
        case .shareWanted(let key): grantShare(key)
        case .watchLeases(let pool): reportResting(pool)
        case .poolLocked: locks += 1
        case .reserveLent: lent += 1
        }
    }

    /// The bound's table answers, now or later; what it says is good for a while.
    mutating func grantShare(_ key: UInt32) {
        let delay = Duration.milliseconds(Int.random(in: 1...300, using: &random))
        let lasts = Duration.milliseconds(Int.random(in: 20...2000, using: &random))
        let alone = isHealing ? lasts : lasts / Int.random(in: 1...4, using: &random)
        let end = Instant(nanoseconds: .max)
        let allowance = ShareAllowance(
            limit: isHealing ? 1000 : Int.random(in: 0...6, using: &random),
            until: isHealing ? end : now + delay + lasts,
            alone: isHealing ? end : now + delay + alone)
        plan(
            .shareChanged(key, allowance, isVoid: Int.random(in: 0...5, using: &random) == 0),
            after: delay)
    }

    private mutating func connect(_ server: ServerID, _ pool: PoolID, _ profile: ProfileID) {
        servers[server] = WorldServer(pool: pool)
        let host = databases[pool]!.host
        switch databases[pool]!.answer(profile: profile, on: hosts[host], using: &random) {
        case .accept(let delay):
            databases[pool]!.open += 1
            hosts[host].open += 1
            servers[server]!.isOpen = true
            plan(.serverConnected(server), after: delay)
        case .fail(let failure, let delay):
            if failure.kind == .saturated { refusals += 1 }
            plan(.serverConnectFailed(server, failure), after: delay)
        }
    }

    private mutating func answer(
        _ server: ServerID, success: SchedulerEvent, failure: SchedulerEvent
    ) {
        let isDead = servers[server]?.isDead != false
        if isDead || (!isHealing && WorldPolicies.chance(0.05, &random)) {
            let hangs = WorldPolicies.chance(0.3, &random)
            plan(failure, after: hangs ? .seconds(1) : .microseconds(300))
        } else {
            plan(success, after: .microseconds(Int.random(in: 100...3000, using: &random)))
        }
    }

    /// An event that the world planned earlier, if it can still happen.
    mutating func deliver(_ event: SchedulerEvent) throws(Violation) {
        switch event {
        case .serverClosed(let server):
            if let model = servers.removeValue(forKey: server), model.isOpen {
                databases[model.pool]!.open -= 1
                hosts[databases[model.pool]!.host].open -= 1
            }
        case .requestWithdrawn(let client) where oracle.waiters[client] != nil: leave(client)
        case .poolResumed(let pool) where !livePools.contains(pool): return
        default: break
        }
        try send(event)
    }

    /// A connection ends by itself: sometimes it says so, sometimes the next use finds out.
    mutating func serverDies() {
        guard !isHealing else { return }
        plan(.serverDies, within: 800)
        let victims = servers.filter { $0.value.isOpen && !$0.value.isDead }.keys.sorted {
            $0.slot < $1.slot
        }
        guard let victim = victims.randomElement(using: &random) else { return }
        // One that is still being opened fails as a connect.
        guard let phase = oracle.servers[victim]?.phase, phase != .connecting else { return }
        servers[victim]!.isDead = true
        if WorldPolicies.chance(0.7, &random) {
            plan(
                .serverLost(victim), after: .microseconds(Int.random(in: 0...2000, using: &random)))
        }
    }
}
