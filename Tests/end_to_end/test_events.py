# SPDX-License-Identifier: Apache-2.0
"""SHOW EVENTS: what happened of late, each incident once, and what clients are told of limits."""

import re
import signal

import psycopg2
import pytest

from harness import direct, wire
from harness.faucet import Faucet
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

COLUMNS = ["event_id", "time", "age_us", "kind", "level", "database", "user", "group",
           "application_name", "client_id", "client_pid", "lease_id", "count", "message"]


def events(broker, kind=None):
    return [row for row in broker.console("SHOW EVENTS") if kind in (None, row["kind"])]


def the_event(broker, kind):
    """The only event of its kind, once it is there."""
    row, = eventually(lambda: events(broker, kind), what=lambda: f"{kind} in {events(broker)}")
    return row


def hold(broker, **parameters):
    one = broker.wire(**parameters)
    one.query("BEGIN")
    one.query("SELECT 1")
    return one


def test_the_start_is_the_first_event(make_broker):
    broker = make_broker()
    with broker.wire("admin", "pglease") as one:
        seen = one.query("SHOW EVENTS")
        assert seen[0].columns == COLUMNS
    first = events(broker)[0]
    assert (first["event_id"], first["kind"], first["level"], first["count"]) == \
        ("1", "started", "info", "1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC", first["time"])
    assert int(first["age_us"]) > 0
    assert first["database"] is None and first["lease_id"] is None


def test_exhaustion_is_one_event_that_counts(make_broker):
    broker = make_broker({"default_pool_size": 1, "query_wait_timeout": "0.2"})
    holder = hold(broker, application_name="the-holder")
    for _ in range(3):
        with broker.wire(application_name="the-victim") as one:
            assert wire.error_of(one.query("SELECT 1")).code == "53300"
    row = the_event(broker, "exhausted")
    assert (row["count"], row["level"], row["database"], row["user"]) == \
        ("3", "error", "app", "app")
    assert row["application_name"] == "the-victim" and row["group"] == "the-victim"
    assert "pool_size" in row["message"] and "the-holder" in row["message"]
    holder.close()


def test_a_full_queue_is_an_exhaustion_of_its_own(make_broker):
    broker = make_broker({"default_pool_size": 1, "max_waiting": 1})
    holder = hold(broker)
    with broker.wire() as waiter, broker.wire() as refused:
        waiter.send(wire.query("SELECT 1"))
        eventually(lambda: broker.waiting() == 1)
        assert wire.error_of(refused.query("SELECT 1")).code == "53300"
        assert "max_waiting" in the_event(broker, "exhausted")["message"]
    holder.close()


LIMITS = {
    "lease_timeout": ("BEGIN", None),
    "transaction_timeout": ("BEGIN", None),
    "idle_transaction_timeout": ("BEGIN", None),
    "query_timeout": ("SELECT pg_sleep(600)", "at once"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_named_in_the_error_and_in_an_event(make_broker, name):
    broker = make_broker({name: "1", "default_pool_size": 1})
    statement, _ = LIMITS[name]
    with broker.wire(application_name="forgetful") as one:
        one.send(wire.query(statement))
        if statement == "BEGIN":
            one.until_ready()
            lease = broker.console("SHOW LEASES")[0]["lease_id"]
            row = the_event(broker, "revoked")
            assert row["lease_id"] == lease
            one.send(wire.query("SELECT 1"))
        error = wire.error_of(one.until("EZ")).fields
        assert error["C"] == "57P05"
        assert error["M"] == name.replace("_", " ") or name == "lease_timeout"
        assert f"{name} of 1.0 s reached" in error["M"] + error["D"] and "It had lasted 1." in error["D"]
        assert "rolled back" in error["D"] and ("COMMIT" in error["D"]) == (name == "query_timeout")
        assert name in error["H"] and ("statement" in error["H"]) == (name == "query_timeout")
    row = the_event(broker, "revoked")
    assert (row["level"], row["application_name"], row["count"]) == ("warning", "forgetful", "1")
    assert f"{name} of 1.0 s reached" in row["message"] and "lasted 1." in row["message"]


def test_hold_is_a_limit_of_one_lease(make_broker):
    broker = make_broker()
    with broker.wire() as one:
        granted = direct.lease(one, "HOLD '200ms' FOR 'too slow'")
        row = the_event(broker, "revoked")
        assert row["lease_id"] == str(granted.lease_id) and "HOLD of 0.2 s" in row["message"]
        error = wire.error_of(one.query("SELECT 1")).fields
        assert error["C"] == "57P05" and "HOLD of 0.2 s" in error["M"]
        assert error["D"].endswith("no transaction was open.")


def test_kill_lease_is_two_events_who_and_whose(make_broker):
    broker = make_broker()
    one = hold(broker, application_name="victim")
    number = broker.console("SHOW LEASES")[0]["lease_id"]
    broker.console(f"KILL LEASE {number}")
    row = the_event(broker, "revoked")
    assert (row["application_name"], row["lease_id"]) == ("victim", number)
    order = the_event(broker, "operator")
    assert order["message"] == f'KILL LEASE {number} by "admin"'
    one.close()


def test_client_idle_timeout(make_broker):
    broker = make_broker({"client_idle_timeout": 1})
    with broker.wire(application_name="sleeper") as one:
        one.query("SELECT 1")
        error = one.next().fields
        assert error["C"] == "57P05" and "client_idle_timeout" in error["M"]
        assert "client_idle_timeout is 1.0 s" in error["D"]
    row = the_event(broker, "revoked")
    assert (row["application_name"], row["lease_id"]) == ("sleeper", None)
    assert "client_idle_timeout of 1.0 s" in row["message"]


def test_lease_warn_after_marks_the_lease_and_tells_of_each(make_broker):
    broker = make_broker({"lease_warn_after": 1})
    holders = [hold(broker, application_name=f"leak-{number}") for number in (1, 2)]
    rows = eventually(lambda: (lambda all: len(all) == 2 and all)(events(broker, "leak")))
    assert {row["application_name"] for row in rows} == {"leak-1", "leak-2"}
    assert all("lease_warn_after of 1.0 s" in row["message"] for row in rows)
    leases = broker.console("SHOW LEASES")
    assert {row["lease_id"] for row in leases} == {row["lease_id"] for row in rows}
    assert {row["warned"] for row in leases} == {"yes"}
    for one in holders:
        assert "E" not in wire.kinds(one.query("COMMIT"))
        one.close()


def test_an_outage_is_one_failure_and_one_recovery(make_broker, postgres):
    faucet = Faucet(postgres.socket_path)
    try:
        broker = make_broker({"query_wait_timeout": "20", "server_login_retry_min": "0.05",
                              "server_login_retry": "0.1"},
                             databases={"app": f"host=127.0.0.1 port={faucet.port}"})
        broker.errors_expected = True
        with broker.wire() as one:
            one.query("SELECT 1")
            faucet.refuse()
            row = the_event(broker, "server_lost")
            assert row["level"] == "info" and "idle" in row["message"]
            one.send(wire.query("SELECT 'back'"))
            eventually(lambda: int(the_event(broker, "connect_failed")["count"]) >= 3)
            faucet.flow()
            assert wire.rows_of(one.until_ready()) == [["back"]]
        row = the_event(broker, "connect_failed")
        assert row["database"] == "app" and row["message"].startswith("08001 ")
        assert the_event(broker, "connect_recovered")["level"] == "notice"
    finally:
        faucet.close()


def test_a_server_that_dies_in_a_lease(make_broker, postgres):
    broker = make_broker()
    with broker.wire(application_name="unlucky") as one:
        pid = int(one.value("SELECT pg_backend_pid()"))
        one.query("BEGIN")
        lease, = broker.console("SHOW LEASES")
        postgres.terminate(pid)
        row = the_event(broker, "server_lost")
        assert (row["level"], row["application_name"], row["lease_id"]) == \
            ("warning", "unlucky", lease["lease_id"])
        assert str(pid) in row["message"]


def test_reload_and_what_is_wrong_with_it(make_broker):
    broker = make_broker()
    broker.set(query_wait_timeout=7)
    broker.console("RELOAD")
    assert the_event(broker, "reload")["message"].endswith("changed: query_wait_timeout")
    broker.errors_expected = True
    broker.set(default_pool_size="many")
    broker.send_signal(signal.SIGHUP)
    row = the_event(broker, "reload_failed")
    assert row["level"] == "error" and "default_pool_size" in row["message"]
    broker.set(default_pool_size=10)


def test_clients_that_are_refused_are_one_event_for_each_cause(make_broker):
    broker = make_broker(databases={"app": None}, start=False)
    broker.databases = {"app": broker.server()}
    broker.write()
    broker.start()
    for _ in range(20):
        with pytest.raises(wire.Refused):
            broker.wire(database="nowhere")
    broker.console("DISABLE app")
    with pytest.raises(wire.Refused):
        broker.wire()
    rows = events(broker, "client_refused")
    assert [row["count"] for row in rows] == ["20", "1"]
    assert "nowhere" in rows[0]["message"] and "disabled" in rows[1]["message"]
    assert rows[0]["database"] == "nowhere"


def test_what_a_stranger_wrote_does_not_steer_the_terminal(make_broker):
    broker = make_broker(start=False)
    broker.databases = {"app": broker.server()}
    broker.write()
    broker.start()
    with pytest.raises(wire.Refused):
        broker.wire("who\x1b[2J", "no\x07where\nelse", application_name="a\x9bb")
    row = the_event(broker, "client_refused")
    assert row["user"] == "who?[2J" and row["database"] == "no?where else"
    assert row["application_name"] == "a?b"
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in row["message"])


def test_operators_orders(make_broker):
    broker = make_broker()
    broker.wire().close()
    broker.console("PAUSE app")
    broker.console("RESUME app")
    broker.console("SET query_wait_timeout = '9'")
    broker.send_signal(signal.SIGUSR1)
    eventually(lambda: events(broker)[-1]["message"] == "PAUSE by SIGUSR1")
    broker.send_signal(signal.SIGUSR2)
    eventually(lambda: events(broker)[-1]["message"] == "RESUME by SIGUSR2")
    said = [row["message"] for row in events(broker, "operator")]
    assert said[:3] == ['PAUSE app by "admin"', 'RESUME app by "admin"',
                        'SET query_wait_timeout by "admin"']


def test_draining(make_broker):
    broker = make_broker({"shutdown_grace": "30"})
    with broker.wire("admin", "pglease") as watching, broker.wire() as client:
        client.query("SELECT 1")
        broker.send_signal(signal.SIGTERM)
        rows = lambda: wire.rows_of(watching.query("SHOW EVENTS"))
        last = eventually(lambda: (lambda row: row[3] == "draining" and row)(rows()[-1]))
        assert "clients to leave" in last[-1]


def test_no_secret_and_no_statement_is_told(make_broker):
    broker = make_broker({"auth_type": "scram-sha-256", "idle_transaction_timeout": "1"},
                         userlist={"app": "hunter2", "admin": "hunter2"}, tcp=True)
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(broker.dsn(password="hunter3"))
    with wire.Wire(broker.tcp_address).start("app", "app", "hunter2") as one:
        one.query("BEGIN")
        one.query("SELECT 'hunter4'")
        eventually(lambda: broker.logged("lease revoked"))
    with wire.Wire(broker.tcp_address).start("admin", "pglease", "hunter2") as console:
        said = str(wire.rows_of(console.query("SHOW EVENTS")))
    assert "client_refused" in said and "revoked" in said and "hunter" not in said


def test_drivers_read_it(make_broker):
    broker = make_broker()
    connection = psycopg2.connect(broker.dsn("admin", "pglease"))
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SHOW EVENTS")
    row = dict(zip([column.name for column in cursor.description], cursor.fetchone()))
    assert row["event_id"] == 1 and row["count"] == 1 and row["kind"] == "started"
    connection.close()
