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
        if pools[pool].startup != nil {
            startupFailed(pool, failure, now, &effects)
        } else if pools[pool].backoff.knowsAlready(attemptBegunAt: begun) {
            pools[pool].backoff.update(failure)
            reportFailure(pool, failure, now, &effects)
        } else {
            let policy = pools[pool].limits.policy
            let pause = pools[pool].backoff.nextPause(
                minimum: policy.retryMinimum, maximum: policy.retryMaximum, using: &random)
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
        let code = failure.error.sqlState.rawValue
        return !code.hasPrefix("28") && !code.hasPrefix("3D")
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
        let policy = pools[pool].limits.policy
        let usual = pools[pool].backoff.nextPause(
            minimum: policy.retryMinimum, maximum: policy.retryMaximum, using: &random)
        pools[pool].backoff.fail(failure, now: now, pause: usual)
        reportFailure(pool, failure, now, &effects)
        effects.append(.poolStartFailed(pools[pool].id, failure, attempts: attempts))
    }

    private func reportFailure(
        _ pool: Int, _ failure: ConnectFailure, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let isPermanent = failure.kind == .permanent && pools[pool].counts.connected == 0
        let isAwaited = pools[pool].queue.count > 0 && !isPermanent
        let willRetry = isAwaited || pools[pool].counts.staying < wantedMinimum(pool)
        let pause = pools[pool].backoff.until.nanoseconds(since: now)
        effects.append(
            .connectFailed(
                pools[pool].id, failure, attempt: pools[pool].backoff.attempts,
                retryIn: willRetry ? .nanoseconds(pause) : nil))
    }

    /// The failure that new requests are answered with at once: waiting cannot mend it, nothing
    /// else can serve them, and it is not yet time for another attempt.
    func permanentFailure(_ pool: Int, _ now: Instant) -> ConnectFailure? {
        guard !pools[pool].backoff.isQuiet, let failure = pools[pool].backoff.failure,
            failure.kind == .permanent, pools[pool].counts.connected == 0,
            !pools[pool].backoff.allowsAttempt(now)
        else { return nil }
        return failure
    }

    mutating func announcePhase(_ pool: Int, _ effects: inout [SchedulerEffect]) {
        let phase = currentPhase(pool)
        guard phase != pools[pool].phase else { return }
        pools[pool].phase = phase
        effects.append(.poolPhaseChanged(pools[pool].id, phase))
    }

    private func currentPhase(_ pool: Int) -> PoolPhase {
        if pools[pool].isClosed { return .stopped }
        if pools[pool].isPaused { return .paused }
        if isDraining { return .draining }
        return pools[pool].isFailing ? .failing : .running
    }
}
