# SPDX-License-Identifier: Apache-2.0
"""A cancel reaches the query that it was meant for, and no other."""

import threading

import pytest

from harness import wire
from harness.waiting import eventually, holds_for


def running(postgres, word):
    return eventually(lambda: postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' "
        "AND application_name <> 'harness'", (f"%{word}%",)))


def test_a_running_query_is_cancelled(broker, postgres):
    with broker.wire() as one:
        one.send(wire.query("SELECT pg_sleep(60) AS running_cancel"))
        running(postgres, "running_cancel")
        wire.cancel(broker.socket_path, one.key)
        assert wire.error_of(one.until_ready()).code == "57014"
        assert one.value("SELECT 1") == "1"


def test_a_cancel_in_a_transaction_leaves_the_transaction_failed(broker, postgres):
    with broker.wire() as one:
        one.query("BEGIN")
        one.send(wire.query("SELECT pg_sleep(60) AS transaction_cancel"))
        running(postgres, "transaction_cancel")
        wire.cancel(broker.socket_path, one.key)
        seen = one.until_ready()
        assert wire.error_of(seen).code == "57014" and seen[-1].body == b"E"
        one.query("ROLLBACK")


def test_a_wrong_key_cancels_nothing(broker, postgres):
    with broker.wire() as one:
        one.send(wire.query("SELECT pg_sleep(0.7) AS wrong_key"))
        running(postgres, "wrong_key")
        wire.cancel(broker.socket_path, (one.key[0], one.key[1] ^ 1))
        wire.cancel(broker.socket_path, (123456789, 987654321))
        assert wire.kinds(one.until_ready()) == "TDCZ"


def test_the_cancel_of_an_idle_client_never_hits_the_next(broker):
    """The cancel comes after its query ended and the server went on to serve others."""
    with broker.wire() as late, broker.wire() as other:
        stop = threading.Event()
        failures = []

        def work():
            while not stop.is_set():
                seen = other.query("SELECT pg_sleep(0.001)")
                failures.extend(one for one in seen if one.kind == "E")

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(100):
            late.query("SELECT 1")
            wire.cancel(broker.socket_path, late.key)
        stop.set()
        thread.join(20)
        assert failures == []
        late.query("SELECT 1")


def test_cancels_racing_the_end_of_queries_hit_only_their_own(broker):
    """Many clients cancel themselves at the worst moment; the innocent never see 57014."""
    failures, cancelled = [], []

    def innocent():
        with broker.wire() as one:
            for _ in range(150):
                failures.extend(m for m in one.query("SELECT pg_sleep(0.001)") if m.kind == "E")

    def canceller():
        with broker.wire() as one:
            for _ in range(60):
                one.send(wire.query("SELECT pg_sleep(0.002)"))
                wire.cancel(broker.socket_path, one.key)
                seen = one.until_ready()
                cancelled.extend(m for m in seen if m.kind == "E")

    threads = [threading.Thread(target=one) for one in [innocent] * 4 + [canceller] * 4]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert failures == []
    assert {one.code for one in cancelled} <= {"57014"}


@pytest.mark.pglease_only
def test_a_client_that_waits_is_cancelled_at_once(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0,
                          "query_wait_timeout": 60})
    with broker.wire() as holder, broker.wire() as waiter:
        holder.query("BEGIN")
        waiter.send(wire.query("SELECT 'waited'"))
        eventually(lambda: broker.waiting() == 1)
        wire.cancel(broker.socket_path, waiter.key)
        seen = waiter.until_ready()
        assert wire.error_of(seen).code == "57014"
        assert seen[-1].body == b"I"
        assert broker.waiting() == 0
        holder.query("COMMIT")
        assert waiter.value("SELECT 1") == "1"


@pytest.mark.broker_only
def test_a_cancel_works_over_tcp_and_by_unix_alike(make_broker, postgres):
    broker = make_broker(tcp=True)
    with broker.wire() as one:
        for address in (broker.tcp_address, broker.socket_path):
            one.send(wire.query("SELECT pg_sleep(60) AS both_ways"))
            running(postgres, "both_ways")
            wire.cancel(address, one.key)
            assert wire.error_of(one.until_ready()).code == "57014"


@pytest.mark.broker_only
def test_cancels_work_when_every_server_connection_is_in_use(make_broker, postgres):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0})
    with broker.wire() as one, broker.wire() as two:
        for each in (one, two):
            each.send(wire.query("SELECT pg_sleep(60) AS all_used"))
        eventually(lambda: len(running(postgres, "all_used")) == 2)
        wire.cancel(broker.socket_path, one.key)
        assert wire.error_of(one.until_ready()).code == "57014"
        holds_for(lambda: two.silent_for(0), 0.3)
        wire.cancel(broker.socket_path, two.key)
        assert wire.error_of(two.until_ready()).code == "57014"


def test_each_client_has_a_key_of_its_own(broker):
    clients = [broker.wire() for _ in range(20)]
    assert len({one.key for one in clients}) == 20
    for one in clients:
        one.close()
