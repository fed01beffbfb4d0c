// SPDX-License-Identifier: Apache-2.0

/// SHOW CONFIG, STATE, MEM and LISTS.
extension BrokerSnapshot {
    func showConfig(into rows: inout ConsoleRows) {
        for setting in settings {
            rows.add {
                $0.text(setting.key)
                $0.text(setting.value)
                $0.text(setting.defaultValue)
                $0.text(setting.changeable)
            }
        }
    }

    func showState(into rows: inout ConsoleRows) {
        let states = [
            ("active", !whole.isPaused && !whole.isShuttingDown), ("paused", whole.isPaused),
            ("suspended", false),
        ]
        for (name, holds) in states {
            rows.add {
                $0.text(name)
                $0.text(holds ? "yes" : "no")
            }
        }
    }

    /// What the broker keeps bytes in. Objects of a size of their own are malloc's, which nobody counts.
    func showMemory(into rows: inout ConsoleRows) {
        let caches = [
            ("read_buffer", memory.readBuffer, 1), ("client_received", 1, memory.clientReceived),
            ("client_unsent", 1, memory.clientUnsent),
            ("server_received", 1, memory.serverReceived),
            ("server_unsent", 1, memory.serverUnsent),
        ]
        for (name, size, used) in caches {
            rows.add {
                $0.text(name)
                $0.integer(size)
                $0.integer(used)
                $0.integer(0)
                $0.integer(size * used)
            }
        }
    }

    func showLists(into rows: inout ConsoleRows) {
        let items = [
            // The console is one of them.
            ("databases", whole.configuredDatabases + 1), ("users", whole.knownUsers),
            ("peers", whole.peers), ("pools", whole.pools + 1), ("peer_pools", whole.peers),
            // Memory of connections that are gone is given back, not kept in a list.
            ("free_clients", 0), ("used_clients", whole.clients - whole.clientsLoggingIn),
            ("login_clients", whole.clientsLoggingIn), ("free_servers", 0),
            ("used_servers", whole.servers), ("dns_names", 0), ("dns_zones", 0),
            ("dns_queries", 0), ("dns_pending", 0),
        ]
        for (name, count) in items {
            rows.add {
                $0.text(name)
                $0.integer(count)
            }
        }
    }
}
