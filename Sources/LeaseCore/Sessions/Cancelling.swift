// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Why a server connection is to be cancelled: while the request waits for its turn, the reason may go.
enum CancelPurpose: Equatable {
    /// What this lease runs, since then.
    case lease(LeaseID, since: Instant?)
    /// What a client left running, which the broker is about to find out.
    case recovery
    /// Its connection is closed: nobody else will use the backend.
    case backend
}

/// What is done once a cancel request is answered, or not wanted any more.
enum CancelSequel {
    /// Who asked for it is told so by the end of its connection: PostgreSQL does not say what came of it.
    case close(ClientID)
    /// Its connection is closed, and it may need another one.
    case linger(ServerID)
}

/// Cancel requests, and who waits for their end.
struct CancelQueue {
    struct Waiting {
        var purpose: CancelPurpose
        var sequels: [CancelSequel]
        let pool: PoolID
    }

    /// Half of the worker threads at most wait for PostgreSQL to answer them.
    var turns = CancelTurns(limit: 16, perServer: 2)
    /// Those without a turn yet, and what follows those that are on their way.
    var waiting: [ServerID: Waiting] = [:]
    var onTheirWay: [ServerID: [CancelSequel]] = [:]
    /// Who asked for one while the server ran something of the broker's own, in front of what the client asked.
    var postponed: [ServerID: [ClientID]] = [:]
    /// Those who ask again for what is asked for already are kept waiting up to this many.
    static let sequelsKept = 32

    var isEmpty: Bool { waiting.isEmpty && postponed.isEmpty }
}

/// Cancelling what a server runs. The request itself is the world's: PQcancel blocks until PostgreSQL hangs up.
extension Engine {
    /// A CancelRequest with the key of this client came, by another connection.
    package mutating func cancelRequested(
        of target: ClientID, by canceller: ClientID, now: Instant
    ) {
        self.now = now
        guard clients.contains(target) else {
            close(canceller, because: "cancel request")
            return
        }
        if clients[target].isWaiting, clients[target].phase == .ready {
            withdraw(target)
            answer(target, with: LeaseErrors.canceled)
            close(canceller, because: "cancel request")
            return
        }
        if pins.isWaiting(target) {
            refusePlace(target, with: LeaseErrors.canceled)
            close(canceller, because: "cancel request")
            return
        }
        guard let server = clients[target].server, servers[server].mayRunSomething else {
            close(canceller, because: "cancel request")
            return
        }
        clients[canceller].phase = .closing
        if servers[server].stream.brokerQuery != nil {
            cancels.postponed[server, default: []].append(canceller)
        } else {
            cancel(server, then: .close(canceller))
        }
    }

    /// A cancel that struck the statement which puts the client's settings in force would leave what the client
    /// sent behind it running without them: it is sent once that statement is answered.
    @inline(never)
    mutating func cancelWhatWasPostponed(_ server: ServerID) {
        guard servers.contains(server), servers[server].stream.brokerQuery == nil,
            cancels.postponed[server] != nil
        else { return }
        if let client = servers[server].client, !servers[server].mayRunSomething,
            !clients[client].pending.isEmpty
        {
            // What is to be cancelled is about to be sent.
            return
        }
        let runs = servers[server].client != nil && servers[server].mayRunSomething
        for canceller in cancels.postponed.removeValue(forKey: server) ?? [] {
            if runs {
                cancel(server, then: .close(canceller))
            } else {
                follow([.close(canceller)])
            }
        }
    }

    /// The server serves nobody else before the request is done.
    mutating func cancel(
        _ server: ServerID, for purpose: CancelPurpose? = nil, then sequel: CancelSequel? = nil
    ) {
        let sequels = sequel.map { [$0] } ?? []
        let pool = servers[server].pool
        switch cancels.turns.request(server, of: pools[pool].terms.serverKey) {
        case .now: send(to: server, sequels)
        case .later:
            cancels.waiting[server] = CancelQueue.Waiting(
                purpose: purpose ?? self.purpose(of: server), sequels: sequels,
                pool: pools[pool].id)
        case .joined:
            let purpose = purpose ?? self.purpose(of: server)
            cancels.waiting[server]?.purpose = purpose
            let count = cancels.waiting[server]?.sequels.count ?? 0
            if count < CancelQueue.sequelsKept {
                cancels.waiting[server]?.sequels += sequels
            } else {
                follow(sequels)
            }
        }
    }

    private func purpose(of server: ServerID) -> CancelPurpose {
        if servers[server].phase == .closed { return .backend }
        guard let lease = servers[server].leaseID else { return .recovery }
        return .lease(lease, since: servers[server].clock?.querySince)
    }

    /// The lease is over: a cancel that has not been sent must not meet the next one. When no next one
    /// comes, what was begun is still to be ended.
    mutating func dropCancel(of server: ServerID, isClosing: Bool) {
        if let cancellers = cancels.postponed.removeValue(forKey: server) {
            follow(cancellers.map { .close($0) })
        }
        guard let dropped = cancels.waiting[server], dropped.purpose != .backend else { return }
        if isClosing {
            cancels.waiting[server]?.purpose = .backend
            return
        }
        cancels.turns.drop(server)
        cancels.waiting[server] = nil
        follow(dropped.sequels)
    }

    private func isWanted(_ purpose: CancelPurpose, _ server: ServerID) -> Bool {
        if purpose == .backend { return true }
        guard servers.contains(server), servers[server].phase != .closed else { return false }
        switch purpose {
        case .backend: return true
        case .recovery: return servers[server].recovery.returning != nil
        case .lease(let lease, let since):
            guard servers[server].leaseID == lease else { return false }
            return servers[server].isDirect || servers[server].passage?.isBusy == true
                || (servers[server].stream.isOwing
                    && servers[server].clock?.querySince == since)
        }
    }

    private mutating func send(to server: ServerID, _ sequels: [CancelSequel]) {
        if servers.contains(server) { servers[server].facts.cancelsInFlight += 1 }
        cancels.onTheirWay[server] = sequels
        post(.cancelStarted(server))
        notices.append(.sendCancel(server))
    }

    /// The request was answered, or could not be sent.
    package mutating func cancelFinished(_ server: ServerID, now: Instant) {
        self.now = now
        cancels.turns.finish(server)
        let sequels = cancels.onTheirWay.removeValue(forKey: server) ?? []
        if servers.contains(server) { servers[server].facts.cancelsInFlight -= 1 }
        post(.cancelFinished(server))
        follow(sequels)
        while let next = cancels.turns.next() {
            guard let waiting = cancels.waiting.removeValue(forKey: next) else {
                preconditionFailure("a cancel request has its turn, and nobody wants it")
            }
            if isWanted(waiting.purpose, next) {
                send(to: next, waiting.sequels)
            } else {
                cancels.turns.finish(next)
                follow(waiting.sequels)
            }
        }
    }

    private mutating func follow(_ sequels: [CancelSequel]) {
        for sequel in sequels {
            switch sequel {
            case .close(let client):
                if clients.contains(client) { close(client, because: "cancel request") }
            case .linger(let server):
                if servers.contains(server) { lingerOn(server) }
            }
        }
    }

    /// A request for it is on its way or waits for its turn, perhaps beyond its own end: what it runs is still to
    /// be ended.
    package func awaitsCancel(_ server: ServerID) -> Bool {
        cancels.waiting[server] != nil || cancels.onTheirWay[server] != nil
    }

    /// For each pool, how many requests wait for their turn.
    package var cancelsWaiting: [PoolID: Int] {
        var counts: [PoolID: Int] = [:]
        for waiting in cancels.waiting.values {
            counts[waiting.pool, default: 0] += 1
        }
        return counts
    }
}
