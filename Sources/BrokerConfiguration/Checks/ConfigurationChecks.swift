// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Values that are each right and do not fit together.
extension ConfigurationLoader {
    mutating func check() {
        checkDatabases()
        checkSizes()
        checkGroups()
        checkTimes()
        checkAccess()
        checkPasswords()
        checkSharedBounds()
        checkMonitoring()
        checkClientTLS()
        checkServerTLS()
    }

    func issue(
        _ setting: String, _ reason: String, advice: String? = nil
    ) -> ConfigurationIssue {
        ConfigurationIssue(origins[setting] ?? .defaults, setting, reason, advice: advice)
    }

    private mutating func checkDatabases() {
        // A file with errors may have lost its databases to them: one error is enough.
        guard configuration.databases.isEmpty, !sources.databasesComeLater, errors.isEmpty else {
            return
        }
        let advice =
            "name one in [databases] of the file given with --config, set DATABASE_URL, or start "
            + "with --embedded for a private PostgreSQL"
        let origin = sources.file.map { SettingOrigin.file(path: $0, line: 0) } ?? .defaults
        reportStrictly(
            ConfigurationIssue(origin, nil, "no database is configured", advice: advice))
    }

    private mutating func checkSizes() {
        let settings = configuration.settings
        if settings.minPoolSize > PoolSettings.bound(settings.defaultPoolSize) {
            reportStrictly(
                issue(
                    "min_pool_size",
                    "\(settings.minPoolSize) is more than default_pool_size "
                        + "\(settings.defaultPoolSize)"))
        }
        for entry in configuration.databases {
            let minimum = entry.minPoolSize.over(settings.minPoolSize)
            let size = PoolSettings.bound(entry.poolSize.over(settings.defaultPoolSize))
            let isOwn = entry.minPoolSize != .inherited || entry.poolSize != .inherited
            if isOwn, minimum > size {
                reportStrictly(
                    ConfigurationIssue(
                        databaseOrigins[entry.name] ?? .defaults,
                        "databases.\(entry.name).min_pool_size",
                        "\(minimum) is more than the pool's size \(size)"))
            }
        }
        let isPinning =
            settings.sessionState == .keep && settings.poolMode != .session
            && settings.pinReserve >= PoolSettings.bound(settings.defaultPoolSize)
        if isPinning, origins["pin_reserve"] != nil {
            warnings.append(
                issue(
                    "pin_reserve",
                    "\(settings.pinReserve) is not less than default_pool_size "
                        + "\(settings.defaultPoolSize): no lease can be pinned",
                    advice: "raise default_pool_size, or say session_state = refuse"))
        }
        warnIfBelowPoolSize("max_server_connections", settings.maxServerConnections)
        warnIfBelowPoolSize("max_db_connections", settings.maxDbConnections)
        warnIfBelowPoolSize("max_user_connections", settings.maxUserConnections)
    }

    private mutating func warnIfBelowPoolSize(_ setting: String, _ limit: Int?) {
        let size = configuration.settings.defaultPoolSize
        guard let limit, limit < size, size > 0 else { return }
        warnings.append(
            issue(setting, "\(limit) is less than default_pool_size \(size): no pool gets full"))
    }

    private mutating func checkGroups() {
        for entry in configuration.groups {
            let origin = groupOrigins[entry.name] ?? .defaults
            if let cap = entry.maxLeases, entry.minLeases > cap {
                errors.append(
                    ConfigurationIssue(
                        origin, "groups.\(entry.name).min_leases",
                        "\(entry.minLeases) is more than its max_leases \(cap)"))
            }
            if let name = entry.database, configuration.database(named: name) == nil,
                !sources.databasesComeLater
            {
                errors.append(
                    ConfigurationIssue(
                        origin, "groups.\(entry.name).database",
                        "\(quoted(name)) is not in [databases], and there is no *"))
            }
        }
        for entry in configuration.databases {
            checkGuarantees(
                of: entry.name,
                size: PoolSettings.bound(
                    entry.poolSize.over(configuration.settings.defaultPoolSize)))
        }
    }

    /// What is kept for groups must fit in the pool. A template counts once: how many groups it
    /// makes is not known here.
    private mutating func checkGuarantees(of database: String, size: Int) {
        let kept = configuration.groups.filter {
            $0.minLeases > 0 && ($0.database == nil || $0.database == database)
        }
        let sum = kept.reduce(0) { $0 + $1.minLeases }
        guard sum > size, let last = kept.last else { return }
        let origin = groupOrigins[last.name] ?? .defaults
        let reason =
            "the groups of database \(quoted(database)) are promised \(sum) connections, its pool "
            + "has \(size)"
        errors.append(
            ConfigurationIssue(
                origin, "groups.\(last.name).min_leases", reason,
                advice: "lower min_leases or raise the pool's size"))
    }

    private mutating func checkTimes() {
        let settings = configuration.settings
        if settings.serverLoginRetryMin > settings.serverLoginRetry {
            let longest = DurationText.render(settings.serverLoginRetry)
            // pgbouncer knows only the longer one, so a short value of it is no mistake there.
            if origins["server_login_retry_min"] == nil {
                configuration.settings.serverLoginRetryMin = settings.serverLoginRetry
            } else {
                errors.append(
                    issue("server_login_retry_min", "is longer than server_login_retry \(longest)"))
            }
        }
        if settings.startupDelay > settings.startupMaxDelay {
            errors.append(
                issue(
                    origins["startup_delay"] != nil ? "startup_delay" : "startup_max_delay",
                    "startup_delay is longer than startup_max_delay"))
        }
        if let warn = settings.leaseWarnAfter, let end = settings.leaseTimeout, warn >= end,
            origins["lease_warn_after"] != nil
        {
            warnings.append(
                issue("lease_warn_after", "is not shorter than lease_timeout: no lease is warned"))
        }
    }

    private mutating func checkAccess() {
        let settings = configuration.settings
        let onTCP = !settings.listenAddr.isEmpty
        if settings.unixSocketDir == nil, !onTCP {
            errors.append(
                issue(
                    "unix_socket_dir", "there is no Unix socket and no listen_addr",
                    advice: "nobody could connect: set one of them"))
        }
        // pgbouncer takes a folder from where it is started.
        if let folder = settings.unixSocketDir, configuration.flavour == .pglease,
            !folder.isEmpty, !folder.hasPrefix("/"), !folder.hasPrefix("@")
        {
            errors.append(
                issue(
                    "unix_socket_dir", "\(quoted(folder)) is not an absolute path",
                    advice: "a folder, @name for an abstract socket, or none"))
        }
        let origin = origins["auth_type"] != nil ? "auth_type" : "listen_addr"
        let isLookedUp = checkAuthenticationQuery()
        switch settings.authType {
        case .peer where onTCP && settings.authFile == nil && !isLookedUp:
            warnings.append(
                issue(
                    origin, "peer has no answer for TCP: clients of listen_addr are refused",
                    advice: "give their secrets in auth_file"))
        case .trust
        where configuration.flavour == .pgbouncer && settings.authFile == nil && !isLookedUp:
            warnings.append(
                issue("auth_type", "trust without auth_file or auth_user: no client can log in"))
        case .trust where settings.listenAddr.contains { !Self.isLoopback($0) }:
            warnings.append(
                issue(origin, "trust lets everybody in who reaches listen_addr"))
        case .trust where settings.unixSocketDir != nil && settings.unixSocketMode & 0o007 != 0:
            warnings.append(
                issue(
                    origin, "trust lets every user of this machine in",
                    advice: "set unix_socket_mode to 0770 or 0700"))
        case .scramSHA256 where settings.authFile == nil && !isLookedUp,
            .md5 where settings.authFile == nil && !isLookedUp,
            .plain where settings.authFile == nil && !isLookedUp:
            warnings.append(
                issue(
                    origins["auth_type"] != nil ? "auth_type" : "auth_file",
                    "\(settings.authType.rawValue) without auth_file or auth_user: no client can log in"
                ))
        case .plain where settings.listenAddr.contains { !Self.isLoopback($0) },
            .pam where settings.listenAddr.contains { !Self.isLoopback($0) },
            .ldap
        where settings.authLdapOptions != nil
            && settings.listenAddr.contains { !Self.isLoopback($0) }:
            warnings.append(
                issue(
                    "auth_type",
                    "with \(settings.authType.rawValue), passwords cross the network as they are typed"
                ))
        case .any: checkAny()
        case .cert
        where settings.clientTlsSslmode == .disable || settings.clientTlsCaFile == nil:
            errors.append(
                issue(
                    "auth_type", "cert needs TLS for clients, and client_tls_ca_file",
                    advice: "certificates are checked by it; verify-full lets nobody in without one"
                ))
        case .hba where settings.authHbaFile == nil:
            // pgbouncer starts, and lets nobody in.
            reportStrictly(
                issue(
                    "auth_type", "hba needs auth_hba_file: no client can log in",
                    advice: "name the file whose lines say who may log in"))
        case .ldap where settings.authLdapOptions == nil:
            errors.append(
                issue(
                    "auth_type", "ldap needs auth_ldap_options",
                    advice: "auth_ldap_options = ldapurl=\"ldaps://server/base?uid?sub\" is one"))
        case .peer, .trust, .scramSHA256, .md5, .plain, .cert, .pam, .ldap, .hba: break
        }
        checkHostRules()
    }

    private mutating func checkHostRules() {
        let settings = configuration.settings
        guard settings.authType != .hba else { return }
        for (name, file) in [
            ("auth_hba_file", settings.authHbaFile), ("auth_ident_file", settings.authIdentFile),
        ] where file != nil {
            warnings.append(
                issue(
                    name, "is not read: auth_type is \(settings.authType.rawValue)",
                    advice: "auth_type = hba puts its lines in force"))
        }
    }

    /// Everybody is let in, also as administrator of the console, as pgbouncer does it.
    private mutating func checkAny() {
        warnings.append(
            issue(
                "auth_type", "any lets everybody in, into the console as administrator, too",
                advice: "keep it to a Unix socket of mode 0700 or 0770"))
        for entry in configuration.databases where entry.forcedUser == nil {
            reportStrictly(
                ConfigurationIssue(
                    databaseOrigins[entry.name] ?? .defaults, "databases.\(entry.name)",
                    "auth_type any needs a user= in each line: nobody gets into this database"))
        }
    }

    /// Whether some users are looked up by `auth_query`.
    private mutating func checkAuthenticationQuery() -> Bool {
        let settings = configuration.settings
        var places: [(user: String?, database: String?, setting: String, origin: SettingOrigin)] = [
            (
                settings.authUser, settings.authDbname, "auth_dbname",
                origins["auth_dbname"] ?? .defaults
            )
        ]
        for entry in configuration.databases {
            places.append(
                (
                    entry.authUser ?? settings.authUser, entry.authDbname,
                    "databases.\(entry.name).auth_dbname",
                    databaseOrigins[entry.name] ?? .defaults
                ))
        }
        var isLookedUp = false
        for place in places where place.user != nil {
            isLookedUp = true
            if let database = place.database, configuration.database(named: database) == nil,
                !sources.databasesComeLater
            {
                reportStrictly(
                    ConfigurationIssue(
                        place.origin, place.setting,
                        "\(quoted(database)) is not in [databases], and there is no *"))
            }
        }
        return isLookedUp
    }

    private mutating func checkMonitoring() {
        guard let address = configuration.settings.metricsListen, !address.isLocal else { return }
        warnings.append(
            issue(
                "metrics_listen",
                "everybody who reaches \(address.text) sees who holds which lease",
                advice: "127.0.0.1 or a Unix socket keep it to this machine"))
    }

    private static func isLoopback(_ address: String) -> Bool {
        address == "localhost" || address == "::1" || address.hasPrefix("127.")
    }
}
