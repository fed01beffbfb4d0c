// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// Places for pinned leases (`PinLedger`): a client that will pin its lease takes one first, waits for one, or is told
/// why it has none.
///
/// One that has no transaction open waits without a server. One that has keeps its server, and if it waits in vain the
/// server is sent something that fails: the transaction ends as behind any other error.
extension Engine {
    enum PlaceAnswer {
        /// It has one: the same bytes may be tried again.
        case there
        case later
        /// It has no server: the broker answers.
        case refused(PgError)
    }

    func sessionState(of pool: PoolSlot) -> SessionStatePolicy {
        pools[pool].terms.sessionState ?? settings.sessionState
    }

    private func bounds(_ pool: PoolSlot, _ group: GroupID) -> PinLedger.Bounds {
        PinLedger.Bounds(pool: pools[pool].terms.maxPins, group: scheduler.maxPins(of: group))
    }

    // MARK: Before

    /// The next message of this client shows that it will pin its lease.
    mutating func askForPlace(_ client: ClientID) -> PlaceAnswer {
        guard let server = clients[client].server, let membership = clients[client].membership
        else { return .later }
        let reasons = servers[server].stream.pinWish
        servers[server].stream.pinWish = []
        switch sessionState(of: membership.pool) {
        case .drop:
            servers[server].stream.mayPin = true
            return .there
        case .refuse: return answerInstead(client, server, LeaseErrors.wouldPin(reasons))
        case .keep: break
        }
        if pins.place(of: client) == nil {
            let bounds = bounds(membership.pool, membership.group)
            if let bound = pins.bound(membership.pool, membership.group, bounds) {
                if bound.limit == 0 {
                    return answerInstead(client, server, LeaseErrors.noPlaceEver(reasons, bound))
                }
                return waitForPlace(client, server, membership, reasons)
            }
            pins.take(client, membership.pool, membership.group)
        }
        pins.bind(client, to: server)
        servers[server].stream.mayPin = true
        return .there
    }

    /// Answers the message with this error: on the server if that is in the middle of something.
    private mutating func answerInstead(
        _ client: ClientID, _ server: ServerID, _ error: PgError
    ) -> PlaceAnswer {
        endLeaseIfOver(server)
        guard clients[client].server == server else { return .refused(error) }
        servers[server].stream.pinRefusal = error
        return .there
    }

    private mutating func waitForPlace(
        _ client: ClientID, _ server: ServerID, _ membership: ClientSession.Membership,
        _ reasons: PinReasons
    ) -> PlaceAnswer {
        if !pins.isWaiting(client) {
            let isFirst = !servers[server].hasSent
            let since = isFirst ? clients[client].request.since : now
            var deadline = Instant.endOfTime
            if let wait = pools[membership.pool].queryWait { deadline = since.advanced(by: wait) }
            let notice = pools[membership.pool].limits.placeNotice
            pins.wait(
                PinLedger.Waiter(
                    client: client, pool: membership.pool, group: membership.group,
                    reasons: reasons, since: since, deadline: deadline,
                    notifyAt: notice.map { since + $0 }))
            look(at: client, by: deadline)
            if let notice { look(at: client, by: since + notice) }
        }
        // With nothing else on its way the server is another's meanwhile.
        endLeaseIfOver(server)
        if clients[client].server == nil, clients[client].phase == .ready {
            clients[client].request.isWaiting = true
        }
        return .later
    }

    /// Its lease is over, and what it sent before is to be dealt with.
    mutating func goOn(_ client: ClientID) {
        if !pins.waiters.isEmpty, pins.isWaiting(client) {
            clients[client].request.isWaiting = true
        } else {
            queueToResume(client)
        }
    }

    // MARK: Giving

    /// Places have come free, or there are more of them: those who wait go on, in their order.
    mutating func givePlaces() {
        var index = 0
        while index < pins.waiters.count {
            let waiter = pins.waiters[index]
            let bounds = bounds(waiter.pool, waiter.group)
            guard pins.bound(waiter.pool, waiter.group, bounds) == nil else {
                index += 1
                continue
            }
            pins.stopWaiting(waiter.client)
            pins.take(waiter.client, waiter.pool, waiter.group)
            if clients[waiter.client].isWaiting {
                requestLease(waiter.client, since: waiter.since)
            } else {
                queueToResume(waiter.client)
            }
            // What that brought about may have changed those who wait.
            index = 0
        }
    }

    /// Its lease holds nothing, or ends.
    mutating func placeEnds(on server: ServerID) {
        servers[server].stream.mayPin = false
        servers[server].stream.pinWish = []
        servers[server].stream.pinRefusal = nil
        servers[server].stream.hasDatabase = false
        guard let client = pins.client(on: server) else { return }
        pins.giveBack(client)
        givePlaces()
    }

    /// It has no lease to pin any more.
    mutating func placeEnds(of client: ClientID) {
        if !pins.isEmpty, pins.giveBack(client) { givePlaces() }
    }

    /// It leaves: one that it had without a lease is another's, the other goes with the lease.
    mutating func leavePlaces(_ client: ClientID) {
        guard !pins.isEmpty else { return }
        pins.stopWaiting(client)
        if let place = pins.place(of: client), place.server == nil { placeEnds(of: client) }
    }

    // MARK: Afterwards

    /// Whether the lease may stay with its client, of which was found what pins it. The client is refused otherwise:
    /// what it has cannot follow it, and is not dropped in silence.
    mutating func mayBePinned(
        _ server: ServerID, _ client: ClientID, _ reasons: PinReasons
    ) -> Bool {
        guard let membership = clients[client].membership else { return false }
        if sessionState(of: membership.pool) == .refuse {
            refuse(client, LeaseErrors.cannotKeep(reasons))
            return false
        }
        if pins.place(of: client) == nil {
            let bounds = bounds(membership.pool, membership.group)
            if let bound = pins.bound(membership.pool, membership.group, bounds) {
                // The shell says who has the places.
                notices.append(
                    .placeRefused(
                        client,
                        PlaceRefusal(
                            reasons: reasons, bound: bound, waited: nil, place: 0, waiting: 0)))
                return false
            }
            pins.stopWaiting(client)
            pins.take(client, membership.pool, membership.group)
        }
        pins.bind(client, to: server)
        servers[server].stream.mayPin = true
        if let limit = pools[membership.pool].limits.pin { look(at: server, by: now + limit) }
        return true
    }

    /// Those of this pool who wait for a place, without a server or with it, in their order.
    package func pinWaiters(of pool: PoolID) -> [WaiterSummary] {
        guard !pins.waiters.isEmpty, let slot = pools.slot(of: pool) else { return [] }
        var summaries: [WaiterSummary] = []
        for waiter in pins.waiters where waiter.pool == slot {
            guard let membership = clients[waiter.client].membership else { continue }
            summaries.append(
                WaiterSummary(
                    client: waiter.client, pool: pool, group: waiter.group,
                    owner: membership.owner, profile: clients[waiter.client].settings.current,
                    since: waiter.since, deadline: waiter.deadline, place: summaries.count + 1))
        }
        return summaries
    }

    // MARK: In vain

    mutating func lookAtWait(forPlace client: ClientID) {
        guard let waiter = pins.waiter(client) else { return }
        if isDue(waiter.deadline, client) {
            let turn = pins.turn(of: client)
            let bound =
                pins.bound(waiter.pool, waiter.group, bounds(waiter.pool, waiter.group))
                ?? .pool(pools[waiter.pool].terms.maxPins ?? 0)
            pins.stopWaiting(client)
            if clients[client].isWaiting {
                clients[client].request.isWaiting = false
                clients[client].request.awaitsWords = true
            }
            notices.append(
                .placeRefused(
                    client,
                    PlaceRefusal(
                        reasons: waiter.reasons, bound: bound, waited: now - waiter.since,
                        place: turn.place, waiting: turn.waiting)))
            return
        }
        if isDue(waiter.notifyAt, client) {
            pins.wasTold(client)
            notices.append(
                .placeAwaited(
                    client, waiter.reasons, place: pins.turn(of: client).place,
                    waited: now - waiter.since))
        }
    }

    /// The message that waits for a place, or did, is answered with this error.
    package mutating func refusePlace(_ client: ClientID, with error: PgError, now: Instant) {
        self.now = now
        if clients.contains(client) { refusePlace(client, with: error) }
    }

    mutating func refusePlace(_ client: ClientID, with error: PgError) {
        pins.stopWaiting(client)
        if clients[client].request.awaitsWords {
            answer(client, with: error)
        } else if let server = clients[client].server {
            servers[server].stream.pinRefusal = error
            queueToResume(client)
        }
    }
}

/// Why a client may not pin its lease.
package struct PlaceRefusal {
    package let reasons: PinReasons
    package let bound: PinLedger.Bound
    /// nil: what pins it was found afterwards.
    package let waited: Duration?
    /// Place in the queue when it ended, 1 is next, and who waited then.
    package let place: Int
    package let waiting: Int
}
