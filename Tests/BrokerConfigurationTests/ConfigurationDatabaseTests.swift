// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

private typealias Fixture = ConfigurationFixture

@Suite struct ConfigurationDatabaseTests {
    private func entry(_ line: String) throws -> DatabaseEntry {
        let databases = try Fixture.load("[databases]\n\(line)\n").configuration.databases
        return try #require(databases.first)
    }

    @Test func everyKey() throws {
        let entry = try entry(
            "app = host=a,b port=1,2 dbname=real user=u password='it''s = \"x\"' pool_size=5 "
                + "min_pool_size=1 reserve_pool=2 pool_mode=session max_db_connections=0 "
                + "max_db_client_connections=7 server_lifetime=60 connect_query='SET x TO ''y'''"
                + " query_wait_timeout=0 client_encoding=UTF8 timezone=UTC datestyle=ISO "
                + "target_session_attrs=read-write sslmode=verify-full passfile=/p")
        #expect(entry.name == "app")
        #expect(entry.databaseName == "real")
        #expect(entry.forcedUser == "u")
        #expect(entry.password?.value == "it's = \"x\"")
        #expect(entry.poolSize == .value(5))
        #expect(entry.minPoolSize == .value(1))
        #expect(entry.reservePoolSize == .value(2))
        #expect(entry.poolMode == .value(.session))
        #expect(entry.maxDbConnections == .value(nil))
        #expect(entry.maxDbClientConnections == .value(7))
        #expect(entry.serverLifetime == .value(.seconds(60)))
        #expect(entry.queryWaitTimeout == .value(nil))
        #expect(entry.connectQuery == "SET x TO 'y'")
        #expect(
            entry.startupParameters.map(\.description) == [
                "client_encoding=UTF8", "timezone=UTC", "datestyle=ISO",
            ])
        #expect(
            entry.serverParameters.map(\.description) == [
                "host=a,b", "port=1,2", "target_session_attrs=read-write", "sslmode=verify-full",
                "passfile=/p",
            ])
    }

    @Test(arguments: [
        ("foodb =", "foodb", "foodb"), ("foodb = host = 'a'", "foodb", "foodb"),
        ("\"odd \"\"name\" = host=/tmp", "odd \"name", "odd \"name"),
        ("a-b.c = dbname=''", "a-b.c", "a-b.c"), ("a=host=@abstract", "a", "a"),
    ])
    func names(line: String, name: String, database: String) throws {
        let entry = try entry(line)
        #expect(entry.name == name)
        #expect(entry.serverDatabase(requested: name) == database)
    }

    @Test func fallback() throws {
        let configuration = try Fixture.load("[databases]\n* = host=a\nown = dbname=x\n")
            .configuration
        #expect(configuration.database(named: "own")?.name == "own")
        #expect(configuration.database(named: "else")?.name == "*")
        #expect(configuration.database(named: "*")?.name == "*")
        let forced = try entry("* = dbname=one")
        #expect(forced.serverDatabase(requested: "two") == "one")
        let none = try Fixture.load("[databases]\nown =\n").configuration
        #expect(none.database(named: "else") == nil)
    }

    @Test func serviceFileNamesTheDatabase() throws {
        #expect(try entry("app = service=prod").serverDatabase(requested: "app") == nil)
        #expect(try entry("app = service=prod dbname=x").serverDatabase(requested: "app") == "x")
    }

    @Test(arguments: [
        ("postgresql://h/d", "host=h dbname=d"),
        (
            "postgres://u:p%20w@h:1/d?sslmode=disable",
            "user=u password=p w host=h port=1 dbname=d sslmode=disable"
        ),
        ("postgresql+psycopg2://u@h/d", "user=u host=h dbname=d"),
        ("postgresql://a:1,b:2/d", "host=a,b port=1,2 dbname=d"),
        ("postgresql://a,b:2/d", "host=a,b port=,2 dbname=d"),
        ("postgresql://[::1]:5/d", "host=::1 port=5 dbname=d"),
        ("postgresql://%2Frun%2Fpg/d", "host=/run/pg dbname=d"),
        ("postgresql:///d?host=/run/pg&port=6", "dbname=d host=/run/pg port=6"),
        ("postgresql://@abstract/d", "host=@abstract dbname=d"),
        ("postgresql://u@/d", "user=u dbname=d"),
        ("postgresql://u:p@w@h/d", "user=u password=p@w host=h dbname=d"),
        ("postgresql://", ""),
        ("postgresql://h?dbname=d&ssl=true", "host=h dbname=d sslmode=require"),
        ("postgresql://h/d?dbname=e", "host=h dbname=e"),
    ])
    func uris(text: String, expected: String) throws {
        let pairs = try ConnectionURI(text[...]).pairs
        #expect(pairs.map { "\($0.key)=\($0.value)" }.joined(separator: " ") == expected)
    }

    @Test(arguments: [
        "postgresql://[::1/d", "postgresql://[::1]x/d", "postgresql://h/%", "postgresql://h/%4",
        "postgresql://h/%zz", "postgresql://h/%00", "postgresql://h/%ff", "postgresql://h?a", "h/d",
    ])
    func brokenURIs(text: String) {
        #expect(throws: SettingValueError.self) { try ConnectionURI(text[...]) }
    }

    @Test func uriWithKeysAfterIt() throws {
        let entry = try entry("app = postgresql://u@h/real?sslmode=require pool_size=4 host=i")
        #expect(entry.databaseName == "real")
        #expect(entry.forcedUser == "u")
        #expect(entry.poolSize == .value(4))
        #expect(entry.serverParameter("host") == "i")
        #expect(entry.serverParameters.filter { $0.keyword == "host" }.count == 1)
    }

    @Test func limitsInForce() throws {
        let configuration = try Fixture.load(
            """
            [databases]
            app = pool_size=5 pool_mode=session max_db_connections=0 query_wait_timeout=7
            [users]
            web = pool_size=3 query_timeout=9 query_wait_timeout=0
            [pglease]
            max_db_connections = 50
            idle_transaction_timeout = 60
            """
        ).configuration
        let app = try #require(configuration.database(named: "app"))
        let web = configuration.poolSettings(database: app, user: "web")
        #expect(web.size == 3)
        #expect(web.mode == .session)
        #expect(web.maxDbConnections == nil)
        #expect(web.queryTimeout == .seconds(9))
        #expect(web.queryWaitTimeout == nil)
        #expect(web.idleTransactionTimeout == .seconds(60))
        let other = configuration.poolSettings(database: app, user: "other")
        #expect(other.size == 5)
        #expect(other.queryTimeout == nil)
        #expect(other.queryWaitTimeout == .seconds(7))
        let elsewhere = configuration.poolSettings(
            database: DatabaseEntry(name: "b"), user: "other")
        #expect(elsewhere.size == 10)
        #expect(elsewhere.maxDbConnections == 50)
    }

    @Test func libpqParameters() throws {
        let configuration = try Fixture.load(
            """
            [databases]
            app = host=h sslmode=disable
            [pglease]
            server_tls_sslmode = verify-full
            server_tls_ca_file = /ca
            server_tls_protocols = tlsv1.2
            tcp_keepcnt = 0
            """, files: ["/ca": ""]
        ).configuration
        let entry = try #require(configuration.database(named: "app"))
        let parameters = configuration.connectionParameters(
            for: entry, database: "app", user: "u", password: Secret("p"))
        func values(_ keyword: String) -> [String] {
            parameters.filter { $0.keyword == keyword }.map(\.value)
        }
        #expect(values("host") == ["h"])
        #expect(values("sslmode") == ["disable"])
        #expect(values("sslrootcert") == ["/ca"])
        #expect(values("ssl_min_protocol_version") == [])
        #expect(values("ssl_max_protocol_version") == ["TLSv1.2"])
        #expect(values("keepalives") == [])
        #expect(values("keepalives_idle") == ["30"])
        #expect(values("keepalives_count") == [])
        #expect(values("tcp_user_timeout") == ["30000"])
        #expect(values("dbname") == ["app"])
        #expect(values("user") == ["u"])
        #expect(values("password") == ["p"])
        #expect(values("gssencmode") == ["disable"])
    }

    /// libpq's own defaults are not spelled out, so that a service file may say otherwise.
    @Test func defaultsLeaveTheServiceFileItsWord() throws {
        let configuration = try Fixture.load("[databases]\napp = service=prod\n").configuration
        let entry = try #require(configuration.database(named: "app"))
        let keywords = configuration.connectionParameters(
            for: entry, database: nil, user: "u", password: nil
        ).map(\.keyword)
        #expect(
            keywords == [
                "service", "keepalives_idle", "keepalives_interval", "keepalives_count",
                "tcp_user_timeout", "user", "gssencmode",
            ])
    }

    @Test func secretsAreNeverShown() throws {
        let configuration = try Fixture.load(
            "[databases]\napp = user=u password=hunter2 sslpassword=hunter2 "
                + "connect_query='SELECT ''hunter2'''\n"
        ).configuration
        let entry = try #require(configuration.database(named: "app"))
        var dumped = ""
        dump(entry.password, to: &dumped)
        dump(entry.serverParameters, to: &dumped)
        #expect(!dumped.contains("hunter2"))
        #expect(
            !"\(String(describing: entry.password)) \(entry.serverParameters)".contains("hunter2"))
        let parameters = configuration.connectionParameters(
            for: entry, database: "app", user: "u", password: entry.password)
        #expect(!"\(parameters)".contains("hunter2"))
    }

    @Test func theTableOfASharedBoundIsInOneDatabase() throws {
        let good = try Fixture.load(
            "[databases]\na =\n* = shared_bound_dbname=a\n[pglease]\nshared_bound = orders\n")
        for name in ["a", "*"] {
            let entry = try #require(good.configuration.database(named: name))
            #expect(
                good.configuration.sharedBound(of: entry)
                    == SharedBoundName(name: "orders", database: "a"))
        }
        let errors =
            Fixture.errors(
                "[databases]\n* = shared_bound=orders\n")
            + Fixture.errors(
                "[databases]\na = shared_bound=orders shared_bound_dbname=b\n")
        #expect(
            errors == [
                "pglease.ini:2: databases.*.shared_bound: the line stands for many databases, and the table is in one "
                    + "(shared_bound_dbname = NAME says in which)",
                "pglease.ini:2: databases.a.shared_bound_dbname: \"b\" is not in [databases], and there is no *",
            ])
    }
}
