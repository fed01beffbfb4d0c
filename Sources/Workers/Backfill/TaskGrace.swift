// SPDX-License-Identifier: Apache-2.0

extension Task where Failure == any Error {
    /// The task's value. It goes on when the caller's task is cancelled, but no longer than this, counted from then on.
    func value(withinWhenCancelled grace: Duration) async throws -> Success {
        try await withTaskCancellationHandler {
            try await value
        } onCancel: {
            cancel(after: grace)
        }
    }

    /// Cancels it when it has not ended by then.
    func cancel(after grace: Duration) {
        Task<Void, Never> {
            let clock = Task<Void, any Error> {
                try await Task<Never, Never>.sleep(for: grace, clock: .continuous)
                cancel()
            }
            _ = await result
            clock.cancel()
        }
    }
}
