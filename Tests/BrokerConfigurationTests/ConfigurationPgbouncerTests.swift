// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

private typealias Fixture = ConfigurationFixture

/// What an existing pgbouncer.ini holds.
@Suite struct ConfigurationPgbouncerTests {
    /// The names of PgBouncer 1.25 (reference/pgbouncer.md, 2.1) with their defaults; a default
    /// spelled out in a file is never an error, nor worth a warning where nothing is lost.
    static let settings = [
        ("logfile", ""), ("pidfile", ""), ("listen_addr", ""), ("listen_port", "6432"),
        ("unix_socket_dir", "/tmp"), ("unix_socket_mode", "0777"), ("unix_socket_group", ""),
        ("user", ""), ("pool_mode", "session"), ("max_client_conn", "100"),
        ("default_pool_size", "20"), ("min_pool_size", "0"), ("reserve_pool_size", "0"),
        ("reserve_pool_timeout", "5"), ("max_db_connections", "0"),
        ("max_user_connections", "0"), ("max_db_client_connections", "0"),
        ("max_user_client_connections", "0"), ("server_round_robin", "0"),
        ("track_extra_parameters", "IntervalStyle"), ("ignore_startup_parameters", ""),
        ("peer_id", "0"), ("disable_pqexec", "0"), ("application_name_add_host", "0"),
        ("conffile", ""), ("service_name", "pgbouncer"), ("job_name", "pgbouncer"),
        ("stats_period", "60"), ("max_prepared_statements", "200"), ("scram_iterations", "4096"),
        ("auth_type", "md5"), ("auth_hba_file", ""), ("auth_ident_file", ""), ("auth_file", ""),
        ("auth_user", ""), ("auth_query", Settings.usualAuthQuery), ("auth_dbname", ""),
        ("auth_ldap_options", ""),
        ("syslog", "0"), ("syslog_ident", "pgbouncer"), ("syslog_facility", "daemon"),
        ("log_connections", "1"), ("log_disconnections", "1"), ("log_pooler_errors", "1"),
        ("log_stats", "1"), ("verbose", "0"), ("admin_users", ""), ("stats_users", ""),
        ("server_reset_query", "DISCARD ALL"), ("server_reset_query_always", "0"),
        ("server_check_delay", "30"), ("server_check_query", "<empty>"),
        ("server_fast_close", "0"), ("server_lifetime", "3600"), ("server_idle_timeout", "600"),
        ("server_connect_timeout", "15"), ("server_login_retry", "15"),
        ("client_login_timeout", "60"), ("autodb_idle_timeout", "3600"),
        ("pool_idle_timeout", "0"), ("dns_max_ttl", "15"), ("dns_nxdomain_ttl", "15"),
        ("dns_zone_check_period", "0"), ("resolv_conf", ""), ("query_wait_notify", "5"),
        ("login_notify_message", ""), ("client_tls_sslmode", "disable"),
        ("client_tls_key_file", ""), ("client_tls_cert_file", ""), ("client_tls_ca_file", ""),
        ("client_tls_protocols", "secure"), ("client_tls_ciphers", "default"),
        ("client_tls13_ciphers", ""), ("client_tls_dheparams", "auto"),
        ("client_tls_ecdhcurve", "auto"), ("server_tls_sslmode", "prefer"),
        ("server_tls_ca_file", ""), ("server_tls_key_file", ""), ("server_tls_cert_file", ""),
        ("server_tls_protocols", "secure"), ("server_tls_ciphers", "default"),
        ("server_tls13_ciphers", ""), ("query_timeout", "0"), ("query_wait_timeout", "120"),
        ("cancel_wait_timeout", "10"), ("client_idle_timeout", "0"),
        ("idle_transaction_timeout", "0"), ("transaction_timeout", "0"),
        ("suspend_timeout", "10"), ("pkt_buf", "4096"), ("max_packet_size", "2147483647"),
        ("listen_backlog", "128"), ("sbuf_loopcnt", "5"), ("so_reuseport", "0"),
        ("tcp_defer_accept", "1"), ("tcp_socket_buffer", "0"), ("tcp_keepalive", "1"),
        ("tcp_keepcnt", "0"), ("tcp_keepidle", "0"), ("tcp_keepintvl", "0"),
        ("tcp_user_timeout", "0"),
    ]

    @Test func everyDefaultIsWhatWeStartFrom() throws {
        let lines = Self.settings.map { "\($0) = \($1)" }.joined(separator: "\n")
        let loaded = try Fixture.load("[databases]\n* =\n[pgbouncer]\n\(lines)\n")
        let untouched = try Fixture.load("[databases]\n* =\n[pgbouncer]\n")
        #expect(loaded.configuration.settings == untouched.configuration.settings)
        let named = Set(loaded.warnings.compactMap(\.setting))
        #expect(named == ["conffile", "auth_type"])
    }

    @Test func anUntouchedFileStarts() throws {
        let loaded = try Fixture.load(
            """
            ;; database name = connect string
            [databases]
            ;foodb =
            bardb = host=localhost dbname=bazdb
            forcedb = host=localhost port=300 user=baz password=foo client_encoding=UNICODE datestyle=ISO connect_query='SELECT 1'
            nondefaultdb = pool_size=50 reserve_pool=10
            foodb = auth_user=bar
            * = host=testserver
            [users]
            user1 = pool_mode=transaction max_user_connections=10
            [pgbouncer]
            logfile = /var/log/postgresql/pgbouncer.log
            pidfile = /var/run/postgresql/pgbouncer.pid
            listen_addr = localhost
            listen_port = 6432
            unix_socket_dir = /var/run/postgresql
            auth_type = md5
            auth_file = /etc/pgbouncer/userlist.txt
            admin_users = user2, someadmin, otheradmin
            min_pool_size = 30
            server_login_retry = 0.1
            [peers]
            1 = host=/tmp/one
            """, files: ["/etc/pgbouncer/userlist.txt": "\"marko\" \"asdasd\"\n"])
        #expect(loaded.configuration.settings.adminUsers == ["user2", "someadmin", "otheradmin"])
        #expect(loaded.configuration.settings.serverLoginRetryMin == .milliseconds(100))
        #expect(
            loaded.warnings.compactMap(\.setting) == ["min_pool_size"])
        #expect(loaded.configuration.peer(1)?.host == "/tmp/one")
        #expect(loaded.configuration.database(named: "foodb")?.authUser == "bar")
        #expect(
            loaded.configuration.settings.logfile == "/var/log/postgresql/pgbouncer.log")
        #expect(
            loaded.configuration.settings.pidfile == "/var/run/postgresql/pgbouncer.pid")
    }

    @Test(arguments: [
        "client_tls_sslmode = require", "client_tls_sslmode = verify-full",
        "auth_type = cert", "auth_type = ldap",
        "disable_pqexec = 1", "client_tls_sslmode = nonsense",
    ])
    func guardsAreNotLostInSilence(line: String) {
        let errors = Fixture.errors("[databases]\n* =\n[pgbouncer]\n\(line)\n")
        #expect(errors.count == 1)
        #expect(errors.first?.hasPrefix("pglease.ini:4: ") == true)
    }

    private static let tlsFiles = ["/k": "", "/c": "", "/a": ""]

    @Test(arguments: [
        ("client_tls_sslmode = prefer\nclient_tls_key_file = /k", ["client_tls_cert_file"]),
        ("client_tls_sslmode = allow\nclient_tls_cert_file = /c", ["client_tls_key_file"]),
        (
            "client_tls_sslmode = verify-ca\nclient_tls_cert_file = /c\nclient_tls_key_file = /k",
            ["client_tls_ca_file"]
        ),
        (
            "client_tls_sslmode = require\nclient_tls_cert_file = /c\nclient_tls_key_file = /gone",
            ["client_tls_key_file", "/gone", "No such file"]
        ),
        (
            "client_tls_sslmode = require\nclient_tls_cert_file = /c\nclient_tls_key_file = /k\n"
                + "client_tls_ca_file = /gone", ["client_tls_ca_file", "/gone"]
        ),
        ("client_tls_dheparams = 2048", ["none, auto, legacy"]),
    ])
    func filesOfClientTLSAreNeeded(lines: String, words: [String]) {
        let errors = Fixture.errors(
            "[databases]\n* =\n[pgbouncer]\n\(lines)\n", files: Self.tlsFiles)
        #expect(errors.count == 1)
        #expect(words.allSatisfy { errors.first?.contains($0) == true }, "\(errors)")
    }

    @Test func clientTLS() throws {
        let loaded = try Fixture.load(
            """
            [databases]
            * =
            [pgbouncer]
            listen_addr = *
            client_tls_sslmode = verify-full
            client_tls_key_file = /k
            client_tls_cert_file = /c
            client_tls_ca_file = /a
            client_tls_protocols = tlsv1.3
            client_tls_ciphers = HIGH
            client_tls13_ciphers = TLS_AES_128_GCM_SHA256
            client_tls_dheparams = none
            client_tls_ecdhcurve = prime256v1
            """, files: Self.tlsFiles)
        let settings = loaded.configuration.settings
        #expect(settings.clientTlsSslmode == .verifyFull)
        #expect(settings.clientTlsSslmode.verifies && settings.clientTlsSslmode.requiresTLS)
        #expect(settings.clientTlsProtocols.versions == ["TLSv1.3"])
        #expect(settings.clientTlsCiphers == "HIGH")
        #expect(settings.clientTls13Ciphers == "TLS_AES_128_GCM_SHA256")
        #expect(settings.clientTlsDheparams == .none)
        #expect(settings.clientTlsEcdhcurve == "prime256v1")
        #expect(loaded.files.suffix(3) == ["/k", "/c", "/a"])
    }

    @Test func filesWithoutAModeHaveNoEffect() throws {
        let loaded = try Fixture.load(
            "[databases]\n* =\n[pgbouncer]\nclient_tls_key_file = /k\nclient_tls_cert_file = /c\n",
            files: [:])
        #expect(
            loaded.warnings.compactMap(\.setting).filter { $0.hasPrefix("client_tls") } == [
                "client_tls_key_file", "client_tls_cert_file",
            ])
    }

    @Test func replacedSettingsFromElsewhere() throws {
        let loaded = try Fixture.load(
            "[databases]\n* =\n", environment: ["PGLEASE_PKT_BUF": "1"], set: ["resolv_conf=/y"])
        #expect(
            loaded.warnings.map(\.origin) == [
                .environment("PGLEASE_PKT_BUF"), .commandLine("--set"),
            ])
    }

    @Test func whateverHasNoEffectIsSaidAtTheStart() throws {
        for setting in ReplacedSetting.byName.values {
            for value in ["77", "other"] {
                let text = "[databases]\n* =\n[pgbouncer]\n\(setting.name) = \(value)\n"
                let said =
                    (try? Fixture.load(text))?.warnings.map { "\($0)" } ?? Fixture.errors(text)
                #expect(said.contains { $0.contains(":4: \(setting.name): ") }, "\(setting.name)")
            }
        }
    }

    @Test func aSizeOfNoneIsNoLimit() throws {
        let configuration = try Fixture.load(
            """
            [databases]
            a = min_pool_size=5
            b = pool_size=0 min_pool_size=500
            c = pool_size=7
            [pgbouncer]
            default_pool_size = 0
            pool_mode = transaction
            max_db_connections = 50
            """
        ).configuration
        func settings(_ name: String) throws -> PoolSettings {
            configuration.poolSettings(
                database: try #require(configuration.database(named: name)), user: "u")
        }
        #expect(try settings("a").size == 0)
        #expect(try settings("b").size == 0)
        #expect(try settings("c").size == 7)
        #expect(try settings("a").maxPins == 50 - configuration.settings.pinReserve)
        #expect(
            Fixture.errors(
                "[databases]\na =\n[groups]\ng = min_leases=9\n[pglease]\ndefault_pool_size = 0\n"
                    + "min_pool_size = 20\n"
            ).isEmpty)
    }

    @Test func noNameIsBothASettingAndReplaced() {
        #expect(ReplacedSetting.byName.keys.allSatisfy { Settings.byName[$0] == nil })
    }

    @Test func secretsFromTheDatabaseAreSetGloballyAndPerDatabase() throws {
        let loaded = try Fixture.load(
            """
            [databases]
            a = auth_user=one auth_query='SELECT $1, $$x$$' auth_dbname=b
            b = user=app
            [pgbouncer]
            auth_user = two
            auth_dbname = b
            """)
        #expect(loaded.warnings.compactMap(\.setting) == [])
        let entry = try #require(loaded.configuration.database(named: "a"))
        #expect(entry.authUser == "one")
        #expect(entry.authQuery == "SELECT $1, $$x$$")
        #expect(entry.authDbname == "b")
        #expect(loaded.configuration.database(named: "b")?.authUser == nil)
        let settings = loaded.configuration.settings
        #expect(settings.authUser == "two")
        #expect(settings.authDbname == "b")
        #expect(settings.authQuery == Settings.usualAuthQuery)
        let other = try Fixture.load("[databases]\na =\n[pgbouncer]\nauth_query =\n")
        #expect(other.configuration.settings.authQuery == nil)
    }

    @Test func anAuthDbnameWithoutALineIsAMistake() throws {
        let errors = Fixture.errors(
            "[databases]\na = auth_dbname=c\n[pglease]\nauth_user = x\nauth_dbname = b\n")
        #expect(
            errors == [
                "pglease.ini:5: auth_dbname: \"b\" is not in [databases], and there is no *",
                "pglease.ini:2: databases.a.auth_dbname: \"c\" is not in [databases], and there is no *",
            ])
    }

    @Test func anyNeedsAUserInEachLine() throws {
        let loaded = try Fixture.load(
            "[databases]\na = user=app\nb =\n[pgbouncer]\nauth_type = any\n")
        #expect(loaded.warnings.compactMap(\.setting) == ["auth_type", "databases.b"])
        #expect(
            Fixture.errors("[databases]\nb =\n[pglease]\nauth_type = any\n") == [
                "pglease.ini:2: databases.b: auth_type any needs a user= in each line: "
                    + "nobody gets into this database"
            ])
    }

    @Test(arguments: [
        ("auth_type = trust", "auth_type: trust lets every user of this machine in"),
        ("listen_addr = 127.0.0.1", "listen_addr: peer has no answer for TCP"),
        ("auth_hba_file = x", "auth_hba_file: is not read: auth_type is peer"),
        ("auth_ident_file = x", "auth_ident_file: is not read: auth_type is peer"),
        ("auth_type = scram-sha-256", "auth_type: scram-sha-256 without auth_file or auth_user"),
        ("auth_type = md5", "auth_type: md5 without auth_file or auth_user"),
        ("auth_type = plain", "auth_type: plain without auth_file or auth_user"),
        ("max_server_connections = 3", "max_server_connections: 3 is less than default_pool_size"),
        ("server_tls_sslmode = verify-ca", "server_tls_sslmode: without server_tls_ca_file"),
        ("lease_timeout = 20\nlease_warn_after = 20", "lease_warn_after: is not shorter"),
    ])
    func doubtfulCombinations(lines: String, expected: String) throws {
        let warnings = try Fixture.settings(lines).warnings
        #expect(warnings.count == 1)
        #expect(warnings.first?.description.contains(expected) == true)
    }

    /// As 1.26.1 reads them, tried side by side.
    @Test(arguments: [
        ("max_client_conn = +7", "max_client_conn", "7"),
        ("max_client_conn = 0x10", "max_client_conn", "16"),
        ("max_client_conn = 2147483647", "max_client_conn", "1000000"),
        ("default_pool_size = 999999", "default_pool_size", "100000"),
        ("stats_period = 0", "stats_period", "0"),
        ("server_login_retry = 0", "server_login_retry", "0.001"),
        ("syslog_ident =", "syslog_ident", "pgbouncer"),
        ("syslog_facility =", "syslog_facility", "daemon"),
        ("client_tls_dheparams =", "client_tls_dheparams", "auto"),
        ("tcp_defer_accept = 45", "tcp_defer_accept", "45"),
        ("auth_type = hba", "auth_type", "hba"),
        ("[users] ; and their limits\na = pool_size=3\n[pgbouncer] # again", "verbose", "0"),
    ])
    func whatStartsThereStartsHere(line: String, setting: String, value: String) throws {
        let loaded = try Fixture.load("[databases]\n* =\n[pgbouncer]\n\(line)\n")
        #expect(Settings.byName[setting]?.text(in: loaded.configuration.settings) == value)
    }

    @Test func minusOneInALineIsTheMainSectionsValue() throws {
        let loaded = try Fixture.load(
            """
            [databases]
            a = pool_size=-1 min_pool_size=-1 max_db_connections=-1 server_lifetime=-1
            [users]
            u = pool_size=-1 query_timeout=-1
            [pgbouncer]
            default_pool_size = 7
            """)
        let entry = try #require(loaded.configuration.database(named: "a"))
        #expect(entry.poolSize == .inherited && entry.serverLifetime == .inherited)
        #expect(entry.maxDbConnections == .inherited && entry.minPoolSize == .inherited)
        #expect(loaded.configuration.users.first?.poolSize == .inherited)
        #expect(loaded.configuration.users.first?.queryTimeout == .inherited)
    }

    @Test func aNumberThatMayBeOctalIsRefused() {
        let errors = Fixture.errors(
            "[databases]\n* = pool_size=010\n[pgbouncer]\nmax_client_conn = 0100\n")
        #expect(errors.count == 2 && errors.allSatisfy { $0.contains("begins with a zero") })
    }
}
