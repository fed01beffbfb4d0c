// SPDX-License-Identifier: Apache-2.0

private import PostgresWire

/// What a failed connect means for its pool and for those who wait.
extension Scheduler {
    mutating func connectFailed(
        _ pool: Int, _ failure: ConnectFailure, begunAt begun: Instant, profile: ProfileID,
        _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        if failure.kind == .permanent, isAboutProfile(failure, profile) {
            effects.append(.connectFailed(pools[pool].id, failure, attempt: 1, retryIn: nil))
            rejectAll(pool, .connectFailed(failure), requiring: profile, now, &effects)
            return
        }
        if failure.kind == .transient {
            bounds.outages[pools[pool].fences.server].fail(begunAt: begun)
        }
        let fencePause =
            failure.kind == .saturated ? fenceIn(pool, failure, begunAt: begun, now) : nil
        if pools[pool].startup == nil, pools[pool].backoff.knowsAlready(attemptBegunAt: begun) {
            pools[pool].backoff.update(failure)
            reportFailure(pool, failure, now, &effects)
        } else if failure.kind == .transient, isOutOfTurn(pool, begunAt: begun) {
            pools[pool].backoff.update(failure)
        } else if pools[pool].startup != nil {
            startupFailed(pool, failure, now, &effects)
        } else {
            let pause = fencePause ?? usualPause(pool)
            pools[pool].backoff.fail(failure, now: now, pause: pause)
            reportFailure(pool, failure, now, &effects)
        }
        let livesOn = pools[pool].counts.connected > 0
        switch failure.kind {
        case .transient: pools[pool].isFailing = true
        case .saturated: pools[pool].isFailing = !livesOn
        case .permanent:
            pools[pool].isFailing = true
            // With connections that still work, the waiters go on with those that come back.
            if !livesOn { rejectAll(pool, .connectFailed(failure), now, &effects) }
        }
        announcePhase(pool, &effects)
    }

    /// The server refused what this client's startup parameters ask for, not the pool as such.
    private func isAboutProfile(_ failure: ConnectFailure, _ profile: ProfileID) -> Bool {
        if profile == .serverDefault { return false }
        // 25 and 55: a setting that cannot be changed, or not there.
        return ["22", "25", "42", "55"].contains(failure.error.sqlState.rawValue.prefix(2))
    }

    private mutating func startupFailed(
        _ pool: Int, _ failure: ConnectFailure, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pause = pools[pool].startup!.fail()
        let attempts = pools[pool].startup!.attempts
        if let pause, failure.kind != .permanent {
            pools[pool].backoff.fail(failure, now: now, pause: pause)
            effects.append(
                .connectFailed(
                    pools[pool].id, failure, attempt: attempts, retryIn: .nanoseconds(pause)))
            return
        }
        pools[pool].startup = nil
        let usual = usualPause(pool)
        pools[pool].backoff.fail(failure, now: now, pause: usual)
        reportFailure(pool, failure, now, &effects)
        effects.append(.poolStartFailed(pools[pool].id, failure, attempts: attempts))
    }

    private mutating func usualPause(_ pool: Int) -> Int64 {
        let policy = pools[pool].limits.policy
        return pools[pool].backoff.nextPause(
            minimum: policy.retryMinimum, maximum: policy.retryMaximum, using: &random)
    }

    private func reportFailure(
        _ pool: Int, _ failure: ConnectFailure, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let isPermanent = failure.kind == .permanent && pools[pool].counts.connected == 0
        let isAwaited = pools[pool].queue.count > 0 && !isPermanent
        let willRetry = isAwaited || pools[pool].counts.staying < wantedMinimum(pool)
        let pause = nextAttempt(pool).nanoseconds(since: now)
        effects.append(
            .connectFailed(
                pools[pool].id, failure, attempt: pools[pool].backoff.attempts,
                retryIn: willRetry ? .nanoseconds(pause) : nil))
    }

    /// The failure that new requests are answered with at once: waiting cannot mend it, nothing
    /// else can serve them, and it was seen a moment ago.
    func permanentFailure(_ pool: Int, _ now: Instant) -> ConnectFailure? {
        guard let failure = lastingFailure(pool), !pools[pool].backoff.allowsAttempt(now),
            !isDoubtful(pool, now)
        else { return nil }
        return failure
    }

    /// It may have been mended meanwhile: a client that comes a moment after the last attempt has
    /// another one made, whatever the pause.
    mutating func doubtFailure(_ pool: Int, _ now: Instant) {
        if lastingFailure(pool) != nil, isDoubtful(pool, now) { pools[pool].backoff.cutShort() }
    }

    private func lastingFailure(_ pool: Int) -> ConnectFailure? {
        guard let failure = pools[pool].backoff.failure, failure.kind == .permanent,
            pools[pool].counts.connected == 0, pools[pool].startup == nil
        else { return nil }
        return failure
    }

    private func isDoubtful(_ pool: Int, _ now: Instant) -> Bool {
        now >= pools[pool].backoff.failedAt.adding(Self.certainty)
    }

    /// A second: nobody types faster, and a server can bear one attempt.
    private static let certainty: Int64 = 1_000_000_000

    mutating func announcePhase(_ pool: Int, _ effects: inout [SchedulerEffect]) {
        let phase = currentPhase(pool)
        guard phase != pools[pool].phase else { return }
        pools[pool].phase = phase
        effects.append(.poolPhaseChanged(pools[pool].id, phase))
    }

    private func currentPhase(_ pool: Int) -> PoolPhase {
        if pools[pool].isClosed { return .stopped }
        if pools[pool].isPaused { return .paused }
        return pools[pool].isFailing ? .failing : .running
    }
}
