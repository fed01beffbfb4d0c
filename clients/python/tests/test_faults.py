# SPDX-License-Identifier: Apache-2.0
"""What ends a lease before its time, and a broker that is away."""

import gc
import logging
import os
import signal
import threading

import psycopg2
import pytest

import pglease
from conftest import leases
from harness.faucet import Faucet
from harness.waiting import eventually
from pglease import psycopg2_pool
from programs import elsewhere, in_threads
from test_psycopg2_pool import value


def gone(postgres, pid):
    eventually(lambda: not postgres.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)))


def test_a_hold_that_ends_is_told_by_its_name(broker, make_pool, way):
    pool = make_pool(way)
    with pytest.raises(psycopg2_pool.LeaseRevoked) as caught:
        with pool.lease("long", hold=0.1) as connection:
            value(connection, "SELECT 1")
            eventually(lambda: leases(broker) == [])
            value(connection, "SELECT 2")
    assert caught.value.pgcode == "57P05"
    assert isinstance(caught.value, psycopg2.OperationalError)
    assert isinstance(caught.value, pglease.LeaseRevoked)
    assert isinstance(caught.value.__cause__, psycopg2.Error)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_a_hold_that_ends_between_queries_does_not_hurt_putconn(broker, make_pool, way, caplog):
    pool = make_pool(way)
    connection = pool.getconn(hold=0.1)
    eventually(lambda: leases(broker) == [])
    with caplog.at_level(logging.WARNING, "pglease"):
        pool.putconn(connection)
        with pool.lease() as connection:
            assert value(connection, "SELECT 1") == 1
    assert "had ended before" in caplog.text and "test_faults.py" in caplog.text


def test_a_hold_that_ends_in_a_transaction_does_not_hurt_putconn(broker, make_pool, way, caplog):
    pool = make_pool(way, maxconn=1)
    connection = pool.getconn(hold=0.1)
    value(connection, "SELECT 1")
    eventually(lambda: leases(broker) == [])
    with caplog.at_level(logging.WARNING, "pglease"):
        pool.putconn(connection)
        with pool.lease() as connection:
            assert value(connection, "SELECT 1") == 1
    assert "had ended before" in caplog.text


def test_a_server_that_dies_in_a_lease(postgres, broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    with pytest.raises(psycopg2_pool.ServerLost) as caught:
        with pool.lease() as connection:
            pid = value(connection, "SELECT pg_backend_pid()")
            postgres.terminate(pid)
            gone(postgres, pid)
            value(connection, "SELECT 1")
    assert caught.value.pgcode == "08006"
    assert isinstance(caught.value.__cause__, psycopg2.Error)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_a_server_that_dies_between_queries_does_not_hurt_putconn(
        postgres, broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    connection = pool.getconn()
    pid = value(connection, "SELECT pg_backend_pid()")
    connection.commit()
    postgres.terminate(pid)
    gone(postgres, pid)
    pool.putconn(connection)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_an_error_of_the_programs_own_is_not_changed(postgres, broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    with pytest.raises(KeyError):
        with pool.lease() as connection:
            pid = value(connection, "SELECT pg_backend_pid()")
            postgres.terminate(pid)
            gone(postgres, pid)
            raise KeyError("mine")
    with pytest.raises(psycopg2.errors.UndefinedTable):
        with pool.lease() as connection:
            value(connection, "SELECT * FROM nowhere")


def test_another_connections_error_is_not_the_leases(postgres, broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    other = postgres.connect(dbname="app")
    with pytest.raises(psycopg2.Error) as caught:
        with pool.lease() as connection:
            value(connection, "SELECT 1")
            value(other, "DO $$ BEGIN RAISE EXCEPTION 'elsewhere' USING ERRCODE = '57P05'; END $$")
    assert "elsewhere" in str(caught.value)
    assert not isinstance(caught.value, pglease.LeaseError)
    other.close()


def test_closeall_while_a_query_runs(postgres, broker, make_pool, way):
    pool = make_pool(way, maxconn=1)
    connection = pool.getconn()
    connection.autocommit = True

    def work(index):
        if index == 0:
            try:
                value(connection, "SELECT 1 FROM pg_sleep(0.3)")
            except psycopg2.Error:
                pass
        else:
            eventually(lambda: postgres.sql("SELECT 1 FROM pg_stat_activity "
                                            "WHERE query LIKE '%pg_sleep(0.3)' AND state = 'active'"))
            pool.closeall()

    in_threads(2, work)
    assert connection.closed


def test_a_broker_that_is_restarted_between_leases_is_not_noticed(broker, make_pool, way):
    pool = make_pool(way, maxconn=3)
    held = [pool.getconn() for _ in range(3)]
    for one in held:
        pool.putconn(one)
    broker.stop()
    broker.start()
    for _ in range(3):
        with pool.lease() as connection:
            assert value(connection, "SELECT 1") == 1


def test_a_broker_that_is_killed_in_a_lease(broker, make_pool, unix_way, table):
    pool = make_pool(unix_way, maxconn=2, attempts=1)
    held = pool.getconn()
    if unix_way.kind == "relay":
        with pytest.raises(psycopg2_pool.BrokerAway):
            with pool.lease() as connection:
                broker.kill()
                value(connection, "SELECT 1")
    else:
        # The bytes go past the broker: this transaction can be brought to its end.
        with pool.lease() as connection:
            broker.kill()
            connection.cursor().execute(f"INSERT INTO {table} VALUES (1, 'kept')")
        assert broker.postgres.sql(f"SELECT name FROM {table}", dbname="app") == [("kept",)]
    pool.putconn(held)
    broker.start()
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_a_broker_that_is_away_is_an_operational_error(broker, make_pool, way):
    pool = make_pool(way, attempts=1)
    with pool.lease():
        pass
    broker.stop()
    with pytest.raises(psycopg2_pool.BrokerAway) as caught:
        pool.getconn()
    assert isinstance(caught.value, psycopg2.OperationalError)
    assert isinstance(caught.value, pglease.BrokerAway)
    assert "pglease" in str(caught.value) and caught.value.hint


def test_the_brokers_absence_is_tried_again(broker, make_pool, way):
    pool = make_pool(way, attempts=50, delay=0.1, factor=1)
    broker.stop()
    waiting = threading.Event()

    def work(index):
        if index == 0:
            waiting.set()
            with pool.lease() as connection:
                assert value(connection, "SELECT 1") == 1
        else:
            waiting.wait()
            broker.start()

    in_threads(2, work)


def test_attempts_end_with_the_deadline(broker, make_pool, unix_way, monkeypatch):
    monkeypatch.setenv("PGLEASE_LEASE_ATTEMPTS", "1000000")
    monkeypatch.setenv("PGLEASE_LEASE_DELAY", "0.01")
    monkeypatch.setenv("PGLEASE_LEASE_FACTOR", "1")
    pool = make_pool(unix_way, wait=0.2)
    broker.stop()
    with pytest.raises(psycopg2_pool.BrokerAway):
        pool.getconn()


def test_a_full_queue_is_tried_again(make_broker, make_pool, unix_way):
    broker = make_broker({"default_pool_size": "1", "reserve_pool_size": "0", "max_waiting": "1"})
    pool = make_pool(unix_way, on=broker, wait=30, attempts=1000, delay=0.05, factor=1)
    held = pool.getconn()
    finished = []

    def work(index):
        if index < 3:
            with pool.lease():
                finished.append(index)
        else:
            # One in the broker's queue; the two that it refuses come again.
            eventually(lambda: broker.waiting() == 1 and pool._leasing.book.taken == 4)
            pool.putconn(held)

    in_threads(4, work)
    assert sorted(finished) == [0, 1, 2]


def test_a_broker_that_hangs_is_left_at_the_deadline(broker, make_pool, unix_way, monkeypatch):
    monkeypatch.setattr("pglease._request.ANSWER_GRACE", 0.1)
    pool = make_pool(unix_way, attempts=1, park=False)
    with pool.lease():
        pass
    broker.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(psycopg2_pool.BrokerAway):
            pool.getconn(wait=0.1)
    finally:
        broker.send_signal(signal.SIGCONT)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_a_server_that_cannot_be_reached(make_broker, postgres, make_pool, unix_way):
    faucet = Faucet(postgres.socket_path)
    broker = make_broker(
        {"query_wait_timeout": "1", "server_login_retry_min": "20ms"},
        databases={"app": f"host=127.0.0.1 port={faucet.port} dbname=app"}, on=postgres)
    broker.errors_expected = True
    try:
        pool = make_pool(unix_way, on=broker, attempts=1, park=False)
        with pool.lease():
            pass
        faucet.refuse()
        with pytest.raises((psycopg2_pool.ServerUnreachable, psycopg2_pool.LeaseExhausted,
                            psycopg2_pool.LeaseRefused)) as caught:
            pool.getconn(wait=0.3)
        assert caught.value.sqlstate in ("08001", "53300", "08006")
        faucet.flow()
        with pool.lease(wait=20) as connection:
            assert value(connection, "SELECT 1") == 1
    finally:
        faucet.close()


def test_an_interrupted_wait_leaves_the_queue(broker, make_pool, unix_way):
    # Ctrl-C while getconn waits at the broker: the turn and the place in the queue are given up.
    others = make_pool(unix_way, maxconn=3)
    held = [elsewhere(others.getconn) for _ in range(3)]
    pool = make_pool(unix_way, maxconn=1, wait=30)
    main = threading.main_thread().ident

    def interrupt():
        eventually(lambda: broker.waiting() == 1)
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.getconn()
    finally:
        thread.join()
        signal.signal(signal.SIGINT, previous)
    eventually(lambda: broker.waiting() == 0)
    for one in held:
        others.putconn(one)
    with pool.lease() as connection:
        assert value(connection, "SELECT 1") == 1


def test_descriptors_do_not_grow(broker, make_pool, way):
    pool = make_pool(way, maxconn=2)

    def some(number):
        for step in range(number):
            connection = pool.getconn()
            value(connection, "SELECT 1")
            pool.putconn(connection, close=step % 3 == 0)

    gc.collect()
    some(3)
    before = len(os.listdir("/proc/self/fd"))
    some(30)
    assert len(os.listdir("/proc/self/fd")) == before
