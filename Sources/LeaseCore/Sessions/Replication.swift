// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What passes between a replication client and the walsender that is its own for its whole life: every byte as it
/// is, in both directions. All that is known of it is where messages end.
final class Passage {
    var fromClient = MessageFrames()
    var fromServer = MessageFrames()
    /// The client has asked for something, and the server has not said since that it is ready.
    var isBusy = false
    /// The server has begun to answer it.
    var hasAnswered = false
}

/// Replication clients: nothing of theirs is read, cleaned, followed or used again.
extension Engine {
    /// From the client. Returns how many bytes are dealt with.
    mutating func passOn(_ bytes: UnsafeRawBufferPointer, from client: ClientID) -> Int {
        guard let server = clients[client].server, let passage = servers[server].passage else {
            return bytes.count
        }
        guard servers[server].mayBeSent else { return 0 }
        var saysGoodbye = false
        var offset = 0
        while let kind = passage.fromClient.next(in: bytes, from: &offset) {
            if kind == FrontendKind.terminate.rawValue { saysGoodbye = true }
            if !passage.isBusy {
                passage.isBusy = true
                passage.hasAnswered = false
            }
        }
        servers[server].noteSending(now)
        guard send(bytes, to: server) else {
            serverEnded(server, "the server closed the connection")
            return bytes.count
        }
        if saysGoodbye { leave(client, server) }
        return bytes.count
    }

    /// Its goodbye has gone to the server, which answers what came before and then ends the connection.
    private mutating func leave(_ client: ClientID, _ server: ServerID) {
        clients[client].goodbye = .said
        beginDraining(server, within: .seconds(10))
        watchForMessages(client)
    }

    /// From the server.
    mutating func passOn(
        _ bytes: UnsafeRawBufferPointer, from server: ServerID, _ passage: Passage
    ) {
        if let client = servers[server].client, clients[client].phase == .awaitingServer {
            // Behind its greeting.
            keepRest(of: bytes, from: 0, server)
            return
        }
        var readies = 0
        var offset = 0
        while let kind = passage.fromServer.next(in: bytes, from: &offset) {
            if kind == BackendKind.readyForQuery.rawValue {
                passage.isBusy = false
                readies += 1
            } else {
                passage.hasAnswered = true
            }
        }
        let pool = servers[server].pool
        pools[pool].statistics.queries += readies
        pools[pool].statistics.transactions += readies
        if !passage.isBusy { servers[server].holding.clock.querySince = nil }
        guard let client = servers[server].client else { return }
        servers[server].holding.bytes += bytes.count
        servers[server].holding.transactions += readies
        clients[client].moments.lastActivity = now
        send(bytes, to: client)
        if clients[client].goodbye != nil { endIfDone(client) }
    }

    /// The greeting is out: what the server has said since follows it.
    mutating func passWhatWasKept(of server: ServerID) {
        guard let passage = servers[server].passage, !servers[server].carry.isEmpty else { return }
        let kept = exchange(&servers[server].carry, with: [])
        kept.withUnsafeBytes { passOn($0, from: server, passage) }
    }

    /// The client is gone, or thrown out. A walsender that streams sees the end of its socket; what has not begun
    /// to answer may wait for anything.
    mutating func abandonPassage(_ server: ServerID, of client: ClientID, _ passage: Passage) {
        let isWhole =
            passage.fromClient.isBetweenMessages && servers[server].outbound.isEmpty
            && servers[server].phase == .ready
        detach(server, client)
        if passage.isBusy, !passage.hasAnswered { cancel(server) }
        endLease(server, isWhole ? .clean : .broken)
    }

    /// The server has closed the connection. Its last words have passed: the client sees the same end.
    mutating func passageEnded(_ server: ServerID, _ reason: String) {
        guard let client = servers[server].client else {
            endLease(server, .broken)
            return
        }
        if clients[client].goodbye == .said {
            detach(server, client)
            endLease(server, .clean)
            end(client, because: "client said goodbye")
            return
        }
        notices.append(.serverLost(server, report(on: server), reason: reason))
        let error = LeaseErrors.lost(
            reason, fatal: nil, process: servers[server].facts.backendProcessID,
            database: pools[servers[server].pool].terms.database, isSession: true)
        detach(server, client)
        endLease(server, .broken)
        if clients[client].phase == .awaitingServer {
            refuse(client, error)
        } else {
            end(client, because: reason)
        }
    }
}
