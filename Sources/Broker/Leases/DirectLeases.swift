import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
import Logging
import PostgresWire

/// Direct leases: the client's process gets the server connection's own descriptor, and the broker
/// looks on until it comes back.
extension Broker {
    // MARK: Handing out

    /// Why this lease goes through the relay; nil if it may be direct.
    func reasonNotDirect(_ server: ServerConnection, _ client: ClientSession) -> NotDirect? {
        guard settings.directLease == .sameUID else { return .switchedOff }
        guard client.isUnix else { return .overTCP }
        guard let peer = client.peer, let process = client.process, process.confinedID != nil,
            isWatched(process)
        else { return .unknownProcess }
        guard isTrusted(client) else { return .strangeUser }
        guard server.pool.mode.pooling != .session else { return .sessionPool }
        guard server.connection?.usesTLS == false else { return .serverUsesTLS }
        if let user = server.pool.directUser, user != peer.userID,
            (scheduler.summary(of: server.pool.id)?.confined ?? 0) > 0
        {
            return .otherUser
        }
        guard mayConfine(server, to: client) else { return .contention }
        guard client.outbound.isEmpty else { return .clientDoesNotRead }
        guard server.carry.isEmpty else { return .serverSpeaks }
        return nil
    }

    /// Sends the answer, and the descriptor with its first byte; false if the socket took nothing.
    func handOut(_ server: ServerConnection, to client: ClientSession, _ call: LeaseCall) -> Bool {
        guard let descriptor = server.connection?.descriptor, descriptor >= 0 else { return false }
        let bytes = leaseAnswer(server, call, kind: "direct")
        let outcome = bytes.withUnsafeBytes {
            Descriptor.write(client.descriptor, from: $0, handingOut: descriptor)
        }
        // Else it is sent by the ordinary way, which finds out what is wrong with the socket.
        guard case .bytes(let count) = outcome else { return false }
        server.isDirect = true
        server.pool.directUser = client.peer?.userID
        confine(server, to: client)
        // Its bytes are the client's now; only its end is of interest.
        server.watcher?.watch(.disconnect)
        if count < bytes.count {
            bytes.withUnsafeBytes {
                send(UnsafeRawBufferPointer(rebasing: $0[count...]), to: client)
            }
        }
        return true
    }

    func noteNotDirect(_ client: ClientSession, _ server: ServerConnection, _ reason: NotDirect) {
        logger.debug(
            "lease is not direct",
            metadata: describe(
                client, with: ["lease.id": "\(server.lease!)", "reason": "\(reason.rawValue)"]))
    }

    /// What the client is told that speaks to the broker meanwhile.
    static let leaseIsDirect = PgError.error(
        .objectNotInPrerequisite, "the lease of this connection is direct",
        detail: "Its statements go over the descriptor that came with the answer to LEASE DIRECT.",
        hint:
            "Send LEASE RETURN first. LEASE DIRECT is for client modules; by hand, use LEASE without DIRECT."
    )

    // MARK: Coming back

    /// The client says that it is done: the lease is over, and the connection is cleaned before the next.
    func takeBack(_ server: ServerConnection, from client: ClientSession) {
        if client.profile != server.startupProfile,
            server.pool.acceptedProfiles.contains(client.profile)
        {
            profiles.retain(client.profile)
            server.profileToRestore = client.profile
        }
        detach(server, client)
        server.isDirect = false
        server.isUnknown = true
        server.watcher?.watch(.readable)
        endLease(server, .dirty)
    }

    /// Finds out by a marked query what a client left that had the descriptor, or that was cut short, and
    /// cleans it away: what a reset is for others.
    func recover(_ server: ServerConnection) {
        let cleaning = cleaning(of: server.pool)
        let reset = cleaning.isComplete ? cleaning.texts : []
        if let pending = server.pendingProfile { profiles.release(pending) }
        server.pendingProfile = nil
        server.prelude = []
        server.carry = []
        server.holdsClientBytes = false
        let setup = server.profileToRestore.map {
            profiles.setup(from: .serverDefault, to: $0).inOneText
        }
        var machine = DirectReturn(
            nonce: UInt64.random(in: .min ... .max), reset: reset, probe: cleaning.probe,
            setup: setup.map { [$0] } ?? [])
        var bytes: [UInt8] = []
        machine.begin(into: &bytes)
        server.returning = machine
        let now = now
        server.cancelDeadline = now + Self.returnPatience
        server.resetDeadline = now + Self.returnTimeout
        housekeeping(by: now + Self.returnPatience)
        if !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
        }
    }

    /// How long a returned connection may go on with what its client left running, before that is cancelled.
    private static let returnPatience = Duration.milliseconds(500)
    /// How long the state of a returned connection may take to find out; then it is closed.
    private static let returnTimeout = Duration.seconds(3)
    /// Bytes that may be thrown away before what sends them is cancelled.
    private static let discardLimit = 1 << 18

    /// The server spoke while its state was being found out.
    func regain(_ server: ServerConnection, _ bytes: UnsafeRawBufferPointer) {
        var answer: [UInt8] = []
        let (consumed, outcome) = server.returning!.receive(bytes, toServer: &answer)
        if consumed < bytes.count {
            server.carry = Array(UnsafeRawBufferPointer(rebasing: bytes[consumed...]))
        }
        if !answer.isEmpty, !answer.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
            return
        }
        switch outcome {
        case .more:
            if server.returning!.discarded > Self.discardLimit { cancelReturned(server) }
        case .settled(let status):
            forgetRestoring(server)
            guard regained(server, status) else { return }
            if status == .idle {
                reset(server)
            } else {
                server.resetDeadline = now + Self.returnTimeout
                housekeeping(by: now + Self.returnTimeout)
                ask(server, .rollback, ["ROLLBACK"])
            }
        case .clean:
            let isSetUp = server.returning!.isSetUp
            let hasFound = server.returning!.hasFound
            guard regained(server, .idle) else { return }
            if findsLinks(server, hasFound) {
                forgetRestoring(server)
                reset(server)
                return
            }
            resetDone(server, with: isSetUp ? server.profileToRestore : nil)
            forgetRestoring(server)
        case .broken(let reason):
            giveUp(server, reason)
        }
    }

    /// The connection is the broker's again; false if it cannot be.
    private func regained(_ server: ServerConnection, _ status: TransactionStatus) -> Bool {
        guard server.carry.isEmpty, let machine = server.returning else {
            giveUp(server, "it said more than it was asked")
            return false
        }
        forgetReturn(server)
        server.stream.regained(
            status, hasDroppedStatements: machine.hasDroppedStatements, statements: &statements)
        // What the client changed was told to the client only.
        let base = server.pool.baseParameters ?? server.parameters
        server.parameters = base.changing(machine.parameters)
        return true
    }

    func forgetRestoring(_ server: ServerConnection) {
        if let profile = server.profileToRestore { profiles.release(profile) }
        server.profileToRestore = nil
    }

    private func forgetReturn(_ server: ServerConnection) {
        server.isUnknown = false
        server.returning = nil
        server.cancelDeadline = nil
        server.resetDeadline = nil
    }

    /// Several queries may be running, one after the other: each is cancelled.
    func cancelReturned(_ server: ServerConnection) {
        let next = now + Self.returnPatience
        server.cancelDeadline = next
        housekeeping(by: next)
        if server.cancelsInFlight == 0 { sendCancel(server, then: {}) }
    }

    /// The state of a returned connection could not be found out.
    func giveUp(_ server: ServerConnection, _ reason: String) {
        logger.warning(
            "a connection came back in a state that cannot be mended",
            metadata: [
                "server.id": "\(server.id)", "server.pid": "\(server.backendProcessID)",
                "reason": "\(reason)",
            ])
        cutOff(server)
        forgetReturn(server)
        post(.resetFailed(server.id))
    }

    // MARK: Taking away

    /// Ends the connection for everyone who has its descriptor, and what runs on it.
    func cutOff(_ server: ServerConnection) {
        server.cancelsToCome = Self.lingering.count
        sendCancel(server, for: .backend, then: {})
        server.connection?.shutdown()
    }
}

/// Why a lease that was asked for as direct is not.
enum NotDirect: String {
    case switchedOff = "direct_lease is off"
    case overTCP = "the client came over TCP"
    case unknownProcess = "the client's process is not visible here, or has ended"
    case strangeUser = "neither peer_map nor its name lets its user in as this role"
    case sessionPool = "pool_mode is session"
    case serverUsesTLS = "the server connection uses TLS"
    case otherUser = "another uid has direct leases of this pool"
    case contention = "more processes than connections want direct leases"
    case serverSpeaks = "the server is in the middle of a message"
    case clientDoesNotRead = "the client has not read what it was sent before"
}
