// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// The owner of a session in the async form: an actor whose executor is a thread of its own, because
/// libpq's waits block the thread that makes them.
///
/// Why a thread for each lease and no shared pool: a lease has at most one call under way, and that
/// call may last as long as its statement; with fewer threads than leases one long statement would
/// hold up another lease's answer, which that lease's owner may be waiting for. Their number is
/// bounded by `maximumConnections`, they are reused, and one at rest costs no more than its stack's
/// touched pages.
actor SessionHost {
    nonisolated let thread: ThreadExecutor
    nonisolated let wakeup: ThreadWakeup
    private var session: Session?

    init(on thread: ThreadExecutor, wakeup: ThreadWakeup) {
        self.thread = thread
        self.wakeup = wakeup
    }

    nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

    /// Takes a connection and a lease. What it throws may be a ``RefusedLease``.
    func open(
        _ state: ClientState, _ idle: Session?, _ request: AcquireRequest,
        localDeadline: ContinuousClock.Instant, _ interruption: Interruption
    ) throws -> LeaseGrant? {
        let session = try state.open(
            idle, request, localDeadline: localDeadline, wakeup: wakeup,
            interruption: interruption)
        self.session = session
        return session.grant
    }

    func perform<Result: Sendable>(
        _ interruption: Interruption,
        _ work: @Sendable (Session, Interruption) throws -> Result
    ) throws -> Result {
        guard let session else { throw LeaseError.closed }
        return try work(session, interruption)
    }

    /// Ends the lease. The session when it can be used again.
    func end(_ state: ClientState) -> Session? {
        guard let session else { return nil }
        self.session = nil
        return session.endLease() ? session : state.closing(session)
    }

    /// For tests on PostgreSQL itself.
    func adopt(_ session: Session) { self.session = session }
}

extension SessionHost {
    /// Runs work that the task's cancellation interrupts.
    func run<Result: Sendable>(
        isolation: isolated (any Actor)? = #isolation,
        _ work: @Sendable (Session, Interruption) throws -> Result
    ) async throws -> Result {
        try Task.checkCancellation()
        let interruption = Interruption(waking: wakeup)
        do {
            return try await withTaskCancellationHandler {
                try await perform(interruption, work)
            } onCancel: {
                interruption.request()
            }
        } catch LeaseError.Code.cancelled where interruption.isRequested && Task.isCancelled {
            throw CancellationError()
        }
    }

    /// Runs work that has to be done though the task is cancelled: what cleans up.
    nonisolated(nonsending) func runUncancelled<Result: Sendable>(
        _ work: @Sendable (Session, Interruption) throws -> Result
    ) async throws -> Result {
        try await perform(Interruption(waking: wakeup), work)
    }
}
