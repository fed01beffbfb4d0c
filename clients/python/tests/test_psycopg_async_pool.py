# SPDX-License-Identifier: Apache-2.0
"""psycopg 3: the asyncio pool."""

import asyncio
import gc

import psycopg
import psycopg_pool as original
import pytest

from conftest import leases
from harness.waiting import eventually
from pglease import psycopg_pool


@pytest.fixture
def make(broker):
    def pool(way, max_size=5, **more):
        more.setdefault("timeout", 10)
        return psycopg_pool.AsyncConnectionPool(
            way.dsn(broker), min_size=0, max_size=max_size, open=False, direct=way.direct, **more)
    return pool


async def until(condition, within=10):
    """As `eventually`, for what happens in this event loop."""
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "not in time"
        await asyncio.sleep(0)


async def one(connection, statement, arguments=None):
    cursor = await connection.execute(statement, arguments)
    return (await cursor.fetchone())[0]


def test_a_lease_is_of_the_kind_that_the_way_allows(broker, make, way, table):
    async def main():
        async with make(way) as pool:
            async with pool.connection(purpose="a.job") as connection:
                grant = pool.lease_of(connection)
                assert grant.kind == way.kind
                assert await one(connection, "SELECT pg_backend_pid()") == grant.server_pid
                assert [row["purpose"] for row in leases(broker)] == ["a.job"]
                await connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
                first = connection
            with pytest.raises(KeyError):
                async with pool.connection() as connection:
                    assert connection is first
                    (row,) = leases(broker)
                    assert row["purpose"].startswith("tests/test_psycopg_async_pool.py:")
                    await connection.execute(f"INSERT INTO {table} VALUES (2, 'lost')")
                    raise KeyError
            connection = await pool.getconn()
            assert await one(connection, f"SELECT count(*) FROM {table}") == 1
            await pool.putconn(connection)
            with pytest.raises(ValueError):
                await pool.putconn(connection)

    asyncio.run(main())


def test_thirty_tasks_on_five_turns_and_three_server_connections(broker, make, way):
    async def main():
        async with make(way, max_size=5, timeout=30) as pool:
            async def work():
                for step in range(5):
                    async with pool.connection() as connection:
                        assert await one(connection, "SELECT %s::int", (step,)) == step

            await asyncio.gather(*(work() for _ in range(30)))
            assert pool.get_stats()["requests_num"] == 150

    asyncio.run(main())


def test_exhaustion_names_the_holders(make, way):
    async def main():
        async with make(way, max_size=3) as holders, make(way) as pool:
            # Each in a task of its own: who holds what it waits for is a pool lock, another error.
            held = [await asyncio.create_task(holders.getconn(purpose=f"job.{number}"))
                    for number in range(3)]
            with pytest.raises(original.PoolTimeout) as caught:
                await pool.getconn(timeout=0.1)
            assert len(caught.value.holders) == 3
            with pytest.raises(psycopg_pool.LeaseExhausted, match="job.2"):
                await holders.getconn(timeout=0)
            for connection in held:
                await holders.putconn(connection)

    asyncio.run(main())


def test_a_cancelled_task_leaves_both_queues(broker, make, way):
    async def main():
        async with make(way, max_size=3) as holders, make(way, max_size=2) as pool:
            held = [await holders.getconn() for _ in range(3)]
            # Two wait at the broker, one in this process.
            tasks = [asyncio.ensure_future(pool.getconn()) for _ in range(3)]
            await until(lambda: pool.get_stats()["requests_waiting"] == 1)
            await until(lambda: broker.waiting() == 2)
            for task in reversed(tasks):
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in done)
            await until(lambda: broker.waiting() == 0)
            for connection in held:
                await holders.putconn(connection)
            async with pool.connection() as connection, pool.connection() as other:
                assert await one(connection, "SELECT 1") + await one(other, "SELECT 1") == 2

    asyncio.run(main())


def test_a_cancelled_query_gives_its_lease_back(broker, make, way):
    async def main():
        async with make(way, max_size=1) as pool:
            async def work():
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_sleep(60)")

            task = asyncio.ensure_future(work())
            await until(lambda: broker.postgres.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' "
                "AND state = 'active'"))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with pool.connection() as connection:
                assert await one(connection, "SELECT 1") == 1

    asyncio.run(main())


def test_callbacks(make, way):
    said = []

    async def configure(connection):
        said.append("configure")
        await connection.set_autocommit(True)

    async def check(connection):
        said.append("check")
        await psycopg_pool.AsyncConnectionPool.check_connection(connection)

    async def reset(connection):
        said.append("reset")

    async def main():
        async with make(way, configure=configure, check=check, reset=reset) as pool:
            for _ in range(2):
                async with pool.connection() as connection:
                    assert connection.autocommit
                    await connection.set_read_only(True)

    asyncio.run(main())
    assert said == ["configure", "check", "reset"] * 2


def test_what_ends_a_lease(postgres, broker, make, way):
    async def main():
        async with make(way, max_size=1) as pool:
            with pytest.raises(psycopg_pool.LeaseRevoked):
                async with pool.connection(hold=0.1) as connection:
                    await until(lambda: leases(broker) == [])
                    await connection.execute("SELECT 2")
            with pytest.raises(psycopg_pool.ServerLost):
                async with pool.connection() as connection:
                    pid = await one(connection, "SELECT pg_backend_pid()")
                    postgres.terminate(pid)
                    await until(lambda: not postgres.sql(
                        "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))
                    await connection.execute("SELECT 1")
            async with pool.connection() as connection:
                assert await one(connection, "SELECT 1") == 1
            with pytest.raises(psycopg.errors.UndefinedTable):
                async with pool.connection() as connection:
                    await connection.execute("SELECT * FROM nowhere")

    asyncio.run(main())


def test_a_broker_that_is_restarted(broker, make, way):
    async def main():
        async with make(way, attempts=50, delay=0.05, factor=1) as pool:
            async with pool.connection():
                pass
            broker.stop()
            task = asyncio.ensure_future(pool.getconn())
            await asyncio.sleep(0)
            broker.start()
            connection = await task
            assert await one(connection, "SELECT 1") == 1
            await pool.putconn(connection)

    asyncio.run(main())


def test_a_forgotten_connection_comes_back(broker, make, way):
    async def main():
        async with make(way, max_size=1, timeout=5) as pool:
            async def forget():
                await one(await pool.getconn(), "SELECT 1")

            with pytest.warns(ResourceWarning, match="test_psycopg_async_pool.py"):
                await forget()
                gc.collect()
            async with pool.connection() as connection:
                assert await one(connection, "SELECT 1") == 1

    asyncio.run(main())


def test_one_pool_in_two_loops(broker, make, way):
    pool = make(way, max_size=1)

    async def main():
        await pool.open()
        async with pool.connection() as connection:
            return await one(connection, "SELECT 1")

    assert asyncio.run(main()) == asyncio.run(main()) == 1

    async def end():
        await pool.close()
        with pytest.raises(original.PoolClosed):
            await pool.getconn()

    asyncio.run(end())


def test_closing_lets_waiting_tasks_go(broker, make, way):
    async def main():
        pool = make(way, max_size=1)
        async with pool:
            held = await pool.getconn()
            task = asyncio.ensure_future(pool.getconn())
            await until(lambda: pool.get_stats()["requests_waiting"] == 1)
        with pytest.raises(original.PoolClosed):
            await task
        assert await one(held, "SELECT 1") == 1
        await pool.putconn(held)
        assert held.closed

    asyncio.run(main())


def test_prepared_statements_from_lease_to_lease(make, way):
    async def main():
        async with make(way, max_size=1, kwargs={"prepare_threshold": 0}) as pool:
            for _ in range(4):
                async with pool.connection() as connection:
                    for number in range(3):
                        assert await one(connection, "SELECT %s::int", (number,)) == number

    asyncio.run(main())


def test_close_returns_and_a_close_of_ones_own(broker, make, way):
    async def main():
        async with make(way, max_size=1, close_returns=True) as pool:
            first = await pool.getconn()
            await first.close()
            assert not first.closed
            assert await pool.getconn() is first
            await pool.putconn(first)
        async with make(way, max_size=1) as pool:
            async with pool.connection() as connection:
                await connection.close()
            async with pool.connection() as other:
                assert other is not connection

    asyncio.run(main())
    eventually(lambda: leases(broker) == [])
