# SPDX-License-Identifier: Apache-2.0
"""Nested leases whose threads think between the levels, from psycopg2's own pool: a pause is no lock."""

import psycopg2
import pytest

from harness.bursts import HABITS, Burst
from harness.waiting import eventually
from test_lock_console import events
from test_pool_locks import begin, no_lease_is_left

pytestmark = pytest.mark.pglease_only


@pytest.mark.parametrize("threads, size, cap, habit", [
    *[(11, 5, None, habit) for habit in HABITS], (14, 10, 9, "tries in transaction")])
def test_one_chain_is_finished_before_another_is_helped(make_broker, threads, size, cap, habit):
    groups = {"any": f"match=* max_leases={cap}"} if cap else {}
    broker = make_broker({"default_pool_size": size, "reserve_pool_size": 3,
                          "query_wait_timeout": "60"}, groups=groups)
    burst = Burst(broker.dsn(), threads, 0.1, habit).run()
    assert burst.errors == []
    assert events(broker, "reserve_lent")
    assert len(broker.console("SHOW SERVERS")) <= size + 3
    assert no_lease_is_left(broker)


def test_a_lock_of_a_cap_is_shown_named_and_relieved(make_broker):
    broker = make_broker({"default_pool_size": 5, "reserve_pool_size": 2,
                          "query_wait_timeout": "30"},
                         groups={"any": "match=* max_leases=2"})
    held = [begin(broker), begin(broker)]
    third = begin(broker)
    row = broker.console("SHOW LOCKS")[0]
    assert (row["group"], row["grade"], row["reserve"]) == ("any", "suspected", "2")
    assert int(row["lent"]) >= 1
    assert events(broker, "pool_lock") and events(broker, "reserve_lent")
    for conn in [third, *held]:
        conn.rollback()
    eventually(lambda: events(broker, "pool_lock_over"))
    assert broker.console("SHOW LOCKS") == []


@pytest.mark.parametrize("groups", [{}, {"any": "match=* max_leases=2"}])
def test_the_error_counts_what_is_held_and_names_the_reserve(make_broker, groups):
    broker = make_broker({"default_pool_size": 2 if not groups else 5, "reserve_pool_size": 1,
                          "query_wait_timeout": "2"}, groups=groups)
    held = [begin(broker), begin(broker)]
    held.append(begin(broker))
    with pytest.raises(psycopg2.errors.TooManyConnections) as caught:
        begin(broker)
    said = str(caught.value)
    for words in (", and 1 of reserve_pool_size besides: 3 leases are held.", "pool lock is suspected",
                  "reserve_pool_size: threads",
                  "max_leases of this client's group is 2" if groups else "All 2 connections"):
        assert words in said, said
    assert "query_wait_timeout" not in said.partition("HINT")[2]


def test_a_client_without_a_name_is_of_its_programs_group(make_broker):
    broker = make_broker({"default_pool_size": 2}, groups={"tests": "match=py* max_leases=1"})
    with open("/proc/self/comm") as comm:
        program = comm.read().strip()
    nameless, named = begin(broker), psycopg2.connect(broker.dsn(application_name="named"))
    named.cursor().execute("SELECT 1")
    groups = {row["group"] for row in broker.console("SHOW LEASES")}
    assert groups == {"tests" if program.startswith("py") else program, "named"}
    nameless.rollback()
