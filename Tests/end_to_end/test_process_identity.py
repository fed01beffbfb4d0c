# SPDX-License-Identifier: Apache-2.0
"""A process is its number and the time of its start: only the number comes again."""

import os
import signal

import pytest

from harness import direct, numbered
from harness.waiting import eventually

pytestmark = [
    pytest.mark.pglease_only,
    pytest.mark.skipif(not numbered.can_number(), reason="may not choose a process's number"),
]

PID = "SELECT pg_backend_pid()"
NOBODY = 65534


@pytest.fixture
def broker(make_broker):
    # Who runs as another user has direct leases, too.
    return make_broker({"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 20,
                        "peer_map": f"{NOBODY}:app"})


@pytest.fixture
def peer_of(broker):
    """Starts processes that have a session of the broker, `one`; their children end with them."""
    started = []

    def start(**named):
        peer = direct.Peer(broker.socket_path, **named)
        started.append(peer)
        peer.do("one = direct.connect(None, address=address)")
        return peer

    def fork(peer):
        child = peer.fork(broker.folder)
        started.append(child)
        return child

    yield start, fork
    for one in started:
        one.close()


def is_alive(postgres, backend):
    return any(row[0] == backend for row in postgres.backends())


LEASE_AND_RETURN = """
end = one.lease()
assert one.is_direct
kept = end.copy()
one.give_back()
one.granted.server_pid
"""


@pytest.mark.parametrize("uid", [None, NOBODY], ids=["same uid", "other uid"])
@pytest.mark.parametrize("way", ["relay", "direct"])
def test_what_a_dead_process_was_handed_is_not_for_the_next_of_its_number(
        broker, peer_of, postgres, uid, way):
    start, fork = peer_of
    first = start()
    backend = first.do(LEASE_AND_RETURN)
    child = fork(first)
    first.kill()
    second = start(uid=uid, number=first.pid)
    if way == "direct":
        second.do("end = one.lease(); assert one.is_direct")
        theirs = int(second.do(f"end.value('{PID}')"))
    else:
        theirs = int(second.do(f"one.query('BEGIN'); one.value('{PID}')"))
    assert theirs != backend
    assert child.do("kept.closed_by_peer()") is True
    eventually(lambda: not is_alive(postgres, backend))


def test_a_free_connection_is_shut_down_when_its_process_ends(broker, peer_of, postgres):
    """At once, before its parent has heard of its end, and with half a message in the stream."""
    start, fork = peer_of
    first = start()
    backend = first.do(LEASE_AND_RETURN)
    child = fork(first)
    eventually(lambda: broker.pool()["sv_idle"] == "1")
    child.do("kept.send(wire.query('SELECT 1')[:3])")
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not is_alive(postgres, backend))
    assert child.do("kept.closed_by_peer()") is True
    # Its session is the child's now, which is given nothing that it would have to be watched for.
    assert child.do("one.value('SELECT 1')") == "1"
    assert child.do("one.lease(); one.is_direct") is False
    child.do("one.give_back()")


def test_a_direct_lease_ends_with_its_process_although_a_child_goes_on(broker, peer_of, postgres):
    start, fork = peer_of
    first = start()
    backend = first.do("end = one.lease(); end.query('BEGIN'); one.granted.server_pid")
    child = fork(first)
    first.kill()
    assert child.do("end.closed_by_peer()") is True
    eventually(lambda: not is_alive(postgres, backend))
    with broker.wire() as other:
        assert other.value("SELECT 'served'") == "served"


def test_the_child_of_a_dead_process_is_not_taken_for_the_next_of_its_number(
        broker, peer_of, postgres):
    """The first process had nothing that would have made the broker watch it."""
    start, fork = peer_of
    first = start()
    first.do("one.value('SELECT 1')")
    child = fork(first)
    first.kill()
    second = start(number=first.pid)
    theirs = second.do(LEASE_AND_RETURN)
    eventually(lambda: broker.pool()["sv_idle"] == "1")
    assert child.do("one.lease(); one.is_direct") is False
    assert int(child.do(f"one.value('{PID}')")) != theirs
    assert second.do("kept.closed_by_peer()") is True
    child.do("one.give_back()")
    assert second.do("one.value('SELECT 1')") == "1"


def test_threads_of_two_processes_of_one_number_are_not_one(broker, peer_of):
    """No lock, although the number and the name of the thread are the same: both are granted."""
    start, fork = peer_of
    first = start()
    child = fork(first)
    first.kill()
    second = start(number=first.pid)
    child.do("direct.lease(one, \"THREAD '1'\")")
    second.start("direct.lease(one, \"THREAD '1'\").kind")
    eventually(lambda: broker.waiting() == 1)
    assert broker.console("SHOW LOCKS") == []
    child.do("direct.give_back(one)")
    assert second.answer() == "relay"
