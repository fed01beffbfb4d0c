// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

private typealias Fixture = ConfigurationFixture

/// Everything that can be wrong, and the exact words for it.
@Suite struct ConfigurationErrorTests {
    /// The line stands fourth, below a database.
    @Test(arguments: [
        ("pool_mode = foo", "pool_mode: \"foo\" is not one of session, transaction, statement"),
        ("pool_mode =", "pool_mode: \"\" is not one of session, transaction, statement"),
        ("default_pool_size = ten", "default_pool_size: \"ten\" is not a number, 0 to 100000"),
        ("default_pool_size =", "default_pool_size: \"\" is not a number, 0 to 100000"),
        ("default_pool_size = -1", "default_pool_size: -1 is out of range, 0 to 100000"),
        ("listen_port = 65536", "listen_port: 65536 is out of range, 1 to 65535"),
        ("max_db_connections = -1", "max_db_connections: -1 is out of range, 0 to 100000"),
        (
            "max_waiting = 99999999999999999999",
            "max_waiting: \"99999999999999999999\" is out of range, 0 to 1000000"
        ),
        (
            "query_timeout = soon",
            "query_timeout: \"soon\" is not a duration "
                + "(a number of seconds, or one with us, ms, s, min, h or d)"
        ),
        (
            "tcp_user_timeout = 0.5",
            "tcp_user_timeout: \"0.5\" is finer than a millisecond"
        ),
        ("stats_period = 0.5", "stats_period: \"0.5\" is too short: at least 1 s"),
        ("log_stats = maybe", "log_stats: \"maybe\" is not a boolean (write 1 or 0)"),
        ("startup_factor = 0.5", "startup_factor: \"0.5\" is not a number from 1.0 to 100.0"),
        ("startup_factor = nan", "startup_factor: \"nan\" is not a number from 1.0 to 100.0"),
        ("unix_socket_mode = 0999", "unix_socket_mode: \"0999\" is not a file mode (such as 0770)"),
        (
            "unix_socket_dir = run",
            "unix_socket_dir: \"run\" is not an absolute path "
                + "(a folder, @name for an abstract socket, or none)"
        ),
        ("peer_map = a", "peer_map: \"a\" is not a pair (system_user:role, either may be *)"),
        (
            "server_tls_protocols = tlsv1.1, tlsv1.3",
            "server_tls_protocols: \"tlsv1.1, tlsv1.3\" leaves a version out in between "
                + "(libpq takes a lowest and a highest version)"
        ),
        ("pool_moed = session", "unknown setting \"pool_moed\" (did you mean pool_mode?)"),
        ("colour = blue", "unknown setting \"colour\""),
        (
            "pool_size = 5",
            "unknown setting \"pool_size\" "
                + "(did you mean default_pool_size? pool_size belongs to a line of [databases])"
        ),
        (
            "pool_sise = 5",
            "unknown setting \"pool_sise\" "
                + "(did you mean default_pool_size? pool_size belongs to a line of [databases])"
        ),
        (
            "port = 6432",
            "unknown setting \"port\" "
                + "(did you mean listen_port? port belongs to a line of [databases])"
        ),
        (
            "host = /run",
            "unknown setting \"host\" (host belongs to a line of [databases])"
        ),
        (
            "max_leases = 9",
            "unknown setting \"max_leases\" (max_leases belongs to a line of [groups])"
        ),
        ("wait_timeout = 9", "unknown setting \"wait_timeout\" (did you mean query_wait_timeout?)"),
        (
            "default_pool_size = 20 ; of each",
            "default_pool_size: \"20 ; of each\" is not a number, 0 to 100000 "
                + "(a comment needs a line of its own: behind a value it is part of the value)"
        ),
        (
            "auth_type = ldap",
            "auth_type: ldap needs auth_ldap_options "
                + "(auth_ldap_options = ldapurl=\"ldaps://server/base?uid?sub\" is one)"
        ),
        ("auth_file = gone", "auth_file: gone: No such file or directory"),
        ("pool_mode", "a line without \"=\" (write name = value; a comment begins with ;)"),
        ("= session", "a line without \"=\" (write name = value; a comment begins with ;)"),
        ("\"pool_mode = session", "the name's double quote is not closed"),
        ("[pglease", "the section's \"[\" has no \"]\""),
        ("[users] x", "text after the section's \"]\""),
        ("[database]", "unknown section [database] (did you mean [databases]?)"),
        (
            "[pgbouncer]",
            "[pgbouncer] beside [pglease] of pglease.ini:3 "
                + "(the section's name decides the defaults: keep one of them)"
        ),
        ("%include", "%include names no file"),
        ("%include gone.ini", "%include \"gone.ini\": No such file or directory"),
        ("%inclued gone.ini", "\"%inclued\" is not %include"),
        (
            "%include pglease.ini",
            "%include goes in a circle: pglease.ini -> pglease.ini"
        ),
        ("min_pool_size = 11", "min_pool_size: 11 is more than default_pool_size 10"),
        (
            "server_login_retry_min = 1min",
            "server_login_retry_min: is longer than server_login_retry 15"
        ),
        ("startup_delay = 11", "startup_delay: startup_delay is longer than startup_max_delay"),
        (
            "unix_socket_dir = none",
            "unix_socket_dir: there is no Unix socket and no listen_addr "
                + "(nobody could connect: set one of them)"
        ),
        ("server_tls_key_file = /k", "server_tls_key_file: server_tls_cert_file is missing"),
        (
            "unix_socket_dir = /" + String(repeating: "x", count: 100),
            "unix_socket_dir: the folder's name is too long for a Unix socket "
                + "(the whole path may have 107 bytes)"
        ),
    ])
    func settingErrors(line: String, expected: String) {
        let text = "[databases]\n* =\n[pglease]\n\(line)\n"
        #expect(Fixture.errors(text) == ["pglease.ini:4: " + expected])
    }

    @Test(arguments: [
        ("a = host", "databases.a: a word without \"=\" (write key=value pairs)"),
        (
            "a = password=se cret",
            "databases.a: after password: a word without \"=\" "
                + "(a value with blanks needs single quotes)"
        ),
        ("a = password='se", "databases.a: the quote of password is not closed"),
        (
            "a = max_leases=9",
            "databases.a: unknown key \"max_leases\" (max_leases belongs to a line of [groups])"
        ),
        (
            "a = default_pool_size=9",
            "databases.a: unknown key \"default_pool_size\" (did you mean pool_size?)"
        ),
        (
            "a = max_client_conn=9",
            "databases.a: unknown key \"max_client_conn\" "
                + "(max_client_conn is a setting of [pglease], not of one line)"
        ),
        (
            "a = host=x ; the first",
            "databases.a: after host: a word without \"=\" "
                + "(a comment needs a line of its own: behind a value it is part of the value)"
        ),
        ("a = host=", "databases.a: host has no value ('' is the empty text)"),
        ("a = hst=x", "databases.a: unknown key \"hst\" (did you mean host?)"),
        ("a = port=0", "databases.a.port: \"0\" is not a port, 1 to 65535"),
        ("a = port=1,99999", "databases.a.port: \"1,99999\" is not a port, 1 to 65535"),
        ("a = pool_size=-2", "databases.a.pool_size: -2 is out of range, 0 to 100000"),
        (
            "a = pool_mode=x",
            "databases.a.pool_mode: \"x\" is not one of session, transaction, statement"
        ),
        ("a = min_pool_size=11", "databases.a.min_pool_size: 11 is more than the pool's size 10"),
        ("a = replication=1", "databases.a.replication: replication connections cannot be pooled"),
        (
            "pgbouncer =",
            "databases.pgbouncer: the name is the console's "
                + "(choose another name and give dbname=pgbouncer)"
        ),
        (
            "a = postgresql://u:pass%zz@h/d",
            "databases.a: the URI has a \"%\" without two hexadecimal digits"
        ),
    ])
    func databaseErrors(line: String, expected: String) {
        #expect(
            Fixture.errors("[databases]\n\(line)\n[pglease]\n") == ["pglease.ini:2: " + expected])
    }

    @Test(arguments: [
        (
            "[users]\nu = pool_sizes=1",
            "users.u: unknown key \"pool_sizes\" (did you mean pool_size?)"
        ),
        (
            "[users]\nu = query_timeout=x",
            "users.u.query_timeout: \"x\" is not a duration "
                + "(a number of seconds, or one with us, ms, s, min, h or d)"
        ),
        (
            "[groups]\ng = max_leases=9    ; fewer than 10",
            "groups.g: after max_leases: a word without \"=\" "
                + "(a comment needs a line of its own: behind a value it is part of the value)"
        ),
        (
            "[groups]\ng = pool_size=9",
            "groups.g: unknown key \"pool_size\" (pool_size belongs to a line of [databases])"
        ),
        ("[groups]\ng = weight=0", "groups.g.weight: 0 is out of range, 1 to 1000"),
        ("[groups]\ng = match=''", "groups.g.match: the pattern is empty"),
        (
            "[groups]\ng = min_leases=3 max_leases=2",
            "groups.g.min_leases: 3 is more than its max_leases 2"
        ),
        (
            "[groups]\ng = database=elsewhere",
            "groups.g.database: \"elsewhere\" is not in [databases], and there is no *"
        ),
        (
            "[groups]\ng = min_leases=11",
            "groups.g.min_leases: the groups of database \"a\" are promised 11 connections, "
                + "its pool has 10 (lower min_leases or raise the pool's size)"
        ),
    ])
    func lineErrors(lines: String, expected: String) {
        #expect(
            Fixture.errors("[databases]\na =\n\(lines)\n") == ["pglease.ini:4: " + expected])
    }

    @Test func guaranteesOfGroupsAreSummed() throws {
        let text = "[databases]\na = pool_size=5\n[groups]\nx = min_leases=3\ny = min_leases="
        #expect(Fixture.errors(text + "2\n").isEmpty)
        #expect(
            Fixture.errors(text + "3\n") == [
                "pglease.ini:5: groups.y.min_leases: the groups of database \"a\" are promised 6 "
                    + "connections, its pool has 5 (lower min_leases or raise the pool's size)"
            ])
    }

    @Test func allErrorsAtOnceInTheirOrder() {
        let sources = Fixture.sources(
            "[databases]\na = port=x\n[pglease]\npool_mode = x\nlisten_port = x\n",
            environment: [
                "PGLEASE_VERBOSE": "x", "PGLEASE_LISTEN_BACKLOG_FILE": "gone",
                "PGLEASE_DATABASE_URL": "mysql://h/d",
            ],
            set: ["log_level=x", "nonsense=1"])
        #expect(
            Fixture.errors(sources) == [
                "pglease.ini:2: databases.a.port: \"x\" is not a port, 1 to 65535",
                "pglease.ini:4: pool_mode: \"x\" is not one of session, transaction, statement",
                "pglease.ini:5: listen_port: \"x\" is not a number, 1 to 65535",
                "PGLEASE_LISTEN_BACKLOG_FILE: gone: No such file or directory",
                "PGLEASE_VERBOSE: verbose: \"x\" is not a number, 0 to 10",
                "--set: log_level: \"x\" is not one of trace, debug, info, notice, warning, "
                    + "error, critical",
                "--set: unknown setting \"nonsense\"",
                "PGLEASE_DATABASE_URL: is not a postgresql:// URL "
                    + "(such as postgresql://user:password@host:5432/database)",
            ])
    }

    @Test func valueAndFileOfOneVariable() {
        let sources = Fixture.sources(
            files: ["f": "postgresql://b/x"],
            environment: ["DATABASE_URL": "postgresql://a/x", "DATABASE_URL_FILE": "f"])
        #expect(
            Fixture.errors(sources) == [
                "DATABASE_URL_FILE: is set beside DATABASE_URL (set one of them)"
            ])
    }

    @Test func settingBeforeAnySection() {
        #expect(
            Fixture.errors("pool_mode = session\n[databases]\n* =\n") == [
                "pglease.ini:1: \"pool_mode\" stands before the first section "
                    + "(begin with [pglease] or [databases])"
            ])
    }

    @Test func noDatabase() throws {
        let errors = Fixture.errors("[pglease]\n")
        #expect(errors.count == 1)
        #expect(errors.first?.hasPrefix("pglease.ini: no database is configured") == true)
        // pgbouncer starts with its console alone.
        #expect(try Fixture.load("[pgbouncer]\n").warnings.count == 2)
    }

    @Test func missingFile() {
        var sources = Fixture.sources(environment: ["DATABASE_URL": "postgresql://a/x"])
        sources.file = "/etc/pglease.ini"
        #expect(
            Fixture.errors(sources) == [
                "/etc/pglease.ini: cannot be read: No such file or directory"
            ])
    }

    @Test func bytesThatAreNotText() {
        let head = Array("[databases]\n* =\n[pglease]\n".utf8)
        let bad: [[UInt8]] = [[0xFF], [0x61, 0x00], [0xC3]]
        for bytes in bad {
            #expect(
                Fixture.errors(Fixture.sources(["pglease.ini": head + bytes])) == [
                    "pglease.ini:4: the line is not UTF-8 text"
                ])
        }
    }

    @Test func overlongLine() {
        let long = String(repeating: "x", count: ConfigurationFile.longestLine)
        let text = "[databases]\n* =\n[pglease]\nadmin_users = "
        #expect(
            Fixture.errors(text + long + "\n") == [
                "pglease.ini:4: the line is longer than 65536 bytes"
            ])
        #expect(Fixture.errors(text + long.dropLast(14) + "\n").isEmpty)
    }

    /// No text, however broken, does more than give errors.
    @Test func everyTruncationOfAFileIsAnswered() {
        let text = """
            ; comment\r\n[databases]\r\n"a""b" = host='x y' port=1\n* = postgresql://u:p@[::1]:5/d?a=%41
            [groups]\npipeline-* = weight=2\n%include other.ini\n[pglease]\nlisten_addr = *\n
            """
        let bytes = Array(text.utf8)
        for length in 0...bytes.count {
            for extra in [[], [UInt8(ascii: "'")], [UInt8(ascii: "\"")], [0xE2]] as [[UInt8]] {
                var sources = Fixture.sources([
                    "pglease.ini": Array(bytes[..<length]) + extra, "other.ini": [],
                ])
                sources.databasesComeLater = true
                _ = Fixture.errors(sources)
            }
        }
    }
}
