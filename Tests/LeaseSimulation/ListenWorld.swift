// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// The outside of a run about listening. Never calls the engine.
final class ListenWorld: World {
    /// A connection to PostgreSQL.
    final class Server {
        let backend: ListenBackend
        let pool: PoolID
        var wire: [UInt8] = []
        var interest = ServerInterest(rawValue: 0)
        var isConnected = false
        var isClosed = false

        init(_ backend: ListenBackend, pool: PoolID) {
            self.backend = backend
            self.pool = pool
        }
    }

    var clients: [ClientID: ListenClient] = [:]
    var servers: [ServerID: Server] = [:]
    var roomOfClients: Set<ClientID> = []
    var roomOfServers: Set<ServerID> = []
    var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed ^ 0x11_57E4) }

    private func taken(_ count: Int) -> Int {
        Int.random(in: 0..<100, using: &random) < 8
            ? Int.random(in: 0...count, using: &random) : count
    }

    func write(_ bytes: UnsafeRawBufferPointer, to client: ClientID) -> WriteOutcome {
        guard let socket = clients[client], !socket.hasLeft else { return .gone }
        let count = taken(bytes.count)
        socket.inbox += bytes.prefix(count)
        return .taken(count)
    }

    func write(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> WriteOutcome {
        guard let socket = servers[server], !socket.backend.isDead else { return .gone }
        let count = taken(bytes.count)
        socket.wire += bytes.prefix(count)
        return .taken(count)
    }

    func watch(_ client: ClientID, for interest: ClientInterest) {
        if interest.contains(.room) {
            roomOfClients.insert(client)
        } else {
            roomOfClients.remove(client)
        }
    }

    func watch(_ server: ServerID, for interest: ServerInterest) {
        servers[server]?.interest = interest
        if interest.contains(.room) {
            roomOfServers.insert(server)
        } else {
            roomOfServers.remove(server)
        }
    }

    func isHungUp(_ client: ClientID) -> Bool { clients[client]?.hasLeft ?? true }
    func handOut(
        _ server: ServerID, to client: ClientID, _ bytes: UnsafeRawBufferPointer, parking: Bool
    ) -> Int? { nil }
    func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect? { .switchedOff }
    func shutDown(_ server: ServerID, isShared: Bool) { servers[server]?.backend.isDead = true }
    func randomNumber() -> UInt64 { random.next() }
}
