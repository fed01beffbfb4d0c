// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Direct leases: the client's process gets the server connection's own descriptor, and the broker
/// looks on until it comes back.
extension Engine {
    // MARK: Handing out

    /// Why this lease goes through the relay; nil if it may be direct.
    func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect? {
        if let reason = world.reasonNotDirect(server, client) { return reason }
        let pool = servers[server].pool
        guard let peer = clients[client].membership?.peer else { return .unknownProcess }
        guard !pools[pool].isSession else { return .sessionPool }
        if let user = pools[pool].directUser, user != clients[client].membership?.user,
            (scheduler.summary(of: pools[pool].id)?.confined ?? 0) > 0
        {
            return .otherUser
        }
        guard scheduler.mayHandOut(server, to: peer, now: now) else { return .contention }
        guard clients[client].outbound.isEmpty else { return .clientDoesNotRead }
        guard servers[server].carry.isEmpty else { return .serverSpeaks }
        return nil
    }

    /// Sends the answer, and the descriptor with its first byte; false if the socket took nothing.
    mutating func handOut(_ server: ServerID, to client: ClientID, _ call: LeaseCall) -> Bool {
        guard let peer = clients[client].membership?.peer else { return false }
        let bytes = leaseAnswer(server, call, kind: "direct")
        let parks = mayPark(server, client, call)
        // Else it is sent by the ordinary way, which finds out what is wrong with the socket.
        guard
            let count = bytes.withUnsafeBytes({
                world.handOut(server, to: client, $0, parking: parks)
            })
        else { return false }
        servers[server].holding.isDirect = true
        servers[server].facts.wasHandedOut = true
        pools[servers[server].pool].directUser = clients[client].membership?.user
        notices.append(.directLeaseBegan(client))
        post(.serverHandedOut(server, to: peer))
        if parks { beginParking(server) }
        // Its bytes are the client's now; only its end is of interest.
        watch(server, for: .end)
        if count < bytes.count {
            bytes.withUnsafeBytes {
                send(UnsafeRawBufferPointer(rebasing: $0[count...]), to: client)
            }
        }
        return true
    }

    // MARK: Coming back

    /// The client says that it is done: the lease is over, and the connection is cleaned before the next.
    mutating func takeBack(_ server: ServerID, from client: ClientID) {
        let profile = clients[client].settings.current
        if profile != servers[server].profile.startup,
            pools[servers[server].pool].parameters.accepts(profile)
        {
            profiles.retain(profile)
            servers[server].profile.toRestore = profile
        }
        detach(server, client)
        servers[server].holding.isDirect = false
        servers[server].recovery.isUnknown = true
        watch(server, for: .bytes)
        endLease(server, .dirty)
    }

    /// Finds out by a marked query what a client left that had the descriptor, or that was cut short, and
    /// cleans it away: what a reset is for others.
    mutating func recover(_ server: ServerID) {
        let cleaning = cleaning(of: servers[server].pool)
        let reset = cleaning.isComplete ? cleaning.texts : []
        if let pending = servers[server].profile.pending { profiles.release(pending) }
        servers[server].profile.pending = nil
        servers[server].prelude = []
        servers[server].carry = []
        servers[server].profile.holdsClientBytes = false
        let setup = servers[server].profile.toRestore.map {
            [profiles.setup(from: .serverDefault, to: $0).inOneText]
        }
        var machine = DirectReturn(
            nonce: world.randomNumber(), reset: reset, probe: cleaning.probe, setup: setup ?? [])
        var bytes: [UInt8] = []
        machine.begin(into: &bytes)
        servers[server].recovery.returning = machine
        servers[server].recovery.cancelDeadline = now + returnPatience
        look(at: server, by: now + returnPatience)
        mustAnswer(server, within: returnTimeout)
        if !bytes.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
        }
    }

    /// How long a returned connection may go on with what its client left running, before that is cancelled.
    private var returnPatience: Duration { .milliseconds(500) }
    /// How long the state of a returned connection may take to find out; then it is closed.
    private var returnTimeout: Duration { .seconds(3) }
    /// Bytes that may be thrown away before what sends them is cancelled.
    private var discardLimit: Int { 1 << 18 }

    /// The server spoke while its state was being found out.
    mutating func regain(_ server: ServerID, _ bytes: UnsafeRawBufferPointer) {
        guard var machine = servers[server].recovery.returning.take() else { return }
        var answer: [UInt8] = []
        let (consumed, outcome) = machine.receive(bytes, toServer: &answer)
        servers[server].recovery.returning = machine
        if consumed < bytes.count {
            servers[server].carry = Array(UnsafeRawBufferPointer(rebasing: bytes[consumed...]))
        }
        if !answer.isEmpty, !answer.withUnsafeBytes({ send($0, to: server) }) {
            serverEnded(server, "the server closed the connection")
            return
        }
        switch outcome {
        case .more:
            if machine.discarded > discardLimit { cancelReturned(server) }
        case .settled(let status):
            forgetRestoring(server)
            guard regained(server, machine, status) else { return }
            if status == .idle {
                reset(server)
            } else {
                mustAnswer(server, within: returnTimeout)
                ask(server, .rollback, ["ROLLBACK"])
            }
        case .clean:
            guard regained(server, machine, .idle) else { return }
            if findsLinks(server, machine.hasFound) {
                forgetRestoring(server)
                reset(server)
                return
            }
            resetDone(
                server, with: machine.isSetUp ? servers[server].profile.toRestore : nil)
            forgetRestoring(server)
        case .broken(let reason):
            giveUp(server, reason)
        }
    }

    /// The connection is the broker's again; false if it cannot be.
    private mutating func regained(
        _ server: ServerID, _ machine: DirectReturn, _ status: TransactionStatus
    ) -> Bool {
        guard servers[server].carry.isEmpty else {
            giveUp(server, "it said more than it was asked")
            return false
        }
        forgetReturn(server)
        servers[server].stream.regained(
            status, hasDroppedStatements: machine.hasDroppedStatements, statements: &statements)
        // What the client changed was told to the client only. It goes back to what the connection began with.
        let startup = servers[server].profile.startup
        let base =
            pools[servers[server].pool].parameters.known(for: startup)
            ?? servers[server].profile.parameters
        servers[server].profile.parameters = base.changing(machine.parameters)
        return true
    }

    mutating func forgetRestoring(_ server: ServerID) {
        if let profile = servers[server].profile.toRestore { profiles.release(profile) }
        servers[server].profile.toRestore = nil
    }

    private mutating func forgetReturn(_ server: ServerID) {
        servers[server].recovery.isUnknown = false
        servers[server].recovery.returning = nil
        servers[server].recovery.cancelDeadline = nil
        servers[server].upkeep.deadline = nil
    }

    /// Several queries may be running, one after the other: each is cancelled.
    mutating func cancelReturned(_ server: ServerID) {
        let next = now + returnPatience
        servers[server].recovery.cancelDeadline = next
        look(at: server, by: next)
        if servers[server].facts.cancelsInFlight == 0 { cancel(server) }
    }

    /// The state of a returned connection could not be found out.
    mutating func giveUp(_ server: ServerID, _ reason: String) {
        notices.append(.serverNotMended(server, reason: reason))
        cutOff(server)
        forgetReturn(server)
        post(.resetFailed(server))
    }

    // MARK: Taking away

    /// Ends the connection for everyone who has its descriptor, and what runs on it; what was sent behind that does
    /// not run. The request goes once the connection has ended.
    mutating func cutOff(_ server: ServerID) {
        world.shutDown(server, isShared: servers[server].facts.wasHandedOut)
        servers[server].recovery.cancelsToCome = lingering.count
        cancel(server, for: .backend)
    }

    /// Between one cancel of what runs on a connection that was cut off and the next.
    var lingering: [Duration] { [.milliseconds(100), .milliseconds(400)] }
}
