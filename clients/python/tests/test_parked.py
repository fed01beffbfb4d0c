"""Leases that lie parked between their uses, as in a pool of the program's own."""

import asyncio
import os
import signal
import threading

import psycopg2
import pytest
from harness import direct, wire
from harness.waiting import eventually
from programs import elsewhere, in_child

from conftest import Way, leases

PID = "SELECT pg_backend_pid()"
DIRECT = Way("direct")


def value(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def use(pool, query=PID, **named):
    connection = pool.getconn(**named)
    try:
        return value(connection, query)
    finally:
        pool.putconn(connection)


@pytest.fixture
def narrow(make_broker):
    return make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "park_timeout": 600})


def states(broker):
    return [row["state"] for row in leases(broker)]


# psycopg2.


def test_a_stopped_broker_is_not_missed(broker, make_pool):
    """Taking a parked lease back and parking it again says nothing to the broker."""
    pool = make_pool(DIRECT)
    backend = use(pool)
    broker.send_signal(signal.SIGSTOP)
    try:
        assert {use(pool) for _ in range(200)} == {backend}
    finally:
        broker.send_signal(signal.SIGCONT)
    eventually(lambda: states(broker) == ["parked"])


def test_it_is_a_session_of_the_pools_own(make_pool):
    pool = make_pool(DIRECT)
    connection = pool.getconn()
    connection.autocommit = True
    value(connection, "SELECT set_config('app.tenant', 'mine', false)")
    pool.putconn(connection)
    connection = pool.getconn()
    # Connection object and session go together, as they were left.
    assert connection.autocommit
    assert value(connection, "SHOW app.tenant") == "mine"
    pool.putconn(connection)


def test_what_was_taken_comes_back_new(narrow, make_pool):
    pool = make_pool(DIRECT, on=narrow)
    connection = pool.getconn()
    connection.autocommit = True
    connection.set_session(readonly=True)
    connection.set_client_encoding("LATIN1")
    value(connection, "SELECT set_config('app.tenant', 'mine', false)")
    pool.putconn(connection)
    with direct.connect(narrow) as other:
        assert other.value("SELECT 1") == "1"
    connection = pool.getconn()
    assert not connection.autocommit and connection.readonly is None
    assert connection.encoding == "UTF8"
    assert value(connection, "SHOW client_encoding") == "UTF8"
    assert not value(connection, "SELECT current_setting('app.tenant', true)")
    assert value(connection, "SHOW transaction_read_only") == "off"
    pool.putconn(connection)


def test_a_transaction_is_rolled_back(make_pool, table):
    pool = make_pool(DIRECT)
    connection = pool.getconn()
    connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'x')")
    pool.putconn(connection)
    connection = pool.getconn()
    with pytest.raises(psycopg2.Error):
        value(connection, "SELECT 1/0")
    pool.putconn(connection)
    connection = pool.getconn()
    connection.autocommit = True
    connection.cursor().execute("BEGIN")
    connection.cursor().execute(f"INSERT INTO {table} VALUES (2, 'x')")
    pool.putconn(connection)
    assert use(pool, f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize("way_off", ["argument", "environment"])
def test_switched_off_every_lease_is_new(make_pool, monkeypatch, way_off):
    if way_off == "environment":
        monkeypatch.setenv("PGLEASE_PARK", "off")
        pool = make_pool(DIRECT)
    else:
        pool = make_pool(DIRECT, park=False)
    use(pool, "SELECT set_config('app.tenant', 'mine', false)")
    assert use(pool, "SELECT current_setting('app.tenant', true)") in (None, "")


def test_whoever_waits_comes_first(narrow, make_pool):
    pool = make_pool(DIRECT, on=narrow)
    backend = use(pool)
    assert states(narrow) == ["parked"]
    with direct.connect(narrow) as other:
        assert other.value("SELECT 1") == "1"
    # What was taken is not missed: the next lease is one like any other.
    assert use(pool) != 0 and backend
    assert use(pool, "SELECT 'goes on'") == "goes on"


def test_one_that_is_used_comes_back_at_its_end(narrow, make_pool):
    pool = make_pool(DIRECT, on=narrow)
    connection = pool.getconn()
    with direct.connect(narrow) as other:
        other.send(wire.query("SELECT 'served'"))
        eventually(lambda: len(narrow.console("SHOW WAITERS")) == 1)
        assert value(connection, "SELECT 1") == 1
        pool.putconn(connection)
        assert wire.rows_of(other.until_ready()) == [["served"]]


def test_who_uses_it_is_named(narrow, make_pool):
    """The lease was another's; the page says who has taken it over."""
    pool = make_pool(DIRECT, on=narrow)
    use(pool, purpose="somebody.first")
    connection = elsewhere(pool.getconn, purpose="somebody.second")
    row, = leases(narrow)
    assert row["purpose"] == "somebody.second"
    with direct.connect(narrow) as other:
        error = wire.error_of(other.query("LEASE WAIT '50ms'"))
        assert "somebody.second" in error.fields["D"], error.fields
    pool.putconn(connection)


def test_a_thread_that_waits_for_itself_is_told(narrow, make_pool):
    pool = make_pool(DIRECT, on=narrow)
    elsewhere(use, pool)
    held = pool.getconn()
    narrow.errors_expected = True
    with pytest.raises(psycopg2.pool.PoolError) as caught:
        pool.getconn(wait=15)
    assert caught.value.pgcode == "40P01", caught.value
    pool.putconn(held)


def test_threads_take_turns(make_pool):
    pool = make_pool(DIRECT, maxconn=3)
    seen, failed = set(), []

    def work():
        try:
            for _ in range(60):
                seen.add(use(pool))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed and len(seen) <= 3
    assert pool._leasing.book.taken == 0


def test_a_killed_broker_is_noticed(broker, make_pool, monkeypatch):
    monkeypatch.setattr("pglease._psycopg2_leasing.LOOK_EVERY", 0.0)
    monkeypatch.setattr("pglease._link.LOOK_EVERY", 0.0)
    pool = make_pool(DIRECT)
    backend = use(pool)
    broker.kill()
    # It is still to be had; when it is put back, the broker's end is seen, and it is let go.
    assert use(pool) == backend
    broker.start()
    assert use(pool, wait=20) != backend


def test_a_forked_child_has_none_of_it(broker, make_pool):
    pool = make_pool(DIRECT)
    backend = use(pool)

    def in_the_child():
        return use(pool)

    assert in_child(in_the_child) != backend
    assert use(pool) == backend


def test_closing_gives_back_what_is_parked(broker, make_pool):
    # The process has another session, so that what is confined to it stays.
    other = make_pool(DIRECT, minconn=1)
    pool = make_pool(DIRECT, maxconn=2)
    one, two = pool.getconn(), pool.getconn()
    backends = {value(one, PID), value(two, PID)}
    pool.putconn(one)
    pool.putconn(two)
    assert states(broker) == ["parked", "parked"]
    pool.closeall()
    eventually(lambda: leases(broker) == [])
    # Cleaned, not closed: this process may have them again.
    assert use(other) in backends


STEPS = ["pass", "held = pool.getconn()", "use()", "held = pool.getconn(); held.cursor().execute("
         "f'INSERT INTO {table} VALUES (1)')", "use(); held = pool.getconn(); held.cursor().execute("
         "f'INSERT INTO {table} VALUES (1)')"]


@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_worker_killed_with_9(broker, postgres, table, step):
    peer = direct.Peer(broker.socket_path)
    try:
        source = str(os.path.join(os.path.dirname(__file__), "../src"))
        peer.do(f"""
import sys
sys.path.insert(0, {source!r})
from pglease.psycopg2_pool import LeasePool
table = {table!r}
pool = LeasePool(1, 2, {broker.dsn()!r}, wait=10)
def use():
    one = pool.getconn()
    one.cursor().execute("SELECT 1")
    pool.putconn(one)
{STEPS[step]}
""")
        peer.kill()
        eventually(lambda: leases(broker) == [])
        with direct.connect(broker) as other:
            assert other.value(f"SELECT count(*) FROM {table}") == "0"
        eventually(lambda: broker.pool()["cl_active"] == "0")
    finally:
        peer.close()


# psycopg 3.


def psycopg_pool(broker, kind="ConnectionPool", **more):
    pools = pytest.importorskip("pglease.psycopg_pool")
    return getattr(pools, kind)(broker.dsn(), min_size=0, max_size=2, **more)


def test_psycopg3_parks_when_it_is_asked_to(broker):
    configured = []

    def configure(connection):
        configured.append(connection)

    with psycopg_pool(broker, park=True, configure=configure) as pool:
        with pool.connection() as connection:
            backend = connection.execute(PID).fetchone()[0]
            for _ in range(8):
                connection.execute("SELECT 'prepared by itself'")
        assert states(broker) == ["parked"]
        broker.send_signal(signal.SIGSTOP)
        try:
            for _ in range(20):
                with pool.connection() as connection:
                    assert connection.execute(PID).fetchone()[0] == backend
                    connection.execute("SELECT 'prepared by itself'")
        finally:
            broker.send_signal(signal.SIGCONT)
        # Once for the session, as in psycopg's own pool.
        assert len(configured) == 1
        pool.check()
        eventually(lambda: leases(broker) == [])
        with pool.connection() as connection:
            connection.execute("SELECT 'prepared by itself'")
        assert len(configured) == 2


def test_psycopg3_does_not_by_itself(broker):
    with psycopg_pool(broker) as pool:
        with pool.connection() as connection:
            connection.execute("SELECT 1")
        assert leases(broker) == []


def test_psycopg3_makes_room(narrow):
    with psycopg_pool(narrow, park=True) as pool:
        with pool.connection() as connection:
            connection.execute("SET app.tenant = 'mine'")
        with direct.connect(narrow) as other:
            assert other.value("SELECT 1") == "1"
        with pool.connection() as connection:
            assert not connection.execute(
                "SELECT current_setting('app.tenant', true)").fetchone()[0]


def test_asyncio_parks_too(broker):
    async def work():
        async with psycopg_pool(broker, "AsyncConnectionPool", park=True) as pool:
            async def once():
                async with pool.connection() as connection:
                    return (await (await connection.execute(PID)).fetchone())[0]

            backend = await once()
            assert states(broker) == ["parked"]
            broker.send_signal(signal.SIGSTOP)
            try:
                assert {await once() for _ in range(20)} == {backend}
            finally:
                broker.send_signal(signal.SIGCONT)
            assert len(set(await asyncio.gather(*[once() for _ in range(10)]))) <= 2

    asyncio.run(work())
    eventually(lambda: leases(broker) == [])
