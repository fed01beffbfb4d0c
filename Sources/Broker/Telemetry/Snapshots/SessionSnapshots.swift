// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import LibPQ
import LibSSL
import LibUV

/// Clients and server connections, as a snapshot has them.
extension Broker {
    // MARK: Clients

    var clientFacts: [ClientFacts] {
        let now = now
        return clients.values.filter { !$0.isOurs }.map { facts(of: $0, now) }
    }

    private func facts(of client: ClientConnection, _ now: Instant) -> ClientFacts {
        var facts = ClientFacts(client.id)
        let server = client.server
        facts.user = client.user
        facts.database = client.database
        facts.applicationName = client.applicationName
        facts.replication = client.replication
        facts.state = client.consoleState
        facts.isOpen = client.isOpen
        facts.isServed = client.isServed
        facts.addresses = addresses(of: client)
        facts.connectedAt = client.connectedAt
        facts.requestedAt = server?.querySince ?? client.requestedAt
        facts.waited = client.waitingTime(now)
        facts.isToBeClosed = client.pool?.isClosed == true
        facts.server = server?.id
        facts.processID = client.peer?.processID ?? 0
        if client.isEncrypted { facts.tls = client.encryption?.stream.summary ?? "" }
        facts.statements = client.statementCount
        facts.buffers.received = client.receivedBytes
        facts.buffers.remaining = client.remainingBytes
        facts.buffers.unsent = client.unsentBytes
        facts.descriptor = client.descriptor
        if let server { facts.serverDescriptor = server.liveConnection?.descriptor ?? -1 }
        facts.parameters = client.told
        return facts
    }

    private func addresses(of client: ClientConnection) -> ConsoleAddresses {
        client.isUnix ? .unix(port: settings.listenPort) : .ofTCP(client.descriptor)
    }

    // MARK: Servers

    var serverFacts: [ServerFacts] {
        let now = now
        return servers.values.sorted { $0.id.slot < $1.id.slot }.compactMap { server in
            consoleState(of: server, now).map { facts(of: server, $0) }
        }
    }

    private func facts(of server: ServerConnection, _ state: ConsoleServerState) -> ServerFacts {
        var facts = ServerFacts(server.id)
        let client = server.client
        let isToBeClosed = engine.scheduler.summary(of: server.id)?.isToBeClosed ?? true
        facts.user = server.pool.user
        facts.database = server.pool.database
        facts.replication = server.pool.replication
        facts.state = state
        facts.addresses = addresses(of: server)
        facts.connectedAt = server.connectedAt ?? server.openedAt
        facts.requestedAt =
            server.querySince ?? (server.isLeased ? server.leaseSince : server.lastUsed)
        facts.isToBeClosed = isToBeClosed || server.pool.isClosed
        facts.client = client?.id
        facts.processID = server.backendProcessID
        facts.tls = server.liveConnection?.tlsDescription ?? ""
        facts.statements = server.preparedCount
        facts.buffers.received = server.receivedBytes
        facts.buffers.remaining = server.remainingBytes
        facts.buffers.unsent = server.unsentBytes
        facts.descriptor = server.liveConnection?.descriptor ?? -1
        facts.clientDescriptor = client?.descriptor ?? 0
        facts.parameters = server.parameters
        return facts
    }

    private func addresses(of server: ServerConnection) -> ConsoleAddresses {
        guard let connection = server.liveConnection, connection.descriptor >= 0 else {
            return ConsoleAddresses()
        }
        guard Descriptor.isUnixSocket(connection.descriptor) else {
            return .ofTCP(connection.descriptor)
        }
        return .unix(port: connection.port.flatMap { Int($0) })
    }

    /// nil: it is on its way out.
    func consoleState(of server: ServerConnection, _ now: Instant) -> ConsoleServerState? {
        guard let summary = engine.scheduler.summary(of: server.id) else { return nil }
        return ConsoleServerState(
            summary.state, isCheckDue: isCheckDue(since: summary.since, now))
    }

    /// Idle for so long that it is checked before it is granted.
    private func isCheckDue(since: Instant, _ now: Instant) -> Bool {
        settings.serverCheckQuery != nil && since + settings.serverCheckDelay < now
    }
}

extension ClientConnection {
    /// It is logged in.
    fileprivate var isServed: Bool {
        switch phase {
        case .ready, .replicating, .console: true
        case .login, .learning, .awaitingServer, .closing, .closed: false
        }
    }

    var consoleState: ConsoleClientState {
        ConsoleClientState(phase, holdsServer: server != nil, isWaiting: isWaiting)
    }

    /// How long it has waited for a server; zero if it does not wait.
    fileprivate func waitingTime(_ now: Instant) -> Duration {
        switch phase {
        case .learning: now - connectedAt
        default: isWaiting ? now - requestedAt : .zero
        }
    }
}

extension ServerConnection {
    /// nil before libpq has begun, and after it has ended.
    fileprivate var liveConnection: PostgresConnection? {
        guard let connection, !connection.isClosed else { return nil }
        return connection
    }
}

extension ConsoleAddresses {
    fileprivate static func ofTCP(_ descriptor: Int32) -> ConsoleAddresses {
        let peer = SocketAddress(peerOf: descriptor)
        let local = SocketAddress(localOf: descriptor)
        var addresses = ConsoleAddresses()
        addresses.address = peer?.host
        addresses.port = peer.map { Int($0.port) }
        addresses.localAddress = local?.host
        addresses.localPort = local.map { Int($0.port) }
        return addresses
    }
}
