// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// What one call of `withLease` asks for, and how the attempts go.
struct AcquireRequest: Sendable {
    var purpose: String
    var wait: Duration?
    var hold: Duration?
    var direct: DirectUse
    var parks: Bool
    var thread: Int32?
    let start = ContinuousClock.now

    /// A time without an end is a mistake that the broker would not understand.
    func checked() throws(LeaseError) -> AcquireRequest {
        if let wait, wait < .zero { throw .usage("a negative wait: \(wait)") }
        if let hold, hold <= .zero { throw .usage("a hold of no time: \(hold)") }
        return self
    }

    /// Of an attempt that begins now.
    func localDeadline() -> ContinuousClock.Instant {
        .now.advanced(by: wait ?? ClientState.longestLocalWait)
    }

    /// What is left of the wait goes to the broker.
    func command(localDeadline: ContinuousClock.Instant) -> LeaseWording {
        LeaseWording(
            isDirect: direct == .whenPossible,
            parks: parks && direct == .whenPossible,
            wait: wait.map { _ in
                max(.zero, ContinuousClock.now.duration(to: localDeadline))
            },
            hold: hold, purpose: purpose, thread: thread)
    }

    /// When the broker should have answered. Without a wait only it knows.
    func answerDeadline(
        localDeadline: ContinuousClock.Instant, grace: Duration
    ) -> ContinuousClock.Instant? {
        wait.map { _ in max(localDeadline, .now).advanced(by: grace) }
    }

    /// The error with what all attempts took.
    func final(_ error: any Error, attempts: Int) -> any Error {
        guard var exhaustion = (error as? LeaseError)?.exhaustion else { return error }
        exhaustion.waited = start.duration(to: .now)
        exhaustion.attempts = attempts
        exhaustion.wait = wait
        return LeaseError.exhausted(exhaustion)
    }
}

extension ClientState {
    /// A connection with a lease on it, in one attempt: reuses `idle` or connects. Blocks. When it
    /// throws, nothing is left but the slot.
    func open(
        _ idle: Session?, _ request: AcquireRequest, localDeadline: ContinuousClock.Instant,
        wakeup: ThreadWakeup, interruption: Interruption
    ) throws -> Session {
        if let idle {
            do {
                if try idle.takeParked(request.command(localDeadline: localDeadline), interruption)
                {
                    return ready(idle)
                }
                if idle.connection.isAlive {
                    return try lease(idle, request, localDeadline, interruption)
                }
            } catch LeaseError.Code.brokerAway {
                // It had gone while the connection was at rest; a new one tells more.
            }
            close(idle)
        }
        let connectDeadline = ContinuousClock.now.advanced(by: configuration.connectTimeout)
        let session = try Session.connect(
            parameters, wakeup: wakeup,
            patience: Patience(until: connectDeadline, interruption: interruption),
            grace: configuration.grace)
        opened(session)
        return try lease(session, request, localDeadline, interruption)
    }

    private func lease(
        _ session: Session, _ request: AcquireRequest, _ localDeadline: ContinuousClock.Instant,
        _ interruption: Interruption
    ) throws -> Session {
        do {
            _ = try session.takeLease(
                request.command(localDeadline: localDeadline),
                deadline: request.answerDeadline(
                    localDeadline: localDeadline, grace: configuration.grace),
                interruption: interruption)
            return ready(session)
        } catch {
            if session.fault != nil || !session.connection.isOpen {
                close(session)
                throw error
            }
            throw RefusedLease(session: session, error: error)
        }
    }
}

extension ClientState {
    /// With its lease.
    private func ready(_ session: Session) -> Session {
        session.canceller = StatementCanceller()
        session.statementTimeout = configuration.statementTimeout
        return session
    }
}

/// No lease, on a connection that is as good as before.
struct RefusedLease: Error {
    let session: Session
    let error: any Error
}
