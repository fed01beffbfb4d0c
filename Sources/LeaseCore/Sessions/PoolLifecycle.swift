// SPDX-License-Identifier: Apache-2.0

/// Pools, as the shell opens and changes them, and what their leases are watched for.
extension Engine {
    package mutating func openPool(
        _ pool: PoolID, _ terms: PoolTerms, _ policy: PoolPolicy, startup: StartupSchedule?,
        now: Instant
    ) {
        self.now = now
        pools.open(pool, terms)
        post(.poolOpened(pool, policy, startup: startup))
    }

    /// Leases that are out go on under the new terms.
    package mutating func changePool(
        _ pool: PoolID, _ terms: PoolTerms, _ policy: PoolPolicy, now: Instant
    ) {
        self.now = now
        guard let slot = pools.slot(of: pool) else { return }
        pools.change(slot, terms)
        post(.poolChanged(pool, policy))
        givePlaces()
        reviewHub(of: slot)
    }

    /// It has no connection any more, and nobody asks for one. Its clients may still be there: the shell says when
    /// the last has gone.
    package mutating func forgetPool(_ pool: PoolID) {
        forgetHub(of: pool)
        pools.remove(pool)
    }

    /// The configuration is another.
    package mutating func change(_ settings: EngineSettings, _ policy: BrokerPolicy, now: Instant) {
        self.now = now
        self.settings = settings
        if let timeout = settings.parkTimeout { lookAtParked(within: timeout) }
        statements.memory.limit = settings.statementMemory
        post(.policyChanged(policy))
        lookAtAll()
        givePlaces()
    }

    /// The next time that the clock is looked at, when the pools have changed, too: a limit may have become
    /// shorter than what was looked ahead to.
    private mutating func lookAtAll() {
        for server in servers.ids { look(at: server, by: now) }
        for client in clients.ids { look(at: client, by: now) }
    }

    // MARK: Pool locks

    mutating func watchLeases(_ pool: PoolID, _ isWatched: Bool) {
        guard let slot = pools.slot(of: pool), pools[slot].areLeasesWatched != isWatched else {
            return
        }
        pools[slot].areLeasesWatched = isWatched
        guard isWatched else { return }
        for server in servers.ids
        where servers.contains(server) && servers[server].pool == slot {
            noteRest(server)
        }
    }

    /// In a watched pool: the lease rests, if it does.
    mutating func noteRest(_ server: ServerID) {
        guard let lease = servers[server].leaseID, servers[server].client != nil,
            servers[server].phase == .ready, !servers[server].isDirect,
            !servers[server].stream.isOwing,
            servers[server].stream.isBusy || servers[server].isExplicit
                || servers[server].pin != nil
        else { return }
        let since = servers[server].clock?.idleSince ?? servers[server].leasedSince ?? now
        post(.leaseBecameIdle(server, lease, since: since))
    }

    /// In a watched pool: its client goes on.
    mutating func noteWork(_ server: ServerID) {
        guard let lease = servers[server].leaseID else { return }
        post(.leaseBecameBusy(server, lease))
    }
}

/// Commands that want a database for themselves.
extension Engine {
    mutating func askForDatabase(_ client: ClientID) {
        guard let server = clients[client].server,
            let database = servers[server].stream.databaseWish
        else { return }
        servers[server].stream.databaseWish = nil
        notices.append(.databaseWanted(client, database: database))
    }

    /// The message that wanted it goes out.
    package mutating func databaseIsFree(_ client: ClientID, now: Instant) {
        self.now = now
        guard clients.contains(client), let server = clients[client].server else { return }
        servers[server].stream.hasDatabase = true
        queueToResume(client)
    }
}
