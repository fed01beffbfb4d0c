# SPDX-License-Identifier: Apache-2.0
"""SHOW LOCKS: leases that wait for each other, as an operator sees them."""

import psycopg2
import pytest

from harness import wire
from harness.waiting import eventually
from test_pool_locks import Worker, begin, explicit, no_lease_is_left

pytestmark = pytest.mark.pglease_only

COLUMNS = ["lock_id", "database", "user", "group", "grade", "age_us", "lent", "rejected", "reserve",
           "link", "lease_id", "server_pid", "client_id", "client_pid", "thread",
           "application_name", "purpose", "held_us", "waits_as", "waits_for", "waited_us"]


def events(broker, kind):
    return [row for row in broker.console("SHOW EVENTS") if row["kind"] == kind]


def test_there_is_none_as_long_as_all_goes_well(make_broker):
    broker = make_broker({"default_pool_size": 1})
    with broker.wire("admin", "pglease") as one:
        seen = one.query("SHOW LOCKS")
        assert seen[0].columns == COLUMNS and wire.rows_of(seen) == []
    with broker.wire() as holder, broker.wire() as waiter:
        holder.query("BEGIN")
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1)
        # It waits for somebody who does not wait.
        assert broker.console("SHOW LOCKS") == []
        holder.query("COMMIT")
        waiter.until_ready()


def test_a_suspected_lock_is_shown_with_its_links(make_broker):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0,
                          "query_wait_timeout": "30"})
    held = [begin(broker), begin(broker)]
    with broker.wire(application_name="inner") as waiter:
        waiter.send(wire.query("SELECT 1"))
        rows = eventually(lambda: broker.console("SHOW LOCKS"))
        leases = {row["lease_id"]: row for row in broker.console("SHOW LEASES")}
        assert [row["link"] for row in rows] == ["1", "2"]
        assert {row["lease_id"] for row in rows} == set(leases)
        for row in rows:
            lease = leases[row["lease_id"]]
            assert (row["lock_id"], row["grade"], row["database"], row["user"], row["group"]) == \
                ("1", "suspected", "app", "app", None)
            assert (row["lent"], row["rejected"], row["reserve"]) == ("0", "0", "0")
            assert [row[name] for name in ("server_pid", "client_id", "client_pid")] == \
                [lease[name] for name in ("server_pid", "client_id", "client_pid")]
            assert int(row["age_us"]) > 0 and int(row["held_us"]) > 0
        waits, = broker.console("SHOW WAITERS")
        assert {row["waits_as"] for row in rows} == {waits["client_id"]}
        event, = events(broker, "pool_lock")
        assert event["level"] == "warning" and "perhaps locked" in event["message"]
        held[0].rollback()
        waiter.until_ready()
    held[1].rollback()
    over, = eventually(lambda: events(broker, "pool_lock_over"))
    assert broker.console("SHOW LOCKS") == []
    assert "0 waiters had 40P01" in over["message"]


def test_a_certain_lock_names_threads_and_purposes(make_broker):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 0})
    one, two = explicit(broker, 11, "outer.one"), explicit(broker, 12, "outer.two")
    first = Worker(lambda: explicit(broker, 11, "inner.one").close())
    eventually(lambda: len(broker.console("SHOW WAITERS")) == 1)
    with pytest.raises(psycopg2.errors.DeadlockDetected):
        explicit(broker, 12, "inner.two")
    event, = events(broker, "pool_lock")
    for words in ("pool is locked", "thread 11", "thread 12", "outer.one", "inner.two"):
        assert words in event["message"], event
    assert event["level"] == "error"
    refused, = events(broker, "pool_lock_rejected")
    assert "pool lock" in refused["message"] and refused["client_pid"] is not None
    rows = {row["thread"]: row for row in broker.console("SHOW LOCKS")}
    assert {row["grade"] for row in rows.values()} == {"certain"}
    assert {row["rejected"] for row in rows.values()} == {"1"}
    assert (rows["11"]["purpose"], rows["11"]["waits_for"]) == ("outer.one", "inner.one")
    assert (rows["12"]["purpose"], rows["12"]["waits_as"]) == ("outer.two", None)
    assert int(rows["11"]["waited_us"]) > 0
    two.cursor().execute("LEASE RETURN")
    first.join(20)
    one.cursor().execute("LEASE RETURN")
    assert no_lease_is_left(broker)
    eventually(lambda: broker.console("SHOW LOCKS") == [])


def test_what_relief_did_is_told(make_broker):
    broker = make_broker({"default_pool_size": 2, "reserve_pool_size": 1,
                          "query_wait_timeout": "30"})
    held = [begin(broker), begin(broker)]
    with broker.wire(application_name="inner") as waiter:
        assert waiter.query("BEGIN")[0].tag == "BEGIN"
        waiter.query("SELECT 1")
        row = broker.console("SHOW LOCKS")[0]
        assert int(row["lent"]) >= 1 and row["reserve"] == "1"
        lent, = events(broker, "reserve_lent")
        assert lent["application_name"] == "inner" and "1 of 1" in lent["message"]
        waiter.query("COMMIT")
    for one in held:
        one.rollback()
    over, = eventually(lambda: events(broker, "pool_lock_over"))
    assert broker.console("SHOW LOCKS") == []
    assert "connections of the reserve were lent" in over["message"]


def test_a_groups_cap_locks_up_too(make_broker):
    broker = make_broker({"default_pool_size": 5, "reserve_pool_size": 0},
                         groups={"capped": "max_leases=1 match=capped"})

    def lease(purpose):
        conn = psycopg2.connect(broker.dsn(application_name="capped"))
        conn.autocommit = True
        conn.cursor().execute(f"LEASE FOR '{purpose}' THREAD '5' WAIT '20s'")
        return conn

    outer = lease("outer")
    with pytest.raises(psycopg2.errors.DeadlockDetected):
        lease("inner")
    refused, = events(broker, "pool_lock_rejected")
    assert 'group "capped"' in refused["message"] and refused["group"] == "capped"
    # As that of a pool, it is over when it was not seen again for a moment.
    eventually(lambda: broker.console("SHOW LOCKS") == [])
    outer.close()
