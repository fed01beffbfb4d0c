# SPDX-License-Identifier: Apache-2.0
"""Every way in which something can go wrong is counted under its cause, once, and told as an event."""

import re
import signal
import subprocess
import sys
import textwrap
import urllib.request

import psycopg2
import pytest

from harness import direct, wire
from harness.faucet import Faucet
from harness.postgres import free_port
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


class Counted:
    """A broker, and what it has counted since the scene began."""

    def __init__(self, broker):
        self.broker = broker
        self.before = self.read()

    def read(self):
        url = f"http://{self.broker.settings['metrics_listen']}/metrics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            text = answer.read().decode()
        return {name: int(float(value)) for name, value in re.findall(
            r"^(pglease_(?:revocations|rejections|refusals|connect_failures|servers_lost|pool_locks"
            r"|reserve_lent|leak_warnings)_total\S*) (\S+)$", text, re.M)}

    def moved(self):
        now = self.read()
        return {name: now[name] - self.before[name] for name in now
                if now[name] != self.before[name]}

    def expect(self, expected):
        """The endpoint may be some tenths of a second behind."""
        eventually(lambda: self.moved() == expected, 20, self.moved)

    def event(self, kind):
        return any(row["kind"] == kind for row in self.broker.console("SHOW EVENTS"))


@pytest.fixture
def counted(make_broker):
    def make(settings=None, **named):
        return Counted(make_broker(
            {"metrics_listen": f"127.0.0.1:{free_port()}"} | (settings or {}), **named))
    return make


def refused(broker, **parameters):
    with pytest.raises(wire.Refused):
        broker.wire(**parameters)


def idle_in_transaction(broker):
    one = broker.wire()
    one.query("BEGIN")
    return one


REVOCATIONS = {
    "lease_timeout": ({"lease_timeout": 1}, idle_in_transaction),
    "transaction_timeout": ({"transaction_timeout": 1}, idle_in_transaction),
    "idle_transaction_timeout": ({"idle_transaction_timeout": 1}, idle_in_transaction),
    "client_idle_timeout": ({"client_idle_timeout": 1}, lambda broker: broker.wire()),
    "query_timeout": ({"query_timeout": 1}, lambda broker: sends(broker, "SELECT pg_sleep(600)")),
    "hold": ({}, lambda broker: sends(broker, "LEASE HOLD '100ms'")),
    "client_write_timeout": ({"client_write_timeout": 1}, lambda broker: sends(
        broker, "SELECT repeat('x', 1000000) FROM generate_series(1, 100)")),
    "kill_lease": ({}, lambda broker: killed(broker)),
    "process_gone": ({}, lambda broker: orphan(broker)),
}


def sends(broker, text):
    one = broker.wire()
    one.send(wire.query(text))
    return one


def killed(broker):
    one = idle_in_transaction(broker)
    broker.console(f"KILL LEASE {broker.console('SHOW LEASES')[0]['lease_id']}")
    return one


class orphan:
    """A child that keeps the socket of its dead parent, and says nothing."""

    SCRIPT = textwrap.dedent("""
        import os, sys, psycopg2
        conn = psycopg2.connect(sys.argv[1])
        conn.cursor().execute("SELECT 1")
        if os.fork() == 0:
            print("holds", flush=True)
            sys.stdin.readline()
        os._exit(0)
    """)

    def __init__(self, broker):
        self.parent = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, broker.dsn()], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        assert self.parent.stdout.readline() == "holds\n"
        self.parent.wait(20)

    def close(self):
        self.parent.stdin.close()
        self.parent.stdout.close()


@pytest.mark.parametrize("limit", REVOCATIONS)
def test_a_revocation(counted, limit):
    settings, scene = REVOCATIONS[limit]
    seen = counted(settings)
    one = scene(seen.broker)
    seen.expect({f'pglease_revocations_total{{limit="{limit}"}}': 1})
    assert seen.event("revoked")
    one.close()


REFUSALS = {
    "too_many_clients": ({"max_client_conn": 1}, lambda broker: with_one(broker)),
    "no_such_database": ({}, lambda broker: refused(broker, database="nowhere")),
    "disabled": ({}, lambda broker: (broker.console("DISABLE app"), refused(broker))),
    "authentication": ({"auth_type": "scram-sha-256"}, lambda broker: wrong_password(broker)),
    "unsupported": ({}, lambda broker: refused(
        broker, database="pglease", replication="true")),
    "protocol_error": ({}, lambda broker: nonsense(broker)),
    "login_timeout": ({"client_login_timeout": 1}, lambda broker: silent(broker)),
    "shutting_down": ({"shutdown_grace": 60}, lambda broker: late(broker)),
}


def with_one(broker):
    with broker.wire():
        refused(broker)


def wrong_password(broker):
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(broker.dsn(password="wrong"))


def nonsense(broker):
    one = broker.raw()
    one.send(b"\0\0\0\x09\0\x03\0\0x")
    assert one.next().kind == "E"
    one.close()


def silent(broker):
    one = broker.raw()
    assert one.next().kind == "E"
    one.close()


def late(broker):
    """A client that is served keeps it from ending."""
    broker.kept = idle_in_transaction(broker)
    broker.send_signal(signal.SIGTERM)
    broker.wait_logged("shutting down")
    refused(broker)


@pytest.mark.parametrize("cause", REFUSALS)
def test_a_refusal(counted, postgres, cause):
    settings, scene = REFUSALS[cause]
    passwords = {"userlist": {"app": "right"}} if cause == "authentication" else {}
    only = "host={0.host} port={0.port}"
    seen = counted(settings, databases={"app": only.format(postgres)}, **passwords)
    scene(seen.broker)
    seen.expect({f'pglease_refusals_total{{cause="{cause}"}}': 1})


def test_a_session_pool_refuses_at_the_deadline(counted):
    """One rejection, one refusal, one event: they tell of the same."""
    seen = counted({"pool_mode": "session", "default_pool_size": 1, "query_wait_timeout": "0.3"})
    with seen.broker.wire():
        refused(seen.broker)
    seen.expect({'pglease_rejections_total{cause="deadline"}': 1,
                 'pglease_refusals_total{cause="no_server"}': 1})
    assert seen.event("exhausted") and not seen.event("client_refused")


def test_rejections(counted):
    seen = counted({"default_pool_size": 1, "max_waiting": 1})
    broker, expected = seen.broker, {}

    def rejected(cause, one):
        assert wire.error_of(one.until("EZ")).code in ("53300", "57P03")
        one.until("Z")
        expected[f'pglease_rejections_total{{cause="{cause}"}}'] = 1
        # All clients are one process here: it may look like a lock, too.
        eventually(lambda: expected.items() <= seen.moved().items(), 10, seen.moved)

    holder = idle_in_transaction(broker)
    with broker.wire() as one, broker.wire() as two:
        one.send(wire.query("LEASE WAIT '100ms'"))
        rejected("deadline", one)
        one.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1)
        two.send(wire.query("SELECT 1"))
        rejected("queue_full", two)
        holder.query("COMMIT")
        one.until_ready()
        broker.console("PAUSE app")
        one.send(wire.query("LEASE WAIT '100ms'"))
        rejected("paused", one)
        broker.console("RESUME app")
    holder.close()


FAILURES = {
    "unreachable": None, "saturated": ("53300", "sorry, too many clients already"),
    "authentication": ("28P01", "password authentication failed"),
    "no_such_database": ("3D000", "database does not exist"),
    "configuration": ("42704", "unrecognized configuration parameter"),
}


@pytest.mark.parametrize("cause", FAILURES)
def test_a_connect_failure(counted, postgres, cause):
    faucet = Faucet(postgres.socket_path)
    try:
        seen = counted({"query_wait_timeout": "0.5", "server_login_retry_min": "60",
                        "server_login_retry": "60"},
                       databases={"app": f"host=127.0.0.1 port={faucet.port}"})
        seen.broker.errors_expected = True
        faucet.answer(*FAILURES[cause]) if FAILURES[cause] else faucet.refuse()
        try:
            with seen.broker.wire() as one:
                one.query("SELECT 1")
        except wire.Refused:
            pass

        def causes():
            return [re.search('cause="(.*)"', name)[1] for name in seen.moved()
                    if name.startswith("pglease_connect_failures")]
        eventually(lambda: causes() == [cause], 10, causes)
        assert seen.event("connect_failed")
    finally:
        faucet.close()


def test_lost_servers(counted, postgres):
    seen = counted()
    with seen.broker.wire() as one:
        pid = int(one.value("SELECT pg_backend_pid()"))
        postgres.terminate(pid)
        idle = 'pglease_servers_lost_total{cause="idle"}'
        seen.expect({idle: 1})
        pid = int(one.value("SELECT pg_backend_pid()"))
        one.query("BEGIN")
        postgres.terminate(pid)
        seen.expect({idle: 1, 'pglease_servers_lost_total{cause="in_lease"}': 1})


def test_leaks_and_locks(counted):
    seen = counted({"lease_warn_after": 1, "default_pool_size": 1, "reserve_pool_size": 0})
    with seen.broker.wire() as outer, seen.broker.wire() as inner:
        direct.lease(outer, "THREAD '1'")
        error = wire.error_of(inner.query("LEASE THREAD '1' WAIT '20s'"))
        assert error.code == "40P01"
        locked = {'pglease_pool_locks_total{grade="certain"}': 1,
                  'pglease_rejections_total{cause="pool_lock"}': 1}
        eventually(lambda: locked.items() <= seen.moved().items(), 10, seen.moved)
        seen.expect(locked | {"pglease_leak_warnings_total": 1})
        direct.give_back(outer)


def test_relief_is_counted(counted):
    seen = counted({"default_pool_size": 1, "reserve_pool_size": 1, "query_wait_timeout": 20})
    one = idle_in_transaction(seen.broker)
    with seen.broker.wire() as inner:
        assert inner.query("SELECT 'helped'")[-1].kind == "Z"
    eventually(lambda: seen.moved().get('pglease_pool_locks_total{grade="suspected"}') == 1)
    assert seen.moved()["pglease_reserve_lent_total"] >= 1
    one.close()
