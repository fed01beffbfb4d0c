# SPDX-License-Identifier: Apache-2.0
"""Crowds whose waits or sessions end at one moment: more of them than one turn of the loop deals with."""

import socket

import pytest

from harness import wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

CROWD = 300


@pytest.fixture
def crowd(make_broker):
    """A broker, one who holds its only connection, and as many clients as that."""
    broker = make_broker({
        "default_pool_size": 1, "max_client_conn": CROWD + 20, "max_waiting": CROWD + 1,
        "query_wait_timeout": "200ms"})
    broker.errors_expected = True
    with broker.wire() as holder:
        holder.query("BEGIN")
        clients = [broker.wire() for _ in range(CROWD)]
        yield broker, holder, clients
        for one in clients:
            one.close()


def wait(broker, clients):
    broker.set(query_wait_timeout=60)
    broker.console("RELOAD")
    for one in clients:
        one.send(wire.query("SELECT 1"))
    eventually(lambda: broker.waiting() == CROWD, 30)


def told(clients):
    """The SQLSTATEs and messages with which they were answered."""
    return {(error.code, error.fields["M"])
            for one in clients for error in [wire.error_of(one.until("E"))]}


def test_each_is_told_of_what_ended_its_wait_or_its_session(crowd):
    """First a deadline that all have in common, then KILL."""
    broker, holder, clients = crowd
    for one in clients:
        one.send(wire.query("SELECT 1"))
    assert told(clients) == {("53300", "query_wait_timeout")}
    for one in clients:
        one.until_ready()
    wait(broker, clients)
    broker.console("KILL app")
    # Its answer has come: nobody is left.
    assert len(broker.console("SHOW CLIENTS")) == 1
    assert told([holder, *clients]) == {("57P01", "admin forced disconnect")}
    assert all(one.closed_by_peer() for one in clients)


def test_the_next_is_served_once_all_have_gone(crowd):
    """Some with what they were told unread, some with a goodbye, some in their waits."""
    broker, holder, clients = crowd
    wait(broker, clients)
    for one in clients[:100]:
        wire.cancel(broker.socket_path, one.key)
    eventually(lambda: broker.waiting() == CROWD - 100, 30)
    with broker.wire() as behind:
        behind.send(wire.query("SELECT 'served'"))
        eventually(lambda: broker.waiting() == CROWD - 99)
        for one in clients[100:200]:
            one.send(wire.terminate())
        for one in [*clients, holder]:
            one.socket.close()
        assert wire.rows_of(behind.until_ready()) == [["served"]]
        eventually(lambda: len(broker.console("SHOW CLIENTS")) == 2)


def test_who_only_stops_writing_has_its_whole_answer(crowd):
    """Larger than a socket takes at once; each is read when those before it have been."""
    broker, holder, clients = crowd
    broker.set(query_wait_timeout=60)
    broker.console("RELOAD")
    for one in clients:
        one.send(wire.query("SELECT repeat('x', 400000)"))
    eventually(lambda: broker.waiting() == CROWD, 30)
    for one in clients:
        one.socket.shutdown(socket.SHUT_WR)
    holder.query("COMMIT")
    assert {len(wire.rows_of(one.until_ready())[0][0]) for one in clients} == {400000}
