// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS and FDS: a row for each connection.
extension BrokerSnapshot {
    func showClients(into rows: inout ConsoleRows) {
        let clock = clock
        for client in clients where client.state != .login && client.isOpen {
            rows.add { add(client, clock, to: &$0) }
        }
    }

    func showServers(into rows: inout ConsoleRows) {
        let clock = clock
        for server in servers { rows.add { add(server, clock, to: &$0) } }
    }

    func showSockets(activeOnly: Bool, into rows: inout ConsoleRows) {
        let clock = clock
        for client in clients where client.isOpen && !(activeOnly && client.buffers.isEmpty) {
            rows.add {
                add(client, clock, to: &$0)
                add(client.buffers, to: &$0)
            }
        }
        for server in servers where !(activeOnly && server.buffers.isEmpty) {
            rows.add {
                add(server, clock, to: &$0)
                add(server.buffers, to: &$0)
            }
        }
    }

    // MARK: Rows

    private func add(_ client: ClientFacts, _ clock: ConsoleClock, to row: inout ConsoleRows) {
        row.text("C")
        row.text(client.user)
        row.text(client.database)
        row.text(client.replication?.rawValue ?? "none")
        row.text(client.state.rawValue)
        add(client.addresses, to: &row)
        row.text(clock.text(client.connectedAt))
        row.text(clock.text(client.requestedAt))
        let wait = client.waited.secondsAndMicroseconds
        row.integer(wait.seconds)
        row.integer(wait.microseconds)
        row.integer(client.isToBeClosed ? 1 : 0)
        row.text(client.id.consolePointer)
        row.text(client.server?.consolePointer ?? "")
        row.integer(Int(client.processID))
        row.text(client.tls)
        row.text(client.applicationName)
        row.integer(client.statements)
        row.integer(client.id.consoleNumber)
    }

    private func add(_ server: ServerFacts, _ clock: ConsoleClock, to row: inout ConsoleRows) {
        row.text("S")
        row.text(server.user)
        row.text(server.database)
        row.text(server.replication?.rawValue ?? "none")
        row.text(server.state.rawValue)
        add(server.addresses, to: &row)
        row.text(clock.text(server.connectedAt))
        row.text(clock.text(server.requestedAt))
        row.integer(0)
        row.integer(0)
        row.integer(server.isToBeClosed ? 1 : 0)
        row.text(server.id.consolePointer)
        row.text(server.client?.consolePointer ?? "")
        row.integer(Int(server.processID))
        row.text(server.tls)
        row.text(server.parameters.value(of: "application_name") ?? "")
        row.integer(server.statements)
        row.integer(server.id.consoleNumber)
    }

    private func add(_ addresses: ConsoleAddresses, to row: inout ConsoleRows) {
        row.text(addresses.address)
        row.integer(addresses.port)
        row.text(addresses.localAddress)
        row.integer(addresses.localPort)
    }

    /// The relay keeps what it could not pass on, and nothing else: most of pgbouncer's cursors stand at 0.
    private func add(_ buffers: BufferFacts, to row: inout ConsoleRows) {
        row.integer(buffers.received)
        row.integer(0)
        row.integer(buffers.remaining)
        row.integer(0)
        row.integer(buffers.unsent)
        row.integer(buffers.received)
        row.integer(buffers.unsent)
    }

    // MARK: Descriptors

    func showDescriptors(into rows: inout ConsoleRows) {
        for client in clients where client.isServed {
            rows.add {
                $0.integer(Int(client.descriptor))
                $0.text("client")
                addDescriptor(client.user, client.database, client.addresses, to: &$0)
                $0.integer(Int(client.serverDescriptor))
                addParameters(client.parameters, to: &$0)
            }
        }
        for server in servers where server.state != .login {
            rows.add {
                $0.integer(Int(server.descriptor))
                $0.text("server")
                addDescriptor(server.user, server.database, server.addresses, to: &$0)
                $0.integer(Int(server.clientDescriptor))
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
}
