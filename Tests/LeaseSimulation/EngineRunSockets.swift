// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// What may happen next at the sockets: the broker reads and writes as it watches, backends work, clients go on.
extension EngineRun {
    enum Choice {
        case clientActs(EngineClient)
        case clientReads(EngineClient)
        case brokerReads(EngineClient)
        case clientHasRoom(EngineClient)
        case deliver(ServerSocket)
        case work(ServerSocket)
        case brokerReadsServer(ServerSocket)
        case serverHasRoom(ServerSocket)
        case bellIsHeard(EngineClient)
    }

    mutating func ready() -> [Choice] {
        var choices: [Choice] = []
        for client in clients {
            let socket = client.socket
            if !client.isGone, mayAct(client) { choices.append(.clientActs(client)) }
            if !socket.inbox.isEmpty || (socket.isClosedByBroker && !client.isGone),
                !socket.isClosed, now >= socket.stalledUntil
            {
                choices.append(.clientReads(client))
            }
            if !socket.isClosedByBroker {
                if socket.isBellWatched, socket.isBellRung { choices.append(.bellIsHeard(client)) }
                if isReadable(socket) { choices.append(.brokerReads(client)) }
                if socket.interest.contains(.room), socket.isClosed || socket.room(at: now) > 0 {
                    choices.append(.clientHasRoom(client))
                }
            }
        }
        for socket in servers {
            if !socket.wire.isEmpty, !socket.backend.isDead { choices.append(.deliver(socket)) }
            if now >= socket.hangsUntil, hasWork(socket) { choices.append(.work(socket)) }
            guard socket.isConnected, !socket.isClosedByBroker else { continue }
            if isReadable(socket) { choices.append(.brokerReadsServer(socket)) }
            if socket.interest.contains(.room), socket.isEnded || socket.room(at: now) > 0 {
                choices.append(.serverHasRoom(socket))
            }
        }
        return choices
    }

    /// When the next one goes on that thinks, hangs or is stalled.
    var nextEndOfPause: Instant? {
        var next: Instant?
        func consider(_ moment: Instant) {
            if moment > now, next.map({ moment < $0 }) ?? true { next = moment }
        }
        for client in clients where !client.isGone {
            consider(client.thinksUntil)
            consider(client.socket.stalledUntil)
        }
        for socket in servers {
            consider(socket.hangsUntil)
            consider(socket.endSeenFrom)
            consider(socket.stalledUntil)
        }
        return next
    }

    private func isReadable(_ socket: ClientSocket) -> Bool {
        let hasEnded = socket.hasEndedWriting || socket.isClosed
        if socket.interest.contains(.bytes) { return !socket.outbox.isEmpty || hasEnded }
        return (socket.interest.contains(.end) && hasEnded)
            || (socket.interest.contains(.hangUp) && socket.isClosed)
    }

    private func isReadable(_ socket: ServerSocket) -> Bool {
        let isEndSeen = socket.isEnded && now >= socket.endSeenFrom
        if socket.interest.contains(.bytes) {
            return !socket.backend.output.isEmpty || isEndSeen
        }
        return socket.interest.contains(.end) && isEndSeen
    }

    /// A whole message has come.
    private func hasWork(_ socket: ServerSocket) -> Bool {
        let input = socket.backend.input
        guard !socket.backend.isDead, input.count >= MessageHeader.size else { return false }
        let header = input.withUnsafeBytes { MessageHeader($0, at: 0) }
        return header.bodyLength < 0 || input.count >= MessageHeader.size + header.bodyLength
    }

    mutating func carryOut(_ choice: Choice) {
        switch choice {
        case .clientActs(let client): act(client)
        case .clientReads(let client): read(client)
        case .brokerReads(let client): receive(from: client)
        case .clientHasRoom(let client):
            before()
            engine.clientWritable(client.id, now: now)
            after()
        case .deliver(let socket): deliver(to: socket)
        case .work(let socket): work(socket)
        case .brokerReadsServer(let socket): receive(from: socket)
        case .bellIsHeard(let client):
            before()
            client.socket.isBellRung = false
            engine.bellRung(client.id, now: now)
            after()
        case .serverHasRoom(let socket):
            before()
            engine.serverWritable(socket.id, now: now)
            after()
        }
    }

    // MARK: From clients

    /// As the broker does with a socket of which something was announced.
    private mutating func receive(from client: EngineClient) {
        let socket = client.socket
        before()
        switch engine.reading(of: client.id) {
        case .later: break
        case .atItsEnd: engine.clientInputEnded(client.id, now: now)
        case .forTheShell: violation = "client \(client.index) is the shell's to read"
        case .now:
            checkBackpressure(on: client)
            if socket.isReset {
                engine.close(client.id, because: "reading from the client failed", now: now)
            } else if !socket.outbox.isEmpty {
                let bytes = take(from: &socket.outbox)
                bytes.withUnsafeBytes { engine.clientBytes(client.id, $0, now: now) }
            } else if socket.hasEndedWriting || socket.isClosed {
                engine.clientInputEnded(client.id, now: now)
            }
        }
        after()
    }

    /// What one read gives.
    private mutating func take(from bytes: inout [UInt8]) -> [UInt8] {
        let isWhole = !plan.takesLess || chance(60)
        let count = isWhole ? bytes.count : Int.random(in: 1...bytes.count, using: &random)
        let taken = Array(bytes.prefix(count))
        bytes.removeFirst(count)
        return taken
    }

    // MARK: From servers

    mutating func receive(from socket: ServerSocket) {
        before()
        switch engine.reading(of: socket.id) {
        case .later: break
        case .atItsEnd:
            engine.serverClosed(socket.id, "the server closed the connection", now: now)
        case .now:
            checkBackpressure(on: socket)
            if socket.backend.output.isEmpty || (socket.isShutDown && chance(50)) {
                if socket.isEnded {
                    engine.serverClosed(socket.id, "the server closed the connection", now: now)
                }
            } else {
                let bytes = take(from: &socket.backend.output)
                note("server \(socket.id) -> \(RelayTranscript.ofServer(bytes))")
                bytes.withUnsafeBytes { engine.serverBytes(socket.id, $0, now: now) }
            }
        }
        after()
    }

    private mutating func deliver(to socket: ServerSocket) {
        let bytes = take(from: &socket.wire)
        socket.backend.input += bytes
    }

    /// The backend deals with some messages, in the name of who holds it.
    private mutating func work(_ socket: ServerSocket) {
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            guard socket.backend.step() else { break }
        }
        if !socket.isClosedByBroker, !socket.backend.isDead, engine.servers.contains(socket.id),
            engine.servers[socket.id].client != nil
        {
            if chance(4) { socket.backend.output.appendNoticeResponse(.notice("noise")) }
            if chance(2) {
                socket.backend.output.appendParameterStatus(name: "noise", value: "1")
            }
        }
        noteExecuted(on: socket)
        if socket.isClosedByBroker { socket.backend.output = [] }
    }
}
