# SPDX-License-Identifier: Apache-2.0
"""PAUSE, RESUME, RECONNECT, WAIT_CLOSE, DISABLE, ENABLE, KILL, KILL_CLIENT, KILL LEASE, SET, SUSPEND."""

import signal
import threading

import psycopg2
import pytest

from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


def open_one(broker, **more):
    """A client in a transaction of its own as soon as it says something."""
    return psycopg2.connect(broker.dsn("app", "app"), **more)


def admin(broker):
    """A connection to the console; its commands wait as the console does."""
    conn = psycopg2.connect(broker.dsn("admin", "pglease"))
    conn.autocommit = True
    return conn


def tell(conn, command):
    with conn.cursor() as cursor:
        cursor.execute(command)
        return cursor.statusmessage


def only_app(make_broker):
    """A broker that knows one database."""
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server()}
    broker.write()
    return broker.start()


def rows(conn, command):
    with conn.cursor() as cursor:
        cursor.execute(command)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


class Waiting(threading.Thread):
    """Tells the console something that takes its time."""

    def __init__(self, conn, command):
        super().__init__(daemon=True)
        self.conn, self.command, self.answer, self.error = conn, command, None, None
        self.start()

    def run(self):
        try:
            self.answer = tell(self.conn, self.command)
        except psycopg2.Error as error:
            self.error = error


def paused(broker, name="app"):
    return [row["paused"] for row in rows(admin(broker), "SHOW DATABASES") if row["name"] == name]


def test_pause_waits_for_the_leases_and_resume_goes_on(make_broker):
    broker = only_app(make_broker)
    holder = open_one(broker)
    holder.cursor().execute("SELECT 1")
    console = admin(broker)
    pause = Waiting(console, "PAUSE app")
    eventually(lambda: paused(broker) == [1])
    assert pause.is_alive() and pause.answer is None
    other = open_one(broker)
    other.autocommit = True
    query = Waiting(other, "SELECT 2")
    eventually(lambda: len(rows(admin(broker), "SHOW WAITERS")) == 1)
    holder.commit()
    pause.join(10)
    assert pause.answer == "PAUSE"
    assert rows(console, "SHOW SERVERS") == []
    assert query.is_alive()
    assert tell(console, "RESUME app") == "RESUME"
    query.join(10)
    assert query.answer == "SELECT 1" and paused(broker) == [0]


def test_a_paused_broker_says_so_at_the_deadline(make_broker):
    broker = make_broker({"query_wait_timeout": "0.2"})
    console = admin(broker)
    assert tell(console, "PAUSE") == "PAUSE"
    assert {row["key"]: row["value"] for row in rows(console, "SHOW STATE")}["paused"] == "yes"
    with pytest.raises(psycopg2.errors.CannotConnectNow, match="paused"):
        open_one(broker).cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.Error, match="already paused"):
        tell(console, "PAUSE")
    assert tell(console, "RESUME") == "RESUME"
    open_one(broker).cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.Error, match="not paused"):
        tell(console, "RESUME")


def test_signals_pause_and_resume(make_broker):
    broker = make_broker()
    broker.send_signal(signal.SIGUSR1)
    console = admin(broker)

    def state():
        return {row["key"]: row["value"] for row in rows(console, "SHOW STATE")}["paused"]

    eventually(lambda: state() == "yes")
    broker.send_signal(signal.SIGUSR2)
    eventually(lambda: state() == "no")
    open_one(broker).cursor().execute("SELECT 1")


def test_a_wait_for_pause_can_be_cancelled_and_the_pause_stays(make_broker):
    broker = make_broker()
    holder = open_one(broker)
    holder.cursor().execute("SELECT 1")
    console = admin(broker)
    pause = Waiting(console, "PAUSE")
    eventually(lambda: {row["key"]: row["value"] for row in rows(admin(broker), "SHOW STATE")}
               ["paused"] == "yes")
    console.cancel()
    pause.join(10)
    assert pause.error.pgcode == "57014"
    assert {row["key"]: row["value"] for row in rows(console, "SHOW STATE")}["paused"] == "yes"
    assert tell(console, "RESUME") == "RESUME"


def test_reconnect_and_wait_close(make_broker):
    broker = make_broker({"default_pool_size": 2})
    idle, holder = open_one(broker), open_one(broker)
    for conn in (idle, holder):
        conn.cursor().execute("SELECT 1")
    idle.commit()
    console = admin(broker)
    assert tell(console, "RECONNECT") == "RECONNECT"
    marked = [row for row in rows(console, "SHOW SERVERS") if row["close_needed"]]
    assert len(marked) == 1
    wait = Waiting(admin(broker), "WAIT_CLOSE")
    assert wait.is_alive()
    holder.commit()
    wait.join(10)
    assert wait.answer == "WAIT_CLOSE"
    left = rows(console, "SHOW SERVERS")
    assert marked[0]["remote_pid"] not in [row["remote_pid"] for row in left]


def test_a_disabled_database_lets_nobody_in_until_it_is_enabled(make_broker):
    broker = only_app(make_broker)
    console, inside = admin(broker), open_one(broker)
    assert tell(console, "DISABLE app") == "DISABLE"
    assert [row["disabled"] for row in rows(console, "SHOW DATABASES") if row["name"] == "app"] \
        == [1]
    with pytest.raises(psycopg2.OperationalError, match="disabled"):
        open_one(broker)
    inside.cursor().execute("SELECT 1")
    assert tell(console, "ENABLE app") == "ENABLE"
    open_one(broker).cursor().execute("SELECT 1")


def test_kill_ends_clients_and_servers_and_leaves_the_database_paused(make_broker):
    broker = only_app(make_broker)
    holder = broker.wire()
    holder.query("BEGIN")
    console = admin(broker)
    assert tell(console, "KILL app") == "KILL"
    assert rows(console, "SHOW SERVERS") == [] and paused(broker) == [1]
    assert holder.next().code == "57P01" and holder.closed_by_peer()
    tell(console, "RESUME app")
    open_one(broker).cursor().execute("SELECT 1")


def test_kill_client_ends_that_one(make_broker):
    broker = make_broker()
    one, two = broker.wire(application_name="one"), open_one(broker, application_name="two")
    console = admin(broker)
    number = next(row["id"] for row in rows(console, "SHOW CLIENTS")
                  if row["application_name"] == "one")
    assert tell(console, f"KILL_CLIENT {number}") == "KILL_CLIENT"
    assert one.next().code == "57P01" and one.closed_by_peer()
    two.cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.Error, match="client not found"):
        tell(console, f"KILL_CLIENT {number}")


@pytest.mark.parametrize("kind", ["transaction", "explicit"])
def test_kill_lease_takes_it_away_and_the_session_goes_on(make_broker, kind):
    broker = make_broker({"default_pool_size": 1})
    holder = open_one(broker)
    holder.autocommit = True
    cursor = holder.cursor()
    cursor.execute("LEASE FOR 'stuck'" if kind == "explicit" else "BEGIN")
    cursor.execute("SELECT 1")
    console = admin(broker)
    lease = rows(console, "SHOW LEASES")[0]
    assert lease["kind"] == kind
    assert tell(console, f"KILL LEASE {lease['lease_id']}") == "KILL LEASE"
    with pytest.raises(psycopg2.errors.AdminShutdown, match="lease ended by an administrator"):
        cursor.execute("SELECT 1")
    cursor.execute("SELECT 2")
    assert cursor.fetchone() == (2,)
    with pytest.raises(psycopg2.Error, match="no lease has the id"):
        tell(console, f"KILL LEASE {lease['lease_id']}")


def test_set_is_in_force_until_reload(make_broker):
    broker = make_broker({"query_wait_timeout": "30", "default_pool_size": 1})
    console = admin(broker)
    assert tell(console, "SET query_wait_timeout = '0.1'") == "SET"
    assert next(row["value"] for row in rows(console, "SHOW CONFIG")
                if row["key"] == "query_wait_timeout") == "0.1"
    holder = open_one(broker)
    holder.cursor().execute("SELECT 1")
    with pytest.raises(psycopg2.errors.TooManyConnections):
        open_one(broker).cursor().execute("SELECT 1")
    tell(console, "RELOAD")
    assert next(row["value"] for row in rows(console, "SHOW CONFIG")
                if row["key"] == "query_wait_timeout") == "30"


@pytest.mark.parametrize("command, message", [
    ("SET query_wait_timeout = 'soon'", "is not a duration"),
    ("SET listen_port = 7000", "needs a restart"),
    ("SUSPEND", "takeover"), ("PAUSE nowhere", "no such database"), ("DISABLE", "required"),
    ("KILL LEASE x", "takes the id"), ("KILL_CLIENT", "takes the id"),
    ("PAUSE app now", "syntax error"),
])
def test_what_is_refused(make_broker, command, message):
    broker = only_app(make_broker)
    with pytest.raises(psycopg2.Error, match=message):
        tell(admin(broker), command)
    open_one(broker).cursor().execute("SELECT 1")
