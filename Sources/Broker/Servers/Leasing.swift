import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// The beginning and the end of leases.
extension Broker {
    // MARK: Asking

    /// Asks for a server. It may be there when this returns.
    func requestLease(_ client: ClientSession, since: Instant? = nil) {
        guard let pool = client.pool, let group = client.group else {
            preconditionFailure("a client without a pool asks for a lease")
        }
        let now = now
        client.requestedAt = since ?? now
        client.isWaiting = true
        if since == nil { noteUse(of: client, now) }
        let wait = client.call?.terms.wait?.wholeNanoseconds ?? pool.queryWait
        let deadline = wait.map { client.requestedAt.advanced(by: $0) }
        var request = LeaseRequest(
            client: client.id, pool: pool.id, group: group.id, owner: client.ownerKey,
            profile: client.profile, requiresProfile: pool.mode.pooling == .session,
            deadline: deadline ?? Instant(nanoseconds: .max), since: client.requestedAt,
            useSince: client.useSince, peer: client.process?.confinedID)
        if let call = client.call {
            request.owner.thread = call.thread
            request.wantsHandOut =
                call.terms.isDirect && settings.directLease == .sameUID && isTrusted(client)
        }
        post(leaseRequested: request)
    }

    /// A program that takes a session from its own pool may try it with a statement first; after a
    /// transaction, or a pause, it has probably given the session back and taken it again.
    private func noteUse(of client: ClientSession, _ now: Instant) {
        let pause = now - client.detachedAt
        if client.isUseOver || pause > Self.longestPauseInUse {
            client.useSince = now
        }
        client.isUseOver = false
    }

    private static let longestPauseInUse = Duration.milliseconds(50)

    func withdraw(_ client: ClientSession) {
        guard client.isWaiting else { return }
        client.isWaiting = false
        post(.requestWithdrawn(client.id))
    }

    // MARK: Granting

    func grant(_ clientID: ClientID, _ serverID: ServerID, _ lease: LeaseID, waited: Duration) {
        guard let server = server(serverID) else {
            preconditionFailure("the scheduler granted a server that the shell has closed")
        }
        guard let client = clients[clientID], client.isWaiting else {
            // It left while the grant was on its way: nothing has happened on the server.
            post(leaseReturned: serverID, .clean, profile: server.profile)
            return
        }
        let now = now
        client.isWaiting = false
        client.server = server
        server.client = client
        server.lease = lease
        server.leaseSince = now
        server.leaseWaited = waited
        server.transactionSince = nil
        server.querySince = nil
        server.idleSince = nil
        server.hadTransaction = false
        server.hasSent = false
        server.fatal = nil
        server.wasWarnedAbout = false
        server.bytesInLease = 0
        server.transactionsInLease = 0
        server.resets = ServerConnection.Resets()
        server.hasLostProfile = false
        server.stream.beginLease()
        server.pool.statistics.assignments += 1
        let waitTime = waited.wholeNanoseconds
        server.pool.statistics.waitTime += waitTime
        server.pool.times.wait.record(waitTime)
        if let times = client.group?.times {
            times.wait.record(waitTime)
            server.groupTimes = times
        }
        housekeeping(by: now.advanced(by: server.pool.firstLook))
        if client.phase == .awaitingServer {
            finishLogin(client)
            endLeaseIfOver(server)
            return
        }
        if let call = client.call {
            beginExplicitLease(server, client, call)
            return
        }
        if server.profile != client.profile { preparePrelude(server, client) }
        if !server.holdsClientBytes, !client.pending.isEmpty { queueToResume(client) }
    }

    /// Puts the client's profile in force: in one write with its first message if this pool has accepted
    /// the profile before, else alone, so that nothing runs under other settings than it asked for.
    private func preparePrelude(_ server: ServerConnection, _ client: ClientSession) {
        let setup = profiles.setup(from: server.profile, to: client.profile)
        let isAccepted =
            server.pool.acceptedProfiles.contains(client.profile)
            || client.profile == .serverDefault
        let mustRunConnectQuery = setup.reset != nil && server.pool.entry.connectQuery != nil
        guard isAccepted, !setup.mustBeAwaited, !mustRunConnectQuery else {
            putProfileInForce(server, client)
            return
        }
        profiles.retain(client.profile)
        server.pendingProfile = client.profile
        server.attempts = 0
        server.stream.ask(.profile, setup.inOneText, into: &server.prelude)
    }

    /// Puts the client's profile in force before anything else happens on the server.
    func putProfileInForce(_ server: ServerConnection, _ client: ClientSession) {
        profiles.retain(client.profile)
        server.pendingProfile = client.profile
        server.holdsClientBytes = true
        server.attempts = 0
        sendProfile(server, client.profile)
    }

    private func sendProfile(_ server: ServerConnection, _ profile: ProfileID) {
        let setup = profiles.setup(from: server.profile, to: profile)
        ask(server, .profile, setup.texts(connectQuery: server.pool.entry.connectQuery))
    }

    func profileAnswered(_ server: ServerConnection, _ error: PgError?) {
        guard let profile = server.pendingProfile else {
            preconditionFailure("a profile was answered that was not sent")
        }
        let wasHeld = server.holdsClientBytes
        if let error {
            profileFailed(server, profile, error, wasHeld: wasHeld)
            return
        }
        server.pendingProfile = nil
        server.holdsClientBytes = false
        server.attempts = 0
        profiles.release(server.profile)
        server.profile = profile
        server.pool.accept(profile)
        server.parameters = server.pool.parameters(for: profile, reported: server.parameters)
        guard wasHeld, let client = server.client else { return }
        // Nothing of the client's own is on its way: if the server dies now, another may have it.
        server.hasSent = false
        guard let call = client.call else {
            queueToResume(client)
            return
        }
        if server.stream.isQuiet { answerLease(server, client, call) }
    }

    /// The client is refused, if its own settings are the reason; what cut the broker's query short is none of
    /// its business.
    private func profileFailed(
        _ server: ServerConnection, _ profile: ProfileID, _ error: PgError, wasHeld: Bool
    ) {
        if wasHeld, server.client != nil, server.stream.isQuiet, mayTryAgain(server, error) {
            retryProfile(server, profile)
            return
        }
        server.pendingProfile = nil
        server.holdsClientBytes = false
        profiles.release(profile)
        // How much of it is in force is not known.
        server.stream.leaveUnknown()
        guard let client = server.client else { return }
        if error.sqlState == .queryCanceled {
            serverEnded(server, "its settings could not be put in force: \(error.message)")
            return
        }
        var error = error
        error.severity = .fatal
        refuse(client, error)
    }

    private func retryProfile(_ server: ServerConnection, _ profile: ProfileID) {
        let setup = profiles.setup(from: server.profile, to: profile)
        let texts = setup.texts(connectQuery: server.pool.entry.connectQuery)
        // A part that failed has left its transaction open.
        ask(server, .profile, server.stream.status == .idle ? texts : ["ROLLBACK"] + texts)
    }

    /// The client learns values that differ from what it was told before.
    func tellNews(_ client: ClientSession, _ server: ServerConnection) {
        guard let told = client.told, told !== server.parameters, client.phase == .ready else {
            return
        }
        let news = server.parameters.news(since: told)
        client.told = server.parameters
        guard !news.isEmpty else { return }
        var bytes: [UInt8] = []
        for parameter in news {
            bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    // MARK: Ending

    /// Ends the lease if the protocol says that it is over.
    func endLeaseIfOver(_ server: ServerConnection) {
        guard server.isLeased, server.outbound.isEmpty, server.prelude.isEmpty,
            server.stream.brokerQuery == nil
        else { return }
        if let client = server.client {
            guard server.stream.isLeaseOver(passing: client.stream.passing, server.mode),
                client.phase != .awaitingServer
            else { return }
            if server.stream.status != .idle {
                // Statement pooling, and the client began a transaction.
                refuse(client, Self.transactionInStatementPool)
                return
            }
            detach(server, client)
            finishLease(server)
            if !client.pending.isEmpty { queueToResume(client) }
        } else if server.stream.isQuiet {
            if server.stream.status == .idle {
                finishLease(server)
            } else {
                ask(server, .rollback, ["ROLLBACK"])
            }
        }
    }

    /// The session and the server let go of each other.
    func detach(_ server: ServerConnection, _ client: ClientSession) {
        client.server = nil
        server.client = nil
        client.lastActivity = now
        client.detachedAt = client.lastActivity
        client.isUseOver = server.hadTransaction || server.explicit != nil
        if server.watcher?.watched == [] { server.watcher?.watch(.readable) }
    }

    /// The server goes back to its pool.
    func finishLease(_ server: ServerConnection) {
        var condition = server.stream.conditionOnReturn
        // Even a DISCARD ALL of the client's own may have something behind it.
        if server.explicit != nil || server.mustReset, condition == .clean { condition = .dirty }
        if var orphan = server.orphan.take() {
            orphan.releaseAll(in: &statements)
            // What ran when its client vanished may have left anything.
            endLease(server, condition == .clean ? .dirty : condition)
            return
        }
        endLease(server, condition)
    }

    func endLease(_ server: ServerConnection, _ condition: ServerCondition) {
        if server.isLeased { recordHold(server) }
        server.lease = nil
        server.drainDeadline = nil
        if server.explicit != nil { forgetExplicitLease(server) }
        let tally = server.stream.tally
        if tally != ServerStream.Tally() {
            server.pool.statistics.clientParses += tally.clientParses
            server.pool.statistics.serverParses += tally.serverParses
            server.pool.statistics.binds += tally.binds
            server.stream.tally = ServerStream.Tally()
        }
        server.holdsClientBytes = false
        server.stream.isDraining = false
        server.lastUsed = now
        dropCancel(of: server, isClosing: condition == .broken)
        post(leaseReturned: server.id, condition, profile: server.profile)
    }

    private func recordHold(_ server: ServerConnection) {
        let held = now.nanoseconds - server.leaseSince.nanoseconds
        server.pool.times.hold.record(held)
        server.groupTimes?.hold.record(held)
    }

    private func forgetExplicitLease(_ server: ServerConnection) {
        server.explicit = nil
        server.isDirect = false
    }

    private static let transactionInStatementPool = PgError.fatal(
        .featureNotSupported, "transaction blocks are not allowed in statement pooling mode",
        hint: "Use a database whose pool_mode is transaction or session.")

    /// The client is gone, or is thrown out: what it left on its server is brought to an end.
    func abandonLease(of client: ClientSession) {
        guard let server = client.server else { return }
        if server.isDirect {
            // What it was in the middle of cannot be known; it may have left copies, too.
            detach(server, client)
            cutOff(server)
            endLease(server, .broken)
            return
        }
        let wasBusy = server.stream.isOwing
        detach(server, client)
        var bytes = server.prelude
        if server.stream.brokerQuery != nil, !server.prelude.isEmpty {
            // The prelude was never sent: its answer will not come.
            server.stream.releaseAll(in: &statements)
            endLease(server, .broken)
            return
        }
        let canDrain =
            server.phase == .ready && server.stream.beginDraining(client.stream, into: &bytes)
        // Names that a message in flight changed must be put back into this client's table.
        server.orphan = exchange(&client.stream, with: ClientStream())
        if wasBusy { sendCancel(server, then: {}) }
        guard canDrain else {
            if var orphan = server.orphan.take() {
                server.stream.dropAll(&orphan, statements: &statements)
                orphan.releaseAll(in: &statements)
            }
            endLease(server, .broken)
            return
        }
        let deadline = now + Self.drainTimeout
        server.drainDeadline = deadline
        housekeeping(by: deadline)
        server.watcher?.watch(server.outbound.isEmpty ? .readable : [.readable, .writable])
        if !bytes.isEmpty, !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
            return
        }
        endLeaseIfOver(server)
    }

    /// How long a server may take to end what a vanished client left running.
    static let drainTimeout = Duration.seconds(10)
}
