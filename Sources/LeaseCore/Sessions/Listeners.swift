// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Who listens for clients, and whose notifications are whose.
struct Listeners {
    /// The hubs, by what the scheduler knows them as.
    var hubs: [ClientID: PoolSlot] = [:]
    /// Backends whose notifications are known to be a client's own.
    private var owners: [UInt64: ClientID] = [:]

    private static func key(_ server: UInt32, _ process: Int32) -> UInt64 {
        UInt64(server) << 32 | UInt64(UInt32(bitPattern: process))
    }

    func owner(ofProcess process: Int32, at server: UInt32) -> ClientID? {
        owners[Self.key(server, process)]
    }

    mutating func own(_ process: Int32, at server: UInt32, by client: ClientID?) {
        owners[Self.key(server, process)] = client
    }
}

/// Clients of transaction pools that listen: what their LISTEN waits for, and what they are told when.
extension Engine {
    /// For whoever looks for what a client waits for.
    package func listeningState(of client: ClientID) -> String {
        guard let listening = clients[client].stream.listening else { return "never" }
        let hub = listening.hub.map {
            "\($0.phase), founder \($0.founder.map { "\($0)" } ?? "none"), next \($0.next), round \($0.round != nil), proven \($0.isProven), stopped \($0.isStopped), leaving \($0.isLeaving)"
        }
        return
            "hub \(hub ?? "none"), gate \(listening.gate), ready \(listening.ready), awaits answers \(listening.awaitsAnswers), own lease \(listening.awaitsOwnLease), channels \(listening.channels.count), announced \(listening.announced.count)"
    }

    // MARK: Towards the server

    /// Whether a listening client's bytes may go to its server. Not before the hub has told everything that an earlier
    /// holder of that connection notified: what comes from it afterwards is the client's own.
    mutating func mayRelay(_ client: ClientID, _ server: ServerID) -> Bool {
        guard let listening = clients[client].stream.listening, listening.willListen,
            let hub = listening.hub, hub.isAnswering
        else { return true }
        let lease = servers[server].holding.id
        if listening.ownLease == lease { return true }
        if listening.awaitsOwnLease { return false }
        if servers[server].moments.lastUsed < hub.answeredRoundAt {
            own(lease, client, listening)
            return true
        }
        listening.awaitsOwnLease = true
        wish(.lease(lease), client, hub)
        return listening.ownLease == lease
    }

    private mutating func own(_ lease: LeaseID, _ client: ClientID, _ listening: ClientListening) {
        listening.awaitsOwnLease = false
        guard let server = clients[client].server, servers[server].leaseID == lease else { return }
        listening.ownLease = lease
        listeners.own(
            servers[server].facts.backendProcessID, at: serverKey(of: server), by: client)
    }

    private func serverKey(of server: ServerID) -> UInt32 {
        pools[servers[server].pool].terms.serverKey
    }

    /// The message in front may make a LISTEN effective. True if it goes on at once, false if it waits for the hub.
    mutating func announce(_ client: ClientID) -> Bool {
        if clients[client].stream.listening?.awaitsAnswers == true { return false }
        guard let listening = clients[client].stream.listening,
            let pool = clients[client].pool, case .wanted = listening.gate
        else { return false }
        if let error = reasonNotToListen(in: pool) {
            listening.gate = .refused(error)
            return true
        }
        let hub = hub(of: pool)
        listening.hub = hub
        for name in exchange(&listening.wanted, with: []) {
            want(name, client, listening, hub)
        }
        if listening.founding != nil {
            listening.gate = .passed
            return true
        }
        listening.gate = .waiting
        if let wait = pools[pool].limits.queryWait {
            listening.deadline = now + wait
            look(at: client, by: now + wait)
        }
        wish(.message, client, hub)
        if case .waiting = listening.gate { return false }
        return true
    }

    @discardableResult
    private func want(
        _ name: [UInt8], _ client: ClientID, _ listening: ClientListening, _ hub: PoolHub
    ) -> ChannelNumber {
        if let known = name.withUnsafeBytes({ hub.table.number(of: $0) }),
            listening.channels.contains(known) || listening.announced.contains(known)
        {
            return known
        }
        let number = hub.table.want(name, client)
        listening.announced.append(number)
        return number
    }

    /// The hub has done what this client waited for.
    mutating func fulfil(_ wish: PoolHub.Wish, of client: ClientID, refusedBy error: PgError?) {
        guard clients.contains(client), let listening = clients[client].stream.listening else {
            return
        }
        switch wish {
        case .message:
            guard case .waiting = listening.gate else { return }
            listening.deadline = nil
            if let error {
                listening.gate = .refused(error)
                leaveAnnounced(client, listening)
            } else {
                listening.gate = .passed
                // What was told up to here was committed before.
                listening.inbox.drop(listening.announced)
                if let server = clients[client].server, let lease = servers[server].leaseID {
                    own(lease, client, listening)
                }
            }
        case .lease(let lease):
            own(lease, client, listening)
        case .found:
            settleFound(client, listening, refusedBy: error)
        case .ready:
            guard listening.ready == .waiting else { return }
            passReady(client, listening)
        }
        queueToResume(client)
    }

    /// A message that waits for the hub does so no longer than for a server.
    mutating func lookAtListening(_ client: ClientID) {
        guard let listening = clients[client].stream.listening, case .waiting = listening.gate,
            isDue(listening.deadline, client)
        else { return }
        var limit = Duration.zero
        if let pool = clients[client].pool, let wait = pools[pool].limits.queryWait { limit = wait }
        fulfil(.message, of: client, refusedBy: ListenErrors.notInTime(limit))
    }

    // MARK: From the server

    /// A turn of its server's is over: it may have committed something, or stopped before a ReadyForQuery.
    mutating func noteListening(_ client: ClientID) {
        guard let listening = clients[client].stream.listening else { return }
        if listening.awaitsAnswers, let server = clients[client].server,
            !servers[server].stream.owesBatch
        {
            listening.awaitsAnswers = false
            queueToResume(client)
        }
        if listening.ready == .wanted { settle(client, listening) }
        guard listening.ready == .wanted else { return }
        if let hub = listening.hub, hub.isAnswering, listening.isListening {
            listening.ready = .waiting
            wish(.ready, client, hub)
        } else {
            passReady(client, listening)
            queueToResume(client)
        }
    }

    /// What waited to be told goes in front of the ReadyForQuery that waited for it.
    private mutating func passReady(_ client: ClientID, _ listening: ClientListening) {
        listening.ready = .passed
        flush(client, listening)
    }

    /// A transaction is over: what it has changed holds, and what it announced besides is not wanted.
    private mutating func settle(_ client: ClientID, _ listening: ClientListening) {
        let resolved = exchange(&listening.resolved, with: [])
        guard let hub = listening.hub else {
            // It can only have listened to nothing.
            return
        }
        var wanted = listening.channels
        for statement in resolved {
            switch statement {
            case .listen(let name):
                let number = want(name, client, listening, hub)
                if !wanted.contains(number) { wanted.append(number) }
            case .unlisten(let name):
                if let number = name.withUnsafeBytes({ hub.table.number(of: $0) }) {
                    wanted.removeAll { $0 == number }
                }
            case .unlistenAll:
                wanted.removeAll()
            case .savepoint, .release, .rollbackTo, .commit, .rollback, .other:
                break
            }
        }
        change(client, listening, hub, to: wanted)
        let open = listening.log.channels + listening.expected.joined().compactMap(\.channel)
        var atGate = listening.wanted
        if case .waiting = listening.gate { atGate += listening.announced.map(hub.table.name) }
        if case .passed = listening.gate { atGate += listening.announced.map(hub.table.name) }
        for number in listening.announced {
            let name = hub.table.name(of: number)
            if open.contains(name) || atGate.contains(name) || listening.found.contains(name) {
                continue
            }
            listening.announced.removeAll { $0 == number }
            listening.inbox.drop([number])
            hub.table.leave(number, client)
        }
        drive(hub)
    }

    /// Listens to these channels from now on; all of them are wanted already.
    private func change(
        _ client: ClientID, _ listening: ClientListening, _ hub: PoolHub,
        to wanted: [ChannelNumber]
    ) {
        for number in listening.channels where !wanted.contains(number) {
            // Of one that is announced again nobody needs to let go.
            listening.inbox.drop([number])
            hub.table.leave(number, client)
        }
        listening.announced.removeAll { wanted.contains($0) }
        listening.channels = wanted
    }

    private func leaveAnnounced(_ client: ClientID, _ listening: ClientListening) {
        guard let hub = listening.hub else { return }
        for number in exchange(&listening.announced, with: []) {
            listening.inbox.drop([number])
            hub.table.leave(number, client)
        }
    }

    /// What a client's server says at the end of a lease that it listens to: a LISTEN in a function or a DO block
    /// shows in no text. True if the lease must wait: `endLeaseIfOver` is called once the hub listens. Until then the
    /// server itself tells what is notified.
    mutating func channelsFound(
        _ names: [[UInt8]], on server: ServerID, of client: ClientID
    ) -> Bool {
        guard let pool = clients[client].pool, mode(of: server).followsListening else {
            return false
        }
        if clients[client].stream.listening?.found.isEmpty == false { return true }
        let known = clients[client].stream.listening
        let news = names.filter { name in
            guard let known, let hub = known.hub,
                let number = name.withUnsafeBytes({ hub.table.number(of: $0) })
            else { return true }
            return !known.channels.contains(number)
        }
        if news.isEmpty { return false }
        let listening = clients[client].stream.listens()
        servers[server].stream.isListened = true
        if let error = reasonNotToListen(in: pool) {
            var bytes: [UInt8] = []
            bytes.appendNoticeResponse(ListenErrors.stopped(error))
            tell(client, bytes, of: nil)
            return false
        }
        let hub = hub(of: pool)
        listening.hub = hub
        listening.found = news
        // What its own server tells until then is its own.
        servers[server].stream.ownProcess = ServerStream.OwnProcess(
            backend: servers[server].facts.backendProcessID, told: processID(toldTo: client))
        for name in news { want(name, client, listening, hub) }
        wish(.found, client, hub)
        return !listening.found.isEmpty
    }

    /// The hub listens to what was found.
    private mutating func settleFound(
        _ client: ClientID, _ listening: ClientListening, refusedBy error: PgError?
    ) {
        guard let hub = listening.hub else { return }
        var wanted = listening.channels
        for name in exchange(&listening.found, with: []) {
            let number = want(name, client, listening, hub)
            listening.inbox.drop([number])
            if !wanted.contains(number) { wanted.append(number) }
        }
        if let error {
            leaveAnnounced(client, listening)
            var bytes: [UInt8] = []
            bytes.appendNoticeResponse(ListenErrors.stopped(error))
            tell(client, bytes, of: nil)
        } else {
            change(client, listening, hub, to: wanted)
        }
        guard let server = clients[client].server else { return }
        if servers[server].pin == nil { servers[server].stream.ownProcess = nil }
        endLeaseIfOver(server)
    }

    // MARK: To the client

    /// How much waits for a client that is in a transaction, or does not read.
    private var notificationLimit: Int { 16 << 20 }

    /// Nothing of its own is on its way: it is told at once.
    private func mayBeTold(_ client: ClientID, _ listening: ClientListening) -> Bool {
        guard clients[client].phase == .ready, listening.ready == .open else { return false }
        guard let server = clients[client].server else { return true }
        return !servers[server].isDirect && servers[server].stream.isBetweenBatches
            && servers[server].stream.status == .idle && !servers[server].stream.isMidMessage
            && servers[server].carry.isEmpty
    }

    /// Tells a client, now or after its transaction. `channel` nil: whatever it listens to.
    mutating func tell(_ client: ClientID, _ message: [UInt8], of channel: ChannelNumber?) {
        guard let listening = clients[client].stream.listening else { return }
        let isListening = channel.map { listening.channels.contains($0) } ?? true
        guard isListening, listening.inbox.isEmpty, mayBeTold(client, listening) else {
            listening.inbox.add(message, of: channel, limit: notificationLimit)
            return
        }
        tellNow(client, message)
    }

    private mutating func tellNow(_ client: ClientID, _ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        if clients[client].outbound.count > notificationLimit {
            close(client, because: "it has not read \(clients[client].outbound.count) bytes")
            return
        }
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    /// Tells what has waited.
    mutating func flush(_ client: ClientID, _ listening: ClientListening) {
        guard !listening.inbox.isEmpty else { return }
        let (entries, lost) = listening.inbox.takeAll()
        var bytes: [UInt8] = []
        for entry in entries {
            guard let channel = entry.channel else {
                bytes += entry.message
                continue
            }
            // A LISTEN that is on its way was not sent yet, or its answer would be in front of this.
            if listening.channels.contains(channel) { bytes += entry.message }
        }
        if lost > 0 { bytes.appendNoticeResponse(ListenErrors.overflow(lost, notificationLimit)) }
        tellNow(client, bytes)
    }

    // MARK: Going on

    mutating func resumeListening(_ client: ClientID) {
        guard let listening = clients[client].stream.listening else { return }
        if let hub = listening.hub, hub.founder == nil, hub.server == nil { drive(hub) }
        if listening.ready == .passed, let server = clients[client].server {
            flush(client, listening)
            relayHeld(server)
        } else if mayBeTold(client, listening) {
            flush(client, listening)
        }
        dropIfIdle(client)
    }

    private mutating func relayHeld(_ server: ServerID) {
        let held = exchange(&servers[server].carry, with: [])
        held.withUnsafeBytes { relay($0, from: server) }
    }

    /// Its ReadyForQuery waits no longer.
    mutating func letReadyPass(_ client: ClientID) {
        guard let listening = clients[client].stream.listening, let server = clients[client].server
        else { return }
        while listening.ready != .open, clients[client].server == server,
            !servers[server].carry.isEmpty
        {
            passReady(client, listening)
            relayHeld(server)
            // The next one may wait as well.
        }
    }

    /// The lease is over as the protocol has it: the connection goes back, or becomes the hub's.
    @inline(never)
    mutating func endLeaseOfListener(_ server: ServerID, _ client: ClientID) {
        let hub = clients[client].stream.listening?.hub
        let founds = clients[client].stream.listening?.founding != nil
        let deafSince = hub?.deafSince
        detach(server, client)
        if founds, foundHub(server, of: servers[server].pool) {
            hub?.deafSince = deafSince
        } else {
            finishLease(server)
        }
    }

    /// It has no server any more: what was not committed there is not, and what waited for the end is told.
    mutating func listeningLeaseEnded(_ client: ClientID, _ server: ServerID) {
        guard let listening = clients[client].stream.listening else { return }
        listeners.own(
            servers[server].facts.backendProcessID, at: serverKey(of: server), by: nil)
        if listening.founding != nil, let hub = listening.hub {
            hub.founder = nil
            // Unless the connection becomes the hub's nobody listens for now.
            if listening.isListening, hub.deafSince == nil { hub.deafSince = now }
            queueToResume(client)
        }
        listening.leaveServer()
        if case .waiting = listening.gate {
        } else if case .passed = listening.gate {
        } else if !listening.announced.isEmpty, let hub = listening.hub {
            leaveAnnounced(client, listening)
            drive(hub)
        }
        if !listening.inbox.isEmpty { queueToResume(client) }
        dropIfIdle(client)
    }

    private mutating func dropIfIdle(_ client: ClientID) {
        guard let listening = clients[client].stream.listening, listening.isIdle,
            listening.ready == .open, case .open = listening.gate
        else { return }
        clients[client].stream.listening = nil
    }

    /// The session is over.
    mutating func endListening(_ client: ClientID) {
        letReadyPass(client)
        guard let listening = clients[client].stream.listening else { return }
        if let server = clients[client].server {
            listeners.own(
                servers[server].facts.backendProcessID, at: serverKey(of: server), by: nil)
        }
        if let server = clients[client].server { servers[server].stream.ownProcess = nil }
        clients[client].stream.listening = nil
        guard let hub = listening.hub else { return }
        if hub.founder == client { hub.founder = nil }
        for number in listening.channels { hub.table.leave(number, client) }
        for number in listening.announced { hub.table.leave(number, client) }
        drive(hub)
    }
}
