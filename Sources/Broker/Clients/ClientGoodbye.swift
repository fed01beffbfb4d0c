import BrokerConfiguration
import LeaseCore
import LibUV
import PostgresWire

/// The end of a client's input, and what is still done for it then: `Goodbye` has the table.
extension Broker {
    /// Terminate: what was sent in front of it is still done.
    func saidGoodbye(_ client: ClientSession) {
        guard settings.clientGone == .finish else {
            close(client, because: "client said goodbye")
            return
        }
        client.goodbye = .said
        watchForMessages(client)
        endIfDone(client)
    }

    /// The client has closed its writing side, or its socket: reading shows no difference.
    func inputEnded(_ client: ClientSession) {
        let isGoodbyeKnown =
            client.phase == .ready
            && client.pending.withUnsafeBytes {
                Goodbye.isIn($0, passing: client.stream.passing.bytesLeft)
            }
        guard settings.clientGone == .finish, mayFinish(client),
            isGoodbyeKnown || !Descriptor.isHungUp(client.descriptor)
        else {
            close(client, because: "client closed the connection")
            return
        }
        client.goodbye = isGoodbyeKnown ? .said : .halfClosed
        watchForMessages(client)
        if !isGoodbyeKnown { probe(client) }
        endIfDone(client)
    }

    /// Whether there may be something to do for a client that sends nothing more.
    private func mayFinish(_ client: ClientSession) -> Bool {
        switch client.phase {
        case .startup, .authenticating, .closed: false
        case .learning, .awaitingServer: true
        case .ready: client.server?.isDirect != true
        // What its commands did is done; one that waits for something is of use to nobody.
        case .console: client.console?.wait == nil && !client.outbound.isEmpty
        case .closing: !client.outbound.isEmpty
        }
    }

    /// Over TCP only a message shows whether anybody is there: a socket that is wholly closed answers it
    /// with a reset. A parameter's value that is known already says nothing new.
    private func probe(_ client: ClientSession) {
        guard !client.isUnix, client.phase == .ready, client.outbound.isEmpty,
            client.server?.stream.passing.isHalfPassed != true,
            let parameter = client.told?.values.first
        else { return }
        var bytes: [UInt8] = []
        bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    /// Ends the session of a client that sends nothing more, once everything is done for it.
    func endIfDone(_ client: ClientSession) {
        guard client.goodbye != nil, client.isOpen, !client.isWaiting, client.call == nil,
            client.refusal == nil, !client.isQueuedToResume
        else { return }
        switch client.phase {
        case .ready:
            if let server = client.server, !server.isDirect {
                guard server.outbound.isEmpty, !server.holdsClientBytes,
                    !server.stream.willAnswer(without: client.stream.passing)
                else { return }
            }
        case .console: break
        case .startup, .authenticating, .learning, .awaitingServer, .closing, .closed: return
        }
        end(client, because: "client said goodbye")
    }

    /// Ends the session once the client has taken what it was sent.
    func end(_ client: ClientSession, because reason: String) {
        withdraw(client)
        abandonLease(of: client)
        guard !client.outbound.isEmpty else {
            close(client, because: reason)
            return
        }
        client.phase = .closing
        client.pending = []
        watchForMessages(client)
    }
}
