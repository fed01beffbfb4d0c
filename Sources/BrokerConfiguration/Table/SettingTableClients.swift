// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The client side of the table: listening, authentication, sizes, deadlines.
extension Settings {
    static let listenSettings: [SettingDescription] = [
        SettingDescription(
            "listen_addr", \.listenAddr, .list, needsRestart: true,
            "TCP addresses between commas; * is all of them, empty is none (the Unix socket only)."),
        SettingDescription(
            "listen_port", \.listenPort, .integer(1...65535), needsRestart: true,
            "TCP port, and the number in the Unix socket's name, .s.PGSQL.<port>."),
        SettingDescription(
            "unix_socket_dir", \.unixSocketDir, .socketFolder, pgbouncer: "/tmp",
            needsRestart: true,
            "Folder of the Unix socket; @name is an abstract socket, none is no socket. Empty "
                + "chooses: $PGLEASE_RUNTIME_DIR, systemd's $RUNTIME_DIRECTORY, /run/pglease, "
                + "$XDG_RUNTIME_DIR/pglease, /tmp, the first that can be written."),
        SettingDescription(
            "unix_socket_mode", \.unixSocketMode, .octalMode, needsRestart: true,
            "Mode of the Unix socket. 0777 lets workers of other users try; with auth_type peer "
                + "the kernel's word decides who gets in. Use 0770 with auth_type trust."),
        SettingDescription(
            "unix_socket_group", \.unixSocketGroup, .optionalText, needsRestart: true,
            "Group of the Unix socket; empty is the group of the process."),
        SettingDescription(
            "listen_backlog", \.listenBacklog, .integer(0...65535), pgbouncer: "128",
            needsRestart: true,
            "Connections that may wait to be accepted; a fork storm of workers fills a short one."),
        SettingDescription(
            "so_reuseport", \.soReuseport, .boolean, needsRestart: true,
            "Several processes listen at the same address and port, and the kernel spreads clients over "
                + "them; each has a unix_socket_dir of its own. One process uses one core."),
        SettingDescription(
            "peer_id", \.peerId, .integer(0...16383),
            "Number of this process among those that share a port (so_reuseport, a load balancer): the "
                + "cancel keys of its clients have it, and [peers] says where the others are. 0 is none."
        ),
    ]

    static let authenticationSettings: [SettingDescription] = [
        SettingDescription(
            "auth_type", \.authType, .choice, pgbouncer: "md5",
            "peer: the Unix socket's user must be the role, root, the broker's own user, or be "
                + "mapped by peer_map; everybody else, and TCP clients, are asked for a password. "
                + "scram-sha-256: everybody is asked. md5: by MD5, or by SCRAM where the secret is one "
                + "of SCRAM. plain: for the password itself, unencrypted. trust: nobody is asked, but "
                + "the role must be known to auth_file or auth_query, if there is one. any: nobody is "
                + "asked, and the role is that of the database's line. cert: the client's certificate "
                + "names the role. pam: as plain, and PAM judges, without auth_file; its service is "
                + "called as the main section. ldap: as plain, and the directory of auth_ldap_options "
                + "judges, without auth_file. hba: as the lines of auth_hba_file say."),
        SettingDescription(
            "auth_file", \.authFile, .path,
            "pgbouncer's userlist.txt: lines of \"user\" \"secret\", plain, MD5 or SCRAM."),
        SettingDescription(
            "auth_user", \.authUser, .optionalText,
            "The role that runs auth_query for users whom auth_file does not have; its own password is "
                + "in auth_file. A database's line may name another one. Empty: nobody is looked up."
        ),
        SettingDescription(
            "auth_query", \.authQuery, .optionalText,
            "Answers the name and the secret of the user $1, in one row. Write names with their schemas: "
                + "no search_path leads to them. A database's line may have another one."),
        SettingDescription(
            "auth_dbname", \.authDbname, .optionalText,
            "The line of [databases] where auth_query is run; empty is the database that the client asks "
                + "for. A database's line may name another one. The console's users are looked up only "
                + "where it is set."),
        SettingDescription(
            "auth_hba_file", \.authHbaFile, .path,
            "With auth_type hba: who may log in from where, and how, in the form of PostgreSQL's "
                + "pg_hba.conf. A line with a mistake refuses the whole file."),
        SettingDescription(
            "auth_ident_file", \.authIdentFile, .path,
            "With auth_type hba: the maps that map= names, in the form of PostgreSQL's pg_ident.conf."
        ),
        SettingDescription(
            "auth_ldap_options", \.authLdapOptions, .ldapOptions,
            "With auth_type ldap, and for lines of auth_hba_file that say ldap and no more: where the "
                + "directory is, and by which name it knows a user, in the words of PostgreSQL's "
                + "pg_hba.conf, as ldapurl=\"ldaps://server/base?uid?sub\"."),
        SettingDescription(
            "peer_map", \.peerMap, .peerMap,
            "Pairs system_user:role between commas: the workers' users (by name or uid) that auth_type "
                + "peer lets in as a role of another name. Either may be *."),
        SettingDescription(
            "admin_users", \.adminUsers, .names,
            "Roles that may use every command of the console."),
        SettingDescription(
            "stats_users", \.statsUsers, .names,
            "Roles that may use the SHOW commands of the console."),
    ]

    static let sizeSettings: [SettingDescription] = [
        SettingDescription(
            "pool_mode", \.poolMode, .choice, pgbouncer: "session",
            "When a server connection comes back: at the end of the transaction, of the session, "
                + "or of each statement."),
        SettingDescription(
            "default_pool_size", \.defaultPoolSize, .integer(0...100_000), pgbouncer: "20",
            "Server connections of one pool, that is of one database and user; 0 is no limit."),
        SettingDescription(
            "min_pool_size", \.minPoolSize, .integer(0...100_000),
            "Server connections that are kept open in each pool, with or without clients. From the "
                + "start where the database's line has a user, or has it itself and one user is "
                + "known."),
        SettingDescription(
            "reserve_pool_size", \.reservePoolSize, .integer(0...100_000), pgbouncer: "0",
            "Connections above the pool's size, lent to waiters by reserve_pool_timeout."),
        SettingDescription(
            "reserve_pool_timeout", \.reservePoolTimeout, .optionalDuration, pgbouncer: "5",
            "A waiter that has waited so long is lent a connection of the reserve; 0 lends none."),
        SettingDescription(
            "max_server_connections", \.maxServerConnections, .limit(upTo: 100_000),
            "Server connections of the whole broker; 0 is no limit."),
        SettingDescription(
            "shared_bound", \.sharedBound, .optionalText,
            "The bound of server connections that this broker shares with those of other hosts: its name in the "
                + "table that pglease share init makes. A database's line may name another one. Empty: none."
        ),
        SettingDescription(
            "shared_bound_dbname", \.sharedBoundDbname, .optionalText,
            "The line of [databases] in whose database that table is; empty is the line itself. A database's "
                + "line may name another one."),
        SettingDescription(
            "shared_bound_user", \.sharedBoundUser, .optionalText,
            "The role that asks that table, with its password of auth_file; its CONNECTION LIMIT is the number of spare "
                + "places. A database's line may name another one. Empty: the role of the pool asks, on one of the "
                + "share's own places."),
        SettingDescription(
            "shared_weight", \.sharedWeight, .integer(1...1000),
            "What this host is due of a shared bound beside others, when there is not enough for all."
        ),
        SettingDescription(
            "max_db_connections", \.maxDbConnections, .limit(upTo: 100_000),
            "Server connections of one database, over all users; 0 is no limit."),
        SettingDescription(
            "max_user_connections", \.maxUserConnections, .limit(upTo: 100_000),
            "Server connections of one user, over all databases; 0 is no limit."),
        SettingDescription(
            "max_client_conn", \.maxClientConn, .integer(1...1_000_000), pgbouncer: "100",
            "Clients that may be connected at once."),
        SettingDescription(
            "max_db_client_connections", \.maxDbClientConnections, .limit(upTo: 1_000_000),
            "Clients of one database; 0 is no limit."),
        SettingDescription(
            "max_user_client_connections", \.maxUserClientConnections, .limit(upTo: 1_000_000),
            "Clients of one user; 0 is no limit."),
        SettingDescription(
            "max_waiting", \.maxWaiting, .limit(upTo: 1_000_000),
            "Clients that may wait for a connection at once; the next is refused. 0 is no limit."),
        SettingDescription(
            "max_prepared_statements", \.maxPreparedStatements, .integer(0...100_000),
            "Named prepared statements kept on each server connection of transaction and "
                + "statement pools; 0 passes them on untracked."),
    ]

    static let deadlineSettings: [SettingDescription] = [
        SettingDescription(
            "query_wait_timeout", \.queryWaitTimeout, .optionalDuration, pgbouncer: "120",
            "The longest a client waits for a connection; then it gets an error that names the "
                + "holders. 0 waits for ever."),
        SettingDescription(
            "query_wait_notify", \.queryWaitNotify, .optionalDuration,
            "A client that has waited so long is told its place in the queue; 0 is never."),
        SettingDescription(
            "query_timeout", \.queryTimeout, .optionalDuration,
            "The longest query; then it is cancelled and the client is told. 0 is off."),
        SettingDescription(
            "idle_transaction_timeout", \.idleTransactionTimeout, .optionalDuration,
            "The longest a client may be idle in a transaction; then the lease is revoked. 0 is "
                + "off."),
        SettingDescription(
            "transaction_timeout", \.transactionTimeout, .optionalDuration,
            "The longest transaction; then the lease is revoked. 0 is off."),
        SettingDescription(
            "lease_timeout", \.leaseTimeout, .optionalDuration,
            "The longest a lease of any kind may be held; then it is revoked. 0 is off."),
        SettingDescription(
            "lease_warn_after", \.leaseWarnAfter, .optionalDuration,
            "A lease held so long is logged once, with its owner; 0 is never."),
        SettingDescription(
            "client_login_timeout", \.clientLoginTimeout, .optionalDuration, pgbouncer: "60",
            "The longest a client may take to log in. 0 is off."),
        SettingDescription(
            "client_idle_timeout", \.clientIdleTimeout, .optionalDuration,
            "A client that is idle outside a transaction for so long is closed. 0 is off."),
        SettingDescription(
            "client_write_timeout", \.clientWriteTimeout, .optionalDuration,
            "A client that reads nothing for so long while an answer waits for it is closed. 0 is "
                + "off."),
        SettingDescription(
            "client_gone", \.clientGone, .choice,
            "What a client that says goodbye (Terminate, or its writing side closed) sent before: "
                + "finish runs it, as PostgreSQL does; cancel ends it at once, as it always does for "
                + "a client that is gone without a goodbye."),
        SettingDescription(
            "direct_lease", \.directLease, .choice,
            DirectLease.rule),
        SettingDescription(
            "park_timeout", \.parkTimeout, .optionalDuration,
            "A client module that asks for it keeps the connection of its direct lease between uses, "
                + "parked, until somebody waits for it; so often the broker looks, and takes what lies "
                + "parked then. 0: nobody parks."),
    ]
}
