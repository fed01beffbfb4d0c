import LeaseCore
import PostgresWire

/// What the broker's shell does with the machine's verdicts.
extension RelayWorld {
    // MARK: From the client

    mutating func receive(_ bytes: [UInt8], from index: Int) {
        clients[index].pending += bytes
        resume(index)
    }

    mutating func resume(_ index: Int) {
        resumeOnly(index)
        endIfDone(index)
    }

    private mutating func resumeOnly(_ index: Int) {
        while !clients[index].isGone, clients[index].call == nil,
            !clients[index].pending.isEmpty
        {
            let before = clients[index].pending.count
            let server = clients[index].server
            if let server, !servers[server].isDirect {
                if servers[server].holdsClientBytes { return }
                relay(index, to: server)
            } else {
                relayWithoutLease(index)
            }
            let isStuck = before == clients[index].pending.count
            if isStuck, server == clients[index].server { return }
            if clients[index].isWaiting { return }
            if isStuck, clients[index].server == nil { return }
        }
    }

    private mutating func relayWithoutLease(_ index: Int) {
        let input = clients[index].pending
        input.withUnsafeBytes { raw in
            var turn = ClientTurn(raw, mode: mode)
            let refusal = clients[index].server == nil ? nil : RelayBackendLeases.direct
            let step = turn.runWithoutLease(
                &clients[index].stream, refusal: refusal, statements: &statements,
                toClient: &toClient)
            finishTurn(index, step, raw)
        }
    }

    private mutating func finishTurn(
        _ index: Int, _ step: ClientStep, _ raw: UnsafeRawBufferPointer
    ) {
        if !toClient.isEmpty {
            clients[index].received += toClient.withBytes(of: raw) { Array($0) }
        }
        toClient.reset()
        clients[index].pending.removeFirst(step.consumed)
        switch step.verdict {
        case .more: break
        case .terminate:
            clients[index].hasSaidGoodbye = true
            clients[index].pending = []
        case .needsLease: clients[index].isWaiting = true
        case .awaitsQuiet: clients[index].awaitsQuiet = true
        case .lease(let command, let form): carryOut(command, form, for: index)
        case .malformed(let error): violation = "client \(index) is refused: \(error.message)"
        }
    }

    private mutating func relay(_ index: Int, to server: Int) {
        let input = clients[index].pending
        let isFirst =
            !servers[server].hasSent && mode.pooling != .session && !servers[server].isExplicit
        let position = isFirst ? clients[index].stream.position : nil
        let prelude = servers[server].prelude
        input.withUnsafeBytes { raw in
            if !prelude.isEmpty { toServer.inject(after: raw) { $0 += prelude } }
            servers[server].prelude = []
            var turn = ClientTurn(
                raw, mode: relayMode(server), environment: environment(of: index))
            let step = turn.run(
                &clients[index].stream, &servers[server].stream, statements: &statements,
                toServer: &toServer, toClient: &toClient)
            let bytes = toServer.withBytes(of: raw) { Array($0) }
            toServer.reset()
            if !bytes.isEmpty, !write(bytes, to: server) {
                toClient.reset()
                if let position {
                    note("client \(index) is sent to another server than \(server)")
                    servers[server].stream.takeBack(
                        &clients[index].stream, before: position, statements: &statements)
                    clients[index].server = nil
                    clients[index].isWaiting = true
                    replace(server)
                } else {
                    clients[index].pending.removeFirst(step.consumed)
                    serverEnded(server)
                }
                return
            }
            finishTurn(index, step, raw)
        }
        if clients[index].server == server { endLeaseIfOver(server) }
    }

    /// Clients with the same settings have the same number.
    private mutating func environment(of index: Int) -> ParseEnvironment {
        if ignoresSettings { return ParseEnvironment() }
        let inForce = "\(clients[index].profile) \(clients[index].followed)"
        let number = settings[inForce] ?? UInt32(settings.count)
        settings[inForce] = number
        return ParseEnvironment(settings: number)
    }

    /// False if the server was dead before it took anything.
    mutating func write(_ bytes: [UInt8], to server: Int) -> Bool {
        if servers[server].backend.isDead { return servers[server].hasSent }
        servers[server].wire += bytes
        servers[server].hasSent = true
        return true
    }

    // MARK: Leases

    mutating func grant(_ index: Int, _ server: Int) {
        note("client \(index) is granted server \(server)")
        let backend = servers[server].backend
        // What means nothing outside of a copy may still be on its way.
        let underWay = RelayTranscript.ofClient(backend.input + servers[server].wire)
        let named = backend.prepared.count { !$0.key.isEmpty }
        let prepared = servers[server].stream.prepared
        let isQuiet = underWay.allSatisfy { $0.hasPrefix("Copy") || $0 == "Flush" }
        if !backend.isDead,
            !isQuiet
                || backend.status != .idle || backend.isSkipping || backend.isInTransaction
                || backend.isCopying || backend.hasPortals || backend.mark != nil
                || backend.profile != servers[server].profile
                || backend.followed != servers[server].followed
                || named < prepared.count || named > prepared.count + prepared.supersededCount
        {
            violation = "server \(server) is not clean when client \(index) gets it: \(backend)"
        }
        if !servers[server].stream.isQuiet || servers[server].stream.isSkippingToSync
            || servers[server].stream.isBatchOpen
        {
            violation = "server \(server) is not quiet when client \(index) gets it"
            return
        }
        clients[index].isWaiting = false
        clients[index].server = server
        servers[server].client = index
        servers[server].isLeased = true
        servers[server].hasSent = false
        servers[server].stream.beginLease()
        let isCall = clients[index].call != nil
        if isCall { beginExplicitLease(server) }
        if prepareProfile(of: index, on: server, alone: isCall) {
            answerLease(of: index)
            resume(index)
        }
    }

    /// False if the server is gone by then.
    private mutating func prepareProfile(of index: Int, on server: Int, alone: Bool) -> Bool {
        let profile = clients[index].profile
        let followed = clients[index].followed
        guard servers[server].profile != profile || servers[server].followed != followed else {
            return true
        }
        servers[server].pendingProfile = profile
        var bytes: [UInt8] = []
        servers[server].stream.ask(.profile, "set profile \(profile) \(followed)", into: &bytes)
        if !alone, chance(50) {
            servers[server].prelude = bytes
            return true
        }
        servers[server].holdsClientBytes = true
        if write(bytes, to: server) { return true }
        serverEnded(server)
        return false
    }

    func isPrelude(_ server: Int) -> Bool { !servers[server].prelude.isEmpty }

    mutating func endLeaseIfOver(_ server: Int) {
        guard servers[server].isLeased, !isPrelude(server),
            servers[server].stream.brokerQuery == nil
        else { return }
        if let index = servers[server].client {
            let mode = relayMode(server)
            guard servers[server].stream.isLeaseOver(clients[index].stream, mode) else { return }
            servers[server].client = nil
            clients[index].server = nil
            finishLease(server)
        } else if servers[server].stream.isQuiet, servers[server].returning == nil {
            if servers[server].stream.status == .idle {
                finishLease(server)
            } else {
                ask(server, .rollback, "rollback")
            }
        }
    }

    mutating func finishLease(_ server: Int) {
        var condition = servers[server].stream.conditionOnReturn
        if servers[server].isExplicit, condition == .clean { condition = .dirty }
        servers[server].isExplicit = false
        if var orphan = servers[server].orphan.take() {
            orphan.releaseAll(in: &statements)
            if condition == .clean { condition = .dirty }
        }
        servers[server].isLeased = false
        servers[server].orphanedBy = nil
        servers[server].stream.isDraining = false
        note("server \(server) comes back \(condition)")
        switch condition {
        case .clean: break
        case .dirty:
            servers[server].isResetting = true
            ask(server, .reset, "discard all")
        case .broken: replace(server)
        }
    }

    mutating func ask(_ server: Int, _ query: BrokerQuery, _ sql: String) {
        var bytes: [UInt8] = []
        servers[server].stream.ask(query, sql, into: &bytes)
        if !write(bytes, to: server) { serverEnded(server) }
    }

    mutating func abandonLease(of index: Int) {
        guard let server = clients[index].server else { return }
        clients[index].server = nil
        clients[index].held = nil
        clients[index].awaitsQuiet = false
        servers[server].client = nil
        servers[server].orphanedBy = index
        if servers[server].isDirect {
            replace(server)
            return
        }
        if servers[server].stream.brokerQuery != nil, isPrelude(server) {
            replace(server)
            return
        }
        var bytes: [UInt8] = []
        let canDrain = servers[server].stream.beginDraining(clients[index].stream, into: &bytes)
        servers[server].orphan = exchange(&clients[index].stream, with: ClientStream())
        guard canDrain else {
            replace(server)
            return
        }
        if !bytes.isEmpty, !write(bytes, to: server) {
            serverEnded(server)
            return
        }
        endLeaseIfOver(server)
    }

    // MARK: From the server

    mutating func receive(_ bytes: [UInt8], fromServer server: Int) {
        if servers[server].isFree {
            // It speaks while nothing was asked.
            replace(server)
            return
        }
        let input = servers[server].carry + bytes
        servers[server].carry = []
        if servers[server].returning != nil {
            regain(server, input)
            return
        }
        let index = servers[server].client
        let stream = Taken(ClientStream())
        if let index {
            stream.value = exchange(&clients[index].stream, with: ClientStream())
        } else if let orphan = servers[server].orphan.take() {
            stream.value = orphan
        }
        input.withUnsafeBytes { raw in
            var turn = ServerTurn(raw, mode: index == nil ? mode : relayMode(server))
            let step = turn.run(
                &stream.value, &servers[server].stream, statements: &statements,
                toClient: &toClient)
            servers[server].carry = Array(raw[step.consumed...])
            let passed = toClient.withBytes(of: raw) { Array($0) }
            toClient.reset()
            if let index {
                clients[index].stream = exchange(&stream.value, with: ClientStream())
                clients[index].received += passed
            } else if servers[server].isLeased {
                servers[server].orphan = exchange(&stream.value, with: ClientStream())
            }
            note(step, server)
        }
        if let index {
            answerLease(of: index)
            resumeIfAwaited(index)
            settle(index)
            endIfDone(index)
        }
    }

    /// Who awaits quiet goes on when there is nothing to wait for, or when the server waits for it.
    private mutating func resumeIfAwaited(_ index: Int) {
        if clients[index].awaitsQuiet, let server = clients[index].server {
            guard !servers[server].stream.isOwing || servers[server].stream.isReadingRows
            else { return }
        }
        clients[index].awaitsQuiet = false
        resume(index)
    }

    private mutating func note(_ step: ServerStep, _ server: Int) {
        if let broken = step.broken {
            if !servers[server].isLying {
                violation = "server \(server) broke the protocol: \(broken)"
            }
            serverEnded(server)
            return
        }
        if servers[server].stream.isEnding, servers[server].stream.passing.bytesLeft == 0 {
            serverEnded(server)
            return
        }
        // The profile comes in front of whatever its client sends.
        if step.brokerAnswer?.query == .profile {
            servers[server].profile = servers[server].pendingProfile!
            if let client = servers[server].client {
                servers[server].followed = clients[client].followed
            }
        }
        follow(step, server)
        guard let answer = step.brokerAnswer else {
            if servers[server].isLeased { endLeaseIfOver(server) }
            return
        }
        if answer.query != .profile,
            !servers[server].stream.isQuiet || servers[server].stream.isMidMessage
        {
            serverEnded(server)
            return
        }
        switch answer.query {
        case .profile:
            servers[server].holdsClientBytes = false
            endLeaseIfOver(server)
        case .reset:
            servers[server].isResetting = false
            servers[server].profile = "0"
            servers[server].followed = "none"
            if answer.error != nil || servers[server].stream.status != .idle {
                violation = "the reset of server \(server) failed"
            }
        case .rollback: finishLease(server)
        case .check, .connect, .restore: break
        }
    }

    /// What the client set alone goes with it. Without one the connection is cleaned anyway.
    private mutating func follow(_ step: ServerStep, _ server: Int) {
        if let index = servers[server].client, servers[server].isExplicit {
            if step.followedSetting != nil {
                violation = "what client \(index) sets in its lease is to follow it"
            }
            if step.sessionWasReset { clients[index].hasReset = true }
        } else if let index = servers[server].client, mode.pooling != .session {
            if case .set(_, let value)? = step.followedSetting {
                let wasInForce = servers[server].followed == clients[index].followed
                clients[index].followed = value
                if wasInForce, step.queries == 1, !servers[server].stream.isOwing {
                    servers[server].stream.claimSetting()
                    servers[server].followed = value
                }
            }
            if step.sessionWasReset {
                clients[index].followed = "none"
                // The lease goes on, until the rest of a message has come.
                if servers[server].stream.isMidMessage { clients[index].hasReset = true }
            }
        }
        guard step.sessionWasReset else { return }
        servers[server].profile = "0"
        servers[server].followed = "none"
    }

    mutating func serverEnded(_ server: Int) {
        guard servers[server].isLeased, let index = servers[server].client else {
            replace(server)
            return
        }
        var bytes: [UInt8] = []
        let error = PgError.error(.connectionFailure, "lost")
        let outcome = servers[server].stream.lose(
            &clients[index].stream, error: error, isHeld: clients[index].held != nil,
            statements: &statements, toClient: &bytes)
        note("client \(index) loses server \(server): \(RelayTranscript.ofServer(bytes))")
        clients[index].server = nil
        clients[index].held = nil
        clients[index].awaitsQuiet = false
        servers[server].client = nil
        replace(server)
        if clients[index].call != nil, mode.pooling != .session, outcome == .goesOn {
            // It has not been told of this lease: another server will do.
            clients[index].isWaiting = true
            return
        }
        if outcome == .ends || mode.pooling == .session {
            // The session is over, and says so by its end.
            clients[index].isGone = true
            addClient()
            clients[index].pending = []
            clients[index].stream.releaseAll(in: &statements)
            return
        }
        clients[index].received += bytes
        resume(index)
        settle(index)
        endIfDone(index)
    }

    /// The connection is closed, and another one takes its slot.
    mutating func replace(_ server: Int) {
        if var orphan = servers[server].orphan.take() {
            servers[server].stream.dropAll(&orphan, statements: &statements)
            orphan.releaseAll(in: &statements)
        }
        servers[server].stream.releaseAll(in: &statements)
        servers[server] = Server()
        servers[server].backend.schema = schema
    }
}

/// A client's stream while a turn has it.
private final class Taken {
    var value: ClientStream

    init(_ value: consuming ClientStream) { self.value = value }
}
