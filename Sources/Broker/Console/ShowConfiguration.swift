import BrokerConfiguration
import LeaseCore

/// SHOW CONFIG, STATE and MEM.
extension Broker {
    func showConfig(into rows: inout ConsoleRows) {
        for row in configuration.showConfigRows {
            rows.add {
                $0.text(row.key)
                $0.text(row.value)
                $0.text(row.defaultValue)
                $0.text(row.changeableText)
            }
        }
    }

    func showState(into rows: inout ConsoleRows) {
        let states = [
            ("active", !stops.pausesAll && shutdown == nil), ("paused", stops.pausesAll),
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
        var clientReceived = 0
        var clientUnsent = 0
        for client in clients.values {
            clientReceived += client.receivedBytes
            clientUnsent += client.unsentBytes
        }
        var serverReceived = 0
        var serverUnsent = 0
        for server in servers.values {
            serverReceived += server.receivedBytes
            serverUnsent += server.unsentBytes
        }
        let caches = [
            ("read_buffer", Self.readSize, 1), ("client_received", 1, clientReceived),
            ("client_unsent", 1, clientUnsent), ("server_received", 1, serverReceived),
            ("server_unsent", 1, serverUnsent),
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
}
