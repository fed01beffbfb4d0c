// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

private typealias Fixture = ConfigurationFixture

@Suite struct ConfigurationLoadTests {
    @Test func defaultsOfBothFlavours() throws {
        let pglease = try Fixture.load("[databases]\napp=\n[pglease]\n").configuration
        #expect(pglease.flavour == .pglease)
        #expect(pglease.settings.poolMode == .transaction)
        #expect(pglease.settings.defaultPoolSize == 10)
        #expect(pglease.settings.queryWaitTimeout == .seconds(30))
        #expect(pglease.settings.authType == .peer)
        #expect(pglease.settings.reservePoolTimeout == nil)

        let pgbouncer = try Fixture.load("[databases]\napp=\n[pgbouncer]\n").configuration
        #expect(pgbouncer.flavour == .pgbouncer)
        #expect(pgbouncer.settings.poolMode == .session)
        #expect(pgbouncer.settings.defaultPoolSize == 20)
        #expect(pgbouncer.settings.maxClientConn == 100)
        #expect(pgbouncer.settings.queryWaitTimeout == .seconds(120))
        #expect(pgbouncer.settings.unixSocketDir == "/tmp")
        #expect(pgbouncer.settings.authType == .md5)
        #expect(pgbouncer.settings.reservePoolTimeout == .seconds(5))
        #expect(pgbouncer.settings.tcpUserTimeout == nil)
    }

    @Test func laterSourcesWin() throws {
        let text = "[databases]\n* =\n[pglease]\ndefault_pool_size = 5\nmin_pool_size = 1\n"
        let loaded = try Fixture.load(
            text,
            environment: ["PGLEASE_DEFAULT_POOL_SIZE": "6", "PGLEASE_LISTEN_PORT": "7000"],
            set: ["default_pool_size=7", "query_timeout = 2min"])
        let settings = loaded.configuration.settings
        #expect(settings.defaultPoolSize == 7)
        #expect(settings.listenPort == 7000)
        #expect(settings.minPoolSize == 1)
        #expect(settings.queryTimeout == .seconds(120))
        #expect(loaded.origin(of: "default_pool_size") == .commandLine("--set"))
        #expect(loaded.origin(of: "listen_port") == .environment("PGLEASE_LISTEN_PORT"))
        #expect(loaded.origin(of: "min_pool_size") == .file(path: "pglease.ini", line: 5))
        #expect(loaded.origin(of: "pool_mode") == .defaults)
        #expect(loaded.warnings.isEmpty)
        #expect(loaded.files == ["pglease.ini"])
    }

    @Test func valuesFromFilesNamedInTheEnvironment() throws {
        let loaded = try Fixture.load(
            "[databases]\n* =\n",
            files: [
                "/run/secrets/size": "3\n", "list": "\"app\" \"secret\"\n", "/etc/ca.pem": "",
            ],
            environment: [
                "PGLEASE_DEFAULT_POOL_SIZE_FILE": "/run/secrets/size", "PGLEASE_AUTH_FILE": "list",
                "PGLEASE_SERVER_TLS_CA_FILE": "/etc/ca.pem",
            ])
        #expect(loaded.configuration.settings.defaultPoolSize == 3)
        #expect(loaded.configuration.settings.authFile == "list")
        #expect(loaded.configuration.settings.serverTlsCaFile == "/etc/ca.pem")
        #expect(loaded.userListText?.value == "\"app\" \"secret\"\n")
        #expect(loaded.files == ["pglease.ini", "/run/secrets/size", "list", "/etc/ca.pem"])
        #expect(!"\(loaded)".contains("secret\""))
    }

    @Test func environmentVariablesThatAreNotSettings() throws {
        let loaded = try Fixture.load(
            "[databases]\n* =\n",
            environment: [
                "PGLEASE_DEFAULT_POOLSIZE": "3", "PGLEASE_CONFIG": "x",
                "PGLEASE_LEASE_ATTEMPTS": "5", "PGLEASE_SERVICE_HOST": "10.0.0.1",
                "PGLEASE_PORT_6432_TCP": "tcp://10.0.0.1:6432", "PGLEASE_POOL_MODE": "",
                "PGLEASE_STATE_DIR": "/data", "HOME": "/root",
            ])
        #expect(
            loaded.warnings.map(\.description) == [
                "PGLEASE_DEFAULT_POOLSIZE: is not a setting and has no effect "
                    + "(did you mean PGLEASE_DEFAULT_POOL_SIZE?)"
            ])
        #expect(loaded.configuration.settings.stateDir == "/data")
    }

    @Test func homeIsExpandedInPaths() throws {
        let loaded = try Fixture.load(
            "[databases]\n* =\n[pglease]\nauth_file = ~/list\n", files: ["/home/a/list": ""],
            environment: ["HOME": "/home/a"])
        #expect(loaded.configuration.settings.authFile == "/home/a/list")
    }

    @Test func overridesFromArguments() {
        #expect(
            SettingOverride(argument: " a = b=c ") == SettingOverride(name: "a", value: "b=c"))
        #expect(SettingOverride(argument: "a=") == SettingOverride(name: "a", value: ""))
        #expect(SettingOverride(argument: "=b") == nil)
        #expect(SettingOverride(argument: "word") == nil)
    }

    // MARK: The socket's folder

    @Test(
        arguments: [
            ([:], [], "/tmp"),
            ([:], ["/run/pglease"], "/run/pglease"),
            (["XDG_RUNTIME_DIR": "/run/user/7"], ["/run/user/7/pglease"], "/run/user/7/pglease"),
            (
                ["XDG_RUNTIME_DIR": "/run/user/7"], ["/run/pglease", "/run/user/7/pglease"],
                "/run/pglease"
            ),
            (["RUNTIME_DIRECTORY": "/run/a:/run/b"], ["/run/a", "/run/b"], "/run/a"),
            (["PGLEASE_RUNTIME_DIR": "@pool"], ["/run/pglease"], "@pool"),
            (["PGLEASE_RUNTIME_DIR": "relative"], ["relative"], "/tmp"),
        ] as [([String: String], [String], String)])
    func socketFolder(environment: [String: String], usable: [String], expected: String) throws {
        var sources = Fixture.sources("[databases]\n* =\n", environment: environment)
        sources.canUseFolder = { usable.contains($0) }
        #expect(try Configuration.load(sources).configuration.settings.unixSocketDir == expected)
    }

    @Test func emptySocketFolderOfPgbouncerIsNoSocket() throws {
        let text = "[databases]\n* =\n[pgbouncer]\nunix_socket_dir =\nlisten_addr = *\n"
        #expect(try Fixture.load(text).configuration.settings.unixSocketDir == nil)
    }

    // MARK: A database from a URL

    @Test func databaseURLAlone() throws {
        let sources = Fixture.sources(environment: [
            "DATABASE_URL": "postgresql://app:p%40ss@db:5433/orders?sslmode=require"
        ])
        let databases = try Configuration.load(sources).configuration.databases
        #expect(
            databases.map(\.name) == ["*", "orders"] || databases.map(\.name) == ["orders", "*"])
        let orders = try #require(databases.first { $0.name == "orders" })
        #expect(orders.databaseName == "orders")
        #expect(orders.forcedUser == "app")
        #expect(orders.password?.value == "p@ss")
        #expect(
            orders.serverParameters == [
                ServerParameter("host", "db"), ServerParameter("port", "5433"),
                ServerParameter("sslmode", "require"),
            ])
        let fallback = try #require(databases.first { $0.isFallback })
        #expect(fallback.databaseName == nil)
        #expect(fallback.serverDatabase(requested: "other") == "other")
        #expect(fallback.forcedUser == "app")
    }

    @Test func applicationsURLDoesNotTouchAFileThatNamesDatabases() throws {
        let loaded = try Fixture.load(
            "[databases]\nmine = host=a\n", environment: ["DATABASE_URL": "postgresql://b/yours"])
        #expect(loaded.configuration.databases.map(\.name) == ["mine"])
    }

    @Test func ownURLTakesTheFilesPlace() throws {
        let sources = Fixture.sources(
            "[databases]\nmine = host=a\n",
            files: ["/run/url": "postgresql://b/mine\n"],
            environment: ["PGLEASE_DATABASE_URL_FILE": "/run/url"])
        let databases = try Configuration.load(sources).configuration.databases
        #expect(databases.map(\.name) == ["mine", "*"])
        #expect(databases[0].serverParameter("host") == "b")
    }

    @Test func commandLineURLComesFirst() throws {
        let sources = Fixture.sources(
            environment: [
                "DATABASE_URL": "postgresql://a/x", "PGLEASE_DATABASE_URL": "postgresql://b/x",
            ],
            databaseURL: "host=c dbname=x")
        let configuration = try Configuration.load(sources).configuration
        #expect(configuration.database(named: "x")?.serverParameter("host") == "c")
        #expect(configuration.databases.count == 2)
    }

    @Test func embeddedNeedsNoDatabase() throws {
        var sources = Fixture.sources(environment: ["DATABASE_URL": "postgresql://a/x"])
        sources.databasesComeLater = true
        #expect(try Configuration.load(sources).configuration.databases.isEmpty)
    }

    @Test func nothingConfiguredNamesTheThreeWays() throws {
        let errors = Fixture.errors(Fixture.sources())
        #expect(errors.count == 1)
        let error = try #require(errors.first)
        #expect(error.contains("--config"))
        #expect(error.contains("DATABASE_URL"))
        #expect(error.contains("--embedded"))
    }

    // MARK: Groups

    @Test func groups() throws {
        let configuration = try Fixture.load(
            """
            [databases]
            * =
            [groups]
            reports = match=report-* database=dwh max_leases=2
            pipeline-* = weight=2 max_leases=9
            "odd name" = min_leases=1
            """
        ).configuration
        let pipeline = configuration.group(forApplication: "pipeline-7", database: "app")
        #expect(pipeline.name == "pipeline-7")
        #expect(pipeline.entry?.weight == 2)
        #expect(pipeline.entry?.maxLeases == 9)
        let report = configuration.group(forApplication: "report-1", database: "dwh")
        #expect(report.name == "reports")
        #expect(report.entry?.maxLeases == 2)
        #expect(
            configuration.group(forApplication: "report-1", database: "app")
                == GroupAssignment(name: "report-1", entry: nil))
        #expect(
            configuration.group(forApplication: "odd name", database: "app").entry?.minLeases == 1)
        #expect(configuration.group(forApplication: "", database: "app").name == "")
    }

    @Test func pins() throws {
        let loaded = try Fixture.load(
            """
            [databases]
            a = host=x session_state=refuse pin_reserve=0 isolation=strict pin_timeout=5min
            b = host=x pool_size=3 max_db_connections=2
            c = host=x pool_mode=session
            [users]
            u = session_state=drop pin_timeout=0 pin_reserve=4
            [groups]
            g = max_pins=2
            [pglease]
            max_server_connections = 8
            pin_notice = off
            """
        ).configuration
        func settings(_ database: String, _ user: String) throws -> PoolSettings {
            loaded.poolSettings(
                database: try #require(loaded.database(named: database)), user: user)
        }
        #expect(!loaded.settings.pinNotice)
        #expect(loaded.groups.first?.maxPins == 2)
        let a = try settings("a", "v")
        #expect((a.sessionState, a.isolation, a.pinTimeout) == (.refuse, .strict, .seconds(300)))
        // Of what the pool may have at most.
        #expect(a.maxPins == 8)
        let user = try settings("a", "u")
        #expect((user.sessionState, user.pinTimeout, user.maxPins) == (.drop, nil, 4))
        let b = try settings("b", "v")
        #expect((b.sessionState, b.isolation, b.maxPins) == (.keep, .tracked, 1))
        #expect(try settings("b", "u").maxPins == 0)
        #expect(try settings("c", "v").maxPins == nil)
    }

    @Test func aReserveThatLeavesNoPins() throws {
        let text = "[databases]\n* =\n[pglease]\ndefault_pool_size = 2\npin_reserve = 2\n"
        let warned = try Fixture.load(text).warnings.compactMap(\.setting)
        #expect(warned.contains("pin_reserve"))
        let quiet = try Fixture.load(text + "session_state = refuse\n").warnings
        #expect(!quiet.compactMap(\.setting).contains("pin_reserve"))
    }
}
