# SPDX-License-Identifier: Apache-2.0
"""What a client sent before it said goodbye is run and answered, as on a direct connection.

The table is in `Sources/LeaseCore/Relay/Goodbye.swift`; each row here is played on PostgreSQL itself and
through the broker.
"""

import itertools
import os
import signal
import socket
import subprocess
import sys

import pytest

from harness import wire
from harness.waiting import eventually

keys = itertools.count(4711)


def insert(table, number):
    return f"INSERT INTO {table} VALUES ({number}, 'x')"


def batch(sql, *more):
    return wire.parse(sql) + wire.bind() + wire.execute() + b"".join(more)


ROWS = {
    "one": lambda t: wire.query(insert(t, 1)),
    "pipeline": lambda t: b"".join(wire.query(insert(t, n)) for n in range(100)),
    "batches": lambda t: b"".join(batch(insert(t, n), wire.sync()) for n in range(20)),
    "one batch of many": lambda t: batch(insert(t, 1)) + batch(insert(t, 2), wire.sync()),
    "transaction": lambda t: b"".join(map(wire.query, ("BEGIN", insert(t, 1), "COMMIT"))),
    "open transaction": lambda t: b"".join(map(wire.query, ("BEGIN", insert(t, 1)))),
    "failed transaction": lambda t: b"".join(map(wire.query, ("BEGIN", insert(t, 1), "SELECT 1/0"))),
    "error between": lambda t: b"".join(map(wire.query, (insert(t, 1), "SELECT 1/0", insert(t, 2)))),
    "named": lambda t: wire.parse(f"INSERT INTO {t} VALUES ($1, 'x')", "s") + b"".join(
        wire.bind([n], "s") + wire.execute() for n in range(3)) + wire.sync(),
    "copy": lambda t: wire.query(f"COPY {t} FROM STDIN") + wire.copy_data(b"1\tx\n") + wire.copy_done(),
    "extended copy": lambda t: batch(
        f"COPY {t} FROM STDIN", wire.copy_data(b"1\tx\n"), wire.copy_done(), wire.sync()),
    "rows": lambda t: wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 3000)"),
    "setting": lambda t: wire.query("SET statement_timeout = '9s'") + wire.query(insert(t, 1)),
}
# PostgreSQL answers these, too, in words of their own; nothing of them stays.
UNFINISHED = {
    "batch without sync": lambda t: batch(insert(t, 1)),
    "batch without sync behind another": lambda t: batch(insert(t, 1), wire.sync()) +
    batch(insert(t, 2)),
    "copy without end": lambda t: wire.query(insert(t, 1)) + wire.query(f"COPY {t} FROM STDIN") +
    wire.copy_data(b"2\tx\n"),
    "piece of a message": lambda t: wire.query(insert(t, 1)) + wire.query(insert(t, 2))[:12],
    "piece of a long message": lambda t: wire.query(insert(t, 1)) + wire.query(
        insert(t, 2) + " --" + "x" * 100_000)[:90_000],
}


def until_end(one):
    """What it still reads, as (kind, body) up to the end of the connection; parameters aside."""
    seen = []
    try:
        while True:
            message = one.next()
            seen.append((message.kind, message.fields.get("C") if message.kind == "E" else message.body))
    except wire.Closed:
        return seen


def play(address, postgres, table, raw, way):
    """What the client reads, and what is in the table behind it."""
    postgres.sql(f"TRUNCATE {table}", dbname="app", user="app")
    with wire.Wire(address).start("app") as one:
        one.send(raw, wire.terminate() if way == "terminate" else b"")
        if way == "half":
            one.socket.shutdown(socket.SHUT_WR)
        seen = until_end(one)
    return seen, postgres.sql(f"SELECT id FROM {table} ORDER BY id", dbname="app", user="app")


@pytest.mark.broker_only
@pytest.mark.parametrize("way", ["terminate", "half"])
@pytest.mark.parametrize("row", ROWS)
def test_what_was_sent_is_run_and_answered(broker, postgres, table, row, way):
    direct = play(postgres.socket_path, postgres, table, ROWS[row](table), way)
    assert play(broker.socket_path, postgres, table, ROWS[row](table), way) == direct


@pytest.mark.broker_only
@pytest.mark.parametrize("row", ["one", "pipeline", "batches", "error between", "named", "copy"])
def test_a_statement_pool_runs_it_too(statement_broker, postgres, table, row):
    direct = play(postgres.socket_path, postgres, table, ROWS[row](table), "half")
    for way in ("half", "terminate"):
        assert play(statement_broker.socket_path, postgres, table, ROWS[row](table), way) == direct


@pytest.mark.broker_only
@pytest.mark.parametrize("row", UNFINISHED)
def test_what_has_no_end_is_rolled_back(broker, postgres, table, row):
    raw = UNFINISHED[row](table)
    _, direct = play(postgres.socket_path, postgres, table, raw, "half")
    assert play(broker.socket_path, postgres, table, raw, "half")[1] == direct
    if not row.startswith("piece"):
        assert play(broker.socket_path, postgres, table, raw, "terminate")[1] == direct
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


@pytest.mark.broker_only
def test_terminate_and_close_at_once_a_hundred_times(broker, postgres, table):
    for number in range(100):
        one = broker.wire()
        one.send(wire.query(insert(table, number)), wire.terminate())
        one.close()
    eventually(lambda: postgres.sql(f"SELECT count(*) FROM {table}", dbname="app")[0][0] == 100)


def test_a_half_closed_tcp_client_gets_its_answers(make_broker, postgres, table):
    broker = make_broker(tcp=True)
    raw = ROWS["pipeline"](table)
    direct = play(postgres.socket_path, postgres, table, raw, "half")
    assert play(broker.tcp_address, postgres, table, raw, "half") == direct


@pytest.mark.pglease_only
@pytest.mark.parametrize("first", ["", "LEASE", "LEASE WAIT '20s'"])
def test_a_waiter_that_said_goodbye_is_served(make_broker, postgres, table, first):
    broker = make_broker({"default_pool_size": 1})
    with broker.wire() as holder:
        holder.query("BEGIN")
        one = broker.wire()
        one.send(wire.query(first) if first else b"", wire.query(insert(table, 1)),
                 wire.query(insert(table, 2)), wire.terminate())
        one.close()
        eventually(lambda: broker.waiting() == 1)
        with broker.wire() as half:
            half.send(wire.query(insert(table, 3)))
            half.socket.shutdown(socket.SHUT_WR)
            eventually(lambda: broker.waiting() == 2)
            assert postgres.sql(f"SELECT count(*) FROM {table}", dbname="app")[0][0] == 0
            holder.query("COMMIT")
            assert [kind for kind, _ in until_end(half)] == ["C", "Z"]
        assert postgres.sql(f"SELECT id FROM {table} ORDER BY id", dbname="app") == [(1,), (2,), (3,)]
    eventually(lambda: broker.active() == 0)


@pytest.mark.pglease_only
@pytest.mark.parametrize("way", ["close", "half"])
def test_a_lease_that_nothing_follows_leaves_the_queue(make_broker, way):
    broker = make_broker({"default_pool_size": 1}, tcp=True)
    with broker.wire() as holder:
        holder.query("BEGIN")
        for address in (broker.socket_path, broker.tcp_address):
            for asked in (wire.query("LEASE"), wire.query("LEASE WAIT '20s'"),
                          batch("LEASE", wire.sync()), batch("LEASE", wire.flush(), wire.sync())):
                with wire.Wire(address).start("app") as one:
                    one.send(asked)
                    eventually(lambda: broker.waiting() == 1)
                    one.send(wire.terminate())
                    if way == "half":
                        one.socket.shutdown(socket.SHUT_WR)
                        assert {kind for kind, _ in until_end(one)} <= {"1", "2"}
                eventually(lambda: broker.waiting() == 0)
        holder.query("COMMIT")
    eventually(lambda: broker.active() == 0)


@pytest.mark.pglease_only
def test_a_waiter_that_said_goodbye_keeps_its_deadline(make_broker, postgres, table):
    broker = make_broker({"default_pool_size": 1, "query_wait_timeout": "0.2"})
    with broker.wire() as holder, broker.wire() as one:
        holder.query("BEGIN")
        one.send(wire.query(insert(table, 1)), wire.terminate())
        assert until_end(one)[0] == ("E", "53300")
        holder.query("COMMIT")
        assert postgres.sql(f"SELECT count(*) FROM {table}", dbname="app")[0][0] == 0


@pytest.mark.pglease_only
def test_a_session_pool_logs_in_and_runs_for_who_said_goodbye(make_broker, postgres, table):
    broker = make_broker({"default_pool_size": 1, "pool_mode": "session"})
    holder = broker.wire()
    with broker.raw() as one:
        one.send(wire.startup({"user": "app", "database": "app"}), wire.query(insert(table, 1)))
        one.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: broker.waiting() == 1)
        holder.close()
        kinds = [kind for kind, _ in until_end(one)]
        assert kinds == ["R", "K", "Z", "C", "Z"]
    assert postgres.sql(f"SELECT id FROM {table}", dbname="app") == [(1,)]


class Blocked:
    """A statement that waits for a lock and then inserts, and its client."""

    def __init__(self, postgres, table, address):
        self.postgres, self.table = postgres, table
        self.key = next(keys)
        self.lock = postgres.connect(dbname="app", user="postgres")
        self.lock.cursor().execute(f"SELECT pg_advisory_lock({self.key})")
        self.one = wire.Wire(address).start("app")
        self.locking = f"SELECT pg_advisory_xact_lock({self.key})"
        self.sql = f"{self.locking}; {insert(table, 1)}"

    def waits(self):
        return self.postgres.sql(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            f" AND objid = {self.key}")[0][0] == 1

    def send(self, *more):
        self.one.send(wire.query(self.sql), *more)
        eventually(self.waits)

    def unlock(self):
        self.lock.close()

    def rows(self):
        return self.postgres.sql(f"SELECT count(*) FROM {self.table}", dbname="app")[0][0]


@pytest.fixture
def block(postgres, table):
    """block(address): a client there whose statement waits."""
    made = []

    def make(address):
        made.append(Blocked(postgres, table, address))
        return made[-1]

    yield make
    for one in made:
        one.unlock()
        one.one.close()


@pytest.fixture
def blocked(broker, block):
    return block(broker.socket_path)


def test_a_running_statement_of_who_said_goodbye_goes_on(broker, blocked):
    blocked.send(wire.terminate())
    blocked.one.close()
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"
    assert blocked.waits()
    blocked.unlock()
    eventually(lambda: blocked.rows() == 1)


@pytest.mark.broker_only
@pytest.mark.parametrize("how", ["close", "half, then close", "close in a batch"])
def test_a_running_statement_of_who_is_gone_is_cancelled(broker, blocked, how):
    if how == "close in a batch":
        blocked.one.send(batch(blocked.locking, wire.sync()))
        eventually(blocked.waits)
    else:
        blocked.send()
    if how.startswith("half"):
        blocked.one.socket.shutdown(socket.SHUT_WR)
        with broker.wire() as other:
            assert other.value("SELECT 1") == "1"
        assert blocked.waits()
    blocked.one.close()
    eventually(lambda: not blocked.waits())
    assert blocked.rows() == 0
    eventually(lambda: broker.active() == 0)


@pytest.mark.pglease_only
def test_over_tcp_a_closed_socket_is_told_from_a_half_closed_one(make_broker, block):
    broker = make_broker(tcp=True)
    blocked = block(broker.tcp_address)
    blocked.send()
    blocked.one.close()
    eventually(lambda: not blocked.waits())
    blocked.one = wire.Wire(broker.tcp_address).start("app")
    blocked.send()
    blocked.one.socket.shutdown(socket.SHUT_WR)
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"
    assert blocked.waits()
    blocked.unlock()
    assert [kind for kind, _ in until_end(blocked.one)][-2:] == ["C", "Z"]
    assert blocked.rows() == 1


@pytest.mark.pglease_only
@pytest.mark.parametrize("half", [False, True])
def test_client_gone_cancel_ends_what_runs_with_its_client(make_broker, block, half):
    broker = make_broker({"client_gone": "cancel"})
    blocked = block(broker.socket_path)
    blocked.send()
    if half:
        blocked.one.socket.shutdown(socket.SHUT_WR)
    else:
        blocked.one.send(wire.terminate())
    assert blocked.one.closed_by_peer()
    eventually(lambda: not blocked.waits())
    blocked.unlock()
    assert blocked.rows() == 0
    assert {row["key"]: row["value"] for row in broker.console("SHOW CONFIG")}["client_gone"] == "cancel"


@pytest.mark.pglease_only
def test_a_killed_client_whose_query_runs_is_cancelled_at_once(broker, blocked):
    blocked.one.close()
    child = subprocess.Popen([sys.executable, "-c", (
        "import psycopg2, sys\n"
        "psycopg2.connect(sys.argv[1]).cursor().execute(sys.argv[2])"),
        broker.dsn(), blocked.sql])
    eventually(blocked.waits)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    eventually(lambda: not blocked.waits())
    blocked.unlock()
    assert blocked.rows() == 0


@pytest.mark.pglease_only
def test_a_goodbye_with_answers_that_nobody_takes_frees_the_server(broker, postgres):
    with broker.wire() as one:
        one.send(wire.query("SELECT repeat('x', 1000) FROM generate_series(1, 2000000)"),
                 wire.terminate())
        assert one.next().kind == "T"
    eventually(lambda: not postgres.backends(state="active", user="app"))
    eventually(lambda: broker.active() == 0)
