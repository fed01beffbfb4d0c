// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// The promises: after each call of the engine, after each step, and at the end.
extension EngineRun {
    // MARK: After each call

    /// Leases that began: to whom, and on a connection in which state.
    mutating func observe() {
        for socket in servers where engine.servers.contains(socket.id) {
            let lease = engine.servers[socket.id].leaseID
            if let lease, lease != socket.lease {
                // One that was granted and given up in the same call has a holder that nobody saw.
                socket.holder = nil
                granted(socket)
            }
            socket.lease = lease
            if engine.servers[socket.id].isDirect, let holder = engine.servers[socket.id].client {
                socket.confinedTo = indices[holder].map { clients[$0].peer }
            } else if socket.descriptorOf != nil, !socket.isEnded {
                violation = "server \(socket.id) is leased no more, and a client has its descriptor"
            }
            if let client = engine.servers[socket.id].client { socket.holder = indices[client] }
        }
    }

    private mutating func granted(_ socket: ServerSocket) {
        let server = socket.id
        note(
            "client \(engine.servers[server].client.flatMap { indices[$0] } ?? -1) is granted server \(server)"
        )
        let backend = socket.backend
        // What means nothing outside of a copy may still be on its way.
        let underWay = backend.input + socket.wire.prefix(socket.sentBefore)
        socket.takenInLease = socket.wire.count - socket.sentBefore
        socket.isLate = now < max(socket.hangsUntil, socket.stalledUntil)
        let named = backend.prepared.count { !$0.key.isEmpty }
        let hasSent =
            socket.wire.count > socket.sentBefore || !engine.servers[server].outbound.isEmpty
        let known = engine.servers[server].stream.prepared.count
        let superseded = engine.servers[server].stream.prepared.supersededCount
        let entries = engine.profiles.entries(of: engine.servers[server].profile.current)
        let zone = entries.first { $0.name == "timezone" }?.value ?? "0"
        let followed = entries.first { $0.name == "followed" }?.value ?? "none"
        let pool = pools.first { $0.id == socket.pool }
        if pool?.isPaused == true {
            violation = "server \(server) is granted, and its pool is paused"
        }
        let mark: String? =
            entries.first { $0.name == "mark" }?.value
            ?? (pool?.terms.connectQuery == nil ? nil : "connect")
        if let peer = socket.confinedTo, let client = engine.servers[server].client,
            endedPeers.contains(peer) || indices[client].map({ clients[$0].peer }) != peer
        {
            violation = "server \(server) is granted to another process than \(peer)"
        }
        // The engine has found out where its next message begins.
        socket.isTorn = false
        socket.wasCancelled = false
        guard !socket.isEnded else { return }
        if !Self.asksNothing(underWay) || backend.status != .idle || backend.isSkipping
            || backend.isInTransaction
            || backend.isCopying || backend.hasPortals || backend.mark != mark
            || backend.profile != zone || backend.followed != followed || backend.cancels > 0
            || (!hasSent && (named < known || named > known + superseded))
        {
            violation =
                "server \(server) is not clean when it is granted (zone \(zone), followed \(followed),"
                + " \(known) statements): \(backend), on its way \(RelayTranscript.ofClient(underWay))"
        }
    }

    /// Only what means nothing outside of a copy, the last perhaps not whole.
    static func asksNothing(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while let kind = rest.first {
            switch FrontendKind(rawValue: kind) {
            case .copyData, .copyDone, .copyFail, .flush: break
            default: return false
            }
            guard rest.count >= MessageHeader.size else { return true }
            let header = rest.withUnsafeBytes { MessageHeader($0, at: 0) }
            rest = rest.dropFirst(MessageHeader.size + header.bodyLength)
        }
        return true
    }

    /// The last message is all there.
    static func endsWhole(_ bytes: [UInt8]) -> Bool {
        var rest = bytes[...]
        while rest.count >= MessageHeader.size {
            let header = rest.withUnsafeBytes { MessageHeader($0, at: 0) }
            guard rest.count >= MessageHeader.size + header.bodyLength else { return false }
            rest = rest.dropFirst(MessageHeader.size + header.bodyLength)
        }
        return rest.isEmpty
    }

    // MARK: After each step

    mutating func check() {
        do throws(BrokenInvariant) {
            try engine.scheduler.checkInvariants()
        } catch {
            violation = error.reason
        }
        for pool in pools
        where engine.scheduler.nextToReclaim(for: pool.id, after: nil) != nil {
            violation =
                "somebody waits in \(pool.id), and a lease that may be parked was not asked for"
        }
        for client in engine.clients.ids {
            guard let server = engine.clients[client].server else { continue }
            if !engine.servers.contains(server) || engine.servers[server].client != client {
                violation = "client \(client) holds a server that it was not lent"
            }
            if engine.clients[client].isWaiting {
                violation = "client \(client) waits, and holds a server"
            }
        }
        for server in engine.servers.ids {
            let isLeased = engine.scheduler.summary(of: server)?.lease?.lease
            if isLeased != engine.servers[server].leaseID {
                violation =
                    "server \(server) has lease \(engine.servers[server].leaseID.map { "\($0)" } ?? "none"),"
                    + " the scheduler says \(isLeased.map { "\($0)" } ?? "none")"
            }
            guard let client = engine.servers[server].client else { continue }
            if !engine.clients.contains(client) || engine.clients[client].server != server {
                violation = "server \(server) is lent to a client that has it not"
            }
        }
        checkLimits()
        checkNobodyStays()
        for client in clients { settleSilently(client) }
        var left: [ServerSocket] = []
        for socket in servers where isThere(socket) { left.append(socket) }
        servers = left
    }

    /// The engine knows it, or its backend has still something to do.
    private func isThere(_ socket: ServerSocket) -> Bool {
        if !socket.isClosedByBroker || engine.servers.contains(socket.id) { return true }
        if socket.backend.isDead { return false }
        var backend = socket.backend
        return !socket.wire.isEmpty || backend.step()
    }

    /// No lease is older than it may be, and nothing in it lasts longer than it may by more than a look.
    private mutating func checkLimits() {
        for server in engine.servers.ids {
            guard let client = engine.servers[server].client, let index = indices[client],
                engine.servers[server].isLeased
            else { continue }
            let limits = pools[clients[index].pool].terms.limits
            let clock = engine.servers[server].clock
            let explicit = engine.servers[server].explicit
            let isTold = engine.clients[client].call == nil
            let bounds: [(Instant?, Duration?, Int)] = [
                (engine.useSince(server), limits.lease, 1),
                (isTold ? explicit?.since : nil, explicit?.terms.hold, 1),
                (engine.servers[server].stream.isOwing ? clock?.querySince : nil, limits.query, 2),
            ]
            for case (let began?, let limit?, let factor) in bounds
            where now - began > limit * factor {
                violation =
                    "client \(index) has had its lease for \(now - began), it may for \(limit)"
            }
        }
    }

    /// The clock has come to the engine's deadline: no waiter is left whose time is over.
    mutating func checkDeadlines() {
        if let next = engine.nextDeadline, next <= now, !engine.hasResumable {
            violation = "the engine's deadline has passed, and stays"
        }
        for pool in pools {
            for waiter in engine.scheduler.waiters(of: pool.id) where waiter.deadline <= now {
                violation = "client \(waiter.client) waits beyond its deadline"
            }
        }
    }

    /// Never more connections than the pool may have, nor than the broker may.
    mutating func checkOpening(of socket: ServerSocket) {
        guard let pool = pools.first(where: { $0.id == socket.pool }) else { return }
        var ofPool = 0
        for server in engine.servers.ids where world.servers[server]?.pool == socket.pool {
            ofPool += 1
        }
        if ofPool > pool.policy.size + pool.policy.reserveSize {
            violation = "\(ofPool) servers of \(pool.id), which may have \(pool.policy.size)"
        }
        if let most = policy.maxServerConnections, engine.servers.count > most {
            violation = "\(engine.servers.count) servers, the broker may have \(most)"
        }
    }

    // MARK: What runs

    /// A statement is its holder's, was sent, and was sent here.
    mutating func noteExecuted(on socket: ServerSocket) {
        let executed = exchange(&socket.backend.executed, with: [])
        let done = exchange(&socket.backend.committed, with: [])
        for token in done { committed[token, default: 0] += 1 }
        for token in executed where token.hasPrefix("c") || token.hasPrefix("d") {
            guard !socket.isTorn, let holder = socket.holder else {
                if socket.holder == nil, socket.takenInLease == 0 {
                    violation = "\(token) runs on \(socket.id), which nobody held"
                }
                continue
            }
            if !token.dropFirst().hasPrefix("\(holder).") {
                violation = "\(token) runs on server \(socket.id), which client \(holder) held last"
            } else if token.hasPrefix("c"), !wasSent(token, by: clients[holder]) {
                violation = "\(token) runs on server \(socket.id), and was not sent"
            }
        }
    }

    private func wasSent(_ token: String, by client: EngineClient) -> Bool {
        guard let number = Int(token.split(separator: ".").last ?? ""),
            number > client.tokensBefore
        else { return true }
        return contains(client.sent, Array(token.utf8))
    }

    func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
        guard bytes.count >= part.count else { return false }
        return (0...bytes.count - part.count).contains {
            bytes[$0..<$0 + part.count].elementsEqual(part)
        }
    }

    // MARK: What clients are told

    /// An error of an incident that the run knows of.
    mutating func checkLicence(_ client: EngineClient, _ text: String) {
        let state = String(text.dropFirst(2).prefix(5))
        if !client.licences.contains(state) {
            violation = "client \(client.index) was told \(text) for no reason"
        }
    }

    /// A value of the session is the client's own, or nobody's.
    mutating func checkValues(_ client: EngineClient, _ got: [String]) {
        for answer in got where answer.hasPrefix("D(") {
            let value = answer.dropFirst(2).dropLast()
            let own = "c\(client.index)."
            let isConnected =
                value == "mark:connect" && pools[client.pool].terms.connectQuery != nil
            if value.hasPrefix("mark:"), value != "mark:none", !value.hasPrefix("mark:\(own)"),
                !isConnected
            {
                violation = "client \(client.index) sees \(value)"
            }
            if value.hasPrefix("followed:"), value != "followed:none",
                !value.hasPrefix("followed:\(own)")
            {
                violation = "client \(client.index) sees \(value)"
            }
            let setting = String(value.dropFirst("followed:".count))
            if value.hasPrefix("followed:"), pools[client.pool].terms.mode.pooling != .session,
                client.group?.isOutsideLeases == true,
                client.program.heldSettings.contains(setting)
            {
                violation = "client \(client.index) sees \(value), of a lease that is over"
            }
            if value.hasPrefix("meaning:") { checkMeaning(client, value) }
            if value.hasPrefix("profile:"), !isOwnZone(value.dropFirst("profile:".count), client) {
                violation = "client \(client.index) sees \(value), its own is \(client.zone)"
            }
            if value.hasPrefix("d") || value.hasPrefix("pglease") {
                violation = "client \(client.index) was given \(value)"
            }
            if value.first == "c", !value.hasPrefix(own) {
                violation = "client \(client.index) was given \(value)"
            }
        }
    }

    private func isOwnZone(
        _ zone: Substring, _ client: EngineClient, isParsed: Bool = false
    ) -> Bool {
        zone == client.zone || zone.hasPrefix("c\(client.index).")
            || (client.hasReset && zone == "0")
            || (client.everReset && isParsed && zone == "0")
    }

    /// What a text meant when it was parsed is what this client's settings made of it, no earlier than its
    /// own Parse.
    private mutating func checkMeaning(_ client: EngineClient, _ value: Substring) {
        let parts = value.dropFirst("meaning:".count).split(separator: "/")
        let hasConnect = pools[client.pool].terms.connectQuery != nil
        let isOwn = parts[1...2].allSatisfy {
            $0 == "none" || $0.hasPrefix("c\(client.index).") || ($0 == "connect" && hasConnect)
        }
        let parsed = client.program.parsedAt["means \(parts[4])"] ?? 0
        if !isOwnZone(parts[0], client, isParsed: true) || !isOwn || Int(parts[3])! < parsed {
            violation =
                "client \(client.index) sees \(value), its zone is \(client.zone), and it parsed at"
                + " schema \(parsed)"
        }
    }

    /// What is in force is what it was told last, once it holds nothing.
    mutating func checkTold(_ client: EngineClient) {
        guard !client.everSawFault, !client.hasReset, engine.clients.contains(client.id),
            engine.clients[client.id].server == nil, client.socket.inbox.isEmpty,
            engine.clients[client.id].outbound.isEmpty
        else { return }
        if client.toldZone != client.program.direct.profile {
            violation =
                "client \(client.index) was told of zone \(client.toldZone), in force is"
                + " \(client.program.direct.profile)"
        }
    }

    // MARK: Backpressure

    /// A source is read no further while what it goes to takes nothing.
    mutating func checkBackpressure(on client: EngineClient) {
        guard let server = engine.clients[client.id].server, !engine.servers[server].isDirect,
            !engine.servers[server].outbound.isEmpty, !client.socket.hasEndedWriting,
            !client.socket.isClosed
        else { return }
        violation = "client \(client.index) is read, and its server takes nothing"
    }

    mutating func checkBackpressure(on socket: ServerSocket) {
        guard let client = engine.servers[socket.id].client,
            !engine.clients[client].outbound.isEmpty
        else { return }
        violation = "server \(socket.id) is read, and its client takes nothing"
    }

    // MARK: Incidents

    /// A server that does nothing for now.
    func mayBeSilent(_ socket: ServerSocket) -> Bool {
        socket.isLate || socket.isFaulty || socket.isTorn
    }

    mutating func lost(_ id: ServerID, _ report: LeaseReport?, _ reason: String) {
        let index = report?.client.flatMap { indices[$0] }
        note("server \(id) is lost, client \(index.map { "\($0)" } ?? "none"): \(reason)")
        guard let socket = world.servers[id] else { return }
        if let index {
            let client = clients[index]
            let isSession = pools[client.pool].terms.mode.pooling == .session
            let isHeld =
                client.program.isHeld || client.group.map { !$0.isOutsideLeases } == true
            // A server that has taken nothing of the lease costs its client nothing.
            if socket.takenInLease > 0 || isSession || isHeld || socket.isLate {
                client.expect(isSession ? ["08006", "57P01"] : ["08006"])
                client.mayEnd = true
            }
        }
        if !socket.isEnded, !socket.isFaulty, !socket.isTorn, !socket.wasCancelled,
            !mayBeSilent(socket)
        {
            violation = "server \(id) is said to be lost: \(reason)"
        }
    }

    mutating func notMended(_ id: ServerID, _ reason: String) {
        note("server \(id) is given up: \(reason)")
        guard let socket = world.servers[id] else { return }
        if !socket.isTorn, !socket.isFaulty, !socket.isEnded, !socket.wasCancelled,
            !mayBeSilent(socket)
        {
            violation = "server \(id) is given up: \(reason)"
        }
    }

    mutating func revoked(_ report: LeaseReport, _ cause: RevocationCause, _ words: String) {
        guard let client = report.client.flatMap({ indices[$0] }).map({ clients[$0] }) else {
            return
        }
        note("client \(client.index) loses its lease: \(words)")
        client.expect(["57P05", "57P01", "08006"])
        client.mayEnd = true
        let limits = pools[client.pool].terms.limits
        let isMeant =
            switch cause {
            case .hold: plan.trouble.contains(.limits) || report.held >= .seconds(3600)
            case .leaseTimeout: limits.lease.map { report.held >= $0 } ?? false
            case .transactionTimeout: limits.transaction != nil
            case .queryTimeout: limits.query != nil
            case .idleTransactionTimeout: limits.idleTransaction != nil
            case .pinTimeout: limits.pin.map { report.held >= $0 } ?? false
            case .clientIdleTimeout: limits.clientIdle != nil
            case .clientWriteTimeout: plan.settings.clientWriteTimeout != nil
            case .killLease: plan.trouble.contains(.kills)
            case .processGone: plan.trouble.contains(.processesEnd)
            case .failover: report.server.map(strandedServers.contains) ?? false
            }
        if !isMeant { violation = "client \(client.index) loses its lease for no reason: \(words)" }
    }

    mutating func checkRefusal(of client: EngineClient, _ error: PgError) {
        if !client.mayEnd {
            violation = "client \(client.index) is refused: \(error.message)"
        }
    }

    /// WAIT of a LEASE.
    private var shortestWait: Duration {
        plan.trouble.contains(.limits) ? .milliseconds(10) : .seconds(2)
    }

    mutating func checkRejection(of client: EngineClient, _ rejection: Rejection) {
        let limits = pools[client.pool].terms.limits
        let isMeant =
            switch rejection.cause {
            case .deadline:
                rejection.waited >= min(limits.queryWait ?? .seconds(3600), shortestWait)
            case .queueFull: policy.maxWaiting != nil
            case .connectFailed: !plan.trouble.isDisjoint(with: [.connectsFail, .jumps])
            case .poolPaused:
                rejection.waited >= min(limits.queryWait ?? .seconds(3600), shortestWait)
            case .poolClosed: isWinding
            case .poolLock: plan.trouble.contains(.processesEnd)
            }
        if !isMeant { violation = "client \(client.index) is rejected: \(rejection.cause)" }
    }

    /// What it meets is its own lease's, whom somebody wanted to end.
    mutating func checkCancel(at socket: ServerSocket) {
        // What runs of it is not what a connection of its own would have run: a part of a pipeline.
        if let holder = socket.holder { clients[holder].everSawFault = true }
        guard let holder = socket.holder, engine.servers.contains(socket.id),
            let client = engine.servers[socket.id].client, indices[client] == holder
        else { return }
        if !clients[holder].licences.contains("57014") {
            violation = "a cancel meets client \(holder), which nobody wanted to cancel"
        }
    }

    // MARK: The end

    /// Only what the bytes that were sent would have committed on a direct connection may be.
    mutating func allowCommits(of client: EngineClient) {
        guard let group = client.group, !client.everSawFault else { return }
        var direct = group.before
        direct.input += client.sent
        while direct.step() {}
        client.mayHaveCommitted = group.committedBefore.union(direct.committed)
    }

    mutating func checkNothingIsLeft() {
        for client in clients {
            let own = "c\(client.index)."
            let mine = Set(committed.keys.filter { $0.hasPrefix(own) })
            let direct = client.program.committed
            guard !client.everSawFault, !client.mayEnd else { continue }
            if let allowed = client.mayHaveCommitted {
                if !mine.isSubset(of: allowed) {
                    violation =
                        "client \(client.index) vanished, and without its asking was committed"
                        + " \(mine.subtracting(allowed).sorted())"
                }
            } else if mine != direct {
                violation =
                    "client \(client.index) committed \(mine.sorted()), directly it would be"
                    + " \(direct.sorted())"
            }
        }
        if engine.statements.count != 0 {
            violation = "\(engine.statements.count) statements are left over"
        }
        if engine.profiles.count != 0 {
            violation = "\(engine.profiles.count) profiles are left over"
        }
        if engine.scheduler.serverCount != 0 || engine.scheduler.waitingCount != 0 {
            violation = "the scheduler still has servers or waiters"
        }
        if let next = engine.nextDeadline { violation = "a deadline is left over, at \(next)" }
        if engine.hasResumable { violation = "somebody is still to go on" }
    }
}
