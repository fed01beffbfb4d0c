# SPDX-License-Identifier: Apache-2.0
"""Many threads on one pool."""

import threading

import psycopg2
import psycopg2.pool
import pytest

from conftest import leases
from harness.postgres import Watcher
from harness.waiting import eventually
from pglease import psycopg2_pool
from programs import in_threads
from test_psycopg2_pool import value


def test_thirty_threads_on_five_turns_and_three_server_connections(
        postgres, broker, make_pool, way, table):
    pool = make_pool(way, maxconn=5, wait=30)
    watcher = Watcher(postgres, dbname="app")

    def work(index):
        for step in range(10):
            connection = pool.getconn()
            try:
                cursor = connection.cursor()
                cursor.execute(f"INSERT INTO {table} VALUES (%s, 'x')", (index * 100 + step,))
                connection.commit()
            finally:
                pool.putconn(connection)
            if index == 0:
                watcher.look()

    in_threads(30, work)
    assert watcher.most <= 3
    watcher.close()
    with pool.lease() as connection:
        assert value(connection, f"SELECT count(*) FROM {table}") == 300
    assert len(broker.logged("client logged in", '"database":"app"')) <= 5


def test_who_came_first_is_served_first(make_pool, unix_way):
    pool = make_pool(unix_way, maxconn=1, wait=30)
    held = pool.getconn()
    order = []

    def work(index):
        # One after the other into the queue.
        eventually(lambda: pool._leasing.book.waiting == index)
        with pool.lease():
            order.append(index)

    def release(_):
        eventually(lambda: pool._leasing.book.waiting == 8)
        pool.putconn(held)

    in_threads(9, lambda index: work(index) if index < 8 else release(index))
    assert order == list(range(8))


def test_a_waiting_thread_keeps_no_other_from_giving_back(broker, make_pool, unix_way):
    # psycopg2's pool holds its lock while it connects: then nobody can give back.
    others = make_pool(unix_way, maxconn=3)
    held = [others.getconn() for _ in range(3)]
    pool = make_pool(unix_way, maxconn=5, wait=30)
    done = threading.Event()

    def wait(_):
        with pool.lease() as connection:
            assert value(connection, "SELECT 1") == 1

    def give_back():
        eventually(lambda: broker.waiting() == 2)
        for one in held:
            others.putconn(one)
        done.set()

    in_threads(3, lambda index: wait(index) if index < 2 else give_back())
    assert done.is_set()


def test_two_threads_with_one_key_get_one_connection(make_pool, way):
    pool = make_pool(way)
    start = threading.Barrier(4)
    got = []

    def work(_):
        start.wait()
        got.append(pool.getconn("shared"))

    in_threads(4, work)
    assert len({id(one) for one in got}) == 1
    pool.putconn(got[0], key="shared")


def test_closeall_lets_waiting_threads_go(make_pool, way):
    pool = make_pool(way, maxconn=1, wait=30)
    held = pool.getconn()

    def wait(_):
        with pytest.raises(psycopg2.pool.PoolError, match="closed"):
            pool.getconn()

    def close(_):
        eventually(lambda: pool._leasing.book.waiting == 2)
        pool.closeall()

    in_threads(3, lambda index: wait(index) if index < 2 else close(index))
    assert held.closed


def test_a_lease_may_be_given_back_by_another_thread(broker, make_pool, way):
    pool = make_pool(way)
    connection = pool.getconn()
    in_threads(1, lambda _: pool.putconn(connection))
    eventually(lambda: leases(broker) == [])


def test_a_lock_of_the_pool_is_answered_by_time_at_the_latest(broker, make_pool, unix_way):
    # Every thread holds one of three and wants a second: whatever the broker does about it, each
    # one gets a lease or a PoolError, and nothing stays held.
    pool = make_pool(unix_way, maxconn=10, wait=2)
    start = threading.Barrier(3)
    refused = []

    def work(_):
        outer = pool.getconn()
        try:
            value(outer, "SELECT 1")
            start.wait()
            try:
                pool.putconn(pool.getconn())
            except psycopg2_pool.PoolError as error:
                refused.append(error)
        finally:
            pool.putconn(outer)

    in_threads(3, work)
    assert all(isinstance(one, (psycopg2_pool.LeaseExhausted, psycopg2_pool.PoolLock))
               for one in refused)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1
