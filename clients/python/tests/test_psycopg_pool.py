# SPDX-License-Identifier: Apache-2.0
"""psycopg 3: the blocking pool."""

import psycopg
import psycopg.rows
import psycopg_pool as original
import pytest

from conftest import Way, leases
from harness.waiting import eventually
from pglease import psycopg_pool
from pglease._psycopg_link import PsycopgLink
from programs import elsewhere, in_threads


@pytest.fixture
def make(broker, closing):
    def open_one(way, max_size=5, **more):
        more.setdefault("timeout", 10)
        return closing(psycopg_pool.ConnectionPool(
            way.dsn(broker), min_size=0, max_size=max_size, direct=way.direct, **more))
    return open_one


def test_a_lease_is_of_the_kind_that_the_way_allows(broker, make, way):
    pool = make(way)
    with pool.connection(purpose="a.job") as connection:
        grant = pool.lease_of(connection)
        assert grant.kind == way.kind
        assert connection.execute("SELECT pg_backend_pid()").fetchone() == (grant.server_pid,)
        (row,) = leases(broker)
        assert (row["kind"], row["purpose"]) == (way.shown, "a.job")
        first = connection
    eventually(lambda: leases(broker) == [])
    with pool.connection() as connection:
        assert connection is first
        (row,) = leases(broker)
        assert row["purpose"].startswith("tests/test_psycopg_pool.py:")


def test_commit_and_rollback(make, way, table):
    pool = make(way)
    with pool.connection() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
    with pytest.raises(KeyError):
        with pool.connection() as connection:
            connection.execute(f"INSERT INTO {table} VALUES (2, 'lost')")
            raise KeyError
    connection = pool.getconn()
    connection.execute(f"INSERT INTO {table} VALUES (3, 'lost')")
    pool.putconn(connection)
    with pool.connection() as connection:
        assert connection.execute(f"SELECT id FROM {table}").fetchall() == [(1,)]


@pytest.mark.parametrize("threshold", [0, 2])
def test_prepared_statements_from_lease_to_lease(make, way, threshold):
    pool = make(way, max_size=1)
    with pool.connection() as first:
        first.execute("SELECT 1")
    for _ in range(8):
        with pool.connection() as connection:
            assert connection is first
            connection.prepare_threshold = threshold
            for number in range(5):
                row = connection.execute("SELECT %s::int + 1", (number,)).fetchone()
                assert row == (number + 1,)
            names = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
            assert names[0] >= 1


def test_prepared_statements_when_the_kind_changes(broker, closing, unix_way):
    # Direct leases, then relayed ones, on one connection: what each has prepared is its own.
    pool = closing(psycopg_pool.ConnectionPool(
        broker.dsn(), min_size=0, max_size=1, timeout=10, kwargs={"prepare_threshold": 0}))
    for round in range(6):
        broker.set(direct_lease="off" if round % 2 else "same_uid")
        broker.console("RELOAD")
        with pool.connection() as connection:
            assert pool.lease_of(connection).kind == ("relay" if round % 2 else "direct")
            for number in range(3):
                row = connection.execute("SELECT %s::int", (number,)).fetchone()
                assert row == (number,)


def test_every_lease_begins_as_a_new_connection(make, way):
    pool = make(way, max_size=1)
    with pool.connection() as first:
        first.autocommit = True
        first.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        first.read_only = True
        first.row_factory = psycopg.rows.dict_row
        first.execute("SET application_name = 'somebody'")
        first.execute("SET client_encoding = 'LATIN1'")
        first.execute("LISTEN here")
    with pool.connection() as connection:
        assert connection is first
        assert not connection.autocommit
        assert connection.isolation_level is None and connection.read_only is None
        assert connection.execute("SHOW application_name").fetchone() != ("somebody",)
        assert connection.info.encoding == "utf-8"
        assert connection.execute("SELECT '€'").fetchone() == ("€",)
        assert connection.execute("SELECT count(*) FROM pg_listening_channels()").fetchone() == (0,)


def test_callbacks(make, way):
    said = []

    def configure(connection):
        said.append("configure")
        connection.autocommit = True
        connection.execute("SET work_mem = '7MB'")

    def check(connection):
        said.append("check")

    def reset(connection):
        said.append("reset")

    pool = make(way, configure=configure, check=check, reset=reset)
    for _ in range(2):
        with pool.connection() as connection:
            assert connection.autocommit
            assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
    assert said == ["configure", "check", "reset"] * 2


def test_a_configure_that_leaves_a_transaction_open(broker, make, way):
    pool = make(way, configure=lambda connection: connection.execute("SELECT 1"))
    with pytest.raises(psycopg.ProgrammingError, match="INTRANS"):
        pool.getconn()
    eventually(lambda: leases(broker) == [])


def test_a_check_that_fails_is_followed_by_another_connection(broker, make, way):
    seen = []

    def check(connection):
        seen.append(connection)
        if len(seen) < 3:
            raise ValueError("not this one")

    pool = make(way, check=check, delay=0.01)
    with pool.connection() as connection:
        assert connection is seen[2]
    with pytest.raises(psycopg_pool.PoolTimeout):
        make(way, check=lambda _: 1 / 0, timeout=0.1, delay=0.01).getconn()
    eventually(lambda: leases(broker) == [])


def test_a_reset_that_fails_costs_the_connection(broker, make, way):
    pool = make(way, reset=lambda connection: 1 / 0)
    with pool.connection() as first:
        first.execute("SELECT 1")
    assert first.closed
    eventually(lambda: leases(broker) == [])
    assert pool.get_stats()["returns_bad"] == 1


def test_check_connection(make, way):
    pool = make(way, check=psycopg_pool.ConnectionPool.check_connection)
    with pool.connection() as connection:
        assert not connection.autocommit
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_timeouts_name_the_holders(broker, make, way):
    holders = make(way, max_size=3)
    # A thread that holds what it waits for is a pool lock, another error.
    held = [elsewhere(holders.getconn, purpose=f"job.{number}") for number in range(3)]
    with pytest.raises(original.PoolTimeout) as caught:
        make(way).getconn(timeout=0.1)
    assert isinstance(caught.value, psycopg_pool.LeaseExhausted)
    assert sorted(one.purpose for one in caught.value.holders) == ["job.0", "job.1", "job.2"]
    assert caught.value.sqlstate == "53300" and "job.0" in str(caught.value)
    with pytest.raises(psycopg_pool.PoolTimeout, match="job.1"):
        holders.getconn(timeout=0)
    for one in held:
        holders.putconn(one)


def test_max_waiting(make, way):
    pool = make(way, max_size=1, max_waiting=1)
    held = pool.getconn()

    def work(index):
        if index == 0:
            with pool.connection() as connection:
                connection.execute("SELECT 1")
        else:
            eventually(lambda: pool.get_stats()["requests_waiting"] == 1)
            with pytest.raises(original.TooManyRequests):
                pool.getconn()
            pool.putconn(held)

    in_threads(2, work)


def test_thirty_threads_on_five_turns_and_three_server_connections(broker, make, way, table):
    pool = make(way, max_size=5, timeout=30)

    def work(index):
        for step in range(5):
            with pool.connection() as connection:
                connection.execute(f"INSERT INTO {table} VALUES (%s, 'x')", (index * 10 + step,))

    in_threads(30, work)
    with pool.connection() as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (150,)
    assert pool.get_stats()["requests_num"] == 151


def test_what_was_given_back_cannot_be_used(make, unix_way):
    pool = make(unix_way, max_size=1)
    connection = pool.getconn()
    pool.putconn(connection)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    with pool.connection() as other:
        other.execute("SELECT 1")
    other.close()
    with pool.connection() as third:
        assert third.execute("SELECT 1").fetchone() == (1,)


def test_an_unknown_connection(broker, make, way):
    pool, other = make(way), make(way)
    connection = pool.getconn()
    with pytest.raises(ValueError, match="can't return connection"):
        other.putconn(connection)
    pool.putconn(connection)
    with pytest.raises(ValueError):
        pool.putconn(connection)


def test_a_close_of_ones_own(broker, make, way):
    pool = make(way, max_size=1)
    with pool.connection() as connection:
        connection.close()
        eventually(lambda: leases(broker) == [])
    with pool.connection() as other:
        assert other is not connection
        other.execute("SELECT 1")


def test_close_returns(broker, make, way):
    pool = make(way, max_size=1, close_returns=True)
    first = pool.getconn()
    first.close()
    assert not first.closed
    eventually(lambda: leases(broker) == [])
    with pool.connection() as connection:
        assert connection is first


def test_with_connection_does_not_close_it(make, way, table):
    pool = make(way)
    connection = pool.getconn()
    with connection:
        connection.execute(f"INSERT INTO {table} VALUES (1, 'kept')")
    assert not connection.closed
    assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
    pool.putconn(connection)


def test_open_wait_close(broker, closing):
    pool = closing(psycopg_pool.ConnectionPool(broker.dsn(), min_size=2, max_size=3, open=False,
                                               name="mine"))
    assert pool.closed and pool.name == "mine" and (pool.min_size, pool.max_size) == (2, 3)
    with pytest.raises(original.PoolClosed, match="not open yet"):
        pool.getconn()
    pool.open(wait=True)
    assert len(broker.logged("client logged in", '"database":"app"')) == 2
    assert pool.get_stats()["pool_available"] == 2
    with pool.connection() as connection:
        connection.execute("SELECT 1")
    pool.resize(1, 1)
    with pool.connection():
        with pytest.raises(psycopg_pool.PoolTimeout):
            pool.getconn(timeout=0)
    pool.drain()
    assert pool.get_stats()["pool_available"] == 0
    assert pool.pop_stats()["requests_num"] >= 3
    assert pool.get_stats().get("requests_num", 0) == 0
    pool.close()
    pool.close()
    for call in (pool.getconn, pool.open):
        with pytest.raises(original.PoolClosed):
            call()


def test_wait_without_a_broker(broker):
    broker.stop()
    pool = psycopg_pool.ConnectionPool(broker.dsn(), min_size=1, attempts=1)
    with pytest.raises(original.PoolTimeout):
        pool.wait(timeout=1)
    broker.start()
    pool.wait()
    pool.close()


def test_check_drops_what_has_ended(broker, make, unix_way):
    pool = make(unix_way)
    with pool.connection():
        pass
    broker.stop()
    pool.check()
    assert pool.get_stats()["pool_available"] == 0
    broker.start()


def test_a_hold_that_ends(broker, make, way):
    pool = make(way, max_size=1)
    with pytest.raises(psycopg_pool.LeaseRevoked) as caught:
        with pool.connection(hold=0.1) as connection:
            connection.execute("SELECT 1")
            eventually(lambda: leases(broker) == [])
            connection.execute("SELECT 2")
    assert caught.value.sqlstate == "57P05"
    connection = pool.getconn(hold=0.1)
    eventually(lambda: leases(broker) == [])
    pool.putconn(connection)
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_another_connections_error_is_not_the_leases(postgres, broker, make, way):
    pool = make(way, max_size=1)
    dsn = f"host={postgres.host} port={postgres.port} dbname=app user=app"
    with psycopg.connect(dsn) as other:
        with pytest.raises(psycopg.Error, match="elsewhere") as caught:
            with pool.connection():
                other.execute("DO $$ BEGIN RAISE EXCEPTION 'elsewhere' "
                              "USING ERRCODE = '57P05'; END $$")
    assert not isinstance(caught.value, psycopg_pool.LeaseRevoked)


def test_a_server_that_dies(postgres, broker, make, way):
    pool = make(way, max_size=1)
    with pytest.raises(psycopg_pool.ServerLost):
        with pool.connection() as connection:
            pid = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
            postgres.terminate(pid)
            eventually(lambda: not postgres.sql(
                "SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))
            connection.execute("SELECT 1")
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_broker_that_is_restarted(broker, make, way):
    pool = make(way, attempts=1)
    with pool.connection():
        pass
    broker.stop()
    with pytest.raises(psycopg_pool.BrokerAway):
        pool.getconn()
    broker.start()
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_pipeline_copy_and_server_cursor(make, way, table):
    pool = make(way)
    with pool.connection() as connection:
        with connection.pipeline():
            for number in range(20):
                connection.execute(f"INSERT INTO {table} VALUES (%s, 'x')", (number,))
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                for number in range(20, 5000):
                    copy.write_row((number, "y" * 50))
        with connection.cursor("named") as cursor:
            cursor.execute(f"SELECT id FROM {table} ORDER BY id")
            assert [row[0] for row in cursor] == list(range(5000))


def test_a_copy_that_is_left_in_the_middle(broker, make, way, table):
    pool = make(way, max_size=1)
    connection = pool.getconn()
    connection.pgconn.exec_(f"COPY {table} FROM STDIN".encode())
    pool.putconn(connection)
    eventually(lambda: leases(broker) == [])
    with pool.connection() as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_notices_of_the_broker_reach_the_handlers(make_broker, closing, way):
    broker = make_broker({"default_pool_size": "1", "reserve_pool_size": "0",
                          "query_wait_notify": "1"}, tcp=True)
    pool, holder = (
        closing(psycopg_pool.ConnectionPool(way.dsn(broker), min_size=1, direct=way.direct))
        for _ in range(2))
    heard = []
    with pool.connection() as connection:
        connection.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    held = holder.getconn()

    def work(index):
        if index == 0:
            with pool.connection() as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        else:
            eventually(lambda: heard)
            holder.putconn(held)

    in_threads(2, work)
    assert heard


def test_a_descriptor_that_was_missed(make, monkeypatch):
    # The look for it came too early: libpq has read it away. The lease is then had by the relay.
    way = Way("direct")
    monkeypatch.setattr(PsycopgLink, "_peek", lambda self, received: None)
    pool = make(way, max_size=1)
    with pool.connection() as connection:
        assert pool.lease_of(connection).kind == "relay"
        assert connection.execute("SELECT 1").fetchone() == (1,)
    monkeypatch.undo()
    with pool.connection() as connection:
        assert pool.lease_of(connection).kind == "direct"


def test_a_driver_whose_statements_look_different(make, monkeypatch):
    # Another version of psycopg: nothing is prepared on a direct lease then.
    pool = make(Way("direct"), max_size=1, kwargs={"prepare_threshold": 0})
    with pool.connection() as connection:
        monkeypatch.setattr(type(connection._prepared), "__init__", lambda self, other: None)
    with pool.connection() as connection:
        assert connection.prepare_threshold is None
        assert connection.execute("SELECT %s::int", (1,)).fetchone() == (1,)
    monkeypatch.undo()
    with pool.connection() as connection:
        assert connection.prepare_threshold == 0
