// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// How the blocking form comes to its lease.
extension ClientState {
    func acquire(
        _ request: AcquireRequest, retry: RetryPolicy
    ) throws -> (slot: Int, session: Session) {
        var attempt = 1
        while true {
            do {
                return try acquireOnce(request)
            } catch let error as LeaseError where error.isWorthAnotherAttempt {
                guard attempt < retry.attempts else {
                    throw request.final(error, attempts: attempt)
                }
                attempt += 1
                // A waiter that nobody answers but the end of the client.
                try pause(retry.pause(before: attempt))
            }
        }
    }

    private func acquireOnce(
        _ request: AcquireRequest
    ) throws -> (slot: Int, session: Session) {
        let localDeadline = request.localDeadline()
        let idle = try waitForTurn(request, until: localDeadline)
        let slot = began(Use(purpose: request.purpose, since: .now))
        let wakeup = idle?.connection.wakeup ?? ThreadWakeup()
        do {
            let session = try open(
                idle, request, localDeadline: localDeadline, wakeup: wakeup,
                interruption: Interruption(waking: wakeup))
            return (slot, session)
        } catch let refused as RefusedLease {
            giveBack(slot, refused.session)
            throw refused.error
        } catch {
            giveBack(slot, nil)
            throw error
        }
    }

    private func waitForTurn(
        _ request: AcquireRequest, until deadline: ContinuousClock.Instant
    ) throws(LeaseError) -> Session? {
        switch try takeTurn(isBlocking: true) {
        case .slot(let idle): return idle
        case .wait(let waiter):
            switch waiter.wait(until: deadline) {
            case .slot(let idle): return idle
            case .timedOut, .cancelled:
                throw exhaustion(waited: request.start.duration(to: .now))
            case .closed: throw .closed
            }
        }
    }

    /// Ends early when the client is closed.
    private func pause(_ time: Duration) throws(LeaseError) {
        let waiter = SlotWaiter(isBlocking: true)
        guard watchForEnd(waiter) else { throw .closed }
        defer { stopWatching(waiter) }
        if case .closed = waiter.wait(until: .now.advanced(by: time)) { throw .closed }
    }

    /// A session that cannot be used again leaves the books.
    func closing(_ session: Session) -> Session? {
        close(session)
        return nil
    }
}
