// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Which table answers which SHOW.
extension BrokerSnapshot {
    /// The row of the console itself, as pgbouncer names it.
    package static let consoleName = "pgbouncer"

    /// The table that answers this command, in the text format.
    package func rows(of command: ShowCommand) -> ConsoleRows {
        var rows = ConsoleRows(command.columns)
        show(command, into: &rows)
        return rows
    }

    /// Adds the rows of this command; the snapshot must have its `parts`.
    package func show(_ command: ShowCommand, into rows: inout ConsoleRows) {
        switch command {
        case .activeSockets: showSockets(activeOnly: true, into: &rows)
        case .clients: showClients(into: &rows)
        case .config: showConfig(into: &rows)
        case .databases: showDatabases(into: &rows)
        // Names are asked of the system for each connect: there is no cache to show.
        case .dnsHosts, .dnsZones: break
        case .events: showEvents(into: &rows)
        case .fds: showDescriptors(into: &rows)
        case .groups: showGroups(into: &rows)
        case .leases: showLeases(into: &rows)
        case .lists: showLists(into: &rows)
        case .locks: showLocks(into: &rows)
        case .mem: showMemory(into: &rows)
        case .peers: showPeers(into: &rows)
        case .peerPools: showPeerPools(into: &rows)
        case .pools: showPools(into: &rows)
        case .servers: showServers(into: &rows)
        case .shares: showShares(into: &rows)
        case .sockets: showSockets(activeOnly: false, into: &rows)
        case .state: showState(into: &rows)
        case .stats, .statsTotals, .statsAverages: showStatistics(command, into: &rows)
        case .totals: showTotals(into: &rows)
        case .users: showUsers(into: &rows)
        case .version: rows.add { $0.text("pglease \(whole.version)") }
        case .waiters: showWaiters(into: &rows)
        }
    }
}

extension ShowCommand {
    /// What of a snapshot it shows.
    package var parts: BrokerSnapshot.Parts {
        switch self {
        case .activeSockets, .sockets, .fds: [.clients, .servers]
        case .clients: .clients
        case .config: .settings
        case .databases: [.databases, .counts]
        case .dnsHosts, .dnsZones, .state, .version: []
        case .peers, .peerPools: .peers
        case .events: .events
        case .groups: .groups
        case .leases: .leases
        case .lists: .counts
        case .locks: .locks
        case .mem: .memory
        case .pools: [.pools, .counts]
        case .servers: .servers
        case .shares: .shares
        case .stats, .statsTotals, .statsAverages, .totals: .statistics
        case .users: .users
        case .waiters: .waiters
        }
    }
}
