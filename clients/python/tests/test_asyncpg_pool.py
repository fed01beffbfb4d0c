# SPDX-License-Identifier: Apache-2.0
"""asyncpg's pool: what a program that has one expects, asked of asyncpg's own on PostgreSQL, and of ours on the
broker; then what is new."""

import asyncio
import os
import subprocess
import sys

import asyncpg
import pytest
from harness import pooler
from harness.waiting import eventually

import pglease
from conftest import SOURCE, Way, leases
from pglease import asyncpg_pool


@pytest.fixture(scope="module")
def shared(postgres):
    one = pooler.make(postgres, {
        "default_pool_size": 3, "reserve_pool_size": 0, "admin_users": "admin"}, tcp=True).start()
    yield one
    one.check()
    one.destroy()


@pytest.fixture(params=["own", "unix", "tcp"])
def make(request, shared, postgres):
    """Makes a pool: asyncpg's own straight to PostgreSQL, or ours."""
    if request.param == "own":
        return lambda **more: asyncpg.create_pool(**{
            "host": str(postgres.folder), "port": postgres.port, "user": "app", "database": "app",
            "min_size": 0, **more})
    host = str(shared.socket_folder) if request.param == "unix" else "127.0.0.1"
    return ours(shared, host)


def ours(broker, host=None):
    return lambda **more: asyncpg_pool.create_pool(**{
        "host": host or str(broker.socket_folder), "port": broker.port, "user": "app", "database": "app",
        "min_size": 0, **more})


@pytest.fixture
def create(shared):
    yield ours(shared)
    eventually(lambda: leases(shared) == [] and shared.waiting() == 0)


async def until(condition, within=10):
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "not in time"
        await asyncio.sleep(0)


# As asyncpg's.


def test_the_ways_to_acquire(make):
    async def main():
        async with make(min_size=1, max_size=2) as pool:
            connection = await pool.acquire()
            assert await connection.fetchval("SELECT $1::int", 7) == 7
            await pool.release(connection)
            await pool.release(connection)
            with pytest.raises(asyncpg.InterfaceError, match="released back to the pool"):
                await connection.fetchval("SELECT 1")
            async with pool.acquire(timeout=5) as connection:
                assert await connection.fetchrow("SELECT 1 AS a, 'b' AS b") == (1, "b")
            acquiring = pool.acquire()
            async with acquiring:
                with pytest.raises(asyncpg.InterfaceError, match="already acquired"):
                    await acquiring.__aenter__()
            with pytest.raises(asyncpg.InterfaceError, match="not a member"):
                await pool.release(object())
            assert 1 <= pool.get_size() <= 2 and pool.get_max_size() == 2 and pool.get_min_size() == 1
            assert pool.get_idle_size() == pool.get_size()

    asyncio.run(main())


def test_queries_of_the_pools_own(make, table):
    async def main():
        async with make(max_size=2) as pool:
            assert await pool.execute(f"INSERT INTO {table} VALUES (1, 'one')") == "INSERT 0 1"
            await pool.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [(2, "two"), (3, "three")])
            assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 3
            assert [row["name"] for row in await pool.fetch(f"SELECT name FROM {table} ORDER BY id")] == [
                "one", "two", "three"]
            assert (await pool.fetchrow(f"SELECT * FROM {table} WHERE id = $1", 2))["name"] == "two"
            await pool.copy_records_to_table(table, records=[(4, "four")])
            assert await pool.fetchval(f"SELECT max(id) FROM {table}") == 4
            with pytest.raises(asyncpg.UndefinedTableError):
                await pool.fetch("SELECT * FROM nowhere")
            with pytest.raises(asyncpg.UniqueViolationError) as caught:
                await pool.execute("DO $$ BEGIN RAISE unique_violation USING DETAIL = 'd'; END $$")
            assert caught.value.sqlstate == "23505" and caught.value.detail == "d"

    asyncio.run(main())


def test_transactions_cursors_and_prepared_statements(make, table):
    async def main():
        async with make(max_size=1) as pool:
            async with pool.acquire() as connection:
                with pytest.raises(KeyError):
                    async with connection.transaction():
                        await connection.execute(f"INSERT INTO {table} VALUES (1, 'lost')")
                        raise KeyError
                async with connection.transaction():
                    await connection.execute(f"INSERT INTO {table} VALUES (2, 'kept')")
                    with pytest.raises(ZeroDivisionError):
                        async with connection.transaction():
                            await connection.execute(f"INSERT INTO {table} VALUES (3, 'lost')")
                            raise ZeroDivisionError
                    seen = [row[0] async for row in connection.cursor("SELECT generate_series(1, 120)")]
                    assert seen == list(range(1, 121))
                statement = await connection.prepare("SELECT $1::text || '!'")
                assert [await statement.fetchval(word) for word in ("a", "b")] == ["a!", "b!"]
            for number in range(4):
                assert await pool.fetchval("SELECT $1::int + 1", number) == number + 1
            assert await pool.fetch(f"SELECT name FROM {table}") == [("kept",)]

    asyncio.run(main())


def test_nothing_of_a_session_is_left_for_the_next(make):
    async def main():
        async with make(max_size=1) as pool:
            async with pool.acquire() as connection:
                await connection.execute("SET statement_timeout = '7s'; CREATE TEMPORARY TABLE mine (id int)")
                await connection.execute("SELECT pg_advisory_lock(77)")
                await connection.execute("BEGIN")
                assert await connection.fetchval("SHOW statement_timeout") == "7s"
            async with pool.acquire() as connection:
                assert not connection.is_in_transaction()
                assert await connection.fetchval("SHOW statement_timeout") == "0"
                assert await connection.fetchval(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == 0

    asyncio.run(main())


def test_listeners(make):
    async def main():
        async with make(max_size=2) as pool:
            heard = asyncio.get_running_loop().create_future()
            async with pool.acquire() as connection, pool.acquire() as other:
                def said(*words):
                    heard.set_result(words[2:])

                await connection.add_listener("news", said)
                await other.execute("NOTIFY news, 'hello'")
                assert await asyncio.wait_for(heard, 20) == ("news", "hello")
                await connection.remove_listener("news", said)

    asyncio.run(main())


def test_setup_init_and_reset(make):
    said = []

    def say(word):
        async def callback(connection):
            said.append((word, await connection.fetchval("SELECT 1")))
        return callback

    async def main():
        async with make(min_size=1, max_size=1, init=say("init"), setup=say("setup"), reset=say("reset")) as pool:
            for _ in range(2):
                async with pool.acquire():
                    pass

    asyncio.run(main())
    assert said == [("init", 1)] + [("setup", 1), ("reset", 1)] * 2


def test_a_setup_that_fails(make):
    async def main():
        async def setup(connection):
            raise KeyError("mine")

        async with make(max_size=1, setup=setup) as pool:
            for _ in range(2):
                with pytest.raises(KeyError):
                    await pool.acquire()

    asyncio.run(main())


def test_all_taken_is_a_timeout(make):
    async def main():
        async with make(max_size=1) as pool:
            async with pool.acquire():
                with pytest.raises(asyncio.TimeoutError):
                    await pool.acquire(timeout=0.05)
            async with pool.acquire(timeout=20) as connection:
                assert await connection.fetchval("SELECT 1") == 1

    asyncio.run(main())


def test_one_that_is_cancelled_while_it_waits_is_passed_over(make):
    async def main():
        async with make(max_size=1) as pool:
            held = await pool.acquire()
            tasks = [asyncio.ensure_future(pool.acquire()) for _ in range(3)]
            await asyncio.sleep(0)
            tasks[0].cancel()
            tasks[2].cancel()
            await pool.release(held)
            connection = await tasks[1]
            assert await connection.fetchval("SELECT 1") == 1
            await pool.release(connection)
            assert [one.cancelled() for one in tasks] == [True, False, True]

    asyncio.run(main())


def test_a_query_that_is_cancelled_leaves_a_connection_for_the_next(make):
    async def main():
        async with make(max_size=1) as pool:
            async def work():
                async with pool.acquire() as connection:
                    begun.set()
                    await connection.execute("SELECT pg_sleep(60)")

            begun = asyncio.Event()
            task = asyncio.ensure_future(work())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(asyncio.TimeoutError):
                await pool.execute("SELECT pg_sleep(60)", timeout=0.05)
            assert await pool.fetchval("SELECT 1") == 1

    asyncio.run(main())


def test_close_waits_and_terminate_does_not(make):
    async def main():
        pool = await make(max_size=2)
        held = await pool.acquire()
        closing = asyncio.ensure_future(pool.close())
        await until(pool.is_closing)
        with pytest.raises(asyncpg.InterfaceError, match="closing"):
            await pool.acquire()
        assert not closing.done() and await held.fetchval("SELECT 1") == 1
        await pool.release(held)
        await closing
        with pytest.raises(asyncpg.InterfaceError, match="closed"):
            await pool.acquire()
        pool = await make(max_size=2)
        held = await pool.acquire()
        pool.terminate()
        with pytest.raises(asyncpg.InterfaceError):
            await held.fetchval("SELECT 1")

    asyncio.run(main())


def test_expired_connections_and_many_queries(make):
    async def main():
        async with make(max_size=1, max_queries=50) as pool:
            async with pool.acquire() as connection:
                first = connection._con
            await pool.expire_connections()
            async with pool.acquire() as connection:
                assert connection._con is not first
            for number in range(60):
                assert await pool.fetchval("SELECT $1::int", number) == number

    asyncio.run(main())


def test_thirty_tasks(make):
    async def main():
        async with make(max_size=5) as pool:
            async def work(number):
                for _ in range(3):
                    async with pool.acquire() as connection, connection.transaction():
                        assert await connection.fetchval("SELECT $1::int", number) == number

            await asyncio.gather(*(work(number) for number in range(30)))

    asyncio.run(main())


def test_what_a_login_is_refused_for_is_asyncpgs_own_error(make):
    async def main():
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await make(min_size=1, database="nowhere")

    asyncio.run(main())


# What is new.


def test_the_lease_is_shown_with_its_purpose(create, shared):
    async def main():
        async with create(max_size=2) as pool:
            async with pool.acquire(purpose="report.daily"):
                (row,) = leases(shared)
                assert row["purpose"] == "report.daily" and row["kind"] == "explicit"
            async with pool.acquire():
                (row,) = leases(shared)
                assert row["purpose"].startswith("tests/test_asyncpg_pool.py:")
            assert leases(shared) == []

    asyncio.run(main())


def test_exhaustion_names_the_holders(create):
    async def main():
        async with create(max_size=3) as holders, create(max_size=1, min_size=1) as pool:
            held = [await asyncio.create_task(one(holders.acquire(purpose=f"job.{number}")))
                    for number in range(3)]
            with pytest.raises(asyncpg_pool.LeaseExhausted, match=r"job\.2") as caught:
                await pool.acquire(timeout=0.1)
            assert len(caught.value.holders) == 3 and caught.value.waited >= 0.1
            assert isinstance(caught.value, asyncio.TimeoutError)
            assert isinstance(caught.value, pglease.LeaseExhausted)
            assert str(caught.value).count("DETAIL") == 1
            # The connection to the broker is as good as before.
            assert pool.get_idle_size() == 1
            with pytest.raises(pglease.LeaseExhausted, match="of this process"):
                await holders.acquire(timeout=0)
            for connection in held:
                await holders.release(connection)
            assert await pool.fetchval("SELECT 1") == 1

    asyncio.run(main())


async def one(awaitable):
    return await awaitable


def test_nested_leases_that_lock_the_pool(create):
    async def main():
        async with create(max_size=5) as pool:
            held = [await pool.acquire() for _ in range(3)]
            with pytest.raises(asyncpg_pool.PoolLock):
                await pool.acquire(timeout=20)
            for connection in held:
                await pool.release(connection)

    asyncio.run(main())


@pytest.mark.parametrize("at", range(1, 7))
def test_cancelled_while_it_waits_at_the_broker(create, shared, at):
    """After any number of the loop's turns, also when the lease comes in that moment."""
    async def main():
        async with create(max_size=3) as holders, create(max_size=1, min_size=1) as pool:
            held = [await asyncio.create_task(one(holders.acquire())) for _ in range(3)]
            task = asyncio.ensure_future(pool.acquire())
            await until(lambda: shared.waiting() == 1)
            await holders.release(held.pop())
            for _ in range(at):
                await asyncio.sleep(0)
            task.cancel()
            try:
                # It came before.
                await pool.release(await task)
            except asyncio.CancelledError:
                pass
            assert await pool.fetchval("SELECT 1") == 1
            for connection in held:
                await holders.release(connection)

    asyncio.run(main())


def test_what_ends_a_lease(create, shared, postgres):
    async def main():
        async with create(max_size=1) as pool:
            with pytest.raises(asyncpg_pool.LeaseRevoked) as caught:
                async with pool.acquire(hold=0.1) as connection:
                    await until(lambda: leases(shared) == [])
                    await connection.execute("SELECT 1")
            assert caught.value.sqlstate == "57P05" and isinstance(caught.value, asyncpg.PostgresError)
            # Whose time is over between two queries, or in a transaction, is given back without an error.
            for begin in ("SELECT 1", "BEGIN"):
                async with pool.acquire(hold=0.1) as connection:
                    await connection.execute(begin)
                    await until(lambda: leases(shared) == [])
            with pytest.raises(asyncpg_pool.ServerLost) as lost:
                async with pool.acquire() as connection:
                    pid = await connection.fetchval("SELECT pg_backend_pid()")
                    postgres.terminate(pid)
                    await until(lambda: not postgres.sql(
                        "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))
                    await connection.execute("SELECT 1")
            assert isinstance(lost.value, asyncpg.PostgresConnectionError)
            assert await pool.fetchval("SELECT 1") == 1

    asyncio.run(main())


@pytest.mark.parametrize("way", ["direct", "tcp"])
def test_a_broker_that_is_away_and_comes_back(make_broker, way):
    broker = make_broker({"default_pool_size": 2}, tcp=True)
    host = "127.0.0.1" if Way(way).name == "tcp" else None

    async def main():
        async with ours(broker, host)(max_size=2, attempts=1) as pool, ours(broker, host)(
                max_size=2, attempts=100, delay=0.05, factor=1) as patient:
            assert await pool.fetchval("SELECT 1") == 1
            broker.stop()
            with pytest.raises(asyncpg_pool.BrokerAway) as caught:
                await pool.acquire(timeout=5)
            assert isinstance(caught.value, OSError) and caught.value.hint
            task = asyncio.ensure_future(patient.fetchval("SELECT 2"))
            await asyncio.sleep(0)
            broker.start()
            assert await task == 2
            assert await pool.fetchval("SELECT 3") == 3
            with pytest.raises((asyncpg_pool.BrokerAway, asyncpg_pool.ServerLost)):
                async with pool.acquire() as connection:
                    await connection.fetchval("SELECT 1")
                    broker.kill()
                    await connection.fetchval("SELECT 1")
            broker.start()
            assert await pool.fetchval("SELECT 3") == 3

    asyncio.run(main())


def test_the_environment_and_what_makes_no_sense(create, monkeypatch):
    monkeypatch.setenv("PGLEASE_LEASE_WAIT", "0.05")

    async def main():
        async with create(max_size=1) as pool:
            async with pool.acquire():
                with pytest.raises(pglease.LeaseExhausted):
                    await pool.acquire()
        for words in ({"wait": -1}, {"attempts": 0}, {"min_size": 3, "max_size": 2}):
            with pytest.raises(ValueError):
                create(**words)

    asyncio.run(main())


STEPS = {
    "idle": "await pool.fetchval('SELECT 1')",
    "leased": "held = await pool.acquire()",
    "in a transaction": "held = await pool.acquire(); await held.execute('BEGIN; SELECT 1')",
    "in a query": "held = await pool.acquire(); task = asyncio.ensure_future(held.execute('SELECT pg_sleep(60)'))",
    "waiting here": "held = [await pool.acquire() for _ in range(2)]; task = asyncio.ensure_future(pool.acquire())",
    "waiting at the broker": "task = [asyncio.ensure_future(pool.acquire()) for _ in range(2)]",
}


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_killed_with_9(create, shared, step):
    """At each step nothing is left of it, and the next one is served."""
    program = f"""
import asyncio
from pglease.asyncpg_pool import create_pool

async def main():
    pool = await create_pool(host={str(shared.socket_folder)!r}, port={shared.port}, user="app", database="app",
                             min_size=2, max_size=2, server_settings={{"application_name": "victim"}})
    {STEPS[step]}
    asyncio.get_running_loop().call_soon(lambda: print("ready", flush=True))
    await asyncio.Event().wait()

asyncio.run(main())
"""

    async def main():
        async with create(max_size=3) as pool:
            held = []
            if step == "waiting at the broker":
                held = [await asyncio.create_task(one(pool.acquire())) for _ in range(3)]
            worker = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                                      env=os.environ | {"PYTHONPATH": str(SOURCE)})
            try:
                assert worker.stdout.readline() == "ready\n"
                if held:
                    await until(lambda: shared.waiting() == 2)
            finally:
                worker.kill()
                worker.wait()
                worker.stdout.close()
            for connection in held:
                await pool.release(connection)
            await until(lambda: leases(shared) == [] and shared.waiting() == 0)
            await until(lambda: not [row for row in shared.console("SHOW CLIENTS")
                                     if row["application_name"] == "victim"])
            async with pool.acquire(), pool.acquire(), pool.acquire() as connection:
                assert await connection.fetchval("SELECT 1") == 1

    asyncio.run(main())
