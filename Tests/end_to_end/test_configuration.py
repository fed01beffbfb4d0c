# SPDX-License-Identifier: Apache-2.0
"""Where the configuration comes from, what is wrong with it, and how it is swapped."""

import shutil
import signal
import subprocess

import pytest

from harness import wire
from harness.pooler import REPOSITORY, pglease_binary
from harness.postgres import folder, free_port
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.pglease_only


def pglease(*words, environment=None, check=None):
    done = subprocess.run([pglease_binary(), *map(str, words)], capture_output=True, text=True,
                          timeout=30, env={"PATH": "/usr/bin:/bin", **(environment or {})},
                          cwd="/tmp")
    if check is not None:
        assert done.returncode == check, done.stdout + done.stderr
    return done


def write(path, text):
    path.write_text(text)
    return path


GOOD = "[databases]\napp = host=/tmp\n[pglease]\nlisten_port = 7000\n"


def test_check_config_tells_what_would_run(tmp_path):
    done = pglease("check-config", "--config", write(tmp_path / "p.ini", GOOD), check=0)
    assert "7000" in done.stdout and "app" in done.stdout


WRONG = {
    "a word that is no choice": ("[databases]\napp=\n[pglease]\npool_mode = fast\n", 4,
                                 ["pool_mode", "transaction"]),
    "a number out of range": ("[databases]\napp=\n[pglease]\nlisten_port = 99999\n", 4,
                              ["listen_port", "65535"]),
    "no number": ("[databases]\napp=\n[pglease]\ndefault_pool_size = many\n", 4,
                  ["default_pool_size"]),
    "an unknown setting": ("[databases]\napp=\n[pglease]\ndefault_pool_sice = 5\n", 4,
                           ["default_pool_size"]),
    "an unknown section": ("[databases]\napp=\n[pgleese]\nx = 5\n", 3, ["pgleese"]),
    "no equals sign": ("[databases]\napp=\n[pglease]\nlisten_port\n", 4, []),
    "both names of the section": ("[databases]\napp=\n[pglease]\n[pgbouncer]\n", 4, ["pgbouncer"]),
    "an open quote": ("[databases]\napp= host='x\n[pglease]\n", 2, ["app"]),
    "an unknown key of a database": ("[databases]\napp= hots=x\n[pglease]\n", 2, ["hots"]),
    "a setting before any section": ("listen_port = 1\n", 1, []),
    "a required protection": (
        "[databases]\napp=\n[pgbouncer]\nclient_tls_sslmode = require\n", 4,
        ["client_tls_sslmode"]),
    "a login that is not there yet": (
        "[databases]\napp=\n[pgbouncer]\nauth_type = ldap\n", 4, ["auth_type"]),
    "an include that is missing": ("%include /nowhere/at/all.ini\n", 1, ["/nowhere/at/all.ini"]),
    "a negative time": ("[databases]\napp=\n[pglease]\nquery_timeout = -1\n", 4,
                        ["query_timeout"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_named_by_file_line_and_reason(tmp_path, what):
    text, line, words = WRONG[what]
    path = write(tmp_path / "wrong.ini", text)
    for command in ("check-config", "serve"):
        done = pglease(command, "--config", path, check=78)
        shown = done.stdout + done.stderr
        assert f"wrong.ini:{line}: " in shown, shown
        for word in words:
            assert word in shown, shown


def test_a_setting_given_twice_is_a_warning_by_file_and_line(tmp_path):
    """As in pgbouncer the last one counts; it is hardly ever meant."""
    path = write(tmp_path / "twice.ini", "[databases]\napp=\n[pglease]\nverbose=0\nverbose=1\n")
    done = pglease("check-config", "--config", path, check=0)
    assert "twice.ini:5: verbose" in done.stdout + done.stderr


def test_all_errors_are_told_at_once(tmp_path):
    path = write(tmp_path / "wrong.ini",
                 "[databases]\napp=\n[pglease]\npool_mode=x\nlisten_port=y\nnonsense=z\n")
    shown = pglease("check-config", "--config", path, check=78).stderr
    assert all(f"wrong.ini:{line}: " in shown for line in (4, 5, 6))


def test_a_missing_file_is_named(tmp_path):
    done = pglease("serve", "--config", tmp_path / "none.ini", check=78)
    assert "none.ini" in done.stderr


def test_nothing_configured_names_the_three_ways():
    shown = pglease("serve", check=78).stderr
    assert all(word in shown for word in ("--config", "DATABASE_URL", "--embedded"))


def test_unknown_options_are_a_usage_error():
    assert pglease("serve", "--no-such-option").returncode == 64


def test_help_shows_every_command():
    shown = pglease("--help", check=0).stdout
    assert all(word in shown for word in ("serve", "check-config", "ping", "version"))


def test_version_names_what_it_is_made_of():
    shown = pglease("version", check=0).stdout.lower()
    assert all(word in shown for word in ("pglease", "libpq", "libuv", "openssl", "libmicrohttpd"))


def test_the_default_file_is_good():
    path = REPOSITORY / "config/pglease.ini"
    pglease("check-config", "--config", path,
            environment={"DATABASE_URL": "postgresql://app@localhost/app"}, check=0)


def test_passwords_are_never_shown(tmp_path):
    path = write(tmp_path / "p.ini",
                 "[databases]\napp = host=/tmp password=sesame pool_mode=wrong\n[pglease]\n")
    assert "sesame" not in str(pglease("check-config", "--config", path))
    path = write(tmp_path / "p.ini", "[databases]\napp = host=/tmp password=sesame\n[pglease]\n")
    assert "sesame" not in str(pglease("check-config", "--config", path, check=0))
    url = "postgresql://app:sesame@localhost/app?nonsense=1"
    assert "sesame" not in str(pglease("check-config", environment={"DATABASE_URL": url}))


def setting(broker, name):
    return next(row["value"] for row in broker.console("SHOW CONFIG") if row["key"] == name)


def test_the_order_is_file_environment_command_line(make_broker, tmp_path):
    secret = write(tmp_path / "size", "13\n")
    broker = make_broker(
        {"default_pool_size": 11, "min_pool_size": 1, "reserve_pool_size": 1, "max_waiting": 50},
        environment={"PGLEASE_DEFAULT_POOL_SIZE": "12", "PGLEASE_RESERVE_POOL_SIZE_FILE":
                     str(secret), "PGLEASE_MAX_WAITING": "60"},
        arguments=["--set", "max_waiting=70"])
    assert setting(broker, "min_pool_size") == "1"
    assert setting(broker, "default_pool_size") == "12"
    assert setting(broker, "reserve_pool_size") == "13"
    assert setting(broker, "max_waiting") == "70"


def test_an_unknown_variable_is_a_warning_with_a_suggestion(make_broker):
    broker = make_broker(environment={"PGLEASE_DEFAULT_POOL_SICE": "3"})
    assert broker.logged("PGLEASE_DEFAULT_POOL_SICE", "PGLEASE_DEFAULT_POOL_SIZE")


class ByEnvironment:
    """Environment for a broker without any file."""

    def __init__(self, **more):
        self.folder, self.port = folder("env"), free_port()
        self.values = {"PGLEASE_UNIX_SOCKET_DIR": str(self.folder),
                       "PGLEASE_LISTEN_PORT": str(self.port), **more}
        self.address = f"{self.folder}/.s.PGSQL.{self.port}"


@pytest.mark.parametrize("way", ["DATABASE_URL", "PGLEASE_DATABASE_URL", "DATABASE_URL_FILE",
                                 "--database-url"])
def test_a_database_url_is_enough(make_broker, postgres, tmp_path, way):
    url = f"postgresql://app@127.0.0.1:{postgres.port}/app?sslmode=disable"
    environment, arguments = ByEnvironment(), []
    if way.startswith("--"):
        arguments = [way, url]
    elif way.endswith("FILE"):
        environment.values[way] = str(write(tmp_path / "url", url + "\n"))
    else:
        environment.values[way] = url
    broker = make_broker(start=False)
    broker.environment = environment.values
    broker.command = lambda: [pglease_binary(), "serve", *arguments]
    try:
        broker.start()
        with wire.Wire(environment.address).start("app", "app") as one:
            assert one.value("SELECT current_database()") == "app"
        with wire.Wire(environment.address).start("app", "second") as one:
            assert one.value("SELECT current_database()") == "second"
    finally:
        broker.stop()
        shutil.rmtree(environment.folder, ignore_errors=True)


def reloads(broker, how):
    if how == "RELOAD":
        broker.console("RELOAD")
    else:
        broker.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("how", ["RELOAD", "SIGHUP"])
def test_a_reload_swaps_the_configuration_and_says_what_changed(make_broker, how):
    broker = make_broker()
    with broker.wire() as one:
        one.query("BEGIN")
        broker.set(default_pool_size=3, query_wait_timeout=7)
        reloads(broker, how)
        eventually(lambda: setting(broker, "default_pool_size") == "3")
        assert setting(broker, "query_wait_timeout").startswith("7")
        assert broker.logged("default_pool_size")
        assert one.query("COMMIT")[0].tag == "COMMIT"


@pytest.mark.parametrize("how", ["RELOAD", "SIGHUP"])
def test_a_wrong_reload_keeps_the_old_configuration(make_broker, how):
    broker = make_broker()
    broker.errors_expected = True
    before = broker.console("SHOW CONFIG")
    broker.set(default_pool_size=3, pool_mode="nonsense")
    if how == "RELOAD":
        with pytest.raises(wire.Refused) as refused:
            broker.console("RELOAD")
        assert "pool_mode" in str(refused.value.fields)
    else:
        broker.send_signal(signal.SIGHUP)
        broker.wait_logged("pool_mode", "nonsense")
    assert broker.console("SHOW CONFIG") == before
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


def test_what_needs_a_restart_is_named_and_not_changed(make_broker):
    broker = make_broker()
    broker.set(listen_port=free_port(), default_pool_size=4)
    broker.console("RELOAD")
    assert broker.logged("listen_port", "restart")
    assert setting(broker, "default_pool_size") == "4"
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


def test_a_reload_adds_changes_and_removes_databases(make_broker, postgres):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server(dbname="app")}
    broker.write()
    broker.start()
    with pytest.raises(wire.Refused):
        broker.wire(database="added")
    with broker.wire() as old:
        old.query("BEGIN")
        broker.databases = {"app": broker.server(dbname="second"),
                            "added": broker.server(dbname="app")}
        broker.write()
        broker.console("RELOAD")
        assert old.value("SELECT current_database()") == "app"
        old.query("COMMIT")
        eventually(lambda: old.value("SELECT current_database()") == "second")
    with broker.wire(database="added") as one:
        assert one.value("SELECT current_database()") == "app"
    broker.databases = {"app": broker.server(dbname="second")}
    broker.write()
    broker.console("RELOAD")
    with pytest.raises(wire.Refused) as refused:
        broker.wire(database="added")
    assert refused.value.code == "3D000"


def test_a_reload_under_load_disturbs_nobody(make_broker, postgres):
    from test_pool_limits import Load
    broker = make_broker()
    load = Load(broker, 10)
    for size in (3, 8, 2, 10, 5):
        broker.set(default_pool_size=size)
        broker.console("RELOAD")
        done = load.done
        eventually(lambda: load.done > done + 50)
    load.stop()
    eventually(lambda: len(postgres.backends(dbname="second")) <= 5)


def test_debians_pgbouncer_ini_starts_as_it_is(make_broker, postgres, tmp_path):
    """Debian's own file; only the folders and the database that it cannot know are changed."""
    source = next((path for path in (REPOSITORY / "Tests/end_to_end/debian-pgbouncer.ini",)
                   if path.exists()))
    broker = make_broker(start=False, userlist={"app": "secret", "admin": "x"})
    text = source.read_text()
    for old, new in {
            "[databases]": f"[databases]\napp = host={postgres.host} port={postgres.port}\n",
            "/var/run/postgresql/pgbouncer.pid": f"{broker.folder}/pid",
            "/var/log/postgresql/pgbouncer.log": f"{broker.folder}/log-file",
            "unix_socket_dir = /var/run/postgresql": f"unix_socket_dir = {broker.socket_folder}",
            "listen_port = 6432": f"listen_port = {broker.port}",
            "/etc/pgbouncer/userlist.txt": str(broker.userlist_path)}.items():
        assert old in text
        text = text.replace(old, new)
    broker.config_text = text
    broker.write()
    broker.start()
    with wire.Wire(broker.socket_path).start("app", "app", "secret") as one:
        first = one.value("SELECT pg_backend_pid()")
        one.query("SET work_mem = '5MB'")
        assert one.value("SHOW work_mem") == "5MB", "pgbouncer's default is session pooling"
        assert one.value("SELECT pg_backend_pid()") == first
    with wire.Wire(broker.tcp_address).start("app", "app", "secret") as one:
        assert one.value("SELECT 1") == "1"
    assert "login attempt: db=app user=app" in (broker.folder / "log-file").read_text()
    assert (broker.folder / "pid").read_text() == f"{broker.pid}\n"


def test_an_include_is_read(make_broker, tmp_path):
    broker = make_broker(start=False)
    included = write(tmp_path / "more.ini", "max_waiting = 77\n")
    broker.config_text = broker.config_path.read_text() + f"%include {included}\n"
    broker.write()
    broker.start()
    assert setting(broker, "max_waiting") == "77"


def test_sighup_does_not_drop_waiters(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire() as holder, broker.wire() as waiter:
        holder.query("BEGIN")
        waiter.send(wire.query("SELECT 'kept'"))
        eventually(lambda: broker.waiting() == 1)
        broker.set(max_client_conn=400)
        broker.console("RELOAD")
        holds_for(lambda: waiter.silent_for(0), 0.2)
        holder.query("COMMIT")
        assert wire.rows_of(waiter.until_ready()) == [["kept"]]


def test_check_configs_summary_shows_who_works_in_each_database(tmp_path):
    path = write(tmp_path / "pglease.ini", "[databases]\napp = host=db dbname=a user=worker "
                 "password=hunter2\n* = host=db\n")
    shown = pglease("check-config", "--config", path).stdout
    assert "app = dbname=a host=db (every client as user worker)" in shown
    assert "* = host=db (each client as its own user)" in shown
    assert "hunter2" not in shown


def test_ping_tells_by_its_exit_status(make_broker, tmp_path):
    broker = make_broker()
    assert pglease("ping", "--config", broker.config_path).returncode == 0
    assert pglease("ping", "--host", broker.socket_folder, "--port", broker.port).returncode == 0
    broker.stop()
    assert pglease("ping", "--config", broker.config_path).returncode == 2
    assert pglease("ping", "--no-such-option").returncode == 3
