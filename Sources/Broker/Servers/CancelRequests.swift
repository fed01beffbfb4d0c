import LeaseCore
import LibPQ
import LibUV
import Logging

/// Why a server connection is to be cancelled: while it waits for its turn, the reason may go.
enum CancelPurpose: Equatable {
    /// What this lease runs, since then.
    case lease(LeaseID, since: Instant?)
    /// What a client left running, which the broker is about to find out.
    case recovery
    /// Its connection is closed: nobody else will use the backend.
    case backend
}

/// Cancel requests, and who waits for their end.
struct CancelRequests {
    struct Waiting {
        let handle: CancelHandle
        let pool: PoolID
        var purpose: CancelPurpose
        var completions: [() -> Void]
    }

    var turns = CancelTurns(limit: Broker.workerThreads / 2, perServer: 2)
    /// Those without a turn yet.
    var waiting: [ServerID: Waiting] = [:]
    /// Those who ask again for what is asked for already are kept waiting up to this many.
    static let completionsKept = 32

    var waitingByPool: [PoolID: Int] {
        waiting.values.reduce(into: [:]) { $0[$1.pool, default: 0] += 1 }
    }
}

/// Cancelling what a server runs: on a worker thread, since PQcancel blocks until PostgreSQL hangs up.
extension Broker {
    /// The server serves nobody else before the request is done. `completion` comes when it is, or when it is
    /// not wanted any more.
    func sendCancel(
        _ server: ServerConnection, for purpose: CancelPurpose? = nil,
        then completion: @escaping () -> Void
    ) {
        if server.cancelHandle == nil {
            server.cancelHandle = server.connection?.makeCancelHandle()
        }
        guard let handle = server.cancelHandle else {
            completion()
            return
        }
        counters.cancels += 1
        let purpose = purpose ?? self.purpose(of: server)
        switch cancels.turns.request(server.id, of: server.pool.serverKey) {
        case .now: send(handle, to: server.id, [completion])
        case .later:
            cancels.waiting[server.id] = CancelRequests.Waiting(
                handle: handle, pool: server.pool.id, purpose: purpose, completions: [completion])
        case .joined:
            cancels.waiting[server.id]?.purpose = purpose
            let count = cancels.waiting[server.id]?.completions.count ?? 0
            guard count < CancelRequests.completionsKept else {
                completion()
                return
            }
            cancels.waiting[server.id]?.completions.append(completion)
        }
    }

    private func purpose(of server: ServerConnection) -> CancelPurpose {
        if server.phase == .closed { return .backend }
        return server.lease.map { .lease($0, since: server.querySince) } ?? .recovery
    }

    /// The lease is over: a cancel that has not been sent must not meet the next one. When no next one
    /// comes, what was begun is still to be ended.
    func dropCancel(of server: ServerConnection, isClosing: Bool) {
        guard let dropped = cancels.waiting[server.id], dropped.purpose != .backend else { return }
        if isClosing {
            cancels.waiting[server.id]?.purpose = .backend
            return
        }
        cancels.turns.drop(server.id)
        cancels.waiting[server.id] = nil
        for completion in dropped.completions { completion() }
    }

    private func isWanted(_ purpose: CancelPurpose, _ id: ServerID) -> Bool {
        if purpose == .backend { return true }
        guard let server = server(id), server.phase != .closed else { return false }
        switch purpose {
        case .backend: return true
        case .recovery: return server.returning != nil
        case .lease(let lease, let since):
            guard server.lease == lease else { return false }
            return server.isDirect || (server.stream.isOwing && server.querySince == since)
        }
    }

    private func send(_ handle: CancelHandle, to id: ServerID, _ completions: [() -> Void]) {
        server(id)?.cancelsInFlight += 1
        post(.cancelStarted(id))
        do throws(UVError) {
            let work: @Sendable () -> Result<Void, CancelError> = { handle.request() }
            try loop.submit(work) { [weak self] result in
                guard let self else { return }
                if case .failure(let error) = result {
                    self.logger.warning(
                        "cancel request failed",
                        metadata: ["server.id": "\(id)", "reason": "\(error.message)"])
                }
                self.cancelFinished(id, completions)
            }
        } catch {
            cancelFinished(id, completions)
        }
    }

    private func cancelFinished(_ id: ServerID, _ completions: [() -> Void]) {
        cancels.turns.finish(id)
        server(id)?.cancelsInFlight -= 1
        post(.cancelFinished(id))
        for completion in completions { completion() }
        while let next = cancels.turns.next() {
            guard let waiting = cancels.waiting.removeValue(forKey: next) else {
                preconditionFailure("a cancel request has its turn, and nobody wants it")
            }
            if isWanted(waiting.purpose, next) {
                send(waiting.handle, to: next, waiting.completions)
            } else {
                cancels.turns.finish(next)
                for completion in waiting.completions { completion() }
            }
        }
    }
}
