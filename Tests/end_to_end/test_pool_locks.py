# SPDX-License-Identifier: Apache-2.0
"""Nested leases: threads that hold one and want another lock a pool; the reserve lets them through."""

import threading

import psycopg2
import pytest

from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


def begin(broker):
    """A client whose transaction is open and rests: it holds a lease."""
    conn = psycopg2.connect(broker.dsn())
    conn.cursor().execute("SELECT 1")
    return conn


def explicit(broker, thread, purpose, wait="20s"):
    conn = psycopg2.connect(broker.dsn())
    conn.autocommit = True
    cursor = conn.cursor()
    cursor.execute(f"LEASE FOR '{purpose}' THREAD '{thread}' WAIT '{wait}'")
    return conn


class Worker(threading.Thread):
    """Runs something, and keeps what became of it."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except Exception as error:  # noqa: BLE001 - told by the test
            self.error = error


def run_all(works):
    workers = [Worker(work) for work in works]
    for one in workers:
        one.join(60)
        assert not one.is_alive()
    return [one.error for one in workers]


def no_lease_is_left(broker):
    return broker.console("SHOW LEASES") == []


@pytest.mark.parametrize("depth, threads", [(2, 8), (3, 8), (3, 20)])
def test_chains_of_transactions_all_come_to_an_end(make_broker, postgres, depth, threads):
    size, reserve = 4, 3
    broker = make_broker({"default_pool_size": size, "reserve_pool_size": reserve,
                          "query_wait_timeout": "60"})
    together = threading.Barrier(threads)
    most = []

    def chain():
        together.wait(30)
        held = [begin(broker) for _ in range(depth)]
        most.append(len(broker.console("SHOW SERVERS")))
        for conn in reversed(held):
            conn.rollback()
            conn.close()

    assert run_all([chain] * threads) == [None] * threads
    assert max(most) <= size + reserve
    assert no_lease_is_left(broker)


def test_a_certain_lock_without_reserve_is_told_with_its_cycle(make_broker):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0})
    one, two = explicit(broker, 11, "outer.one"), explicit(broker, 12, "outer.two")
    first = Worker(lambda: explicit(broker, 11, "inner.one").close())
    eventually(lambda: len(broker.console("SHOW WAITERS")) == 1)
    with pytest.raises(psycopg2.errors.DeadlockDetected) as caught:
        explicit(broker, 12, "inner.two")
    said = str(caught.value)
    for word in ("pool lock", "thread 11", "thread 12", "outer.one", "outer.two", "inner.one",
                 "reserve_pool_size"):
        assert word in said, said
    # Whoever was refused gives back what it has: the other goes on.
    two.cursor().execute("LEASE RETURN")
    first.join(20)
    assert first.error is None
    one.cursor().execute("LEASE RETURN")
    assert no_lease_is_left(broker)


def test_a_suspected_lock_without_reserve_is_named_at_the_deadline(make_broker):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0,
                          "query_wait_timeout": "1"})
    held = [begin(broker), begin(broker)]
    with pytest.raises(psycopg2.errors.TooManyConnections) as caught:
        begin(broker)
    assert "pool lock is suspected" in str(caught.value)
    held[0].rollback()
    begin(broker).close()

