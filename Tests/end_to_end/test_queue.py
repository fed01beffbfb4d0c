# SPDX-License-Identifier: Apache-2.0
"""Who waits, for how long, in which order, and what is said about it."""

import contextlib
import threading

import pytest

from harness import wire
from harness.waiting import Stopwatch, eventually, holds_for

pytestmark = pytest.mark.broker_only


@pytest.fixture
def single(make_broker):
    """One server connection, and clients that have to wait for it."""
    def make(settings=None, **named):
        base = {"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 20}
        return make_broker(base | (settings or {}), **named)
    return make


def hold(broker, **parameters):
    one = broker.wire(**parameters)
    one.query("BEGIN")
    one.query("SELECT 1")
    return one


def test_waiters_are_served_in_the_order_they_came(single):
    broker = single()
    holder = hold(broker)
    clients = [broker.wire() for _ in range(10)]
    finished, lock = [], threading.Lock()

    def wait_for(number, one):
        one.until_ready()
        with lock:
            finished.append(number)
        one.query("COMMIT")

    for number, one in enumerate(clients):
        one.send(wire.query("BEGIN"))
        eventually(lambda: broker.waiting() == number + 1)
    threads = [threading.Thread(target=wait_for, args=pair) for pair in enumerate(clients)]
    for one in threads:
        one.start()
    holder.query("COMMIT")
    for one in threads:
        one.join(20)
    assert finished == list(range(10))
    for one in (holder, *clients):
        one.close()


def test_who_comes_with_new_settings_keeps_the_lease_that_they_were_put_in_force_on(single):
    """They go ahead alone, and are answered before the client's own words: that is no end of its lease."""
    broker = single(groups={"everyone": "match=*"})
    with broker.wire(application_name="known") as holder, \
            broker.wire(application_name="never seen before") as first, \
            broker.wire(application_name="known") as second:
        holder.query("BEGIN")
        first.send(wire.query("BEGIN"))
        eventually(lambda: broker.waiting() == 1)
        second.send(wire.query("BEGIN"))
        eventually(lambda: broker.waiting() == 2)
        before = int(broker.console("SHOW STATS_TOTALS")[0]["server_assignment_count"])
        holder.query("COMMIT")
        # The second one keeps what it gets: the first would wait for ever.
        assert wire.kinds(first.until_ready()).endswith("CZ")
        now = int(broker.console("SHOW STATS_TOTALS")[0]["server_assignment_count"])
        assert now == before + 1
        first.query("COMMIT")
        assert wire.kinds(second.until_ready()).endswith("CZ")


def test_a_waiter_is_served_as_soon_as_a_lease_ends(single):
    broker = single()
    holder, waiter = hold(broker), broker.wire()
    waiter.send(wire.query("SELECT 'served'"))
    eventually(lambda: broker.waiting() == 1)
    watch = Stopwatch()
    holder.query("COMMIT")
    assert wire.rows_of(waiter.until_ready()) == [["served"]]
    assert watch.seconds < 1
    holder.close()
    waiter.close()


def test_the_lease_of_a_vanished_client_serves_the_waiter_at_once(single):
    broker = single()
    holder, waiter = hold(broker), broker.wire()
    waiter.send(wire.query("SELECT 'served'"))
    eventually(lambda: broker.waiting() == 1)
    holder.socket.close()
    assert wire.rows_of(waiter.until_ready()) == [["served"]]
    waiter.close()


@pytest.mark.pglease_only
def test_a_waiter_that_leaves_is_forgotten(single):
    broker = single()
    holder, gone, stays = hold(broker), broker.wire(), broker.wire()
    gone.send(wire.query("SELECT 'never'"))
    eventually(lambda: broker.waiting() == 1)
    stays.send(wire.query("SELECT 'served'"))
    eventually(lambda: broker.waiting() == 2)
    gone.close()
    eventually(lambda: broker.waiting() == 1)
    holder.query("COMMIT")
    assert wire.rows_of(stays.until_ready()) == [["served"]]
    holder.close()
    stays.close()


@pytest.mark.pglease_only
def test_a_login_never_waits_in_transaction_mode(single):
    broker = single()
    holder = hold(broker)
    watch = Stopwatch()
    clients = [broker.wire() for _ in range(20)]
    assert watch.seconds < 2
    for one in clients:
        one.close()
    holder.close()


@pytest.mark.pglease_only
def test_a_login_waits_in_session_mode_and_is_refused_at_its_deadline(single):
    broker = single({"pool_mode": "session", "query_wait_timeout": 1})
    holder = hold(broker)
    watch = Stopwatch()
    with pytest.raises(wire.Refused) as refused:
        broker.wire()
    assert refused.value.code == "53300"
    assert 0.8 < watch.seconds < 3
    holder.close()


@pytest.mark.pglease_only
def test_the_deadline_brings_53300_that_names_the_holder_and_the_session_goes_on(single):
    broker = single({"query_wait_timeout": 1})
    holder = hold(broker, application_name="the-long-holder")
    waiter = broker.wire()
    watch = Stopwatch()
    seen = waiter.query("SELECT 'too late'")
    assert 0.9 < watch.seconds < 2.5
    error = wire.error_of(seen).fields
    assert error["C"] == "53300" and seen[-1].body == b"I"
    assert "the-long-holder" in error["D"]
    assert error.get("H"), "a hint that says what to do"
    assert error["S"] == "ERROR"
    holder.query("COMMIT")
    assert waiter.value("SELECT 'on time'") == "on time"
    for one in (holder, waiter):
        one.close()


@pytest.mark.pglease_only
def test_the_deadline_in_a_pipeline_answers_each_sync(single):
    broker = single({"query_wait_timeout": 1})
    holder, waiter = hold(broker), broker.wire()
    for number in range(3):
        waiter.send(wire.parse(f"SELECT {number}"), wire.bind(), wire.execute(), wire.sync())
    seen = waiter.until_ready(3)
    assert {one.code for one in seen if one.kind == "E"} == {"53300"}
    holder.query("COMMIT")
    assert waiter.value("SELECT 'again'") == "again"
    holder.close()
    waiter.close()


@pytest.mark.pglease_only
def test_a_full_queue_refuses_at_once(single):
    broker = single({"max_waiting": 2})
    holder = hold(broker)
    waiters = [broker.wire() for _ in range(2)]
    for one in waiters:
        one.send(wire.query("SELECT 1"))
    eventually(lambda: broker.waiting() == 2)
    with broker.wire() as third:
        watch = Stopwatch()
        error = wire.error_of(third.query("SELECT 1")).fields
        assert watch.seconds < 1
        assert error["C"] == "53300" and "max_waiting" in str(error)
        holder.query("COMMIT")
        for one in waiters:
            one.until_ready()
        assert third.value("SELECT 'again'") == "again"
    for one in (holder, *waiters):
        one.close()


@pytest.mark.pglease_only
def test_a_notice_tells_a_waiter_its_place_and_the_holder(single):
    broker = single({"query_wait_notify": 1})
    holder, waiter = hold(broker, application_name="the-long-holder"), broker.wire()
    waiter.send(wire.query("SELECT 1"))
    notice = waiter.read()
    assert notice.kind == "N"
    assert "the-long-holder" in str(notice.fields)
    holder.query("COMMIT")
    assert wire.rows_of(waiter.until_ready()) == [["1"]]
    holder.close()
    waiter.close()


@pytest.mark.pglease_only
def test_no_notice_when_it_is_off(single):
    broker = single({"query_wait_notify": 0, "query_wait_timeout": 2})
    holder, waiter = hold(broker), broker.wire()
    wire.error_of(waiter.query("SELECT 1"))
    assert waiter.notices == []
    holder.close()
    waiter.close()


@pytest.mark.pglease_only
def test_query_wait_timeout_of_a_database_and_of_a_user(single):
    broker = single({"query_wait_timeout": 60}, start=False)
    broker.databases["app"] = broker.server(dbname="app", query_wait_timeout=1)
    broker.users["other"] = "query_wait_timeout=1"
    broker.write()
    broker.start()
    with hold(broker), broker.wire() as waiter:
        assert wire.error_of(waiter.query("SELECT 1")).code == "53300"
    with broker.wire("other", "second") as holder, broker.wire("other", "second") as waiter:
        holder.query("BEGIN")
        assert wire.error_of(waiter.query("SELECT 1")).code == "53300"


@pytest.mark.pglease_only
def test_a_group_is_bounded_by_its_max_leases(make_broker, postgres):
    broker = make_broker({"default_pool_size": 6, "reserve_pool_size": 0},
                         groups={"backfill": "max_leases=2"})
    held = [hold(broker, application_name="backfill") for _ in range(2)]
    third = broker.wire(application_name="backfill")
    third.send(wire.query("SELECT 'third'"))
    eventually(lambda: broker.waiting() == 1)
    with broker.wire(application_name="pipeline") as other:
        assert other.value("SELECT 'not held back'") == "not held back"
    holds_for(lambda: third.silent_for(0), 0.3)
    held[0].query("COMMIT")
    assert wire.rows_of(third.until_ready()) == [["third"]]
    for one in (*held, third):
        one.close()


@pytest.mark.pglease_only
def test_a_group_pattern_bounds_each_name_by_itself(make_broker):
    broker = make_broker({"default_pool_size": 6, "reserve_pool_size": 0},
                         groups={"pipeline-*": "max_leases=1"})
    one = hold(broker, application_name="pipeline-a")
    two = hold(broker, application_name="pipeline-b")
    third = broker.wire(application_name="pipeline-a")
    third.send(wire.query("SELECT 1"))
    eventually(lambda: broker.waiting() == 1)
    one.query("COMMIT")
    third.until_ready()
    for each in (one, two, third):
        each.close()


@pytest.mark.pglease_only
def test_min_leases_keeps_a_connection_free_for_its_group(make_broker):
    broker = make_broker({"default_pool_size": 3, "reserve_pool_size": 0, "query_wait_timeout": 30},
                         groups={"urgent": "min_leases=1"})
    greedy = [broker.wire(application_name="greedy") for _ in range(3)]
    for one in greedy:
        one.send(wire.query("BEGIN"))
    eventually(lambda: broker.waiting() == 1)
    with broker.wire(application_name="urgent") as one:
        watch = Stopwatch()
        assert one.value("SELECT 'at once'") == "at once"
        assert watch.seconds < 2
    for one in greedy:
        one.close()


@pytest.mark.pglease_only
def test_groups_take_turns(make_broker):
    """A flood of one group does not starve a single client of another."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 60})
    holder = hold(broker)
    flood = [broker.wire(application_name="flood") for _ in range(20)]
    order, lock = [], threading.Lock()

    def wait_for(name, one):
        one.until_ready()
        with lock:
            order.append(name)
        one.query("COMMIT")

    for number, one in enumerate(flood):
        one.send(wire.query("BEGIN"))
        eventually(lambda: broker.waiting() == number + 1)
    late = broker.wire(application_name="late")
    late.send(wire.query("BEGIN"))
    eventually(lambda: broker.waiting() == 21)
    threads = [threading.Thread(target=wait_for, args=("flood", one)) for one in flood]
    threads.append(threading.Thread(target=wait_for, args=("late", late)))
    for one in threads:
        one.start()
    holder.query("COMMIT")
    for one in threads:
        one.join(30)
    assert order.index("late") <= 2, order
    for one in (holder, late, *flood):
        one.close()


@pytest.mark.pglease_only
def test_weights_share_the_turns(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 60},
                         groups={"heavy": "weight=3", "light": "weight=1"})
    holder = hold(broker)
    clients, order, lock = [], [], threading.Lock()

    def wait_for(name, one):
        one.until_ready()
        with lock:
            order.append(name)
        one.query("COMMIT")

    for number in range(24):
        name = "light" if number % 2 else "heavy"
        one = broker.wire(application_name=name)
        one.send(wire.query("BEGIN"))
        eventually(lambda: broker.waiting() == number + 1)
        clients.append((name, one))
    threads = [threading.Thread(target=wait_for, args=pair) for pair in clients]
    for one in threads:
        one.start()
    holder.query("COMMIT")
    for one in threads:
        one.join(30)
    assert order[:12].count("heavy") in (8, 9, 10), order
    holder.close()
    for _, one in clients:
        one.close()


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.pglease_only
def test_a_waiter_that_is_read_no_further_and_vanishes_is_noticed(make_broker, how):
    """It has sent more than is kept for it: only its end is watched for."""
    broker = make_broker({"default_pool_size": 1})
    with broker.wire() as holder:
        holder.query("BEGIN")
        waiter = broker.wire()
        waiter.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiter.socket.send(wire.query("SELECT 1 /* " + 1000 * "x" + " */"))
        eventually(lambda: broker.console("SHOW WAITERS"))
        waiter.close() if how == "close" else waiter.reset()
        eventually(lambda: not broker.console("SHOW WAITERS"))
        assert holder.value("SELECT 1") == "1"
    eventually(lambda: broker.pool()["cl_active"] == "0")
