# SPDX-License-Identifier: Apache-2.0
"""A test for each setting that has an effect and is not the subject of another file."""

import json
import os
import socket
import struct

import pytest

from harness import wire
from harness.pooler import pglease_binary
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.pglease_only


def pid_of(one):
    return int(one.value("SELECT pg_backend_pid()"))


def backends(postgres):
    return [row[0] for row in postgres.backends(dbname="second")]


@pytest.fixture
def second(make_broker, postgres):
    """A broker whose server connections are counted in database `second`."""
    def make(settings=None, **named):
        postgres.gone(dbname="second")
        return make_broker({"reserve_pool_size": 0} | (settings or {}), **named)
    return make


def use(broker, count=1):
    """Opens `count` server connections at once."""
    clients = [broker.wire(database="second") for _ in range(count)]
    for one in clients:
        one.query("BEGIN")
        one.query("SELECT 1")
    for one in clients:
        one.query("COMMIT")
        one.close()


def test_server_idle_timeout(second, postgres):
    broker = second({"server_idle_timeout": 1})
    use(broker, 3)
    assert len(backends(postgres)) == 3
    eventually(lambda: not backends(postgres))


def test_server_idle_timeout_keeps_min_pool_size(second, postgres):
    broker = second({"server_idle_timeout": 1, "min_pool_size": 2})
    use(broker, 4)
    eventually(lambda: len(backends(postgres)) == 2)
    holds_for(lambda: len(backends(postgres)) == 2, 1.5)


def test_server_lifetime(second, postgres):
    broker = second({"server_lifetime": 1})
    use(broker)
    first = backends(postgres)
    assert len(first) == 1
    eventually(lambda: not set(first) & set(backends(postgres)))


def test_server_lifetime_of_a_database(second, postgres):
    broker = second(start=False)
    broker.databases["second"] = broker.server(dbname="second", server_lifetime=1)
    broker.write()
    broker.start()
    use(broker)
    first = backends(postgres)
    eventually(lambda: not set(first) & set(backends(postgres)))


def test_server_lifetime_never_ends_a_lease(second, postgres):
    broker = second({"server_lifetime": 1, "default_pool_size": 1})
    with broker.wire(database="second") as one:
        one.query("BEGIN")
        first = pid_of(one)
        holds_for(lambda: first in backends(postgres), 1.5)
        assert pid_of(one) == first
        one.query("COMMIT")
        eventually(lambda: first not in backends(postgres))


def order_of_use(broker, turns):
    pids = []
    with broker.wire(database="second") as one:
        for _ in range(turns):
            pids.append(pid_of(one))
    return pids


def test_the_connection_used_last_is_used_next(second):
    broker = second()
    use(broker, 3)
    assert len(set(order_of_use(broker, 6))) == 1


def test_server_round_robin_uses_all(second):
    broker = second({"server_round_robin": 1})
    use(broker, 3)
    pids = order_of_use(broker, 6)
    assert len(set(pids[:3])) == 3 and pids[:3] == pids[3:]


def test_server_check_delay_and_query(second, postgres):
    """A check that fails replaces the connection; the client sees nothing."""
    postgres.sql("CREATE TABLE IF NOT EXISTS checks (pid int); GRANT ALL ON checks TO public",
                 dbname="second")
    broker = second({"server_check_delay": 0, "default_pool_size": 1,
                     "server_check_query": "INSERT INTO checks VALUES (pg_backend_pid())"})
    count = lambda: postgres.sql("SELECT count(*) FROM checks", dbname="second")[0][0]
    with broker.wire(database="second") as one:
        one.query("SELECT 1")
        before = count()
        one.query("SELECT 1")
        assert count() == before + 1
        postgres.sql("ALTER TABLE checks RENAME TO checked", dbname="second")
        assert one.value("SELECT 'unseen'") == "unseen"
    postgres.sql("DROP TABLE checked", dbname="second")


def test_server_check_delay_spares_fresh_connections(second, postgres):
    postgres.sql("CREATE TABLE IF NOT EXISTS checks (pid int); GRANT ALL ON checks TO public",
                 dbname="second")
    broker = second({"server_check_delay": 60, "default_pool_size": 1,
                     "server_check_query": "INSERT INTO checks VALUES (pg_backend_pid())"})
    with broker.wire(database="second") as one:
        for _ in range(5):
            one.query("SELECT 1")
    assert postgres.sql("SELECT count(*) FROM checks", dbname="second") == [(0,)]
    postgres.sql("DROP TABLE checks", dbname="second")


def test_client_idle_timeout(make_broker):
    broker = make_broker({"client_idle_timeout": 1})
    idle, busy = broker.wire(), broker.wire()
    busy.query("BEGIN")
    assert idle.closed_by_peer(5)
    assert busy.query("SELECT 1")[-1].body == b"T"
    busy.close()


def test_idle_transaction_timeout_frees_the_server(make_broker, postgres):
    broker = make_broker({"idle_transaction_timeout": 1, "default_pool_size": 1,
                          "reserve_pool_size": 0})
    with broker.wire() as forgetful, broker.wire() as other:
        forgetful.query("BEGIN")
        forgetful.query("SELECT 1")
        assert other.value("SELECT 'freed'") == "freed"


def test_transaction_timeout_counts_from_the_begin(make_broker):
    broker = make_broker({"transaction_timeout": 1, "default_pool_size": 1,
                          "reserve_pool_size": 0})
    with broker.wire() as long, broker.wire() as other:
        long.query("BEGIN")
        other.send(wire.query("SELECT 'freed'"))

        def revoked():
            try:
                return any(m.kind == "E" for m in long.query("SELECT pg_sleep(0.05)"))
            except (wire.Closed, ConnectionError):
                return True
        eventually(revoked, 5)
        assert wire.rows_of(other.until_ready()) == [["freed"]]


def test_query_timeout_spares_short_queries(make_broker):
    broker = make_broker({"query_timeout": 1})
    with broker.wire() as one:
        one.query("BEGIN")
        for _ in range(20):
            assert wire.kinds(one.query("SELECT pg_sleep(0.06)")) == "TDCZ"
        one.query("COMMIT")


@pytest.mark.parametrize("name, statement", [
    ("query_timeout", "SELECT pg_sleep(60)"), ("idle_transaction_timeout", "BEGIN"),
    ("transaction_timeout", "BEGIN"), ("client_idle_timeout", "SELECT 1")])
def test_limits_of_one_user(make_broker, name, statement):
    broker = make_broker(users={"other": f"{name}=1"})
    limited, free = broker.wire("other"), broker.wire("app")
    for one in (limited, free):
        one.send(wire.query(statement))
    if name == "query_timeout":
        assert "E" in wire.kinds(limited.until("EZ"))
        assert free.silent_for(0.3)
    else:
        limited.until_ready(), free.until_ready()
        if name == "client_idle_timeout":
            assert limited.closed_by_peer(5)
        else:
            eventually(lambda: not broker.console("SHOW SERVERS")
                       or all(row["user"] != "other" or row["state"] != "active"
                              for row in broker.console("SHOW SERVERS")), 5)
        assert "E" not in wire.kinds(free.query("SELECT 1"))
    for one in (limited, free):
        one.close()


def test_pool_mode_of_a_database_and_of_a_user(make_broker):
    broker = make_broker(start=False)
    broker.databases["app"] = broker.server(dbname="app", pool_mode="session")
    broker.users["other"] = "pool_mode=statement"
    broker.write()
    broker.start()
    with broker.wire() as one:
        one.query("SET work_mem = '7MB'")
        assert one.value("SHOW work_mem") == "7MB"
    with broker.wire("other", "second") as one:
        errors = [m for m in one_message(one, "BEGIN") if m.kind == "E"]
        assert errors
    modes = {(row["database"], row["user"]): row["pool_mode"]
             for row in broker.console("SHOW POOLS")}
    assert modes[("app", "app")] == "session"


def one_message(one, sql):
    try:
        return one.query(sql)
    except wire.Closed:
        return [wire.Message("E", b"")]


def test_sbuf_loopcnt_of_one_still_moves_everything(make_broker):
    broker = make_broker({"sbuf_loopcnt": 1})
    with broker.wire(timeout=60) as one:
        assert len(one.value("SELECT repeat('x', 5000000)")) == 5_000_000


def test_application_name_add_host(make_broker):
    broker = make_broker({"application_name_add_host": 1})
    with broker.wire(application_name="worker") as one:
        shown = one.value("SHOW application_name")
        assert shown.startswith("worker") and shown != "worker"


def test_track_extra_parameters_follow_their_client(make_broker):
    broker = make_broker({"track_extra_parameters": "IntervalStyle, search_path",
                          "default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire() as one, broker.wire() as other:
        one.query("SET IntervalStyle = 'iso_8601'")
        assert other.value("SHOW IntervalStyle") == "postgres"
        assert one.value("SHOW IntervalStyle") == "iso_8601"


def test_max_prepared_statements_of_zero_passes_them_on(make_broker):
    broker = make_broker({"max_prepared_statements": 0, "pool_mode": "session"})
    with broker.wire() as one:
        one.send(wire.parse("SELECT 1", "mine"), wire.sync())
        one.until_ready()
        assert one.value("SELECT name FROM pg_prepared_statements") == "mine"


@pytest.mark.parametrize("name", ["log_connections", "log_disconnections"])
def test_logins_and_logouts_are_logged_when_asked(make_broker, name):
    others = {"log_connections": 0, "log_disconnections": 0, "log_stats": 0}
    loud = make_broker(others | {name: 1})
    quiet = make_broker(others)
    for broker in (loud, quiet):
        broker.wire(application_name="the-visitor").close()
    eventually(lambda: loud.logged("app") and len(loud.logged("client")) >= 1)
    before = len(quiet.logged("client"))
    assert len(loud.logged("client")) > before


def test_log_pooler_errors(make_broker):
    settings = {"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 0.3}
    loud = make_broker(settings | {"log_pooler_errors": 1})
    quiet = make_broker(settings | {"log_pooler_errors": 0})
    for broker in (loud, quiet):
        with broker.wire() as holder, broker.wire() as waiter:
            holder.query("BEGIN")
            assert wire.error_of(waiter.query("SELECT 1")).code == "53300"
    assert loud.logged("53300") and not quiet.logged("53300")


def test_log_stats_and_stats_period(make_broker):
    broker = make_broker({"log_stats": 1, "stats_period": 1})
    with broker.wire() as one:
        one.query("SELECT 1")
    broker.wait_logged("stats")


def test_log_format_text_and_json(make_broker):
    broker = make_broker({"log_format": "json"})
    lines = [line for line in broker.log().splitlines() if line]
    assert lines and all("message" in json.loads(line) for line in lines)
    broker = make_broker({"log_format": "text"})
    assert all(not line.startswith("{") for line in broker.log().splitlines())


def test_log_level_and_verbose(make_broker):
    quiet = make_broker({"log_level": "error"})
    quiet.wire().close()
    assert not [r for r in quiet.records() if r.get("level") in ("info", "notice", "debug")]
    loud = make_broker({"verbose": 2})
    loud.wire().close()
    eventually(lambda: any(r.get("level") in ("debug", "trace") for r in loud.records()))


def test_nothing_of_a_statement_is_logged(make_broker):
    broker = make_broker({"verbose": 3, "log_level": "trace"})
    broker.errors_expected = True
    with broker.wire() as one:
        one.query("SELECT 'a secret value'")
        one.query("SELECT 'a secret value'::int")
        one.extended("SELECT $1::text", ["a secret value"])
    assert "a secret value" not in broker.log()


def test_lease_warn_after_logs_the_owner_once(make_broker):
    broker = make_broker({"lease_warn_after": 1})
    with broker.wire(application_name="the-forgetful") as one:
        one.query("BEGIN")
        broker.wait_logged("lease is held", "the-forgetful", str(os.getpid()))
        warnings = lambda: [r for r in broker.records() if r.get("level") == "warning"]
        found = warnings()
        holds_for(lambda: warnings() == found, 1.2)
        one.query("COMMIT")


def timers(port):
    """The kinds of kernel timers of the TCP connections that lead to a port."""
    lines = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
    return {words[5].split(":")[0] for words in lines
            if words[2].endswith(f":{port:04X}") and words[3] == "01"}


def test_server_connections_have_keepalive(make_broker, postgres):
    broker = make_broker(
        {"tcp_keepalive": 1, "tcp_keepidle": 17, "tcp_keepintvl": 5, "tcp_keepcnt": 3,
         "tcp_user_timeout": 12000},
        databases={"app": f"host=127.0.0.1 port={postgres.port} dbname=app"})
    with broker.wire() as one:
        one.query("SELECT 1")
        assert timers(postgres.port) == {"02"}, "the kernel's keepalive timer runs"


def test_max_server_connections_hint_is_shown_in_config(make_broker):
    broker = make_broker({"max_server_connections": 7})
    row = next(r for r in broker.console("SHOW CONFIG") if r["key"] == "max_server_connections")
    assert row["value"] == "7" and row["default"] == "0" and row["changeable"] == "yes"


def test_prewarm_shows_a_wrong_password_at_the_start(make_broker, postgres):
    broker = make_broker(
        {"startup_attempts": 1},
        databases={"app": f"host=127.0.0.1 port={postgres.port} dbname=app user=secretive "
                          "password=wrong min_pool_size=1"}, start=False)
    broker.errors_expected = True
    broker.launch()
    assert broker.wait(20) == 69
    assert broker.logged("28P01") or broker.logged("password authentication failed")


def test_listen_addr_of_every_address(make_broker):
    broker = make_broker({"listen_addr": "*"})
    for host in ("127.0.0.1", "::1"):
        try:
            probe = socket.create_connection((host, broker.port), 3)
        except OSError:
            assert host == "::1"
            continue
        probe.sendall(struct.pack("!ii", 8, 80877103))
        assert probe.recv(1) == b"N"
        probe.close()


def test_a_socket_of_a_dead_broker_is_replaced_and_that_of_a_live_one_is_not(make_broker):
    broker = make_broker()
    second = make_broker(start=False)
    second.settings |= {"unix_socket_dir": str(broker.socket_folder),
                        "listen_port": str(broker.port)}
    second.write()
    second.errors_expected = True
    second.launch()
    assert second.wait(20) in (71, 73)
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"
    broker.kill()
    broker.start()
    with broker.wire() as one:
        assert one.value("SELECT 1") == "1"


def test_server_fast_close_ends_at_the_transactions_end(make_broker, postgres):
    broker = make_broker({"pool_mode": "session", "server_fast_close": 1}, start=False)
    broker.databases = {"app": broker.server(dbname="app")}
    broker.write()
    broker.start()
    with broker.wire() as one:
        one.query("BEGIN")
        pid = pid_of(one)
        broker.databases = {"app": broker.server(dbname="app", application_name="changed")}
        broker.write()
        broker.console("RELOAD")
        assert pid_of(one) == pid
        one.send(wire.query("COMMIT"))
        assert one.next().tag == "COMMIT"
    eventually(lambda: pid not in [row[0] for row in postgres.backends()])


@pytest.mark.parametrize("setting, value, prepare, message", [
    ("idle_transaction_timeout", 0.2, "BEGIN", "idle transaction timeout"),
    ("lease_timeout", 0.2, "BEGIN", "lease_timeout"),
    ("client_idle_timeout", 0.2, None, "client_idle_timeout"),
])
@pytest.mark.pglease_only
def test_a_limit_that_a_set_makes_shorter_holds_for_who_is_there(
        make_broker, setting, value, prepare, message):
    broker = make_broker({setting: 3600})
    with broker.wire() as one:
        one.query(prepare or "SELECT 1")
        broker.console(f"SET {setting} = '{value}'")
        if prepare:
            eventually(lambda: not broker.console("SHOW LEASES"))
            one.send(wire.query("SELECT 1"))
        assert message in one.next().fields["M"]


def test_every_setting_is_in_show_config_with_its_default(make_broker):
    broker = make_broker()
    shown = {row["key"] for row in broker.console("SHOW CONFIG")}
    ini = (open(os.path.join(os.path.dirname(__file__), "../../config/pglease.ini"))
           .read().split("[pglease]")[1])
    documented = {line[1:].split("=")[0].strip() for line in ini.splitlines()
                  if line.startswith(";") and "=" in line and line[1:2].isalpha()
                  and " " not in line[1:].split("=")[0].strip()}
    assert documented and documented <= shown, documented - shown


def test_the_binary_is_there():
    assert os.access(pglease_binary(), os.X_OK)
