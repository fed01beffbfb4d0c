// SPDX-License-Identifier: Apache-2.0

/// What happens when the clock reaches a deadline.
extension Scheduler {
    /// What many have in common at one moment is dealt with some at a time: `nextDeadline` stays in the past until all are
    /// through, and others have their turns in between.
    static let deadlinesAtOnce = 128

    mutating func reachDeadlines(_ now: Instant, _ effects: inout [SchedulerEffect]) {
        for _ in 0..<Self.deadlinesAtOnce {
            guard let token = deadlines.popDue(now) else { break }
            switch token.kind {
            case .waiter: waiterDue(token.slot, now, &effects)
            case .server: serverDue(token.slot, now, &effects)
            case .pool: settle(token.slot, now, &effects)
            case .lock: lockDue(token.slot, now, &effects)
            }
        }
        if heldBackCount > 0 { settleAll(now, &effects) }
    }

    private mutating func waiterDue(
        _ waiter: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        let pool = waiters.slots[waiter].pool
        if waiters.slots[waiter].deadline <= now {
            rejectAtDeadline(waiter, now, &effects)
            settle(pool, now, &effects)
            return
        }
        if waiters.slots[waiter].notifyAt <= now {
            let place = pools[pool].queue.place(of: waiter, in: &waiters.slots)
            let waited = Self.waited(since: waiters.slots[waiter].since, now)
            effects.append(
                .notifyWaiter(waiters.slots[waiter].client, place: place, waited: waited))
            skipPastNotices(waiter, now)
        }
        armWaiter(waiter, now)
        let ownUntil = waiters.slots[waiter].need.awaitsOwnUntil
        if waiters.slots[waiter].reserveAt <= now || (ownUntil > .zero && ownUntil <= now) {
            settle(pool, now, &effects)
        }
    }

    private mutating func serverDue(
        _ index: Int, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        if servers.slots[index].state == .connecting, servers.slots[index].openBy <= now {
            let pool = servers.slots[index].pool
            close(index, .unshared, now, &effects)
            settleWidely(pool, now, &effects)
            return
        }
        guard servers.slots[index].state == .idle else { return }
        let pool = servers.slots[index].pool
        let expiresAt = servers.slots[index].expiresAt
        let allowance = servers.slots[index].idleAllowance
        var idleUntil = servers.slots[index].since.adding(allowance)
        if expiresAt <= now {
            close(index, .lifetime, now, &effects)
            settleWidely(pool, now, &effects)
            return
        }
        if idleUntil <= now {
            if pools[pool].counts.staying > pools[pool].limits.minimumSize {
                close(index, .idleTimeout, now, &effects)
                settleWidely(pool, now, &effects)
                return
            }
            idleUntil = now.adding(max(1_000_000_000, allowance))
        }
        deadlines.set(DeadlineToken(.server, index), at: min(expiresAt, idleUntil))
    }

    /// The pool's own deadline: the next attempt to connect, if something is waiting for it.
    @inline(__always)
    mutating func armPool(_ pool: Int, _ now: Instant) {
        let token = DeadlineToken(.pool, pool)
        let isWanting =
            pools[pool].givesOut
            && (pools[pool].queue.count > 0
                || pools[pool].counts.staying < wantedMinimum(pool))
        if let due = pools[pool].shortageDue {
            deadlines.set(token, at: min(due, isWanting ? pauseEnd(pool, now) ?? due : due))
        } else if isWanting, let next = pauseEnd(pool, now) {
            deadlines.set(token, at: next)
        } else {
            deadlines.remove(token)
        }
    }

    /// When the pool's pause between attempts to connect ends; nil: it does not pause.
    private func pauseEnd(_ pool: Int, _ now: Instant) -> Instant? {
        var end = isFenced(pool) ? fencePause(pool, now) : nil
        if !mayAttempt(pool, now) {
            let until = nextAttempt(pool)
            end = max(end ?? until, until)
        }
        return end
    }
}
