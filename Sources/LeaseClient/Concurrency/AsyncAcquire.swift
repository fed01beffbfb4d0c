// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// A lease of the async form, with what it takes to give it back.
struct AsyncHold: Sendable {
    let slot: Int
    let host: SessionHost
    let grant: LeaseGrant?
}

/// How the async form comes to its lease.
extension ClientState {
    nonisolated(nonsending) func acquireAsync(
        _ request: AcquireRequest, retry: RetryPolicy
    ) async throws -> AsyncHold {
        var attempt = 1
        while true {
            do {
                return try await acquireOnceAsync(request)
            } catch let error as LeaseError where error.isWorthAnotherAttempt {
                try Task.checkCancellation()
                guard attempt < retry.attempts else {
                    throw request.final(error, attempts: attempt)
                }
                attempt += 1
                try await Task.sleep(for: retry.pause(before: attempt), clock: .continuous)
            }
        }
    }

    private nonisolated(nonsending) func acquireOnceAsync(
        _ request: AcquireRequest
    ) async throws -> AsyncHold {
        try Task.checkCancellation()
        let localDeadline = request.localDeadline()
        let idle = try await waitForTurnAsync(request, until: localDeadline)
        let slot = began(Use(purpose: request.purpose, since: .now))
        let thread: ThreadExecutor
        do {
            thread = try takeThread()
        } catch {
            giveBack(slot, idle)
            throw error
        }
        let host = SessionHost(on: thread, wakeup: idle?.connection.wakeup ?? ThreadWakeup())
        let interruption = Interruption(waking: host.wakeup)
        do {
            let grant = try await withTaskCancellationHandler {
                try await host.open(
                    self, idle, request, localDeadline: localDeadline, interruption)
            } onCancel: {
                interruption.request()
            }
            return AsyncHold(slot: slot, host: host, grant: grant)
        } catch {
            giveBack(thread)
            let refused = error as? RefusedLease
            giveBack(slot, refused?.session)
            let reason = refused?.error ?? error
            if case LeaseError.Code.cancelled = reason, Task.isCancelled {
                throw CancellationError()
            }
            throw reason
        }
    }

    private nonisolated(nonsending) func waitForTurnAsync(
        _ request: AcquireRequest, until deadline: ContinuousClock.Instant
    ) async throws -> Session? {
        switch try takeTurn(isBlocking: false) {
        case .slot(let idle): return idle
        case .wait(let waiter):
            switch await waiter.wait(asyncUntil: deadline) {
            case .slot(let idle): return idle
            case .timedOut: throw exhaustion(waited: request.start.duration(to: .now))
            case .cancelled: throw CancellationError()
            case .closed: throw LeaseError.closed
            }
        }
    }

    /// Cancelled or not, the lease comes back.
    nonisolated(nonsending) func giveBack(_ hold: AsyncHold) async {
        let session = await hold.host.end(self)
        giveBack(hold.host.thread)
        giveBack(hold.slot, session)
    }
}
