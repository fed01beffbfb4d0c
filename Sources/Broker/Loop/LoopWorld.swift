// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ
import LibSSL
import LibUV

/// The engine's outside: sockets of clients over libuv, those of servers over libpq.
final class LoopWorld: World {
    var clients = SlotTable<ClientID, ClientConnection>()
    var servers = SlotTable<ServerID, ServerConnection>()
    /// What the configuration and the processes have to say to a direct lease. Never calls the engine.
    var judgeDirectLease: (ServerConnection, ClientConnection) -> NotDirect? = { _, _ in
        .switchedOff
    }
    /// Has the shell read a client whose bytes no event announces, in a turn of its own.
    var continueReading: (ClientID) -> Void = { _ in }
    /// A token and a page for a client; nil where there can be none.
    var makeParkingPlace: (ClientID) -> ParkingPlace? = { _ in nil }
    private var random = SystemRandomNumberGenerator()

    func write(_ bytes: UnsafeRawBufferPointer, to client: ClientID) -> WriteOutcome {
        guard let connection = clients[client] else { return .gone }
        if let encryption = connection.encryption {
            return write(bytes, to: connection, encryption)
        }
        switch Descriptor.write(connection.descriptor, from: bytes) {
        case .bytes(let count): return .taken(count)
        case .wouldBlock: return .taken(0)
        case .closed, .failed: return .gone
        }
    }

    private func write(
        _ bytes: UnsafeRawBufferPointer, to client: ClientConnection,
        _ encryption: ClientEncryption
    ) -> WriteOutcome {
        // Before its handshake is through nothing can be said to a client: it will see the end.
        guard encryption.stream.isEstablished else { return .taken(bytes.count) }
        switch encryption.stream.write(bytes) {
        case .bytes(let count): return .taken(count)
        case .wouldBlock: return .taken(0)
        case .closed, .failed:
            continueReading(client.id)
            return .gone
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> WriteOutcome {
        let socket = servers[server]?.socket ?? -1
        if socket >= 0 {
            switch Descriptor.write(socket, from: bytes) {
            case .bytes(let count): return .taken(count)
            case .wouldBlock: return .taken(0)
            case .closed, .failed: return .gone
            }
        }
        guard let connection = servers[server]?.connection else { return .gone }
        switch connection.send(bytes) {
        case .bytes(let count): return .taken(count)
        case .wouldBlock, .wouldBlockOnRead, .wouldBlockOnWrite: return .taken(0)
        case .closed, .failed: return .gone
        }
    }

    func watch(_ client: ClientID, for interest: ClientInterest) {
        guard let connection = clients[client], let watcher = connection.watcher else { return }
        var events: FileEvents = []
        if interest.contains(.bytes) { events.insert(.readable) }
        if interest.contains(.room) { events.insert(.writable) }
        if interest.contains(.end) { events.insert(.disconnect) }
        if interest.contains(.hangUp) { events.insert(.hangUp) }
        if let encryption = connection.encryption {
            encryption.wanted = events
            events = encryption.watched
            if interest.contains(.bytes), encryption.stream.hasBufferedInput {
                continueReading(client)
            }
        }
        watcher.watch(events)
    }

    func watch(_ server: ServerID, for interest: ServerInterest) {
        guard let watcher = servers[server]?.watcher else { return }
        var events: FileEvents = []
        if interest.contains(.bytes) { events.insert(.readable) }
        if interest.contains(.room) { events.insert(.writable) }
        if interest.contains(.end) { events.insert(.disconnect) }
        watcher.watch(events)
    }

    func isHungUp(_ client: ClientID) -> Bool {
        clients[client].map { Descriptor.isHungUp($0.descriptor) } ?? true
    }

    func handOut(
        _ server: ServerID, to client: ClientID, _ bytes: UnsafeRawBufferPointer, parking: Bool
    ) -> Int? {
        guard let descriptor = servers[server]?.connection?.descriptor, descriptor >= 0,
            let client = clients[client]
        else { return nil }
        let outcome =
            if parking, let place = client.parking {
                Descriptor.write(client.descriptor, from: bytes, handingOut: descriptor, place)
            } else {
                Descriptor.write(client.descriptor, from: bytes, handingOut: descriptor)
            }
        guard case .bytes(let count) = outcome else { return nil }
        return count
    }

    func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect? {
        guard let server = servers[server], let client = clients[client] else {
            return .unknownProcess
        }
        return judgeDirectLease(server, client)
    }

    // MARK: Parking

    func allowParking(_ id: ClientID, thread: String?, purpose: String?) -> Bool {
        guard let client = clients[id] else { return false }
        if client.parking == nil { client.parking = makeParkingPlace(id) }
        return client.parking?.allow(thread: thread, purpose: purpose) ?? false
    }

    func forbidParking(_ client: ClientID, watching: Bool) {
        clients[client]?.parking?.forbid(watching: watching)
    }

    func takeToken(of client: ClientID) -> Bool { clients[client]?.parking?.take() ?? false }

    func isTokenIn(of client: ClientID) -> Bool { clients[client]?.parking?.isTokenIn ?? false }

    func useOnPage(of client: ClientID) -> (thread: String?, purpose: String?) {
        clients[client]?.parking?.use ?? (nil, nil)
    }

    func shutDown(_ server: ServerID, isShared: Bool) {
        servers[server]?.connection?.shutdown(isShared: isShared)
    }

    func randomNumber() -> UInt64 { random.next() }
}
