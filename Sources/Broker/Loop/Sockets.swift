// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// From sockets to the engine.
extension Broker {
    // MARK: Clients

    func receive(from client: ClientConnection) {
        let reading = engine.reading(of: client.id)
        switch reading {
        case .later: return
        case .atItsEnd: ended(client)
        case .now, .forTheShell: read(client, forTheShell: reading == .forTheShell)
        }
        dealWithNotices()
    }

    private func read(_ client: ClientConnection, forTheShell: Bool) {
        if forTheShell, beginsEncrypted(client) { return }
        let space = UnsafeMutableRawBufferPointer(start: readBuffer, count: Self.readSize)
        switch Descriptor.read(client.descriptor, into: space) {
        case .bytes(let count):
            let bytes = UnsafeRawBufferPointer(start: readBuffer, count: count)
            take(bytes, from: client, forTheShell)
        case .wouldBlock: break
        case .closed: ended(client)
        case .failed(let code):
            engine.close(
                client.id, because: "reading from the client failed (errno \(code))", now: now)
        }
    }

    /// Bytes of a client's, as its program sent them.
    @inline(__always)
    func take(
        _ bytes: UnsafeRawBufferPointer, from client: ClientConnection, _ forTheShell: Bool
    ) {
        if forTheShell {
            client.login?.hasSpoken = true
            client.unread.append(contentsOf: bytes)
            attend(client)
        } else if Self.isGoodbye(bytes) {
            ended(client, .goodbye)
        } else {
            engine.clientBytes(client.id, bytes, now: now)
        }
    }

    /// Deals with what a client has sent that is not (yet) the engine's to serve.
    func attend(_ client: ClientConnection) {
        guard !client.isClosed else { return }
        let bytes = client.unread
        client.unread = []
        var consumed = 0
        bytes.withUnsafeBytes { raw in
            while consumed < raw.count {
                let rest = UnsafeRawBufferPointer(rebasing: raw[consumed...])
                let count: Int
                switch client.phase {
                case .login: count = handshake(rest, from: client)
                case .console: count = console(rest, from: client)
                case .learning, .awaitingServer, .ready, .replicating:
                    // It did not wait for the answer; what comes next is for the relay.
                    engine.clientBytes(client.id, rest, now: now)
                    count = rest.count
                case .closing, .closed: count = rest.count
                }
                if count == 0 { break }
                consumed += count
            }
            if consumed < raw.count {
                client.unread = Array(raw[consumed...])
            }
        }
        if client.phase == .console {
            engine.hold(
                client.id,
                client.console?.wait != nil && client.unread.count >= engine.pendingLimit)
        }
        dealWithNotices()
    }

    /// The socket has room.
    func mayWrite(to client: ClientConnection) {
        engine.clientWritable(client.id, now: now)
        dealWithNotices()
        guard !client.isClosed, let server = client.server else { return }
        if server.connection?.hasBufferedInput == true { continueReading(server.id) }
    }

    func send(_ bytes: [UInt8], to client: ClientConnection) {
        guard !client.isClosed else { return }
        engine.send(bytes, to: client.id, now: now)
        dealWithNotices()
    }

    /// Tells the client why, and ends the session once it has taken that. One that was not let in yet is
    /// counted under this cause, else under that of the SQLSTATE.
    func refuse(_ client: ClientConnection, _ error: PgError, as cause: RefusalCause? = nil) {
        guard client.isOpen else { return }
        client.refusalCause = cause
        engine.refuse(client.id, error, now: now)
        dealWithNotices()
    }

    func close(_ client: ClientConnection, because reason: String) {
        guard !client.isClosed else { return }
        engine.close(client.id, because: reason, now: now)
        dealWithNotices()
    }

    /// It may have parked what it was asked for.
    func bellRung(_ client: ClientID) {
        engine.bellRung(client, now: now)
        dealWithNotices()
    }

    // MARK: Servers

    func receive(from server: ServerConnection) {
        for _ in 0..<Self.tlsTurns {
            switch engine.reading(of: server.id) {
            case .later: return
            case .atItsEnd:
                engine.serverClosed(server.id, "the server closed the connection", now: now)
            case .now:
                guard read(server) else { return }
            }
            dealWithNotices()
            // What TLS has decrypted already is announced by no event.
            guard server.socket < 0, !server.isClosed, server.connection?.hasBufferedInput == true
            else { return }
        }
        continueReading(server.id)
    }

    /// False if there was nothing to read.
    private func read(_ server: ServerConnection) -> Bool {
        let space = UnsafeMutableRawBufferPointer(start: readBuffer, count: Self.readSize)
        if server.socket >= 0 {
            switch Descriptor.read(server.socket, into: space) {
            case .bytes(let count):
                let bytes = UnsafeRawBufferPointer(start: readBuffer, count: count)
                engine.serverBytes(server.id, bytes, now: now)
            case .wouldBlock: return false
            case .closed:
                engine.serverClosed(server.id, "the server closed the connection", now: now)
            case .failed(let code):
                engine.serverClosed(server.id, PostgresConnection.words(for: code), now: now)
            }
            return true
        }
        return read(server, over: space)
    }

    /// The same with TLS.
    private func read(_ server: ServerConnection, over space: UnsafeMutableRawBufferPointer) -> Bool
    {
        guard let connection = server.connection else { return false }
        switch connection.receive(into: space) {
        case .bytes(let count):
            engine.serverBytes(
                server.id, UnsafeRawBufferPointer(start: readBuffer, count: count), now: now)
        case .wouldBlock: return false
        case .wouldBlockOnWrite, .wouldBlockOnRead:
            engine.awaitsRoom(server.id)
            return false
        case .closed:
            engine.serverClosed(server.id, "the server closed the connection", now: now)
        case .failed(let reason):
            engine.serverClosed(server.id, reason, now: now)
        }
        return true
    }

    static let tlsTurns = 8

    func mayWrite(to server: ServerConnection) {
        engine.serverWritable(server.id, now: now)
        dealWithNotices()
    }

    /// Goes on with one whose bytes no event announces, in a turn of its own.
    func continueReading(_ id: ServerID) { turn.readable.append(.server(id)) }
    func continueReading(_ id: ClientID) { turn.readable.append(.client(id)) }

    /// Those whose next bytes TLS has received already: no event announces them.
    func readOn() {
        let waiting = turn.readable
        turn.readable = []
        for one in waiting {
            switch one {
            case .server(let id):
                guard let server = server(id), !server.isClosed, server.isConnected else {
                    continue
                }
                receive(from: server)
            case .client(let id):
                // One that is paused, or that has said goodbye, is heard of by an event.
                guard let client = clients[id], !client.isClosed, !client.endWaits,
                    let encryption = client.encryption, encryption.wanted.contains(.readable)
                else { continue }
                ready(.readable, client, encryption)
            }
        }
    }
}
