// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The end of a client's input, and what is still done for it then: `Goodbye` has the table.
extension Engine {
    /// Terminate: what was sent in front of it is still done.
    mutating func saidGoodbye(_ client: ClientID) {
        guard settings.clientGone == .finish else {
            close(client, because: "client said goodbye")
            return
        }
        clients[client].goodbye = .said
        watchForMessages(client)
        endIfDone(client)
    }

    /// The client has closed its writing side, or its socket: reading shows no difference.
    package mutating func clientInputEnded(_ client: ClientID, now: Instant) {
        self.now = now
        guard clients.contains(client), clients[client].phase != .closed else { return }
        let isGoodbyeKnown =
            clients[client].phase == .ready
            && clients[client].pending.withUnsafeBytes {
                Goodbye.isIn($0, passing: clients[client].stream.passing.bytesLeft)
            }
        guard clients[client].goodbye == nil, settings.clientGone == .finish, mayFinish(client),
            isGoodbyeKnown ? !leasesForNobody(client) : !world.isHungUp(client)
        else {
            close(client, because: "client closed the connection")
            return
        }
        clients[client].goodbye = isGoodbyeKnown ? .said : .halfClosed
        watchForMessages(client)
        if !isGoodbyeKnown { probe(client) }
        endIfDone(client)
    }

    /// A LEASE waits, and there is nothing between it and the Terminate.
    private func leasesForNobody(_ client: ClientID) -> Bool {
        clients[client].call != nil && clients[client].isWaiting
            && clients[client].pending.withUnsafeBytes { Goodbye.isNext(in: $0) }
    }

    /// Whether there may be something to do for a client that sends nothing more.
    private func mayFinish(_ client: ClientID) -> Bool {
        switch clients[client].phase {
        case .login, .replicating, .closed: false
        case .learning, .awaitingServer: true
        case .ready: clients[client].server.map { servers[$0].isDirect } != true
        // What its commands did is done; one that waits for something is of use to nobody.
        case .console: !clients[client].flags.isHeldUp && !clients[client].outbound.isEmpty
        case .closing: !clients[client].outbound.isEmpty
        }
    }

    /// Over TCP only a message shows whether anybody is there: a socket that is wholly closed answers it
    /// with a reset. A parameter's value that is known already says nothing new.
    private mutating func probe(_ client: ClientID) {
        guard !clients[client].flags.isUnix, clients[client].phase == .ready,
            clients[client].outbound.isEmpty,
            clients[client].server.map({ servers[$0].stream.passing.isHalfPassed }) != true,
            let parameter = clients[client].settings.told?.values.first
        else { return }
        var bytes: [UInt8] = []
        bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    /// Ends the session of a client that sends nothing more, once everything is done for it.
    mutating func endIfDone(_ client: ClientID) {
        guard clients[client].goodbye != nil, clients[client].isOpen, !clients[client].isWaiting,
            clients[client].call == nil, !clients[client].request.awaitsWords,
            !clients[client].flags.isQueuedToResume
        else { return }
        switch clients[client].phase {
        case .ready:
            if let server = clients[client].server, !servers[server].isDirect {
                guard servers[server].outbound.isEmpty, !servers[server].profile.holdsClientBytes,
                    !servers[server].stream.willAnswer(without: clients[client].stream.passing)
                else { return }
            }
        case .replicating:
            // Its walsender ends it, or it went while it waited for that, and has its answers.
            guard let server = clients[client].server, servers[server].drainDeadline == nil,
                servers[server].passage?.isBusy == false
            else { return }
        case .console: break
        case .login, .learning, .awaitingServer, .closing, .closed: return
        }
        end(
            client,
            because: clients[client].goodbye == .said
                ? "client said goodbye" : "client closed the connection")
    }

    /// Ends the session once the client has taken what it was sent.
    mutating func end(_ client: ClientID, because reason: String) {
        withdraw(client)
        leavePlaces(client)
        abandonLease(of: client)
        guard !clients[client].outbound.isEmpty else {
            close(client, because: reason)
            return
        }
        if clients[client].phase == .learning, let pool = clients[client].pool {
            pools[pool].awaitingParameters.removeAll { $0 == client }
        }
        clients[client].phase = .closing
        clients[client].pending = []
        watchForMessages(client)
    }
}
