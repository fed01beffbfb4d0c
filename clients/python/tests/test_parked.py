# SPDX-License-Identifier: Apache-2.0
"""Leases that lie parked between their uses, as in a pool of the program's own."""

import asyncio
import concurrent.futures
import os
import select
import signal
import subprocess
import sys
import threading

import psycopg2
import psycopg2.extras
import psycopg2.pool
import pytest
from harness import direct, no_membarrier, wire
from harness.waiting import eventually
from pglease._channel import nowhere
from pglease._parking import OUT, TOKEN, Place
from programs import Child, elsewhere, in_child, in_threads

from conftest import SOURCE, Way, leases

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


LEFT = ("SET app.tenant = 'mine'; SET work_mem = '5MB'; CREATE TEMP TABLE mine (id int); LISTEN here;"
        " PREPARE mine AS SELECT 1; SELECT pg_advisory_lock(42); BEGIN;"
        " DECLARE mine CURSOR WITH HOLD FOR SELECT 1; COMMIT; SET ROLE pg_read_all_stats")
SEEN = """
    SELECT current_setting('app.tenant', true), current_setting('work_mem'), current_user,
        to_regclass('pg_temp.mine') IS NULL, (SELECT count(*) FROM pg_listening_channels()),
        (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_cursors),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
"""


def leave(connection):
    """Session state of every kind, on the server and on the connection object, and a transaction."""
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    connection.autocommit = True
    connection.cursor().execute("SET default_transaction_read_only = off")
    connection.cursor().execute(LEFT)
    connection.cursor_factory = psycopg2.extras.DictCursor
    connection.autocommit = False
    connection.set_client_encoding("LATIN1")
    value(connection, "SELECT 1")


def seen(connection):
    # Before anything is sent.
    manners = (connection.autocommit, connection.isolation_level, connection.readonly,
               connection.deferrable, connection.cursor_factory, connection.encoding,
               connection.get_transaction_status())
    cursor = connection.cursor(cursor_factory=psycopg2.extensions.cursor)
    cursor.execute(SEEN)
    return manners, cursor.fetchone()


@pytest.fixture
def reader(postgres):
    """The user may take another role."""
    postgres.sql("GRANT pg_read_all_stats TO app")
    yield
    postgres.sql("REVOKE pg_read_all_stats FROM app")


def test_it_is_a_session_of_the_pools_own(make_pool, postgres, closing, reader):
    """What putconn leaves to the next getconn is what psycopg2's own pool leaves, of every kind."""
    own = closing(psycopg2.pool.ThreadedConnectionPool(
        1, 1, host=postgres.host, port=postgres.port, user="app", dbname="app"))
    found = []
    for pool in (own, make_pool(DIRECT, maxconn=1)):
        connection = pool.getconn()
        before = seen(connection)
        connection.rollback()
        leave(connection)
        pool.putconn(connection)
        connection = pool.getconn()
        found.append(seen(connection))
        assert found[-1] != before
        pool.closeall()
    assert found[0] == found[1]


def test_another_process_sees_nothing_of_it(narrow, make_pool, reader):
    pool = make_pool(DIRECT, on=narrow)
    peer = direct.Peer(narrow.socket_path)
    try:
        peer.do("one = direct.connect(None, address=address)")
        clean = peer.do(f"wire.rows_of(one.query({SEEN!r}))")
        connection = pool.getconn()
        backend = connection.info.backend_pid
        leave(connection)
        pool.putconn(connection)
        assert states(narrow) == ["parked"] or not pool.lease_of(connection)
        assert peer.do(f"wire.rows_of(one.query({SEEN!r}))") == clean
        assert peer.do(f"one.value({PID!r})") != str(backend)
        assert peer.do("one.value(\"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'\")"
                       ) == "0"
        # Nor does this process when it comes again.
        with pool.lease() as connection:
            assert [str(one) for one in seen(connection)[1][:2]] == ["None", "4MB"]
            assert seen(connection)[0][:6] == (False, None, None, None, None, "UTF8")
    finally:
        peer.close()


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


class Watch:
    """At every step of the package, who has the token out is whom the page names."""

    def __init__(self, monkeypatch):
        watch, self.places, self.purpose, self.looks = self, [], None, 0

        class Watched(Place):
            __slots__ = ()

            def __init__(self, numbers):
                super().__init__(numbers)
                watch.places.append(self)

        monkeypatch.setattr("pglease._link.Place", Watched)

    def __enter__(self):
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _enter(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(str(SOURCE / "pglease")):
            return None
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame, event, _):
        for place in self.places:
            page = place.page
            if page is not None and page[TOKEN] == OUT:
                self.looks += 1
                named = page[128:384].rstrip(b"\0").decode(), page[64:128].rstrip(b"\0").decode()
                assert named[0] == self.purpose, f"line {frame.f_lineno} of {frame.f_code}"
                # Tasks of one thread are told apart.
                assert named[1].split(":")[0] == str(threading.get_native_id())
        return self._step


# Two purposes in turns, and every third lease is one that the broker grants: what lay parked was taken.
PURPOSES = ["one", "one", "two", None, "one", "two", None, "two"]


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "psycopg, asyncio"])
def test_the_page_names_its_user_before_the_token_is_out(narrow, make_pool, monkeypatch, driver):
    watch = Watch(monkeypatch)

    def each():
        for watch.purpose in PURPOSES:
            if watch.purpose is not None:
                yield watch.purpose
            else:
                narrow.console("RECONNECT")
                eventually(lambda: states(narrow) == [])

    def blocking(pool):
        for purpose in each():
            with watch:
                connection = pool.getconn(purpose=purpose)
                pool.putconn(connection)

    async def loop():
        async with psycopg_pool(narrow, "AsyncConnectionPool", park=True) as pool:
            for purpose in each():
                with watch:
                    connection = await pool.getconn(purpose=purpose)
                    await pool.putconn(connection)

    if driver == "psycopg2":
        pool = make_pool(DIRECT, on=narrow)
        blocking(pool)
    elif driver == "psycopg":
        with psycopg_pool(narrow, park=True) as pool:
            blocking(pool)
    else:
        asyncio.run(loop())
    assert watch.looks > 100


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg", "psycopg, asyncio"])
def test_a_process_without_barriers_does_not_park(broker, driver):
    """A container's filter refuses membarrier(2): the broker could not have this process's writes seen."""

    def work():
        no_membarrier.refuse_membarrier()
        seen = []
        if driver == "psycopg2":
            from pglease.psycopg2_pool import LeasePool
            pool = LeasePool(1, 2, broker.dsn(), park=True)
            for _ in range(3):
                assert use(pool, "SELECT 1") == 1
                seen.append("parked" in states(broker))
            pool.closeall()
        elif driver == "psycopg":
            with psycopg_pool(broker, park=True) as pool:
                for _ in range(3):
                    with pool.connection() as connection:
                        assert connection.execute("SELECT 1").fetchone() == (1,)
                    seen.append("parked" in states(broker))
        else:
            asyncio.run(meanwhile(seen))
        return seen

    async def meanwhile(seen):
        async with psycopg_pool(broker, "AsyncConnectionPool", park=True) as pool:
            for _ in range(3):
                async with pool.connection() as connection:
                    assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
                seen.append("parked" in states(broker))

    assert in_child(work) == [False] * 3


def test_one_that_postgres_ends_where_it_lies_is_not_taken(broker, make_pool, postgres):
    """Not even before the broker has seen it, which is stopped here."""
    pool = make_pool(DIRECT)
    backend = use(pool)
    broker.send_signal(signal.SIGSTOP)
    try:
        postgres.terminate(backend)
        eventually(lambda: backend not in [row[0] for row in postgres.backends()])
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            after = executor.submit(use, pool)
            broker.send_signal(signal.SIGCONT)
            assert after.result(20) != backend
    finally:
        broker.send_signal(signal.SIGCONT)
    assert states(broker) == ["parked"]


def test_what_a_server_says_unasked_ends_nothing(broker, make_pool, postgres):
    pool = make_pool(DIRECT)
    connection = pool.getconn()
    connection.autocommit = True
    connection.cursor().execute("LISTEN here")
    backend = value(connection, PID)
    pool.putconn(connection)
    postgres.sql("NOTIFY here", dbname="app")
    # It is only looked whether anything has come.
    assert select.select([connection.fileno()], [], [], 10)[0]
    assert use(pool) == backend


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


def test_sessions_that_want_it_all_the_time_hand_it_on(narrow, make_pool):
    """One connection, and three sessions: it is taken, asked for and parked in every order that comes up, and never
    two have it."""
    pools = [make_pool(DIRECT, on=narrow, maxconn=1, park=park) for park in (True, True, False)]

    def work(index):
        for number in range(150):
            connection = pools[index].getconn(purpose=str(index))
            connection.autocommit = True
            if number % 3 == index:
                mine = f"{index}.{number}"
                assert value(connection, f"SELECT '{mine}'") == mine
            pools[index].putconn(connection)

    in_threads(3, work)
    assert [pool._leasing.book.taken for pool in pools] == [0, 0, 0]


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


def test_a_block_parks_too(broker, make_pool):
    pool = make_pool(DIRECT)
    with pool.lease() as connection:
        backend = value(connection, PID)
    assert states(broker) == ["parked"] and len(pool._leasing.book.ready) == 1
    with pool.lease(purpose="again") as connection:
        assert value(connection, PID) == backend
        assert leases(broker)[0]["purpose"] == "again"
        connection.close()
    eventually(lambda: leases(broker) == [])


def test_a_forked_child_has_none_of_it(broker, make_pool):
    pool = make_pool(DIRECT)
    backend = use(pool)

    def in_the_child():
        return use(pool)

    assert in_child(in_the_child) != backend
    assert use(pool) == backend


def test_forked_workers_have_none_of_it_either(broker, make_pool):
    """A master that has a pool, and forks its workers: each has connections of its own, and it keeps its own."""
    pool = make_pool(DIRECT)
    backend = use(pool)
    held = pool.getconn()

    def work():
        # What the master holds is nobody's here.
        pool.putconn(held)
        one = use(pool)
        return one, {use(pool) for _ in range(3)}

    children = [Child(work) for _ in range(2)]
    own = [child.result() for child in children]
    assert value(held, PID) == backend
    pool.putconn(held)
    assert use(pool) == backend and states(broker) == ["parked"]
    # Between two children it may have been taken from the first.
    assert backend not in {one for one, _ in own}.union(*[later for _, later in own])


def test_a_process_that_ends_by_itself_leaves_nothing(broker, table):
    program = f"""
import sys, psycopg2.extensions
sys.path.insert(0, {str(SOURCE)!r})
from pglease.psycopg2_pool import LeasePool
pool = LeasePool(1, 2, {broker.dsn()!r}, wait=10)
one = pool.getconn()
one.cursor().execute("INSERT INTO {table} VALUES (1)")
pool.putconn(one)
assert pool._leasing.book.ready
"""
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True,
                           text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
    eventually(lambda: leases(broker) == [])
    with direct.connect(broker) as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"


def test_one_that_its_user_closes_where_it_lies(broker, make_pool):
    pool = make_pool(DIRECT)
    connection = pool.getconn()
    pool.putconn(connection)
    connection.close()
    eventually(lambda: leases(broker) == [])
    assert use(pool, "SELECT 'goes on'") == "goes on"
    assert pool._leasing.book.taken == 0


def test_a_wish_that_makes_no_sense_leaves_it_where_it_lies(broker, make_pool):
    pool = make_pool(DIRECT, maxconn=1)
    backend = use(pool)
    with pytest.raises(ValueError):
        pool.getconn(wait=-1)
    assert states(broker) == ["parked"]
    assert use(pool) == backend


def test_its_turn_goes_to_whoever_waits(make_pool):
    """One turn, which lies parked with the lease: a getconn with a key or a limit must find it."""
    pool = make_pool(DIRECT, maxconn=1)
    backend = use(pool)
    one = elsewhere(pool.getconn, key="mine")
    assert value(one, PID) == backend
    with pytest.raises(psycopg2.pool.PoolError):
        elsewhere(pool.getconn, wait=0)
    pool.putconn(one, key="mine")
    assert use(pool) == backend
    limited = elsewhere(pool.getconn, hold=60)
    pool.putconn(limited)
    assert pool._leasing.book.taken == 0


def test_no_more_than_its_turns_stay_ready(make_pool):
    """A thread that holds one has another beyond maxconn; what it parks is not two turns afterwards."""
    pool = make_pool(DIRECT, maxconn=1)
    one, two = pool.getconn(), pool.getconn()
    pool.putconn(one)
    pool.putconn(two)
    held = elsewhere(pool.getconn)
    with pytest.raises(psycopg2.pool.PoolError):
        elsewhere(pool.getconn, wait=0)
    pool.putconn(held)
    assert pool._leasing.book.taken == 0


def test_the_page_is_not_the_childs(broker, make_pool):
    """A child that is forked while a lease lies parked never writes to its page, whatever it does."""
    pool = make_pool(DIRECT)
    backend = use(pool)
    loan, = pool._leasing.book.ready
    place, number = loan.link.place, loan.connection.fileno()
    del loan

    def in_the_child():
        assert place.page is None and place.bell == -1
        # Nor is the server's socket, of which it must not keep a copy.
        assert os.path.samestat(os.fstat(number), os.fstat(nowhere()))
        pool.closeall()

    in_child(in_the_child)
    assert states(broker) == ["parked"]
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


@pytest.mark.parametrize("driver", ["psycopg2", "psycopg"])
@pytest.mark.parametrize("step", range(len(STEPS)))
def test_a_worker_killed_with_9(broker, postgres, table, step, driver):
    peer = direct.Peer(broker.socket_path)
    try:
        source = str(os.path.join(os.path.dirname(__file__), "../src"))
        peer.do(f"""
import sys
sys.path.insert(0, {source!r})
table = {table!r}
if {driver!r} == "psycopg2":
    from pglease.psycopg2_pool import LeasePool
    pool = LeasePool(1, 2, {broker.dsn()!r}, wait=10)
else:
    from pglease.psycopg_pool import ConnectionPool
    pool = ConnectionPool({broker.dsn()!r}, max_size=4, park=True)
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


def test_psycopg3_in_a_forked_child(broker):
    with psycopg_pool(broker, park=True) as pool:
        def once():
            with pool.connection() as connection:
                return connection.execute(PID).fetchone()[0]

        backend = once()
        assert in_child(once) != backend
        assert once() == backend


def test_a_cancelled_task_leaves_its_place(broker, postgres):
    """Cancelled in a statement, and while it waits for its turn."""
    async def work():
        async with psycopg_pool(broker, "AsyncConnectionPool", park=True, timeout=30) as pool:
            async def sleep():
                async with pool.connection() as connection:
                    await connection.execute("SELECT pg_sleep(600)")

            async def once():
                async with pool.connection() as connection:
                    return (await (await connection.execute("SELECT 1")).fetchone())[0]

            assert await once() == 1
            tasks = [asyncio.ensure_future(sleep()) for _ in range(3)]
            while (pool.get_stats()["requests_waiting"] != 1
                   or len(postgres.backends("app", state="active")) != 2):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
            assert await asyncio.gather(*[once() for _ in range(6)]) == [1] * 6
            assert pool._leasing.book.taken == 0

    asyncio.run(work())
    eventually(lambda: leases(broker) == [])


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
