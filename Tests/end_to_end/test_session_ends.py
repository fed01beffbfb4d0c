# SPDX-License-Identifier: Apache-2.0
"""A session pool's client sees the end of its server in the server's own words, as on a direct connection."""

import os
import signal

import pytest

from harness import postgres as database, wire
from harness.waiting import eventually


@pytest.fixture(scope="module")
def own_postgres():
    one = database.Postgres()
    yield one
    one.destroy()


def ends(one):
    """What is read up to the end of the connection."""
    seen = []
    try:
        while True:
            seen.append(one.read())
    except wire.Closed:
        return [(each.kind, each.fields if each.kind in "EN" else each.body) for each in seen]


def codes(seen):
    return [words["C"] for kind, words in seen if kind in "EN"]


STATES = {
    "idle": lambda one: one.query("SELECT 1"),
    "in a transaction": lambda one: [one.query("BEGIN"), one.query("SELECT 1")],
    "in a failed transaction": lambda one: [one.query("BEGIN"), one.query("SELECT 1/0")],
    "in a query": lambda one: one.send(wire.query("SELECT pg_sleep(100)")),
    "in a batch": lambda one: one.send(
        wire.parse("SELECT pg_sleep(100)"), wire.bind(), wire.execute(), wire.sync()),
    "in a copy": lambda one: [one.send(wire.query("COPY items FROM STDIN")), one.until("G")],
}


def in_state(address, state, server, lease=False):
    one = wire.Wire(address).start("app")
    pid = int(one.value("SELECT pg_backend_pid()"))
    if lease:
        one.query("LEASE")
    STATES[state](one)
    if "query" in state or "batch" in state:
        eventually(lambda: server.sql(
            f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}")[0][0] == "PgSleep")
    return one, pid


@pytest.mark.broker_only
@pytest.mark.parametrize("lease", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_a_terminated_backend(session_broker, postgres, state, lease):
    seen = []
    for address in (postgres.socket_path, session_broker.socket_path):
        one, pid = in_state(address, state, postgres, lease and address != postgres.socket_path)
        postgres.terminate(pid)
        seen.append(ends(one))
        one.close()
    assert codes(seen[0]) == ["57P01"]
    assert seen[1] == seen[0]


@pytest.mark.broker_only
@pytest.mark.parametrize("setting, before, code", [
    ("idle_session_timeout", [], "57P05"),
    ("idle_in_transaction_session_timeout", ["BEGIN"], "25P03"),
])
def test_a_timeout_of_the_server(session_broker, postgres, setting, before, code):
    seen = []
    for address in (postgres.socket_path, session_broker.socket_path):
        with wire.Wire(address).start("app") as one:
            for sql in [f"SET {setting} = 50", *before]:
                one.query(sql)
            seen.append(ends(one))
    assert codes(seen[0]) == [code]
    assert seen[1] == seen[0]


@pytest.mark.broker_only
@pytest.mark.parametrize("how", ["fast", "crash"])
def test_the_end_of_postgresql(make_broker, own_postgres, how):
    broker = make_broker({"pool_mode": "session"}, on=own_postgres)
    direct = wire.Wire(own_postgres.socket_path).start("app")
    with direct, broker.wire() as idle, broker.wire() as busy:
        direct.query("SELECT 1")
        idle.query("SELECT 1")
        busy.query("BEGIN")
        if how == "crash":
            with wire.Wire(own_postgres.socket_path).start("app") as victim:
                own_postgres.sql("SELECT 1")
                pid = int(victim.value("SELECT pg_backend_pid()"))
                os.kill(pid, signal.SIGKILL)
                seen = [ends(each) for each in (direct, idle, busy)]
            eventually(own_postgres.accepts)
        else:
            own_postgres.stop(signal.SIGINT)
            seen = [ends(each) for each in (direct, idle, busy)]
            own_postgres.start()
    assert codes(seen[0]) == ["57P02" if how == "crash" else "57P01"]
    assert seen[1] == seen[0] and seen[2] == seen[0]


@pytest.mark.broker_only
def test_an_immediate_shutdown(make_broker, own_postgres):
    """PostgreSQL itself does not always find the time to say why."""
    broker = make_broker({"pool_mode": "session"}, on=own_postgres)
    with broker.wire() as one, broker.wire() as busy:
        one.query("SELECT 1")
        busy.query("BEGIN")
        own_postgres.stop(signal.SIGQUIT)
        seen = [ends(one), ends(busy)]
        own_postgres.start()
    assert all(codes(each) in (["57P01"], ["08006"]) for each in seen)


@pytest.mark.broker_only
def test_a_killed_backend_says_nothing_so_the_broker_does(make_broker, own_postgres):
    broker = make_broker({"pool_mode": "session"}, on=own_postgres)
    with broker.wire() as one:
        os.kill(int(one.value("SELECT pg_backend_pid()")), signal.SIGKILL)
        (kind, error), = ends(one)
        assert kind == "E" and error["S"] == "FATAL" and error["C"] == "08006"
        assert "session goes on" not in error["H"]
    eventually(own_postgres.accepts)


@pytest.mark.broker_only
@pytest.mark.parametrize("state", STATES)
def test_the_session_of_a_transaction_pool_goes_on(transaction_broker, postgres, state):
    one, pid = in_state(transaction_broker.socket_path, state, postgres)
    with one:
        held = state != "idle"
        postgres.terminate(pid)
        eventually(lambda: pid not in [row[0] for row in postgres.backends()])
        if not held:
            assert one.value("SELECT 1") == "1"
            return
        if "copy" in state:
            error = one.until_ready()[0]
        elif "query" in state or "batch" in state:
            error = wire.error_of(one.until_ready())
        else:
            error = wire.error_of(one.query("SELECT 1"))
        assert error.code == "08006" and "session goes on" in error.fields["H"]
        assert "terminating connection due to administrator command" in error.fields["M"]
        assert "57P01" in error.fields["D"]
        assert one.value("SELECT 1") == "1"
