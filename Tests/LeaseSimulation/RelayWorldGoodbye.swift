import LeaseCore
import PostgresWire

/// Clients that say goodbye behind their last statement, in the same write, and servers that say more than
/// they were asked.
extension RelayWorld {
    // MARK: Goodbyes

    /// Now and then a client's last bytes end with Terminate.
    mutating func mayLeave(_ index: Int) {
        guard let group = clients[index].group, clients[index].part == group.parts.count - 1,
            !clients[index].isLeaving, !isDirect(index), chance(3)
        else { return }
        note("client \(index) will leave")
        clients[index].isLeaving = true
        clients[index].unsent.appendTerminate()
    }

    /// What it sent before is done and answered, then it is gone.
    mutating func endIfDone(_ index: Int) {
        guard clients[index].hasSaidGoodbye, !clients[index].isGone, !clients[index].isWaiting,
            clients[index].call == nil
        else { return }
        if let server = clients[index].server, !servers[server].isDirect {
            let message = clients[index].stream.passing
            guard !servers[server].holdsClientBytes,
                !servers[server].stream.willAnswer(without: message)
            else { return }
        }
        settle(index)
        if clients[index].isGone { return }
        if !hasFaults, clients[index].group != nil {
            violation =
                "client \(index) said goodbye, and was told \(transcript(index)) only; it sent"
                + " \(RelayTranscript.ofClient(clients[index].sent))"
        }
        note("client \(index) has left")
        clients[index].isGone = true
        clients[index].group = nil
        addClient()
        abandonLease(of: index)
        clients[index].stream.releaseAll(in: &statements)
    }

    // MARK: Lies

    /// All that the server has to say, and behind it, in the same read, what nobody asked for. Nothing is on
    /// its way there, so it cannot be the answer to anything.
    mutating func lie(from index: Int) {
        let server = servers[index]
        guard server.isLeased || server.isResetting, !server.isDirect, server.returning == nil,
            !server.backend.isDead, !server.isTorn, server.wire.isEmpty,
            server.backend.input.isEmpty,
            server.prelude.isEmpty, server.backend.status == .idle, !server.backend.isInTransaction,
            !server.backend.isSkipping, !server.stream.isSuspect,
            server.backend.output.suffix(6) == [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "I")]
        else { return }
        var words: [UInt8] = []
        switch Int.random(in: 0..<7, using: &random) {
        case 0: words.appendDataRow(texts: ["pglease.stray"])
        case 1: words.appendErrorResponse(.error(.internalError, "pglease.stray"))
        case 2: words.appendErrorResponse(.fatal(.adminShutdown, "stray"))
        case 3: words.appendCommandComplete("STRAY")
        case 4: words.appendReadyForQuery(.idle)
        case 5: words = [UInt8(ascii: "D"), 0]
        default: words.appendParseComplete()
        }
        faults += 1
        note("server \(index) lies: \(RelayTranscript.ofServer(words))")
        servers[index].isLying = true
        let output = exchange(&servers[index].backend.output, with: [])
        receive(output + words, fromServer: index)
        // Behind a copy that failed this may be the answer to a Sync (see `ServerStream.copyInBegan`).
        if words.first == UInt8(ascii: "Z"), servers[index].stream.isSuspect { return }
        if servers[index].isLying {
            violation = "server \(index) spoke unasked, and serves on"
        }
    }
}
