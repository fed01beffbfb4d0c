# SPDX-License-Identifier: Apache-2.0
"""A connection that its taker forgets comes back by itself, and is spoken of."""

import gc
import warnings

import psycopg2.extensions
import pytest

from conftest import leases
from harness.waiting import eventually
from pglease import psycopg_pool
from test_psycopg2_pool import value


pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")


def forget(pool):
    connection = pool.getconn()
    value(connection, "SELECT 1")


def test_a_forgotten_connection_comes_back(broker, make_pool, way):
    pool = make_pool(way, maxconn=1, wait=5)
    for _ in range(3):
        with pytest.warns(ResourceWarning, match=r"leased at .*test_forgotten.py:\d+"):
            forget(pool)
            gc.collect()
        eventually(lambda: leases(broker) == [])
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_one_in_a_cycle_comes_back(broker, make_pool, way):
    class Keeper:
        pass

    pool = make_pool(way, maxconn=1, wait=5)
    keeper = Keeper()
    keeper.itself, keeper.connection = keeper, pool.getconn()
    with pytest.warns(ResourceWarning):
        del keeper
        gc.collect()
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_one_of_a_factory_that_is_no_class_comes_back(broker, make_pool, way):
    pool = make_pool(way, maxconn=1, wait=5,
                     connection_factory=lambda *words: psycopg2.extensions.connection(*words))
    with pytest.warns(ResourceWarning):
        forget(pool)
        gc.collect()
    eventually(lambda: leases(broker) == [])
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_a_pool_that_is_forgotten_with_what_it_lent(broker, make_pool, way):
    from pglease import psycopg2_pool
    pool = psycopg2_pool.LeasePool(2, 2, way.dsn(broker), direct=way.direct)
    connection = pool.getconn()
    value(connection, "SELECT 1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del pool, connection
        gc.collect()
    eventually(lambda: leases(broker) == [])


def test_what_is_given_back_is_not_spoken_of(broker, make_pool, way):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = make_pool(way, maxconn=1)
        with pool.lease() as connection:
            assert value(connection, "SELECT 1") == 1
        connection = pool.getconn()
        pool.putconn(connection, close=True)
        pool.closeall()
        del pool, connection
        gc.collect()


def test_psycopg_3_likewise(broker, closing, way):
    pool = closing(psycopg_pool.ConnectionPool(
        way.dsn(broker), min_size=0, max_size=1, direct=way.direct, timeout=5))

    def leave():
        pool.getconn().execute("SELECT 1")

    with pytest.warns(ResourceWarning, match="test_forgotten.py"):
        leave()
        gc.collect()
    eventually(lambda: leases(broker) == [])
    with pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
