import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS and FDS: a row for each connection.
extension Broker {
    func showClients(into rows: inout ConsoleRows) {
        let clock = ConsoleClock(now: now)
        for client in clients.values where client.consoleState != .login && client.isOpen {
            rows.add { addClient(client, clock, to: &$0) }
        }
    }

    func showServers(into rows: inout ConsoleRows) {
        let clock = ConsoleClock(now: now)
        for (server, state) in serversInOrder {
            rows.add { addServer(server, state, clock, to: &$0) }
        }
    }

    func showSockets(activeOnly: Bool, into rows: inout ConsoleRows) {
        let clock = ConsoleClock(now: now)
        for client in clients.values where client.isOpen {
            if activeOnly && client.receivedBytes == 0 && client.unsentBytes == 0 { continue }
            rows.add {
                addClient(client, clock, to: &$0)
                addBuffers(
                    received: client.receivedBytes, remaining: client.remainingBytes,
                    unsent: client.unsentBytes, to: &$0)
            }
        }
        for (server, state) in serversInOrder {
            if activeOnly && server.receivedBytes == 0 && server.unsentBytes == 0 { continue }
            rows.add {
                addServer(server, state, clock, to: &$0)
                addBuffers(
                    received: server.receivedBytes, remaining: server.remainingBytes,
                    unsent: server.unsentBytes, to: &$0)
            }
        }
    }

    // MARK: Rows

    private func addClient(
        _ client: ClientConnection, _ clock: ConsoleClock, to row: inout ConsoleRows
    ) {
        row.text("C")
        row.text(client.user)
        row.text(client.database)
        row.text("none")
        row.text(client.consoleState.rawValue)
        addAddresses(addresses(of: client), to: &row)
        row.text(clock.text(client.connectedAt))
        row.text(clock.text(client.server?.querySince ?? client.requestedAt))
        let wait = client.waitingTime(now).secondsAndMicroseconds
        row.integer(wait.seconds)
        row.integer(wait.microseconds)
        row.integer(client.pool?.isClosed == true ? 1 : 0)
        row.text(client.id.consolePointer)
        row.text(client.server?.id.consolePointer ?? "")
        row.integer(Int(client.peer?.processID ?? 0))
        row.text("")
        row.text(client.applicationName)
        row.integer(client.statementCount)
        row.integer(client.id.consoleNumber)
    }

    private func addServer(
        _ server: ServerConnection, _ state: ConsoleServerState, _ clock: ConsoleClock,
        to row: inout ConsoleRows
    ) {
        row.text("S")
        row.text(server.pool.user)
        row.text(server.pool.database)
        row.text("none")
        row.text(state.rawValue)
        addAddresses(addresses(of: server), to: &row)
        row.text(clock.text(server.connectedAt ?? server.openedAt))
        row.text(
            clock.text(server.querySince ?? (server.isLeased ? server.leaseSince : server.lastUsed))
        )
        row.integer(0)
        row.integer(0)
        let isToBeClosed = engine.scheduler.summary(of: server.id)?.isToBeClosed ?? true
        row.integer(isToBeClosed || server.pool.isClosed ? 1 : 0)
        row.text(server.id.consolePointer)
        row.text(server.client?.id.consolePointer ?? "")
        row.integer(Int(server.backendProcessID))
        row.text(server.liveConnection?.tlsDescription ?? "")
        row.text(server.parameters.value(of: "application_name") ?? "")
        row.integer(server.preparedCount)
        row.integer(server.id.consoleNumber)
    }

    private func addAddresses(_ addresses: ConsoleAddresses, to row: inout ConsoleRows) {
        row.text(addresses.address)
        row.integer(addresses.port)
        row.text(addresses.localAddress)
        row.integer(addresses.localPort)
    }

    /// The relay keeps what it could not pass on, and nothing else: most of pgbouncer's cursors stand at 0.
    private func addBuffers(received: Int, remaining: Int, unsent: Int, to row: inout ConsoleRows) {
        row.integer(received)
        row.integer(0)
        row.integer(remaining)
        row.integer(0)
        row.integer(unsent)
        row.integer(received)
        row.integer(unsent)
    }

    // MARK: Descriptors

    func showDescriptors(into rows: inout ConsoleRows) {
        for client in clients.values where client.phase == .ready || client.phase == .console {
            let addresses = addresses(of: client)
            rows.add {
                $0.integer(Int(client.descriptor))
                $0.text("client")
                addDescriptor(client.user, client.database, addresses, to: &$0)
                $0.integer(client.server.map { Int($0.liveConnection?.descriptor ?? -1) } ?? 0)
                addParameters(client.told, to: &$0)
            }
        }
        for (server, state) in serversInOrder where state != .login {
            let addresses = addresses(of: server)
            rows.add {
                $0.integer(Int(server.liveConnection?.descriptor ?? -1))
                $0.text("server")
                addDescriptor(server.pool.user, server.pool.database, addresses, to: &$0)
                $0.integer(server.client.map { Int($0.descriptor) } ?? 0)
                addParameters(server.parameters, to: &$0)
            }
        }
    }

    /// Cancel keys and secrets are not shown, not even to administrators: nothing needs them there.
    private func addDescriptor(
        _ user: String, _ database: String, _ addresses: ConsoleAddresses, to row: inout ConsoleRows
    ) {
        row.text(user)
        row.text(database)
        row.text(addresses.address)
        row.integer(addresses.port)
        row.integer(nil as Int64?)
    }

    private func addParameters(_ parameters: ParameterSet?, to row: inout ConsoleRows) {
        for name in ["client_encoding", "standard_conforming_strings", "DateStyle", "TimeZone"] {
            row.text(parameters?.value(of: name))
        }
        for _ in 0..<3 { row.text(nil) }
    }

    // MARK: Where they come from

    private func addresses(of client: ClientConnection) -> ConsoleAddresses {
        client.isUnix ? .unix(port: settings.listenPort) : .ofTCP(client.descriptor)
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

    /// Those that have not been told to close, oldest slot first.
    private var serversInOrder: [(server: ServerConnection, state: ConsoleServerState)] {
        let now = now
        return servers.values.sorted { $0.id.slot < $1.id.slot }.compactMap { server in
            consoleState(of: server, now).map { (server, $0) }
        }
    }
}

extension ServerConnection {
    /// nil before libpq has begun, and after it has ended.
    var liveConnection: PostgresConnection? {
        guard let connection, !connection.isClosed else { return nil }
        return connection
    }
}
