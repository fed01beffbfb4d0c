// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// SHOW HELP.
enum ConsoleHelp {
    static let notice = PgError.notice("Console usage", detail: text)

    private static let text =
        "\n" + (shows.map { "\tSHOW \($0)" } + commands.map { "\t\($0)" }).joined(separator: "\n")

    private static let shows = [
        "HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION",
        "LEASES|WAITERS|GROUPS|LOCKS|EVENTS",
        "SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE|FDS",
        "STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS",
        "PEERS|PEER_POOLS|DNS_HOSTS|DNS_ZONES",
    ]

    private static let commands = [
        "SET key = value", "RELOAD", "PAUSE [db]", "RESUME [db]", "DISABLE db", "ENABLE db",
        "RECONNECT [db]", "WAIT_CLOSE [db]", "KILL [db]", "KILL_CLIENT id", "KILL LEASE id",
        "SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
    ]
}

extension ConsoleCommand {
    /// For errors and the log.
    package var name: String {
        switch self {
        case .reload: "RELOAD"
        case .shutDown(.immediate): "SHUTDOWN"
        case .shutDown(.waitForServers): "SHUTDOWN WAIT_FOR_SERVERS"
        case .shutDown(.waitForClients): "SHUTDOWN WAIT_FOR_CLIENTS"
        case .pause(let database): Self.name("PAUSE", database)
        case .resume(let database): Self.name("RESUME", database)
        case .suspend: "SUSPEND"
        case .reconnect(let database): Self.name("RECONNECT", database)
        case .waitClose(let database): Self.name("WAIT_CLOSE", database)
        case .disable(let database): "DISABLE \(database)"
        case .enable(let database): "ENABLE \(database)"
        case .kill(let database): Self.name("KILL", database)
        case .killClient(let id): "KILL_CLIENT \(id)"
        case .killLease(let id): "KILL LEASE \(id)"
        case .set(let name, _): "SET \(name)"
        }
    }

    private static func name(_ verb: String, _ database: String?) -> String {
        database.map { "\(verb) \($0)" } ?? verb
    }
}
