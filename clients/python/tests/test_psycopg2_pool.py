# SPDX-License-Identifier: Apache-2.0
"""psycopg2: what a lease is, what its connection is like, how it comes back."""

import threading

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool
import pytest

import pglease
from conftest import leases
from harness.waiting import eventually
from pglease import psycopg2_pool
from pglease._psycopg2_link import Psycopg2Link
from programs import elsewhere, in_threads


def value(connection, statement, arguments=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return cursor.fetchone()[0]


def test_a_lease_is_of_the_kind_that_the_way_allows(broker, make_pool, way):
    pool = make_pool(way)
    connection = pool.getconn()
    grant = pool.lease_of(connection)
    assert grant.kind == way.kind
    assert value(connection, "SELECT pg_backend_pid()") == grant.server_pid
    assert [row["kind"] for row in leases(broker)] == [way.shown]
    pool.putconn(connection)
    assert pool.lease_of(connection) is None
    eventually(lambda: leases(broker) == [])


def test_a_good_connection_is_kept(broker, make_pool, way):
    pool = make_pool(way)
    first = pool.getconn()
    pool.putconn(first)
    assert pool.getconn() is first
    pool.putconn(first)
    assert len(broker.logged("client logged in", '"database":"app"')) == 1


def test_what_is_surplus_is_kept_as_well(broker, make_pool, way):
    pool = make_pool(way, minconn=1)
    three = [pool.getconn() for _ in range(3)]
    for one in three:
        pool.putconn(one)
    assert {id(pool.getconn()) for _ in range(3)} == {id(one) for one in three}
    for one in three:
        assert not one.closed
        pool.putconn(one)


def test_minconn_connections_are_opened_at_once(broker, make_pool, way):
    make_pool(way, minconn=2)
    assert len(broker.logged("client logged in", '"database":"app"')) == 2
    eventually(lambda: leases(broker) == [])


def test_what_is_open_is_rolled_back(make_pool, way, table):
    pool = make_pool(way)
    connection = pool.getconn()
    connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'lost')")
    pool.putconn(connection)
    with pool.lease() as connection:
        assert value(connection, f"SELECT count(*) FROM {table}") == 0


def test_a_begin_of_ones_own_in_autocommit_is_rolled_back(make_pool, way, table):
    pool = make_pool(way)
    connection = pool.getconn()
    connection.autocommit = True
    connection.cursor().execute(f"BEGIN; INSERT INTO {table} VALUES (1, 'lost')")
    pool.putconn(connection)
    assert pool.getconn() is connection
    assert value(connection, f"SELECT count(*) FROM {table}") == 0
    pool.putconn(connection)


def test_a_failed_transaction_is_rolled_back(make_pool, way):
    pool = make_pool(way)
    connection = pool.getconn()
    with pytest.raises(psycopg2.errors.DivisionByZero):
        value(connection, "SELECT 1/0")
    pool.putconn(connection)
    assert pool.getconn() is connection
    assert value(connection, "SELECT 1") == 1
    pool.putconn(connection)


def test_every_lease_begins_as_a_new_connection(make_pool, way):
    pool = make_pool(way, park=False, maxconn=1)
    connection = pool.getconn()
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    value(connection, "SELECT 1")
    connection.rollback()
    connection.autocommit = True
    connection.cursor_factory = psycopg2.extras.DictCursor
    connection.cursor().execute("SET application_name = 'somebody'; SET work_mem = '5MB'; "
                                "CREATE TEMP TABLE mine (x int); LISTEN here; "
                                "DO $$ BEGIN RAISE NOTICE 'told'; END $$")
    assert connection.notices
    pool.putconn(connection)
    connection = pool.getconn()
    assert not connection.autocommit
    assert connection.isolation_level is None
    assert connection.readonly is None and connection.deferrable is None
    assert connection.cursor_factory is None
    assert connection.notices == []
    assert value(connection, "SHOW application_name") != "somebody"
    assert connection.get_parameter_status("application_name") != "somebody"
    assert value(connection, "SHOW work_mem") == "4MB"
    assert value(connection, "SHOW transaction_isolation") == "read committed"
    assert value(connection, "SELECT to_regclass('mine')") is None
    assert value(connection, "SELECT count(*) FROM pg_listening_channels()") == 0
    pool.putconn(connection)


def test_another_client_encoding_ends_with_the_lease(make_pool, way):
    pool = make_pool(way, maxconn=1, park=False)
    connection = pool.getconn()
    connection.set_client_encoding("LATIN1")
    assert value(connection, "SELECT 'é'") == "é"
    pool.putconn(connection)
    connection = pool.getconn()
    assert connection.encoding == "UTF8"
    assert connection.get_parameter_status("client_encoding") == "UTF8"
    assert value(connection, "SELECT '€'") == "€"
    pool.putconn(connection)


def test_an_encoding_set_in_sql_ends_with_the_lease(make_pool, way):
    pool = make_pool(way, park=False, maxconn=1)
    connection = pool.getconn()
    connection.autocommit = True
    connection.cursor().execute("SET client_encoding TO 'LATIN1'")
    pool.putconn(connection)
    connection = pool.getconn()
    assert connection.get_parameter_status("client_encoding") == "UTF8"
    assert value(connection, "SELECT '€'") == "€"
    pool.putconn(connection)


def test_startup_options_are_in_force(make_pool, way):
    pool = make_pool(way, options="-c statement_timeout=30000", application_name="worker")
    with pool.lease() as connection:
        assert value(connection, "SHOW statement_timeout") == "30s"
        assert value(connection, "SHOW application_name") == "worker"


def test_a_close_of_ones_own_gives_the_lease_back(broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    connection = pool.getconn()
    value(connection, "SELECT 1")
    connection.close()
    eventually(lambda: leases(broker) == [])
    pool.putconn(connection)
    with pool.lease() as other:
        assert other is not connection
        assert value(other, "SELECT 1") == 1


def test_putconn_with_close_gives_the_lease_back(broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    connection = pool.getconn()
    pool.putconn(connection, close=True)
    assert connection.closed
    eventually(lambda: leases(broker) == [])
    with pool.lease() as other:
        assert value(other, "SELECT 1") == 1


def test_what_was_given_back_cannot_be_used(broker, make_pool, unix_way):
    # It would run outside of any lease, or read what was meant for the next one.
    pool = make_pool(unix_way, park=False, maxconn=1)
    connection = pool.getconn()
    pool.putconn(connection)
    with pytest.raises(psycopg2.OperationalError):
        value(connection, "SELECT 1")
    with pool.lease() as other:
        assert value(other, "SELECT 1") == 1
    pool.putconn(pool.getconn())
    other.close()
    with pool.lease() as third:
        assert value(third, "SELECT 1") == 1


def test_an_unknown_connection_is_a_pool_error(broker, make_pool, way):
    pool, other = make_pool(way), make_pool(way)
    connection = pool.getconn()
    with pytest.raises(psycopg2.pool.PoolError, match="unkeyed"):
        other.putconn(connection)
    with pytest.raises(psycopg2.pool.PoolError, match="unkeyed"):
        pool.putconn(None)
    pool.putconn(connection)
    with pytest.raises(psycopg2.pool.PoolError, match="unkeyed"):
        pool.putconn(connection)
    stranger = psycopg2.connect(broker.dsn())
    with pytest.raises(psycopg2.pool.PoolError, match="unkeyed"):
        pool.putconn(stranger)
    stranger.close()


def test_keys(make_pool, way):
    pool = make_pool(way)
    mine = pool.getconn("mine")
    other = pool.getconn(key=("other", 1))
    assert pool.getconn("mine") is mine
    assert other is not mine
    with pytest.raises(psycopg2.pool.PoolError):
        pool.putconn(mine, key=("other", 1))
    pool.putconn(mine, key="mine")
    pool.putconn(key=("other", 1))
    again = pool.getconn("mine")
    assert pool.lease_of(again) is not None
    pool.putconn(again)


def test_closeall(broker, make_pool, way):
    pool = make_pool(way, minconn=1)
    used = pool.getconn()
    idle = pool.getconn()
    pool.putconn(idle)
    assert not pool.closed
    pool.closeall()
    assert pool.closed and used.closed and idle.closed
    for call in (pool.getconn, pool.closeall, lambda: pool.putconn(used)):
        with pytest.raises(psycopg2.pool.PoolError, match="closed"):
            call()
    eventually(lambda: leases(broker) == [])


def test_user_classes_go_on_working(make_pool, way):
    class Own(psycopg2.extensions.connection):
        closes = 0

        def close(self):
            Own.closes += 1
            super().close()

    pool = make_pool(way, connection_factory=Own, cursor_factory=psycopg2.extras.RealDictCursor)
    with pool.lease() as connection:
        assert isinstance(connection, Own)
        assert type(connection).__name__ == "Own"
        cursor = connection.cursor()
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchall() == [{"one": 1}]
        connection.close()
        assert Own.closes == 1


def test_a_factory_that_is_no_class(broker, make_pool, way):
    def make(dsn, *more):
        return psycopg2.extensions.connection(dsn, *more)

    pool = make_pool(way, connection_factory=make)
    with pool.lease() as connection:
        assert type(connection) is psycopg2.extensions.connection
        assert value(connection, "SELECT 1") == 1
    connection = pool.getconn()
    connection.close()
    pool.putconn(connection)
    eventually(lambda: leases(broker) == [])


def test_lease_commits(make_pool, way, table):
    pool = make_pool(way)
    with pool.lease("a.write") as connection:
        connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'kept')")
    with pool.lease() as connection:
        assert value(connection, f"SELECT name FROM {table}") == "kept"


def test_lease_rolls_back_when_it_raises(make_pool, way, table):
    pool = make_pool(way)
    with pytest.raises(KeyError):
        with pool.lease() as connection:
            connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'lost')")
            raise KeyError("mine")
    with pool.lease() as connection:
        assert value(connection, f"SELECT count(*) FROM {table}") == 0


def test_a_block_may_give_back_by_itself(make_pool, way):
    pool = make_pool(way, maxconn=1)
    with pool.lease() as connection:
        pool.putconn(connection)
        with pool.lease() as inner:
            assert inner is connection
            inner.cursor().execute("SELECT 1")
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_leases_nest_in_one_thread(broker, make_pool, way):
    pool = make_pool(way)
    with pool.lease("outer") as outer, pool.lease("inner") as inner:
        assert outer is not inner
        assert value(outer, "SELECT pg_backend_pid()") != value(inner, "SELECT pg_backend_pid()")
        assert sorted(row["purpose"] for row in leases(broker)) == ["inner", "outer"]


def test_the_callers_place_is_the_purpose(broker, make_pool, way):
    pool = make_pool(way)
    connection = pool.getconn()
    (row,) = leases(broker)
    assert row["purpose"].startswith("tests/test_psycopg2_pool.py:")
    pool.putconn(connection)
    with pool.lease("it's \"mine\"; DROP"):
        (row,) = leases(broker)
        assert row["purpose"] == "it's \"mine\"; DROP"


def test_exhaustion_names_the_holders(broker, make_pool, way):
    holders = make_pool(way, maxconn=3)
    # A thread that holds what it waits for is a pool lock, another error.
    held = [elsewhere(holders.getconn, purpose=f"job.{n}") for n in range(3)]
    pool = make_pool(way, application_name="late")
    with pytest.raises(psycopg2.pool.PoolError) as caught:
        pool.getconn(wait=0.1)
    error = caught.value
    assert isinstance(error, psycopg2_pool.LeaseExhausted)
    assert isinstance(error, pglease.LeaseExhausted)
    assert error.pgcode == error.sqlstate == "53300"
    assert error.detail in str(error) and error.hint
    assert error.waited >= 0.1
    assert sorted(one.purpose for one in error.holders) == ["job.0", "job.1", "job.2"]
    assert not isinstance(error, psycopg2.OperationalError)
    for one in held:
        holders.putconn(one)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_the_pools_own_bound_names_the_holders(make_pool, way):
    pool = make_pool(way, maxconn=1)
    with pool.lease("the.only"):
        with pytest.raises(psycopg2_pool.LeaseExhausted) as caught:
            elsewhere(pool.getconn, wait=0)
        assert [one.purpose for one in caught.value.holders] == ["the.only"]
        assert "the.only" in str(caught.value)
    with pool.lease():
        pass


def test_threads_that_nest_leases_do_not_wait_for_each_other_in_the_process(
        make_broker, closing, way):
    """maxconn leases are held, every holder wants one more, and so on: the broker has room."""
    threads = 6
    broker = make_broker({
        "default_pool_size": "18", "reserve_pool_size": "0", "park_timeout": "2"}, tcp=True)
    pool = closing(psycopg2_pool.LeasePool(0, threads, way.dsn(broker), direct=way.direct))
    all_hold_one = threading.Barrier(threads)

    def nest(_):
        with pool.lease("outer"):
            all_hold_one.wait(30)
            with pool.lease("middle"), pool.lease("inner") as connection:
                assert value(connection, "SELECT 1") == 1

    in_threads(threads, nest)
    eventually(lambda: not leases(broker), 10)


def test_a_full_broker_bounds_a_thread_that_goes_past_maxconn(broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    held = [elsewhere(pool.getconn)]
    with pytest.raises(psycopg2_pool.LeaseExhausted):
        pool.getconn(wait=0)  # Holds none: the pool's own bound.
    pool.putconn(held.pop())
    held = [pool.getconn(wait=5) for _ in range(3)]
    with pytest.raises(psycopg2_pool.PoolError):
        pool.getconn(wait=0.1)  # The broker has three.
    for one in held:
        pool.putconn(one)


def test_many_rows_and_copy(make_pool, way, table):
    import io
    pool = make_pool(way)
    with pool.lease() as connection:
        text = "".join(f"{n}\tname {n}\n" for n in range(50_000))
        connection.cursor().copy_expert(f"COPY {table} FROM STDIN", io.StringIO(text))
        back = io.StringIO()
        connection.cursor().copy_expert(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT", back)
        assert back.getvalue() == text
        cursor = connection.cursor("named")
        cursor.execute(f"SELECT id FROM {table} ORDER BY id")
        assert sum(1 for _ in cursor) == 50_000


def test_cancel_while_a_query_runs(postgres, make_pool, way):
    import threading
    pool = make_pool(way)
    with pytest.raises(psycopg2.errors.QueryCanceled):
        with pool.lease() as connection:
            pid = value(connection, "SELECT pg_backend_pid()")

            def cancel():
                eventually(lambda: postgres.sql(
                    "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", (pid,)))
                connection.cancel()

            canceller = threading.Thread(target=cancel)
            canceller.start()
            try:
                value(connection, "SELECT pg_sleep(60)")
            finally:
                canceller.join()
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_direct_can_be_turned_off(broker, closing, monkeypatch):
    monkeypatch.setenv("PGLEASE_DIRECT", "off")
    pool = closing(psycopg2_pool.LeasePool(0, 2, broker.dsn()))
    with pool.lease() as connection:
        assert pool.lease_of(connection).kind == "relay"


def test_the_broker_can_turn_direct_off(make_broker, closing):
    broker = make_broker({"direct_lease": "off"})
    pool = closing(psycopg2_pool.LeasePool(0, 2, broker.dsn()))
    with pool.lease() as connection:
        assert pool.lease_of(connection).kind == "relay"
        assert value(connection, "SELECT 1") == 1


def test_an_address_that_is_not_the_brokers(postgres, closing):
    dsn = f"host={postgres.host} port={postgres.port} dbname=app user=app"
    pool = closing(psycopg2_pool.LeasePool(1, 2, dsn, wait=5))
    for _ in range(2):
        with pytest.raises(psycopg2_pool.LeaseRefused, match="pglease broker"):
            pool.getconn()


def test_a_wrong_database_is_the_drivers_own_error(broker, closing):
    with pytest.raises(psycopg2.OperationalError) as caught:
        closing(psycopg2_pool.LeasePool(1, 2, broker.dsn(dbname="nowhere"), wait=5))
    assert "nowhere" in str(caught.value)
    assert not isinstance(caught.value, pglease.BrokerAway)


def test_a_driver_that_must_learn_the_parameters(broker, make_pool, unix_way, monkeypatch):
    # The answer says what libpq does not know: once another connection is tried, then libpq reads
    # the answers itself, on a connection that is kept.
    monkeypatch.setattr(Psycopg2Link, "_is_news", lambda self, connection, told: True)
    pool = make_pool(unix_way, maxconn=1)
    for number in range(4):
        with pool.lease() as connection:
            assert pool.lease_of(connection).kind == "relay"
            assert value(connection, "SELECT %s", (number,)) == number
    assert len(broker.logged("client logged in", '"database":"app"')) == 2


def test_over_tcp_what_was_learnt_stays(make_broker, closing):
    broker = make_broker({"default_pool_size": "2"}, tcp=True)
    broker.postgres.sql("ALTER ROLE other SET timezone = 'Asia/Jakarta'")
    try:
        pool = closing(psycopg2_pool.LeasePool(
            1, 2, broker.dsn(user="other", host="127.0.0.1"), wait=10))
        for _ in range(4):
            with pool.lease() as connection:
                assert connection.get_parameter_status("TimeZone") == "Asia/Jakarta"
                assert value(connection, "SHOW timezone") == "Asia/Jakarta"
        assert len(broker.logged("client logged in", '"user":"other"')) == 1
    finally:
        broker.postgres.sql("ALTER ROLE other RESET timezone")


def test_parameters_that_the_driver_does_not_know_yet(broker, closing):
    # The broker learns TimeZone from this role's setting only with a server connection.
    broker.postgres.sql("ALTER ROLE other SET timezone = 'Asia/Jakarta'")
    try:
        pool = closing(psycopg2_pool.LeasePool(0, 2, broker.dsn(user="other"), wait=10))
        for _ in range(3):
            with pool.lease() as connection:
                assert value(connection, "SHOW timezone") == "Asia/Jakarta"
                assert connection.get_parameter_status("TimeZone") == "Asia/Jakarta"
    finally:
        broker.postgres.sql("ALTER ROLE other RESET timezone")
