import PostgresWire

/// SHOW HELP.
enum ConsoleHelp {
    static let notice = PgError.notice("Console usage", detail: text)

    private static let text =
        "\n" + (shows.map { "\tSHOW \($0)" } + commands.map { "\t\($0)" }).joined(separator: "\n")

    private static let shows = [
        "HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION",
        "LEASES|WAITERS|GROUPS",
        "SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE|FDS",
        "STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS",
        "PEERS|PEER_POOLS|DNS_HOSTS|DNS_ZONES",
    ]

    private static let commands = [
        "RELOAD", "SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS",
    ]
}

extension ConsoleCommand {
    /// For errors and the log.
    var name: String {
        switch self {
        case .reload: "RELOAD"
        case .shutDown(.immediate): "SHUTDOWN"
        case .shutDown(.waitForServers): "SHUTDOWN WAIT_FOR_SERVERS"
        case .shutDown(.waitForClients): "SHUTDOWN WAIT_FOR_CLIENTS"
        }
    }
}
