# SPDX-License-Identifier: Apache-2.0
"""The console: pgbouncer's columns exactly, by every driver, for those who may."""

import asyncio
import os

import asyncpg
import psycopg
import psycopg2
import pytest

from harness import wire
from harness.waiting import eventually

pytestmark = pytest.mark.broker_only

CLIENT_COLUMNS = (
    "type, user, database, replication, state, addr, port, local_addr, local_port, connect_time, "
    "request_time, wait, wait_us, close_needed, ptr, link, remote_pid, tls, application_name, "
    "prepared_statements, id")
COLUMNS = {
    "CLIENTS": CLIENT_COLUMNS,
    "SERVERS": CLIENT_COLUMNS,
    "POOLS": (
        "database, user, cl_active, cl_waiting, cl_active_cancel_req, cl_waiting_cancel_req, "
        "sv_active, sv_active_cancel, sv_being_canceled, sv_idle, sv_used, sv_tested, sv_login, "
        "maxwait, maxwait_us, pool_mode, load_balance_hosts, pinned, parked"),
    "DATABASES": (
        "name, host, port, database, force_user, pool_size, min_pool_size, reserve_pool_size, "
        "server_lifetime, pool_mode, load_balance_hosts, max_connections, current_connections, "
        "max_client_connections, current_client_connections, paused, disabled"
        # Its name until 1.22, which exporters still ask for.
        ", reserve_pool"),
    "STATS": (
        "database, total_server_assignment_count, total_xact_count, total_query_count, "
        "total_received, total_sent, total_xact_time, total_query_time, total_wait_time, "
        "total_client_parse_count, total_server_parse_count, total_bind_count, total_client_login_count, "
        "avg_server_assignment_count, avg_xact_count, avg_query_count, avg_recv, avg_sent, "
        "avg_xact_time, avg_query_time, avg_wait_time, avg_client_parse_count, "
        "avg_server_parse_count, avg_bind_count, avg_client_login_count"
        # The name of queries until 1.7, which Debian's exporter still asks for.
        ", total_requests"),
    "CONFIG": "key, value, default, changeable",
    "STATE": "key, value",
    "VERSION": "version",
}
OURS = ("LEASES", "WAITERS")


@pytest.fixture(scope="module")
def shown(postgres):
    """A broker with something to show: a lease and a waiter."""
    from harness import pooler
    one = pooler.make(postgres, {"default_pool_size": 1, "reserve_pool_size": 0,
                                 "query_wait_timeout": 120}, tcp=True).start()
    holder = one.wire(application_name="the-holder")
    holder.query("BEGIN")
    holder.query("SELECT 1")
    waiter = one.wire(application_name="the-waiter")
    if one.program == "pglease":
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: one.waiting() == 1)
    yield one
    holder.close()
    waiter.close()
    one.destroy()


def columns(broker, command, database, user="admin", extended=False):
    with broker.wire(user, database) as one:
        if extended:
            one.send(wire.parse(command), wire.bind(), wire.describe_portal(), wire.execute(),
                     wire.sync())
            seen = one.until_ready()
        else:
            seen = one.query(command)
        wire.rows_of(seen)
        return next(m.columns for m in seen if m.kind == "T")


@pytest.mark.pglease_only
@pytest.mark.parametrize("database", ["pglease", "pgbouncer"])
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("command", COLUMNS)
def test_show_has_pgbouncers_columns(shown, command, database, extended):
    assert columns(shown, f"SHOW {command}", database, extended=extended) == \
        COLUMNS[command].split(", ")


@pytest.mark.pglease_only
@pytest.mark.parametrize("command", OURS)
def test_show_of_our_own(shown, command):
    rows = shown.console(f"SHOW {command}")
    assert len(rows) == 1, rows
    name = "the-holder" if command == "LEASES" else "the-waiter"
    assert name in str(rows[0]) and str(os.getpid()) in str(rows[0])


@pytest.mark.pglease_only
def test_show_help_lists_the_commands(shown):
    with shown.wire("admin", "pglease") as one:
        seen = one.query("SHOW HELP")
        text = str([note.fields for note in one.notices]) + str(seen)
        assert all(command in text for command in (*COLUMNS, *OURS, "RELOAD", "SHUTDOWN"))


@pytest.mark.pglease_only
def test_the_pool_counts_are_right(shown):
    row = shown.pool()
    assert (row["cl_active"], row["cl_waiting"], row["sv_active"], row["sv_idle"]) == \
        ("1", "1", "1", "0")
    assert row["pool_mode"] == "transaction"
    first = int(row["maxwait"]) * 1_000_000 + int(row["maxwait_us"])
    eventually(lambda: (lambda r: int(r["maxwait"]) * 1_000_000 + int(r["maxwait_us"]))(
        shown.pool()) > first)


@pytest.mark.pglease_only
def test_clients_and_servers_are_linked(shown, postgres):
    clients = {row["application_name"]: row for row in shown.console("SHOW CLIENTS")}
    holder = clients["the-holder"]
    assert (holder["type"], holder["user"], holder["database"], holder["state"]) == \
        ("C", "app", "app", "active")
    assert clients["the-waiter"]["state"] == "waiting"
    server, = shown.console("SHOW SERVERS")
    assert server["type"] == "S" and server["state"] == "active"
    assert holder["link"] == server["ptr"] and server["link"] == holder["ptr"]
    assert int(server["remote_pid"]) in [row[0] for row in postgres.backends()]
    assert int(holder["remote_pid"]) == os.getpid()


def test_stats_count_what_was_done(make_broker):
    broker = make_broker()
    with broker.wire() as one:
        for _ in range(10):
            one.query("SELECT 1")
        one.query("BEGIN")
        one.query("SELECT 1")
        one.query("COMMIT")
    row = next(row for row in broker.console("SHOW STATS") if row["database"] == "app")
    assert int(row["total_xact_count"]) == 11
    assert int(row["total_query_count"]) == 13
    assert int(row["total_received"]) > 100 and int(row["total_sent"]) > 100


@pytest.mark.pglease_only
def test_stats_count_parses_and_binds(make_broker):
    broker = make_broker()
    with broker.wire() as one:
        one.send(wire.parse("SELECT 1", "s"), wire.sync())
        one.until_ready()
        for _ in range(5):
            one.send(wire.bind((), "s"), wire.execute(), wire.sync())
            one.until_ready()
    row = next(row for row in broker.console("SHOW STATS") if row["database"] == "app")
    assert row["total_client_parse_count"] == "1" and row["total_server_parse_count"] == "1"
    assert row["total_bind_count"] == "5"


def test_wait_time_is_counted(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire() as holder, broker.wire() as waiter:
        holder.query("BEGIN")
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1)
        holder.query("SELECT pg_sleep(0.2)")
        holder.query("COMMIT")
        waiter.until_ready()
    row = next(row for row in broker.console("SHOW STATS") if row["database"] == "app")
    assert int(row["total_wait_time"]) >= 150_000


@pytest.mark.pglease_only
def test_state_says_active(shown):
    rows = {row["key"]: row["value"] for row in shown.console("SHOW STATE")}
    assert rows["active"] == "yes" and rows["paused"] == "no"


@pytest.mark.pglease_only
def test_databases_show_where_they_lead(make_broker, postgres):
    broker = make_broker(start=False)
    broker.databases = {"app": f"host=127.0.0.1 port={postgres.port} dbname=second user=other "
                               "pool_size=7 password=sesame"}
    broker.write()
    broker.start()
    rows = broker.console("SHOW DATABASES")
    row = next(row for row in rows if row["name"] == "app")
    assert (row["host"], row["port"], row["database"], row["force_user"], row["pool_size"]) == \
        ("127.0.0.1", str(postgres.port), "second", "other", "7")
    assert "sesame" not in str(rows)


@pytest.mark.pglease_only
@pytest.mark.parametrize("command", ["show pools", "  SHOW   POOLS ;", "SELECT POOLS",
                                     "Show Pools;"])
def test_commands_are_read_freely(shown, command):
    assert columns(shown, command, "pglease")[0] == "database"


@pytest.mark.pglease_only
@pytest.mark.parametrize("command", ["SHOW NOTHING", "DROP TABLE x", "SHOW", "RELOAD NOW", "'"])
def test_an_unknown_command_is_an_error_and_the_session_goes_on(shown, command):
    with shown.wire("admin", "pglease") as one:
        error = wire.error_of(one.query(command))
        assert error.code == "08P01", error
        assert wire.rows_of(one.query("SHOW VERSION"))


def test_an_empty_query_is_harmless(shown):
    with shown.wire("admin", shown.console_database) as one:
        assert one.query("")[-1].kind == "Z"


@pytest.mark.pglease_only
def test_stats_users_may_look_and_not_touch(shown):
    assert shown.console("SHOW POOLS", "watcher", address=shown.tcp_address)
    for command in ("RELOAD", "SHUTDOWN"):
        with wire.Wire(shown.tcp_address).start("watcher", "pglease") as one:
            assert wire.error_of(one.query(command)).code == "08P01"


@pytest.mark.pglease_only
def test_others_may_not_enter(make_broker):
    broker = make_broker({"auth_type": "scram-sha-256"}, tcp=True,
                         userlist={"app": "secret", "admin": "x", "watcher": "x"})
    with pytest.raises(wire.Refused) as refused:
        wire.Wire(broker.tcp_address).start("app", "pglease", "secret")
    assert refused.value.code == "28000"


@pytest.mark.pglease_only
def test_the_brokers_own_user_may_enter_over_the_unix_socket(make_broker):
    broker = make_broker({"auth_type": "peer", "admin_users": "", "stats_users": ""})
    assert broker.console("SHOW VERSION", "whoever")
    broker.console("RELOAD", "whoever")


@pytest.mark.pglease_only
@pytest.mark.parametrize("database", ["pglease", "pgbouncer"])
def test_psql(shown, run_program, tool, database):
    done = run_program(tool("psql"), shown.dsn("admin", database), "-XAc", "SHOW POOLS")
    assert done.stdout.startswith("database|user|cl_active")


@pytest.mark.parametrize("command", ["SHOW POOLS", "SHOW STATS", "SHOW CLIENTS", "SHOW CONFIG"])
def test_psycopg2(shown, command):
    connection = psycopg2.connect(shown.dsn("admin", shown.console_database))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(command)
    assert cursor.fetchall() and cursor.description[0].name
    connection.close()


@pytest.mark.pglease_only
@pytest.mark.parametrize("command", ["SHOW POOLS", "SHOW STATS", "SHOW CLIENTS", "SHOW CONFIG"])
def test_psycopg3_by_the_extended_protocol(shown, command):
    with psycopg.connect(shown.dsn("admin", "pglease"), autocommit=True,
                         prepare_threshold=0) as connection:
        for _ in range(2):
            cursor = connection.execute(command)
            assert cursor.fetchall() and cursor.description[0].name


@pytest.mark.pglease_only
@pytest.mark.parametrize("command", ["SHOW POOLS", "SHOW STATS", "SHOW CLIENTS", "SHOW CONFIG"])
def test_asyncpg(shown, command):
    async def scene():
        connection = await asyncpg.connect(
            host=str(shown.dsn_host), port=shown.dsn_port, user="admin", database="pglease")
        assert await connection.fetch(command)
        await connection.close()
    asyncio.run(scene())


@pytest.mark.pglease_only
def test_numbers_are_numbers_for_drivers(shown):
    with psycopg.connect(shown.dsn("admin", "pglease"), autocommit=True) as connection:
        cursor = connection.execute("SHOW POOLS")
        names = [column.name for column in cursor.description]
        row = dict(zip(names, cursor.fetchone()))
        assert isinstance(row["cl_active"], int) and isinstance(row["database"], str)


@pytest.mark.pglease_only
def test_shutdown_ends_the_broker(make_broker):
    broker = make_broker()
    with broker.wire("admin", "pglease") as one:
        try:
            one.query("SHUTDOWN")
        except wire.Closed:
            pass
    assert broker.wait(15) == 0
    assert not os.path.exists(broker.socket_path)


@pytest.mark.pglease_only
def test_the_console_answers_while_every_server_is_gone(make_broker, postgres):
    from harness.faucet import Faucet
    faucet = Faucet(postgres.socket_path)
    try:
        broker = make_broker(databases={"app": f"host=127.0.0.1 port={faucet.port}"})
        broker.errors_expected = True
        faucet.hang()
        with broker.wire() as one:
            one.send(wire.query("SELECT 1"))
            for command in COLUMNS:
                assert broker.console(f"SHOW {command}") is not None
    finally:
        faucet.close()
