# SPDX-License-Identifier: Apache-2.0
"""A thread or task that loses its lease and asks again is not one that holds a lease: neither here nor there."""

import asyncio

import psycopg
import psycopg2
import pytest
from harness import pooler
from harness.waiting import eventually
from pglease import psycopg2_pool, psycopg_pool

from conftest import leases


@pytest.fixture(scope="module")
def single(postgres):
    """One connection for all: who held one and asked for another would be told of a pool lock."""
    one = pooler.make(postgres, {
        "default_pool_size": 1, "reserve_pool_size": 0, "park_timeout": 600}, tcp=True).start()
    yield one
    one.check()
    one.destroy()


def kill_lease(broker, postgres, pid):
    (row,) = leases(broker)
    broker.console(f"KILL LEASE {row['lease_id']}")


def terminate(broker, postgres, pid):
    postgres.terminate(pid)
    eventually(lambda: not postgres.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))


def kill_broker(broker, postgres, pid):
    broker.kill()
    broker.start()


LOSSES = [kill_lease, terminate, kill_broker]


@pytest.fixture(params=LOSSES, ids=lambda one: one.__name__)
def loss(request, single, postgres):
    def lose(pid):
        request.param(single, postgres, pid)
        # A broker that is gone leaves a direct lease's backend to its holder.
        return request.param in (kill_lease, terminate)

    return lose


@pytest.fixture(autouse=True)
def each_use_looks(monkeypatch):
    """Otherwise what a broker that was killed granted may be used for a second more from where it is parked."""
    monkeypatch.setattr("pglease._link.LOOK_EVERY", 0.0)
    monkeypatch.setattr("pglease._psycopg2_leasing.LOOK_EVERY", 0.0)


class Sync:
    def __init__(self, kind, broker, way, size, closing):
        dsn = way.dsn(broker)
        if kind == "psycopg2":
            self.pool = psycopg2_pool.ThreadedConnectionPool(0, size, dsn, wait=20, direct=way.direct)
            self.lost = psycopg2.Error
        else:
            self.pool = psycopg_pool.ConnectionPool(
                dsn, min_size=0, max_size=size, timeout=20, direct=way.direct, park=way.direct)
            self.lost = psycopg.Error
        closing(self.pool)

    def pid(self, connection):
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


@pytest.mark.parametrize("kind", ["psycopg2", "psycopg"])
def test_a_thread(kind, single, unix_way, loss, closing):
    one = Sync(kind, single, unix_way, 1, closing)
    connection = one.pool.getconn()
    loss(one.pid(connection))
    one.pool.putconn(connection)
    # The same thread, at once: neither PoolLock nor another way than for the first time.
    connection = one.pool.getconn()
    assert one.pid(connection) and len(leases(single)) == 1
    connection.close()
    one.pool.putconn(connection)
    connection = one.pool.getconn()
    assert one.pid(connection) and len(leases(single)) == 1
    one.pool.putconn(connection)


@pytest.mark.parametrize("kind", ["psycopg2", "psycopg"])
def test_a_thread_that_keeps_what_was_lost(kind, single, unix_way, loss, closing):
    """The lease is over at the broker though the program has not noticed: the thread's next one is its only one."""
    one = Sync(kind, single, unix_way, 1, closing)
    kept = one.pool.getconn()
    over = loss(one.pid(kept)) or unix_way.kind == "relay"
    eventually(lambda: leases(single) == [])
    other = one.pool.getconn()
    assert one.pid(other) and len(leases(single)) == 1
    if over:
        with pytest.raises(one.lost):
            one.pid(kept)
    one.pool.putconn(kept)
    one.pool.putconn(other)
    assert one.pool._leasing.book.taken == 0


def test_a_task(single, unix_way, loss):
    """As the two before."""
    async def pid(connection):
        return (await (await connection.execute("SELECT pg_backend_pid()")).fetchone())[0]

    async def main():
        async with psycopg_pool.AsyncConnectionPool(
                unix_way.dsn(single), min_size=0, max_size=1, open=False, timeout=20,
                direct=unix_way.direct, park=unix_way.direct) as pool:
            for kept in (False, True):
                lost = await pool.getconn()
                loss(await pid(lost))
                if kept:
                    eventually(lambda: leases(single) == [])
                else:
                    await pool.putconn(lost)
                connection = await pool.getconn()
                assert await pid(connection) and len(leases(single)) == 1
                if kept:
                    await pool.putconn(lost)
                await pool.putconn(connection)

    asyncio.run(main())
