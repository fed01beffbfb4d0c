// SPDX-License-Identifier: Apache-2.0

/// The server side of the table, and what concerns the process: life cycle, log, network.
extension Settings {
    static let serverSettings: [SettingDescription] = [
        SettingDescription(
            "connect_parallelism", \.connectParallelism, .integer(1...64),
            "Connections that one pool opens at the same time."),
        SettingDescription(
            "server_connect_timeout", \.serverConnectTimeout, .optionalDuration,
            "The longest a connection to PostgreSQL may take, login included. 0 is off."),
        SettingDescription(
            "scram_iterations_max", \.scramIterationsMax, .integer(4096...10_000_000),
            "A server that asks for more rounds of hashing at a login is refused."),
        SettingDescription(
            "server_login_retry_min", \.serverLoginRetryMin, .duration(atLeast: .milliseconds(1)),
            "First pause after a failed connection; it doubles, with jitter, up to "
                + "server_login_retry."),
        SettingDescription(
            "server_login_retry", \.serverLoginRetry,
            .duration(atLeast: .milliseconds(1), zeroIs: .milliseconds(1)),
            "Longest pause between failed connections; 0 is the shortest there is, a millisecond."),
        SettingDescription(
            "password_command", \.passwordCommand, .optionalText,
            "A command for /bin/sh that prints the password of role PGUSER for server PGHOST, PGPORT, PGDATABASE: a "
                + "token that expires. It has 10 s, on a worker thread. A password in the database's line comes first."
        ),
        SettingDescription(
            "password_file", \.passwordFile, .path,
            "The same from the first line of a file, which something else keeps fresh."),
        SettingDescription(
            "password_ttl", \.passwordTtl, .duration,
            "A password of password_command or password_file that is older is read again for the next connection, and "
                + "any that the server refuses, once. 0 reads it for each connection."),
        SettingDescription(
            "dns_max_ttl", \.dnsMaxTtl, .optionalDuration,
            "How often the names of hosts that are connected to are looked up again; each new connection looks them "
                + "up in any case. 0 is never."),
        SettingDescription(
            "server_lifetime", \.serverLifetime, .optionalDuration,
            "An unused connection older than this is replaced. 0 is never; in [pgbouncer] it closes each "
                + "connection after one use."),
        SettingDescription(
            "server_idle_timeout", \.serverIdleTimeout, .optionalDuration,
            "A connection that nobody used for so long is closed. 0 is never."),
        SettingDescription(
            "pool_idle_timeout", \.poolIdleTimeout, .optionalDuration,
            "A pool that has had neither clients nor connections for so long goes, with its counts. 0 is "
                + "never."),
        SettingDescription(
            "autodb_idle_timeout", \.autodbIdleTimeout, .optionalDuration,
            "The same for pools of databases that only the line * has. 0 is never."),
        SettingDescription(
            "server_check_delay", \.serverCheckDelay, .duration,
            "A connection idle for longer is checked before it is given out; 0 checks always."),
        SettingDescription(
            "server_check_query", \.serverCheckQuery, .checkQuery,
            "The query of that check; <empty> is the empty query, nothing at all switches the "
                + "check off."),
        SettingDescription(
            "server_reset_query", \.serverResetQuery, .optionalText,
            "Cleans a connection whose lease left state behind; empty runs nothing."),
        SettingDescription(
            "server_reset_query_always", \.serverResetQueryAlways, .boolean,
            "Run it after every lease, also where nothing was left behind."),
        SettingDescription(
            "server_fast_close", \.serverFastClose, .boolean,
            "After RECONNECT or a change of database, close the connection of a session pool at "
                + "the end of its transaction instead of its session."),
        SettingDescription(
            "server_round_robin", \.serverRoundRobin, .boolean,
            "Give out the connection that was idle longest instead of the one used last."),
    ]

    static let serverTLSSettings: [SettingDescription] = [
        SettingDescription(
            "server_tls_sslmode", \.serverTlsSslmode, .choice,
            "disable, allow, prefer, require, verify-ca or verify-full, as in libpq; a database's "
                + "own sslmode comes first."),
        SettingDescription(
            "server_tls_ca_file", \.serverTlsCaFile, .path,
            "Certificates that may sign the server's (libpq's sslrootcert)."),
        SettingDescription(
            "server_tls_key_file", \.serverTlsKeyFile, .path,
            "Key of the broker's own certificate (libpq's sslkey)."),
        SettingDescription(
            "server_tls_cert_file", \.serverTlsCertFile, .path,
            "The broker's own certificate (libpq's sslcert)."),
        SettingDescription(
            "server_tls_protocols", \.serverTlsProtocols, .tlsSpan,
            "secure (TLS 1.2 and later), all, or versions between commas, as tlsv1.2, tlsv1.3."),
    ]

    static let lifecycleSettings: [SettingDescription] = [
        SettingDescription(
            "prewarm", \.prewarm, .boolean, pgbouncer: "0", needsRestart: true,
            "Connect to the databases whose line has a user at the start, and let clients in when the "
                + "first has answered: a wrong password shows at once."),
        SettingDescription(
            "startup_attempts", \.startupAttempts, .integer(1...1000), needsRestart: true,
            "Attempts to reach PostgreSQL at the start before it counts as a failure."),
        SettingDescription(
            "startup_delay", \.startupDelay, .duration, needsRestart: true,
            "Pause after the first failed attempt."),
        SettingDescription(
            "startup_factor", \.startupFactor, .number(1...100), needsRestart: true,
            "What each next pause is multiplied by."),
        SettingDescription(
            "startup_max_delay", \.startupMaxDelay, .duration, needsRestart: true,
            "Longest pause between two attempts at the start."),
        SettingDescription(
            "shutdown_grace", \.shutdownGrace, .optionalDuration, pgbouncer: "0",
            "How long SIGTERM waits for clients to leave, serving them; a second SIGTERM ends at "
                + "once. 25 s fit in the 30 s of Kubernetes. 0 waits for ever."),
        SettingDescription(
            "drain_idle_clients", \.drainIdleClients, .optionalDuration, pgbouncer: "0",
            "Within this time SIGTERM, SHUTDOWN WAIT_FOR_CLIENTS and a replacement send clients away, one "
                + "after the other, each between two transactions, so that they connect again "
                + "elsewhere; RECONNECT those that keep a connection to be closed. 0 sends nobody away."
        ),
        SettingDescription(
            "suspend_timeout", \.suspendTimeout, .duration,
            "How long SUSPEND waits for buffers to empty; accepted for pgbouncer's sake."),
        SettingDescription(
            "state_dir", \.stateDir, .path, needsRestart: true,
            "Folder of what outlives the process (--embedded's data); empty is "
                + "$XDG_STATE_HOME/pglease."),
    ]

    static let protocolSettings: [SettingDescription] = [
        SettingDescription(
            "ignore_startup_parameters", \.ignoreStartupParameters, .names,
            "Startup parameters of clients that are dropped; all others are honoured."),
        SettingDescription(
            "track_extra_parameters", \.trackExtraParameters, .list, needsRestart: true,
            "Parameters that follow their client from server to server, beside the standard ones."),
        SettingDescription(
            "application_name_add_host", \.applicationNameAddHost, .boolean,
            "Add the client's address and port to its application_name at login."),
        SettingDescription(
            "login_notify_message", \.loginNotifyMessage, .optionalText,
            "Text of a NOTICE that each client gets when it has logged in; empty is none."),
        SettingDescription(
            "max_packet_size", \.maxPacketSize, .integer(1024...2_147_483_647),
            "Longest message in bytes; a longer one ends that session."),
        SettingDescription(
            "max_statement_memory", \.maxStatementMemory, .integer(0...1_099_511_627_776),
            "Bytes of prepared statements kept for all clients together, so that each is known on "
                + "every server connection. One of up to 64 KB is always kept."),
    ]

    static let logSettings: [SettingDescription] = [
        SettingDescription("log_connections", \.logConnections, .boolean, "Log each login."),
        SettingDescription(
            "log_disconnections", \.logDisconnections, .boolean,
            "Log each end of a session, with the reason."),
        SettingDescription(
            "log_pooler_errors", \.logPoolerErrors, .boolean,
            "Log the errors that the broker itself sends to clients."),
        SettingDescription(
            "log_stats", \.logStats, .boolean, "Log a line of totals each stats_period."),
        SettingDescription(
            "stats_period", \.statsPeriod, .optionalDuration(atLeast: .seconds(1)),
            "Time over which SHOW STATS takes its averages; 0: they are those of a minute, and no line of totals is "
                + "logged."),
        SettingDescription(
            "verbose", \.verbose, .integer(0...10),
            "pgbouncer's way to raise the level: 1 is debug, 2 and more is trace."),
        SettingDescription(
            "log_format", \.logFormat, .choice, needsRestart: true, "text or json."),
        SettingDescription(
            "log_level", \.logLevel, .choice,
            "trace, debug, info, notice, warning, error or critical."),
        SettingDescription(
            "logfile", \.logfile, .path,
            "File that the log is appended to, beside standard error; RELOAD opens it again, so that "
                + "it can be rotated. Empty is none."),
        SettingDescription(
            "syslog", \.syslog, .boolean, "Send the log to syslog (/dev/log), too."),
        SettingDescription(
            "syslog_ident", \.syslogIdent, .text(emptyIs: "pgbouncer"), pgbouncer: "pgbouncer",
            "The name that syslog shows."),
        SettingDescription(
            "syslog_facility", \.syslogFacility, .choice(emptyIs: .daemon),
            "The facility of syslog: daemon, user, auth, authpriv, local0 to local7 and the others."
        ),
    ]

    static let processSettings: [SettingDescription] = [
        SettingDescription(
            "pidfile", \.pidfile, .path, needsRestart: true,
            "File that the process's number is written to; empty is none. The start is refused while "
                + "the process that it names runs."),
        SettingDescription(
            "user", \.user, .optionalText, needsRestart: true,
            "User that the process becomes before it opens anything, if it was started by root."),
    ]

    static let monitoringSettings: [SettingDescription] = [
        SettingDescription(
            "metrics_listen", \.metricsListen, .metricsAddress,
            "Where HTTP is answered: /metrics for Prometheus, /healthz and /readyz for probes, "
                + "/stats.json, and / for people. host:port, or the absolute path of a Unix "
                + "socket; empty is nowhere. Nobody is asked for a password there.")
    ]

    static let networkSettings: [SettingDescription] = [
        SettingDescription(
            "sbuf_loopcnt", \.sbufLoopcnt, .limit(upTo: 1_000_000),
            "Buffers that one connection may move before it is another's turn; 0 is no limit."),
        SettingDescription(
            "tcp_keepalive", \.tcpKeepalive, .boolean,
            "Keepalive on TCP connections, so that a silent death of the peer is seen."),
        SettingDescription(
            "tcp_keepidle", \.tcpKeepidle, .limit(upTo: 32_767), pgbouncer: "0",
            "Seconds of silence before the first probe; 0 is the system's setting."),
        SettingDescription(
            "tcp_keepintvl", \.tcpKeepintvl, .limit(upTo: 32_767), pgbouncer: "0",
            "Seconds between probes; 0 is the system's setting."),
        SettingDescription(
            "tcp_keepcnt", \.tcpKeepcnt, .limit(upTo: 127), pgbouncer: "0",
            "Unanswered probes that end a connection; 0 is the system's setting."),
        SettingDescription(
            "tcp_socket_buffer", \.tcpSocketBuffer, .limit(upTo: 1 << 30),
            "Bytes of the kernel's buffers of TCP connections, of clients and of servers; 0 is the system's "
                + "setting, which grows with the connection."),
        SettingDescription(
            "tcp_defer_accept", \.tcpDeferAccept, .limit(upTo: 32_767), pgbouncer: "1",
            "Seconds that the kernel keeps a new TCP connection to itself until its client says something; 0 is not at "
                + "all."),
        SettingDescription(
            "tcp_user_timeout", \.tcpUserTimeout, .milliseconds, pgbouncer: "0",
            "Milliseconds that sent bytes may stay unacknowledged; 0 is the system's setting."),
    ]
}
