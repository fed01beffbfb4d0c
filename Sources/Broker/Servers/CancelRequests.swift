// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ
import LibUV
import Logging

/// Cancelling what a server runs: on a worker thread, since PQcancel blocks until PostgreSQL hangs up.
extension Broker {
    func sendCancel(_ id: ServerID) {
        if let server = server(id), server.cancelHandle == nil {
            server.cancelHandle = server.connection?.makeCancelHandle()
        }
        guard let handle = server(id)?.cancelHandle ?? jobs.cancelsBeyondTheEnd[id] else {
            cancelFinished(id)
            return
        }
        counters.cancels += 1
        do throws(UVError) {
            let work: @Sendable () -> Result<Void, CancelError> = { handle.request() }
            try loop.submit(work) { [weak self] result in
                guard let self else { return }
                if case .failure(let error) = result {
                    self.logger.warning(
                        "cancel request failed",
                        metadata: ["server.id": "\(id)", "reason": "\(error.message)"])
                }
                self.cancelFinished(id)
            }
        } catch {
            cancelFinished(id)
        }
    }

    private func cancelFinished(_ id: ServerID) {
        engine.cancelFinished(id, now: now)
        if !engine.awaitsCancel(id) { jobs.cancelsBeyondTheEnd[id] = nil }
        dealWithNotices()
    }
}
