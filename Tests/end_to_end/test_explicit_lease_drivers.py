# SPDX-License-Identifier: Apache-2.0
"""LEASE from psql, psycopg2, psycopg 3, asyncpg and pgbench, none of which has heard of it."""

import asyncio
import subprocess

import asyncpg
import psycopg
import psycopg2
import pytest

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"


@pytest.fixture
def psql(run_program, tool):
    def run(broker, *commands, database="app", user="app", check=True):
        words = [word for command in commands for word in ("-c", command)]
        return run_program(
            tool("psql"), "-X", "-At", "-h", broker.dsn_host, "-p", broker.dsn_port, "-U", user,
            "-d", database, *words, check=check)
    return run


def test_psql_by_command_line(transaction_broker, psql):
    done = psql(transaction_broker, "LEASE FOR 'by hand' HOLD '1min'", PID,
                "CREATE TEMP TABLE mine (x int)", "INSERT INTO mine VALUES (7)",
                "SELECT x FROM mine", "LEASE RETURN", "SELECT to_regclass('mine') IS NULL")
    lines = done.stdout.splitlines()
    assert lines[0].split("|")[1:3] == [lines[1], "relay"]
    assert lines[2:] == ["CREATE TABLE", "INSERT 0 1", "7", "LEASE RETURN", "t"]


def test_psql_shows_where_the_error_is(transaction_broker, psql):
    done = psql(transaction_broker, "LEASE FOR 'x' WHILE", check=False)
    assert done.returncode == 1
    assert "LINE 1: LEASE FOR 'x' WHILE" in done.stderr
    mark = done.stderr.splitlines()[2]
    assert mark.index("^") == len("LINE 1: LEASE FOR 'x' "), done.stderr


def test_psql_by_script_with_copy(transaction_broker, run_program, tool, table):
    script = f"""\\set ON_ERROR_STOP 1
        LEASE WAIT '5s';
        BEGIN;
        COPY {table} FROM STDIN;
1\tone
2\ttwo
\\.
        COMMIT;
        COPY {table} TO STDOUT;
        LEASE RETURN;
        SELECT count(*) FROM {table};
        """.replace("        ", "")
    done = run_program(tool("psql"), "-X", "-At", transaction_broker.dsn(), input=script)
    assert done.stdout.splitlines()[-4:] == ["1\tone", "2\ttwo", "LEASE RETURN", "2"]


def test_psycopg2_in_autocommit(transaction_broker, connect):
    cursor = connect(transaction_broker).cursor()
    for number in range(3):
        cursor.execute("LEASE FOR %s WAIT %s", (f"it's number {number}", "2s"))
        assert cursor.statusmessage == "LEASE"
        (_, backend, kind, _), = cursor.fetchall()
        assert kind == "relay"
        cursor.execute(PID)
        assert cursor.fetchone() == (backend,)
        cursor.execute("LEASE RETURN")
        assert (cursor.statusmessage, cursor.description) == ("LEASE RETURN", None)


def test_psycopg2_not_in_autocommit_is_told_what_to_do(transaction_broker, connect):
    connection = connect(transaction_broker, autocommit=False)
    cursor = connection.cursor()
    with pytest.raises(psycopg2.errors.ActiveSqlTransaction, match="autocommit"):
        cursor.execute("LEASE")
    connection.rollback()
    connection.autocommit = True
    cursor.execute("LEASE")
    backend = cursor.fetchone()[1]
    connection.autocommit = False
    for _ in range(2):
        with connection:
            cursor.execute(PID)
            assert cursor.fetchone() == (backend,)
    connection.autocommit = True
    cursor.execute("LEASE RETURN")
    connection.autocommit = False
    cursor.execute("SELECT 'still'")
    assert cursor.fetchone() == ("still",)


def test_psycopg2_receives_notifications_in_a_lease(transaction_broker, connect):
    one, other = connect(transaction_broker), connect(transaction_broker)
    cursor = one.cursor()
    cursor.execute("LEASE")
    cursor.execute("LISTEN explicit_psycopg2")
    other.cursor().execute("NOTIFY explicit_psycopg2, 'hello'")
    cursor.execute("SELECT 1")
    one.poll()
    assert [note.payload for note in one.notifies] == ["hello"]
    cursor.execute("LEASE RETURN")


def test_psycopg2_cursors_with_hold_live_as_long_as_the_lease(transaction_broker, connect):
    connection = connect(transaction_broker)
    cursor = connection.cursor()
    cursor.execute("LEASE")
    named = connection.cursor("kept", withhold=True)
    named.itersize = 10
    named.execute("SELECT generate_series(1, 95)")
    assert [row[0] for row in named] == list(range(1, 96))
    named.close()
    cursor.execute("LEASE RETURN")


def check_psycopg(connection, **named):
    for number in range(4):
        row = connection.execute("LEASE FOR 'psycopg'", **named).fetchone()
        assert row[2] == "relay"
        assert connection.execute(PID, **named).fetchone() == (row[1],)
        with connection.transaction():
            found = connection.execute("SELECT pg_backend_pid(), %s::int", (number,), **named)
            assert found.fetchone() == (row[1], number)
        assert connection.execute("LEASE RETURN", **named).statusmessage == "LEASE RETURN"


@pytest.mark.parametrize("named", [{}, {"binary": True}, {"prepare": True},
                                   {"binary": True, "prepare": True}], ids=str)
def test_psycopg_3(transaction_broker, named):
    with psycopg.connect(transaction_broker.dsn(), autocommit=True) as connection:
        check_psycopg(connection, **named)


@pytest.mark.parametrize("threshold", [0, 2, None])
def test_psycopg_3_prepares_after_some_uses(transaction_broker, threshold):
    with psycopg.connect(transaction_broker.dsn(), autocommit=True,
                         prepare_threshold=threshold) as connection:
        connection.prepared_max = 2
        check_psycopg(connection)
        check_psycopg(connection, binary=True)


def test_psycopg_3_client_side_cursor_is_simple_protocol(transaction_broker):
    with psycopg.connect(transaction_broker.dsn(), autocommit=True,
                         cursor_factory=psycopg.ClientCursor) as connection:
        cursor = connection.execute("LEASE FOR %s", ("it's ünïcode",))
        assert cursor.fetchone()[2] == "relay"
        purposes = {row["purpose"] for row in transaction_broker.console("SHOW LEASES")}
        assert "it's ünïcode" in purposes
        connection.execute("LEASE RETURN")


@pytest.mark.parametrize("threshold", [0, None], ids=["prepared", "unnamed"])
def test_psycopg_3_in_a_pipeline(transaction_broker, threshold):
    with psycopg.connect(transaction_broker.dsn(), autocommit=True,
                         prepare_threshold=threshold) as connection:
        for _ in range(3):
            with connection.pipeline() as pipeline:
                granted = connection.execute("LEASE")
                pipeline.sync()
                backends = [connection.execute(PID) for _ in range(10)]
                pipeline.sync()
                connection.execute("LEASE RETURN")
                pipeline.sync()
                after = connection.execute("SELECT 'after'")
            assert {one.fetchone()[0] for one in backends} == {granted.fetchone()[1]}
            assert after.fetchone() == ("after",)


def test_psycopg_3_error_classes(transaction_broker):
    with psycopg.connect(transaction_broker.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute("LEASE PLEASE")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            connection.execute("LEASE RETURN")
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            connection.execute("LEASE HOLD 'long'")
        assert connection.execute("SELECT 1").fetchone() == (1,)


async def with_asyncpg(broker, work, **more):
    connection = await asyncpg.connect(host=str(broker.dsn_host), port=broker.dsn_port, user="app",
                                       database="app", **more)
    try:
        return await work(connection)
    finally:
        await connection.close()


def run(broker, work, **more):
    return asyncio.run(asyncio.wait_for(with_asyncpg(broker, work, **more), 60))


@pytest.mark.parametrize("cache", [100, 2, 0])
def test_asyncpg_with_many_purposes(transaction_broker, cache):
    async def work(connection):
        for number in range(12):
            row = await connection.fetchrow(f"LEASE FOR 'purpose {number % 4}'")
            assert row["kind"] == "relay" and isinstance(row["lease_id"], int)
            for _ in range(2):
                assert await connection.fetchval(PID) == row["server_pid"]
            async with connection.transaction():
                assert await connection.fetchval("SELECT $1::int", number) == number
            assert await connection.execute("LEASE RETURN") == "LEASE RETURN"
            await connection.fetch("LEASE")
            await connection.fetch("LEASE RETURN")

    run(transaction_broker, work, statement_cache_size=cache)


def test_asyncpg_prepares_a_lease_and_sees_its_columns(transaction_broker):
    async def work(connection):
        statement = await connection.prepare("LEASE WAIT '5s'")
        assert [(one.name, one.type.name) for one in statement.get_attributes()] == [
            ("lease_id", "int8"), ("server_pid", "int4"), ("kind", "text"), ("waited_us", "int8")]
        for _ in range(3):
            row = await statement.fetchrow()
            assert await connection.fetchval(PID) == row["server_pid"]
            await connection.execute("LEASE RETURN")
        with pytest.raises(asyncpg.PostgresSyntaxError) as wrong:
            await connection.prepare("LEASE WAIT '5s' PLEASE")
        assert wrong.value.position == "17"
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            await connection.fetch("LEASE RETURN")
        return await connection.fetchval("SELECT 7")

    assert run(transaction_broker, work) == 7


def test_asyncpg_listens_in_a_lease(transaction_broker, connect):
    other = connect(transaction_broker).cursor()

    async def work(connection):
        heard = asyncio.Event()
        await connection.execute("LEASE")
        await connection.add_listener("explicit_asyncpg", lambda *_: heard.set())
        other.execute("NOTIFY explicit_asyncpg")
        await heard.wait()
        await connection.remove_listener("explicit_asyncpg", next(iter(
            connection._listeners["explicit_asyncpg"])).cb)
        await connection.execute("LEASE RETURN")

    run(transaction_broker, work)


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
def test_pgbench_takes_turns_at_a_small_pool(make_broker, tool, tmp_path, protocol):
    broker = make_broker({"default_pool_size": 4, "reserve_pool_size": 0})
    script = tmp_path / "script.sql"
    script.write_text(
        "LEASE FOR 'pgbench' WAIT '30s' \\gset held_\n"
        "SELECT 1 / (pg_backend_pid() = :held_server_pid)::int AS same;\n"
        "BEGIN;\n"
        "SELECT 1 / (pg_backend_pid() = :held_server_pid)::int AS same;\n"
        "COMMIT;\n"
        "LEASE RETURN;\n")
    # Prepared, pgbench waits for each answer to its Parse by one blocking call per client.
    clients = 4 if protocol == "prepared" else 12
    done = subprocess.run(
        [tool("pgbench"), "-n", "-M", protocol, "-c", str(clients), "-j", "2", "-t", "50",
         "-h", str(broker.dsn_host), "-p", str(broker.dsn_port), "-U", "app", "-f", str(script),
         "app"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert f"{clients * 50}/{clients * 50}" in done.stdout, done.stdout
    assert broker.console("SHOW LEASES") == []


def test_psql_that_asks_for_a_direct_lease_is_told_how_to_go_on(transaction_broker, psql):
    """psql throws the descriptor away."""
    done = psql(transaction_broker, "LEASE DIRECT", "SELECT 1", "LEASE RETURN", "SELECT 'after'")
    lines = done.stdout.splitlines()
    assert lines[0].split("|")[2] == "direct" and lines[1:] == ["LEASE RETURN", "after"]
    assert "the lease of this connection is direct" in done.stderr
    assert "use LEASE without DIRECT" in done.stderr
