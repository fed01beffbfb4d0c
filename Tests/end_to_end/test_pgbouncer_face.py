# SPDX-License-Identifier: Apache-2.0
"""`pglease pgbouncer`: its options, its signals, its files, its words."""

import os
import signal
import subprocess

import psycopg2
import pytest

from harness import pooler, wire
from harness.postgres import unprivileged_user
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


# The keys of pgbouncer 1.26.1's SHOW CONFIG, by its column changeable.
CHANGEABLE = """
    admin_users application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file
    auth_ldap_options auth_query auth_type auth_user autodb_idle_timeout cancel_wait_timeout
    client_idle_timeout client_login_timeout client_tls13_ciphers client_tls_ca_file
    client_tls_cert_file client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve
    client_tls_key_file client_tls_protocols client_tls_sslmode conffile default_pool_size
    dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout
    ignore_startup_parameters log_connections log_disconnections log_pooler_errors log_stats
    logfile login_notify_message max_client_conn max_db_client_connections max_db_connections
    max_packet_size max_prepared_statements max_user_client_connections max_user_connections
    min_pool_size peer_id pool_idle_timeout pool_mode query_timeout query_wait_notify
    query_wait_timeout reserve_pool_size reserve_pool_timeout sbuf_loopcnt scram_iterations
    server_check_delay server_check_query server_connect_timeout server_fast_close
    server_idle_timeout server_lifetime server_login_retry server_reset_query
    server_reset_query_always server_round_robin server_tls13_ciphers server_tls_ca_file
    server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols
    server_tls_sslmode stats_period stats_users syslog syslog_facility syslog_ident
    tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer
    tcp_user_timeout transaction_timeout verbose
"""
FIXED = """
    disable_pqexec job_name listen_addr listen_backlog listen_port pidfile pkt_buf resolv_conf
    so_reuseport track_extra_parameters unix_socket_dir unix_socket_group unix_socket_mode user
"""
PGBOUNCER_KEYS = dict.fromkeys(CHANGEABLE.split(), "yes") | dict.fromkeys(FIXED.split(), "no")


class Face(pooler.Pooler):
    """pglease, started as pgbouncer is."""

    console_database = "pgbouncer"
    options = ()

    def command(self):
        link = self.folder / "pgbouncer"
        if not link.exists():
            link.symlink_to(pooler.pglease_binary())
        return [str(link), *self.options, str(self.config_path)]


@pytest.fixture
def face(postgres, request):
    made = []

    def make(settings=None, options=(), start=True, text=True, **more):
        one = Face(postgres, {"log_format": "text" if text else "json", **(settings or {})},
                   section="pgbouncer", **more)
        one.options = options
        made.append(one)
        request.node.__dict__.setdefault("brokers", []).append(one)
        return one.start() if start else one

    yield make
    for one in made:
        try:
            one.stop()
            one.check()
        finally:
            one.destroy()


def run(*arguments):
    return subprocess.run([pooler.pglease_binary(), "pgbouncer", *map(str, arguments)],
                          capture_output=True, text=True, timeout=60)


def daemon_of(broker):
    return int((broker.folder / "pid").read_text())


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


# Sizes and times of 0.

def test_a_lifetime_of_0_is_one_use_and_a_size_of_0_no_limit(face):
    broker = face({"server_lifetime": 0, "default_pool_size": 0, "pool_mode": "transaction",
                   "tcp_socket_buffer": 4096, "min_pool_size": 1, "max_client_conn": 200})
    with broker.wire() as one:
        pids = [one.value("SELECT pg_backend_pid()") for _ in range(4)]
    assert len(set(pids)) == 4
    held = [broker.wire() for _ in range(30)]
    for one in held:
        one.query("BEGIN")
    assert len({one.value("SELECT pg_backend_pid()") for one in held}) == 30
    for one in held:
        one.close()
    row = next(row for row in broker.console("SHOW DATABASES") if row["name"] == "app")
    assert (row["pool_size"], row["server_lifetime"]) == ("0", "0")
    assert not broker.logged("server_lifetime") and not broker.logged("tcp_socket_buffer")


# Options.

def test_versions_help_and_wrong_options(face):
    broker = face(start=False)
    program = broker.command()[0]

    def by_name(*arguments):
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)

    assert by_name("-V").stdout.startswith("PgBouncer 1.26.1")
    assert by_name("--version").returncode == 0
    assert "--daemon" in by_name("-h").stdout and "-u" in by_name("--help").stdout
    for wrong in ((), ("-x", "file"), ("-R", "file")):
        done = by_name(*wrong)
        assert done.returncode == 1 and "--help" in done.stderr, done
    assert "no configuration file specified" in by_name("-q").stderr
    assert run("-V").stdout.startswith("PgBouncer 1.26.1")
    assert run("/nowhere/at/all.ini").returncode == 78


def test_it_serves_in_the_foreground_with_pgbouncers_defaults(face):
    broker = face()
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"
    settings = {row["key"]: row for row in broker.console("SHOW CONFIG")}
    assert settings["default_pool_size"]["default"] == "20"
    assert settings["conffile"]["value"] == str(broker.config_path)
    assert settings["pool_mode"]["default"] == "session"


def test_the_applications_database_url_is_not_its_own(face):
    broker = face(databases={}, environment={"DATABASE_URL": "postgres://user@[", "PGLEASE_LOG_LEVEL": "debug"})
    assert {row["key"]: row["value"] for row in broker.console("SHOW CONFIG")}["log_level"] == "debug"


def test_quiet_says_nothing_and_verbose_says_more(face):
    quiet = face({"logfile": "own.log"}, options=("-q",))
    assert quiet.log() == ""
    assert "ready" in (quiet.folder / "own.log").read_text()
    loud = face(options=("-v", "-v"))
    config = {row["key"]: row["value"] for row in loud.console("SHOW CONFIG")}
    assert config["verbose"] == "2"


def test_a_daemon_leaves_when_it_is_ready_and_its_pidfile_goes_with_it(face):
    broker = face({"logfile": "own.log", "pidfile": "pid"}, options=("-d",), start=False)
    broker.launch()
    assert broker.wait() == 0
    process = daemon_of(broker)
    try:
        with broker.wire() as one:
            assert one.value("SELECT 1") == "1"
        assert os.getsid(process) == process
        assert os.readlink(f"/proc/{process}/fd/0") == os.readlink(f"/proc/{process}/fd/2") \
            == "/dev/null"
        second = subprocess.run(broker.command(), cwd=broker.folder, capture_output=True,
                                text=True, timeout=60)
        assert second.returncode == 73 and "another instance running" in second.stderr
    finally:
        os.kill(process, signal.SIGTERM)
    eventually(lambda: gone(process), 20)
    assert not (broker.folder / "pid").exists()
    assert "stopped" in (broker.folder / "own.log").read_text()


def test_a_daemon_that_cannot_start_says_so_by_its_status(face):
    broker = face({"logfile": "own.log", "pidfile": "pid", "unix_socket_dir": "/nowhere/here"},
                  options=("-d",), start=False)
    broker.launch()
    assert broker.wait() == 73
    assert "unix_socket_dir" in broker.log() + (broker.folder / "own.log").read_text()
    assert not (broker.folder / "pid").exists()


@pytest.mark.parametrize("settings, missing", [
    ({"logfile": "own.log"}, "daemon needs pidfile configured"),
    ({"pidfile": "pid"}, "daemon needs logfile or syslog configured")])
def test_a_daemon_needs_its_files(face, settings, missing):
    broker = face(settings, options=("-d",), start=False)
    broker.launch()
    assert broker.wait() == 78 and missing in broker.log()


def test_a_pidfile_that_was_left_behind_is_taken_over(face):
    broker = face({"pidfile": "pid"}, start=False)
    ended = subprocess.Popen(["true"])
    ended.wait()
    (broker.folder / "pid").write_text(f"{ended.pid}\n")
    broker.start()
    assert daemon_of(broker) == broker.pid
    broker.stop()
    assert not (broker.folder / "pid").exists()


@pytest.mark.parametrize("content", ["1\n", "", "nonsense\n"])
def test_a_pidfile_of_somebody_is_left_alone(face, content):
    broker = face({"pidfile": "pid"}, start=False)
    (broker.folder / "pid").write_text(content)
    broker.launch()
    assert broker.wait() == 73 and "another instance running" in broker.log()
    assert (broker.folder / "pid").read_text() == content


def test_a_log_file_that_cannot_be_opened_refuses_start_and_reload(face):
    broker = face({"logfile": "/nowhere/here.log"}, start=False)
    broker.launch()
    assert broker.wait() == 73 and "/nowhere/here.log" in broker.log()
    broker.set(logfile="own.log")
    broker.start()
    broker.set(logfile="/nowhere/here.log")
    broker.errors_expected = True
    with broker.wire("admin", "pgbouncer") as console:
        error = wire.error_of(console.query("RELOAD")).fields
        assert error["C"] == "F0000" and "/nowhere/here.log" in error["D"]
    assert "RELOAD" in (broker.folder / "own.log").read_text()


def test_the_log_file_is_opened_again_by_a_reload(face):
    broker = face({"logfile": "own.log"})
    own = broker.folder / "own.log"
    own.rename(broker.folder / "own.log.1")
    broker.send_signal(signal.SIGHUP)
    eventually(own.exists)
    with broker.wire():
        eventually(lambda: "login attempt: db=app user=app" in own.read_text())
    broker.console(f"SET logfile = '{broker.folder}/third.log'")
    with broker.wire("other"):
        eventually(lambda: "user=other" in (broker.folder / "third.log").read_text())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("way", ["setting", "option"])
def test_root_becomes_the_user(face, way):
    me = unprivileged_user()
    broker = face({"user": me.pw_name} if way == "setting" else {"user": "root"}, start=False,
                  options=("-u", me.pw_name) if way == "option" else ())
    os.chown(broker.folder, me.pw_uid, me.pw_gid)
    os.chown(broker.socket_folder, me.pw_uid, me.pw_gid)
    broker.start()
    status = open(f"/proc/{broker.pid}/status").read()
    assert f"Uid:\t{me.pw_uid}\t{me.pw_uid}\t{me.pw_uid}" in status
    assert f"Gid:\t{me.pw_gid}\t{me.pw_gid}\t{me.pw_gid}" in status
    broker.console("RELOAD")


def test_a_user_that_is_not_there_is_an_error(face):
    broker = face({"user": "nobody-of-that-name"}, start=False)
    broker.launch()
    assert broker.wait() == 78 and "nobody-of-that-name" in broker.log()


# The file.

def test_the_last_line_of_a_key_counts_and_no_folder_is_no_socket(face):
    broker = face({"unix_socket_dir": ""}, tcp=True, start=False)
    broker.config_path.write_text(
        broker.config_path.read_text() + "default_pool_size = 3\ndefault_pool_size = 7\n")
    broker.start()
    config = {row["key"]: row["value"]
              for row in broker.console("SHOW CONFIG", address=broker.tcp_address)}
    assert config["default_pool_size"] == "7"
    assert not os.path.exists(broker.socket_path)


def test_show_config_has_every_key_of_pgbouncer_and_set_changes_what_it_changes(face):
    broker = face()
    rows = {row["key"]: row for row in broker.console("SHOW CONFIG")}
    assert set(PGBOUNCER_KEYS) <= set(rows)
    for key, changeable in PGBOUNCER_KEYS.items():
        assert rows[key]["changeable"] == changeable, key
    with broker.wire("admin", "pgbouncer") as console:
        for key in CHANGEABLE.split():
            value = rows[key]["value"]
            answer = console.query(f"SET {key} = '{value}'")
            assert "E" not in wire.kinds(answer), (key, value, answer)
        assert "E" not in wire.kinds(console.query("SET extra_float_digits = 3"))
        for statement in ("SET dns_max_ttl = 7", "SET max_client_conn = '77'",
                          "SET verbose = 1", "SET server_lifetime=0.5"):
            assert "E" not in wire.kinds(console.query(statement)), statement
    rows = {row["key"]: row["value"] for row in broker.console("SHOW CONFIG")}
    assert (rows["dns_max_ttl"], rows["max_client_conn"], rows["verbose"],
            rows["server_lifetime"]) == ("7", "77", "1", "0.5")


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_set_pool_mode_does_not_end_idle_clients(face, mode):
    broker = face({"pool_mode": "session"})
    with broker.wire() as old:
        old.query("CREATE TEMP TABLE mine (a int)")
        broker.console(f"SET pool_mode = {mode}")
        assert old.value("SELECT count(*) FROM mine") == "0", "it goes on as it came"
        with broker.wire() as new:
            assert new.value("SELECT 1") == "1"
            modes = {row["pool_mode"] for row in broker.console("SHOW POOLS")
                     if row["database"] == "app"}
            assert modes == {"session", mode}
    eventually(lambda: [row["pool_mode"] for row in broker.console("SHOW POOLS")
                        if row["database"] == "app"] == [mode])


# Signals.

def test_hup_usr1_and_usr2(face):
    broker = face()
    broker.set(default_pool_size=3)
    broker.send_signal(signal.SIGHUP)
    eventually(lambda: {row["key"]: row["value"] for row in broker.console("SHOW CONFIG")}
               ["default_pool_size"] == "3")

    def paused():
        return {row["key"]: row["value"] for row in broker.console("SHOW STATE")}["paused"]

    broker.send_signal(signal.SIGUSR1)
    eventually(lambda: paused() == "yes")
    broker.send_signal(signal.SIGUSR2)
    eventually(lambda: paused() == "no")


def test_term_waits_for_the_clients_and_a_second_one_does_not(face):
    broker = face({"shutdown_grace": 0})
    with broker.wire() as one:
        broker.send_signal(signal.SIGTERM)
        broker.wait_told("STOPPING=1")
        assert one.value("SELECT 1") == "1"
        broker.send_signal(signal.SIGTERM)
        assert broker.wait() == 0
        error = one.until("E")[-1].fields
        assert (error["M"], error["C"]) == ("server shutting down", "57P01")


def test_int_waits_for_the_servers(face):
    broker = face({"pool_mode": "transaction", "shutdown_grace": 0})
    with broker.wire() as idle, broker.wire() as busy:
        busy.query("BEGIN")
        broker.send_signal(signal.SIGINT)
        broker.wait_told("STOPPING=1")
        assert busy.value("SELECT 1") == "1"
        busy.query("COMMIT")
        assert broker.wait() == 0
        assert idle.until("E")[-1].code == "57P01"


def test_quit_does_not_wait(face):
    broker = face()
    with broker.wire() as one:
        one.query("BEGIN")
        broker.send_signal(signal.SIGQUIT)
        assert broker.wait() == 0


# Words.

def words_of(call):
    with pytest.raises(wire.Refused) as caught:
        call()
    return caught.value.fields["M"]


def test_what_clients_are_told_is_pgbouncers_wording(face):
    broker = face({"max_client_conn": 3, "client_login_timeout": 1, "query_wait_timeout": 0.2,
                   "default_pool_size": 1, "pool_mode": "transaction"}, start=False,
                  users={"other": "max_user_client_connections=1"})
    broker.databases = {"app": broker.server(dbname="app", user="app"),
                        "few": broker.server(dbname="app", max_db_client_connections=1),
                        "off": broker.server(dbname="app")}
    broker.write()
    broker.start()
    broker.console("DISABLE off")
    assert words_of(lambda: broker.wire("app", "nodb")) == "no such database: nodb"
    assert words_of(lambda: broker.wire("app", "off")) == 'database "off" is disabled'
    with broker.wire("other") as one:
        assert words_of(lambda: broker.wire("other")) \
            == "client connections exceeded (max_user_client_connections)"
        one.query("BEGIN")
        with broker.wire() as two:
            error = wire.error_of(two.query("SELECT 1")).fields
            assert (error["M"], error["C"]) == ("query_wait_timeout", "53300")
            assert error["D"].startswith("No server connection became free within ")
            assert "Held by: " in error["D"].splitlines()[-1]
            with broker.wire():
                assert words_of(broker.wire) == "no more connections allowed (max_client_conn)"
                broker.console("SHOW VERSION")
    with broker.wire("app", "few"):
        assert words_of(lambda: broker.wire("app", "few")) \
            == "client connections exceeded (max_db_client_connections)"
    with broker.raw() as silent:
        assert silent.until("E")[-1].fields["M"] == "client_login_timeout"


@pytest.mark.parametrize("name, words", [
    ("query_timeout", "query timeout"), ("idle_transaction_timeout", "idle transaction timeout"),
    ("transaction_timeout", "transaction timeout"), ("client_idle_timeout", "client_idle_timeout")])
def test_what_ends_leases_and_sessions_is_pgbouncers_wording(face, name, words):
    broker = face({name: 1, "pool_mode": "transaction"})
    with broker.wire() as one:
        if name == "query_timeout":
            one.send(wire.query("SELECT pg_sleep(60)"))
        else:
            one.query("SELECT 1" if name == "client_idle_timeout" else "BEGIN")
            if name != "client_idle_timeout":
                broker.wait_logged("pooler error: " + words)
                one.send(wire.query("SELECT 1"))
        assert one.until("E")[-1].fields["M"] == words
    broker.wait_logged("pooler error: " + words) if name != "client_idle_timeout" else None


def test_the_text_log_has_pgbouncers_lines(face):
    broker = face({"auth_type": "scram-sha-256"}, tcp=True, start=False,
                  userlist={"app": "secret", "admin": ""})
    broker.databases = {"app": broker.server(dbname="app")}
    broker.write()
    broker.start()
    with wire.Wire(broker.tcp_address) as one:
        one.start("app", "app", "secret")
        port = one.socket.getsockname()[1]
        one.socket.close()
    told = rf"app/app@127.0.0.1:{port}"
    broker.wait_logged(told, "login attempt: db=app user=app tls=no replication=no")
    broker.wait_logged(told, "closing because: client unexpected eof (age=0s)")
    psycopg2.connect(host="127.0.0.1", port=broker.port, user="app", dbname="app",
                     password="secret").close()
    broker.wait_logged("closing because: client close request (age=0s)")
    with pytest.raises(wire.Refused), wire.Wire(broker.tcp_address) as one:
        one.start("app", "nodb", "secret")
    broker.wait_logged("login attempt: db=nodb user=app")
    broker.wait_logged("nodb/app@", "pooler error: no such database: nodb")
    broker.wait_logged("nodb/app@", "closing because: no such database: nodb")


@pytest.mark.parametrize("command, words", [
    ("PAUSE nodb", "no such database: nodb"), ("RESUME", "pooler is not paused"),
    ("RESUME app", "database app is not paused"), ("FOO", "invalid command 'FOO', use SHOW HELP;"),
    ("SHOW FOO", "invalid command 'SHOW foo', use SHOW HELP;"), ("SET foo = 1", "SET failed"),
    ("SET pool_mode = bar", "SET failed"), ("KILL_CLIENT 77", "client not found"),
    ("DISABLE", "a database is required"), ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
    ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"), ("SUSPEND", "invalid command 'SUSPEND', use SHOW HELP;")])
def test_console_errors_are_pgbouncers(face, command, words):
    broker = face(start=False)
    broker.databases = {"app": broker.server()}
    broker.write()
    with broker.start().wire("admin", "pgbouncer") as console:
        error = wire.error_of(console.query(command)).fields
        assert (error["M"], error["C"]) == (words, "08P01")
    broker.wait_logged("pgbouncer/admin@", "pooler error: " + words)


def test_stats_users_are_told_that_admin_access_is_needed(transaction_broker):
    with transaction_broker.wire("watcher", "pgbouncer") as console:
        for command in ("RELOAD", "SET verbose = 1", "KILL_CLIENT 1", "SHUTDOWN", "PAUSE"):
            error = wire.error_of(console.query(command)).fields
            assert (error["M"], error["C"]) == ("admin access needed", "08P01")


# How many there may be.

def test_clients_of_the_console_are_counted(face):
    broker = face()
    with broker.wire("admin", "pgbouncer"), broker.wire("admin", "pgbouncer"):
        users = {row["name"]: row for row in broker.console("SHOW USERS", user="watcher")}
        assert users["admin"]["current_client_connections"] == "2"
        databases = {row["name"]: row for row in broker.console("SHOW DATABASES", user="watcher")}
        assert databases["pgbouncer"]["current_client_connections"] == "3"


def test_clients_who_say_nothing_and_consoles_are_bounded(face):
    broker = face({"max_client_conn": 5, "client_login_timeout": 60})
    silent = [broker.raw() for _ in range(40)]
    try:
        with broker.wire() as one:
            assert one.value("SELECT 1") == "1"
        refused = [each for each in silent if each.closed_by_peer(0.05)]
        assert 20 <= len(refused) <= 30, len(refused)
        assert silent[0] in refused, "those who have been silent for longest"
    finally:
        for each in silent:
            each.close()
    consoles = []
    try:
        with pytest.raises(wire.Refused) as caught:
            for _ in range(40):
                consoles.append(broker.wire("admin", "pgbouncer"))
        assert caught.value.fields["M"] == "no more connections allowed (max_client_conn)"
        assert len(consoles) == 15
        assert words_of(broker.wire) == "no more connections allowed (max_client_conn)"
    finally:
        for each in consoles:
            each.close()
    eventually(lambda: broker.console("SHOW VERSION"))


@pytest.mark.parametrize("target", ["somewhere", "nowhere/at/all"])
def test_a_lock_that_is_a_link_is_an_error(face, target):
    broker = face(start=False)
    os.symlink(broker.folder / target, broker.socket_path + ".lock")
    broker.launch()
    assert broker.wait() == 73 and "is a symbolic link" in broker.log()
    assert not (broker.folder / "somewhere").exists()


# What 1.26 has brought.

def test_a_client_is_told_who_serves_it_and_what_the_operator_says(face):
    broker = face({"login_notify_message": "be quick", "pool_mode": "transaction"})
    for user, database in (("app", "app"), ("admin", "pgbouncer")):
        with broker.wire(user, database) as one:
            assert one.parameters["pgbouncer.version"] == "1.26.1"
            assert [notice.fields["M"] for notice in one.notices] == ["be quick"]
            if database == "app":
                assert one.parameters["pgbouncer.pool_mode"] == "transaction"
                assert one.parameters["pgbouncer.max_prepared_statements"] == "200"
    broker.console("SET login_notify_message = ''")
    with broker.wire() as one:
        assert not one.notices


def test_logins_are_counted(face):
    broker = face()
    for _ in range(3):
        broker.wire().close()
    row = next(row for row in broker.console("SHOW STATS") if row["database"] == "app")
    assert row["total_client_login_count"] == "3" and "avg_client_login_count" in row
    totals = {row["name"]: row["value"] for row in broker.console("SHOW TOTALS")}
    assert int(totals["total_client_login_count"]) >= 4


@pytest.mark.parametrize("setting", ["pool_idle_timeout", "autodb_idle_timeout"])
def test_a_pool_that_nobody_uses_goes(face, setting):
    broker = face({setting: 0.3, "server_idle_timeout": 0.2})
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"
        assert broker.pool()
    eventually(lambda: broker.pool() is None)
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


def test_a_pool_of_a_line_of_its_own_is_no_automatic_one(face):
    broker = face({"autodb_idle_timeout": 0.2, "server_idle_timeout": 0.2}, start=False)
    broker.databases = {"app": broker.server(dbname="app"), "*": broker.server()}
    broker.write()
    broker.start()
    for database in ("app", "second"):
        with broker.wire("app", database) as one:
            assert one.value("SELECT 1") == "1"
    eventually(lambda: broker.pool("second") is None)
    assert broker.pool("app")


# What old configurations rely on.

def test_names_of_lists_stand_between_blanks_too(face):
    broker = face({"admin_users": "app other", "stats_users": "watcher,someone  admin"})
    for user in ("app", "other"):
        broker.console("RECONNECT", user=user)
    assert broker.console("SHOW VERSION", user="admin")
    with pytest.raises(wire.Refused):
        broker.console("RELOAD", user="admin")
    assert broker.console("SHOW CONFIG")[0]


def test_an_address_that_is_named_twice_is_listened_on_once(face):
    for addresses in ("127.0.0.1,localhost", "127.0.0.1, *", "0.0.0.0,127.0.0.1,127.0.0.1"):
        broker = face({"listen_addr": addresses})
        wire.Wire(broker.tcp_address).start("app", "app").close()
        broker.stop()


def test_trust_without_a_list_of_users_lets_nobody_in(face):
    broker = face({"auth_file": ""})
    assert broker.logged("trust without auth_file")
    with pytest.raises(wire.Refused) as refused:
        broker.wire()
    assert refused.value.fields["M"] == '"trust" authentication failed'


def test_with_any_everybody_is_an_administrator(face, postgres):
    broker = face({"auth_type": "any", "auth_file": ""}, tcp=True,
                  databases={"app": f"host={postgres.host} port={postgres.port} dbname=app user=app"})
    with wire.Wire(broker.tcp_address).start("whoever", "pgbouncer") as one:
        assert one.query("RECONNECT")[0].kind == "C"


def test_a_list_of_users_that_is_not_there_keeps_nobody_from_starting_but_a_reload(face):
    broker = face({"auth_type": "md5"}, userlist={"app": "word"}, start=False)
    broker.userlist_path.unlink()
    broker.launch().wait_told("READY=1")
    assert broker.logged("No such file or directory", "warn")

    def login():
        wire.Wire(broker.socket_path).start("app", "app", "word").close()

    with pytest.raises(wire.Refused):
        login()
    broker.console("RELOAD")
    broker.write_userlist()
    broker.console("RELOAD")
    login()
    broker.userlist_path.unlink()
    broker.errors_expected = True
    with pytest.raises(wire.Refused) as refused:
        broker.console("RELOAD")
    assert "No such file or directory" in refused.value.fields["D"]
    login()


def test_rules_that_are_not_there_let_nobody_in_but_a_reload_reads_them(face):
    """As 1.26: pgbouncer starts, and says so. A RELOAD without them is refused once they were there."""
    broker = face({"auth_type": "hba"}, start=False)
    rules = broker.folder / "hba"
    broker.set(auth_hba_file=rules)
    broker.launch().wait_told("READY=1")
    assert broker.logged("no such file or directory: no client can log in", "warn")
    with pytest.raises(wire.Refused) as refused:
        broker.wire()
    assert refused.value.fields["M"] == "no authentication method is found"
    broker.console("RELOAD")
    rules.write_text("local all all trust\n")
    broker.console("RELOAD")
    broker.wire().close()
    rules.unlink()
    broker.errors_expected = True
    with pytest.raises(wire.Refused) as refused:
        broker.console("RELOAD")
    assert "No such file or directory" in refused.value.fields["D"]
    broker.wire().close()


def test_who_says_nothing_is_the_kernels_for_a_while(face):
    broker = face({"tcp_defer_accept": 60}, tcp=True)
    before = broker.open_files_now()
    with wire.Wire(broker.tcp_address), wire.Wire(broker.tcp_address).start("app") as one:
        one.value("SELECT 1")
        # It and its server, though the silent one came first.
        assert broker.open_files_now() == before + 2
    eventually(lambda: broker.open_files_now() == before + 1)
    broker.set(tcp_defer_accept=0)
    broker.console("RELOAD")
    with wire.Wire(broker.tcp_address):
        eventually(lambda: broker.open_files_now() == before + 2)
