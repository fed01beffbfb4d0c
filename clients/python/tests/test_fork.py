# SPDX-License-Identifier: Apache-2.0
"""A forked child never touches its parent's connections, and has a pool of its own."""

import multiprocessing
import os
import threading

import psycopg
import psycopg2
import pytest

from conftest import leases
from harness.waiting import eventually
from pglease import psycopg_pool
from programs import Child, in_child
from test_psycopg2_pool import value


def backend(connection):
    return value(connection, "SELECT pg_backend_pid()")


def test_the_pool_works_afresh_in_the_child(broker, make_pool, way):
    pool = make_pool(way, maxconn=2, minconn=1)
    mine = pool.getconn()
    pid = backend(mine)
    idle = pool.getconn()
    pool.putconn(idle)

    def child():
        one, two = pool.getconn(), pool.getconn()
        assert one is not idle and two is not idle and one is not mine
        pids = backend(one), backend(two)
        pool.putconn(one)
        pool.putconn(two)
        return pids

    assert pid not in in_child(child)
    assert backend(mine) == pid
    pool.putconn(mine)
    again, other = pool.getconn(), pool.getconn()
    assert {id(again), id(other)} == {id(idle), id(mine)}
    assert value(again, "SELECT 1") == value(other, "SELECT 1") == 1
    pool.putconn(again)
    pool.putconn(other)


def test_nothing_that_the_parent_holds_counts_in_the_child(broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    held = pool.getconn(key="mine")

    def child():
        with pool.lease() as connection:
            return value(connection, "SELECT 1"), pool.getconn(key="mine", wait=0) is held

    with pytest.raises(AssertionError, match="LeaseExhausted"):
        # One turn, which the block has: the key is the child's own as well.
        in_child(child)
    assert in_child(lambda: value(pool.getconn(), "SELECT 1")) == 1
    assert value(held, "SELECT 1") == 1
    pool.putconn(held)


def test_the_parents_lease_goes_on_after_the_child_has_tried_everything(broker, make_pool, way):
    pool = make_pool(way, maxconn=2)
    connection = pool.getconn()
    connection.autocommit = True
    connection.cursor().execute("CREATE TEMP TABLE mine (x int); INSERT INTO mine VALUES (1)")
    before = os.fstat(connection.fileno())

    def child():
        assert os.fstat(connection.fileno()).st_ino != before.st_ino
        with pytest.raises(psycopg2.Error):
            connection.cursor().execute("INSERT INTO mine VALUES (2)")
        with pytest.raises(psycopg2.Error):
            connection.cancel()
        pool.putconn(connection)
        pool.putconn(connection, close=True)
        connection.close()

    in_child(child)
    assert value(connection, "SELECT count(*) FROM mine") == 1
    pool.putconn(connection)
    assert pool.getconn() is connection
    pool.putconn(connection)


def test_a_block_that_child_and_parent_both_leave(broker, make_pool, way, table):
    pool = make_pool(way, maxconn=2)
    reports = []
    with pool.lease() as connection:
        connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'kept')")
        one = Child.__new__(Child)
        one.reading, writing = os.pipe()
        one.pid = os.fork()
        reports.append(one)
    if one.pid == 0:
        # The block was left without an error, and without a commit of the parent's work.
        try:
            with pool.lease() as mine:
                import pickle
                os.write(writing, pickle.dumps(
                    ("ok", value(mine, f"SELECT count(*) FROM {table}") in (0, 1))))
        finally:
            os._exit(0)
    os.close(writing)
    assert one.result() is True
    with pool.lease() as connection:
        assert value(connection, f"SELECT name FROM {table}") == "kept"


def test_a_child_that_ends_normally_says_goodbye_to_nobody(broker, make_pool, way):
    pool = make_pool(way, maxconn=3)
    held = pool.getconn()
    idle = pool.getconn()
    pool.putconn(idle)

    context = multiprocessing.get_context("fork")
    process = context.Process(target=_use, args=(pool,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    # Neither session ended: the lease is there, and the idle one is used again.
    assert value(held, "SELECT 1") == 1
    again = pool.getconn()
    assert again is idle
    assert value(again, "SELECT 1") == 1
    pool.putconn(again)
    pool.putconn(held)


def _use(pool):
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_the_childs_lease_ends_with_the_child(broker, make_pool, way):
    pool = make_pool(way, maxconn=1)

    def child():
        return backend(pool.getconn())

    assert in_child(child)
    eventually(lambda: leases(broker) == [])


def test_no_copy_of_the_parents_sockets_is_left_in_the_child(broker, make_pool, way):
    pool = make_pool(way, maxconn=3)
    held = [pool.getconn() for _ in range(3)]
    pool.putconn(held.pop())
    parents = sockets()
    assert len(parents) >= 3

    def child():
        return sockets()

    assert not parents & in_child(child)
    for one in held:
        pool.putconn(one)


def sockets():
    """The inodes of this process's sockets to a server or broker."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
            peer = os.fstat(int(number))
        except OSError:
            continue
        if target.startswith("socket:") and _is_connected(int(number)):
            found.add(peer.st_ino)
    return found


def _is_connected(number):
    import socket
    with socket.socket(fileno=os.dup(number)) as one:
        try:
            name = one.getpeername()
        except OSError:
            return False
        return isinstance(name, tuple) or ".s.PGSQL" in (
            name.decode() if isinstance(name, bytes) else name)


def test_locks_that_another_thread_held_at_the_fork(broker, make_pool, way):
    pool = make_pool(way, maxconn=2)
    with pool.lease():
        locked, finish = threading.Event(), threading.Event()

        def hold():
            with pool._leasing.book.lock, pool._keys._lock:
                locked.set()
                finish.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        locked.wait(30)
        try:
            assert in_child(lambda: value(pool.getconn("key"), "SELECT 1")) == 1
        finally:
            finish.set()
            thread.join()


def test_a_fork_while_other_threads_lease(broker, make_pool, unix_way):
    pool = make_pool(unix_way, maxconn=4, wait=30)
    stop = threading.Event()
    failures = []

    def work():
        try:
            while not stop.is_set():
                with pool.lease() as connection:
                    assert value(connection, "SELECT 1") == 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for one in threads:
        one.start()
    try:
        for _ in range(15):
            in_child(lambda: _use(pool))
    finally:
        stop.set()
        for one in threads:
            one.join(30)
    assert failures == []


def test_a_fork_in_a_fork(broker, make_pool, way):
    pool = make_pool(way, maxconn=2)
    with pool.lease() as mine:
        def child():
            with pool.lease() as connection:
                first = value(connection, "SELECT 1")
                second = in_child(lambda: value(pool.getconn(), "SELECT 2"))
                return first, second, value(connection, "SELECT 3")

        assert in_child(child) == (1, 2, 3)
        assert value(mine, "SELECT 4") == 4


def test_psycopg_3_after_a_fork(broker, closing, way):
    pool = closing(psycopg_pool.ConnectionPool(way.dsn(broker), min_size=0, max_size=2,
                                               direct=way.direct))
    with pool.connection() as mine:
        mine.execute("CREATE TEMP TABLE mine (x int)")
        idle = pool.getconn()
        pool.putconn(idle)

        def child():
            with pytest.raises(psycopg.Error):
                mine.execute("SELECT 1")
            pool.putconn(mine)
            mine.close()
            with pool.connection() as own, pool.connection() as other:
                assert own is not idle and other is not idle
                return own.execute("SELECT 1").fetchone()

        assert in_child(child) == (1,)
        assert mine.execute("SELECT count(*) FROM mine").fetchone() == (0,)
        with pool.connection() as again:
            assert again is idle
            assert again.execute("SELECT 1").fetchone() == (1,)
