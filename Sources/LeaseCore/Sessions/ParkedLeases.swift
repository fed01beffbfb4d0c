// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Direct leases that lie parked between their client's uses: `docs/parked.md` has the protocol.
///
/// To the engine such a lease is out until it was taken where it lies. Nothing that the client does with page or bell
/// can harm another one: what is taken is examined as after any direct lease.
extension Engine {
    // MARK: Beginning

    /// Whether this lease is one that its client may park.
    func mayPark(_ server: ServerID, _ client: ClientID, _ call: LeaseCall) -> Bool {
        call.terms.parks && call.terms.hold == nil && settings.parkTimeout != nil
            && scheduler.mayPark(server, now: now)
            && world.allowParking(client, thread: call.terms.thread, purpose: call.terms.purpose)
    }

    mutating func beginParking(_ server: ServerID) {
        guard let client = servers[server].client, let timeout = settings.parkTimeout else {
            return
        }
        servers[server].holding.parking = .allowed(look: now + timeout)
        look(at: server, by: now + timeout)
        notices.append(.parkableLeaseBegan(client))
        post(.leaseMayBeParked(server))
    }

    // MARK: Taking

    /// Takes the lease back if it lies parked; false if it is in use.
    mutating func reclaim(
        _ server: ServerID, _ cause: ReclaimCause, _ condition: ServerCondition = .dirty
    ) -> Bool {
        guard servers[server].mayBeParked, let client = servers[server].client,
            world.takeToken(of: client)
        else { return false }
        notices.append(.parkedLeaseReclaimed(report(on: server), cause))
        clients[client].flags.hasLostParked = true
        stopParking(server, client)
        if condition == .broken {
            detach(server, client)
            endLease(server, .broken)
        } else {
            takeBack(server, from: client)
        }
        return true
    }

    /// Takes it if it lies parked; else its client is asked to give it back at the end of this use.
    mutating func recall(_ server: ServerID, _ cause: ReclaimCause) {
        guard servers.contains(server), servers[server].mayBeParked,
            case .allowed = servers[server].holding.parking
        else { return }
        if reclaim(server, cause) { return }
        guard let client = servers[server].client, let lease = servers[server].leaseID else {
            return
        }
        servers[server].holding.parking = .recalled(now)
        look(at: server, by: now + pools[servers[server].pool].limits.firstLook)
        world.forbidParking(client, watching: true)
        // It may have been parked between the look and the word.
        if reclaim(server, cause) { return }
        let thread = noteUseOnPage(server)
        post(.leaseRecalled(server, lease, thread: thread.map(LeaseCall.number(ofThread:))))
    }

    /// Somebody waits in this pool: what lies parked is taken as long as it helps; if that is not enough, those who use
    /// the others are asked for them.
    mutating func reclaimParked(for pool: PoolID) {
        var asked: [ServerID] = []
        var last: ServerID?
        while let server = scheduler.nextToReclaim(for: pool, after: last) {
            last = server
            if !reclaim(server, .waiter) { asked.append(server) }
        }
        for server in asked where scheduler.nextToReclaim(for: pool, after: nil) != nil {
            recall(server, .waiter)
        }
    }

    /// This client, which was asked for its lease, says that its page has changed.
    package mutating func bellRung(_ client: ClientID, now: Instant) {
        self.now = now
        guard clients.contains(client), let server = clients[client].server,
            servers[server].mayBeParked
        else {
            world.forbidParking(client, watching: false)
            return
        }
        _ = reclaim(server, .waiter)
    }

    /// The lease is no more one that may be parked.
    mutating func stopParking(_ server: ServerID, _ client: ClientID) {
        guard servers[server].mayBeParked else { return }
        servers[server].holding.parking = .none
        world.forbidParking(client, watching: false)
    }

    // MARK: Looking

    /// What lies parked is looked at no later than that: the time may have become shorter.
    mutating func lookAtParked(within timeout: Duration) {
        for server in servers.ids {
            guard case .allowed(let moment) = servers[server].holding.parking,
                now + timeout < moment
            else { continue }
            servers[server].holding.parking = .allowed(look: now + timeout)
        }
    }

    /// Its time is over: `park_timeout`, or a limit that counts from its beginning. True if it was taken.
    mutating func lookAtParked(_ server: ServerID) -> Bool {
        guard servers[server].mayBeParked else { return false }
        // The bell of one that was asked for it is watched, where there was a descriptor left for that.
        guard case .allowed(let moment) = servers[server].holding.parking else {
            return reclaim(server, .waiter)
        }
        guard settings.parkTimeout == nil || isDue(moment, server) else { return false }
        if reclaim(server, .timeout) { return true }
        let limits = pools[servers[server].pool].limits
        let age = now - (servers[server].leasedSince ?? now)
        // Since when it is used is not known: the limit counts from here on.
        let isLong = [limits.lease, limits.leaseWarning].contains { $0.map { $0 <= age } ?? false }
        guard !isLong, let timeout = settings.parkTimeout, scheduler.mayPark(server, now: now)
        else {
            recall(server, .timeout)
            return !servers[server].mayBeParked
        }
        servers[server].holding.parking = .allowed(look: now + timeout)
        look(at: server, by: now + timeout)
        return false
    }

    /// Since when its client uses it, as far as limits are concerned; nil: it may begin at any time.
    package func useSince(_ server: ServerID) -> Instant? {
        switch servers[server].holding.parking {
        case .none: servers[server].leasedSince
        case .allowed: nil
        case .recalled(let moment): moment
        }
    }

    /// The client had the connection without us, and does not know what is in force now.
    mutating func tellAfterParking(_ client: ClientID, _ server: ServerID) {
        clients[client].flags.hasLostParked = false
        var bytes: [UInt8] = []
        appendParameters(of: client, all: true, to: &bytes)
        if !bytes.isEmpty { bytes.withUnsafeBytes { send($0, to: client) } }
    }

    // MARK: Showing

    /// Who uses a lease that may be parked, as its page says, is its holder from now on; the thread.
    @discardableResult
    package mutating func noteUseOnPage(_ server: ServerID) -> String? {
        guard servers.contains(server), servers[server].mayBeParked,
            let client = servers[server].client
        else { return nil }
        let use = world.useOnPage(of: client)
        if let purpose = use.purpose {
            servers[server].explicit?.terms.purpose = String(
                String.UnicodeScalarView(
                    purpose.unicodeScalars.prefix(LeaseCommand.purposeLimit)))
        }
        servers[server].explicit?.terms.thread = use.thread
        return use.thread
    }

    /// Whether the lease on this server lies parked at this moment.
    package func liesParked(_ server: ServerID) -> Bool {
        guard servers.contains(server), servers[server].mayBeParked,
            let client = servers[server].client
        else { return false }
        return world.isTokenIn(of: client)
    }
}
