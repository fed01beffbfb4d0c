# SPDX-License-Identifier: Apache-2.0
"""The console's orders while leases are held by LEASE, through the relay and directly."""

import signal
import threading

import pytest

from harness import direct, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"


@pytest.fixture
def broker(make_broker):
    one = make_broker({"default_pool_size": 1, "reserve_pool_size": 0}, start=False)
    one.databases = {"app": one.server()}
    one.write()
    return one.start()


@pytest.fixture(params=["", "DIRECT"], ids=["relay", "direct"])
def held(request, broker):
    """A session that holds a lease, and where it speaks to PostgreSQL."""
    with direct.connect(broker, application_name="holder") as one:
        yield one, one.take_lease(one.query(f"LEASE {request.param} FOR 'console'"))


class Order(threading.Thread):
    """An order to the console that takes its time."""

    def __init__(self, broker, command):
        super().__init__(daemon=True)
        self.broker, self.command, self.is_done = broker, command, False
        self.start()

    def run(self):
        self.broker.console(self.command)
        self.is_done = True


def alive(postgres, backend):
    return [row for row in postgres.backends() if row[0] == backend]


@pytest.mark.parametrize("state", ["idle", "in a transaction", "in a query", "in a result"])
def test_kill_lease(held, broker, postgres, state):
    """Told at once to whom waits for an answer, else with the next words."""
    one, end = held
    end.query("CREATE TEMP TABLE left_over (x int)")
    if state == "in a transaction":
        end.query("BEGIN")
    elif state == "in a query":
        end.send(wire.query("SELECT pg_sleep(600) AS killed"))
        eventually(lambda: broker.console("SHOW LEASES")[0]["state"] in ("active", "direct"))
    elif state == "in a result":
        end.send(wire.query("SELECT repeat('x', 1000000) FROM generate_series(1, 100)"))
        assert end.next().kind == "T"
    row, = broker.console("SHOW LEASES")
    broker.console(f"KILL LEASE {row['lease_id']}")
    if one.is_direct:
        assert end.closed_by_peer()
        one.close_end()
    elif state == "in a result":
        # Half a message has gone out: nothing can be said any more, and the session ends.
        with pytest.raises(wire.Closed):
            one.until_ready()
        return
    if one.is_direct or state != "in a query":
        one.send(wire.query("LEASE RETURN"))
    assert wire.error_of(one.until_ready()).code == "57P01"
    if one.is_direct:
        eventually(lambda: not alive(postgres, one.granted.server_pid))
    assert wire.error_of(one.query("LEASE RETURN")).code == "55000"
    assert one.value("SELECT to_regclass('left_over') IS NULL") == "t"
    for wrong in ("active", "idle in transaction"):
        eventually(lambda: not postgres.backends(dbname="app", state=wrong))
    direct.lease(one)
    direct.give_back(one)


@pytest.mark.parametrize("order", ["KILL app", "KILL_CLIENT"])
def test_kill_ends_the_session_and_its_lease(held, broker, postgres, order):
    one, end = held
    end.query("BEGIN")
    if order == "KILL_CLIENT":
        number, = [row["id"] for row in broker.console("SHOW CLIENTS")
                   if row["application_name"] == "holder"]
        order = f"KILL_CLIENT {number}"
    broker.console(order)
    assert one.next().code == "57P01" and one.closed_by_peer()
    if one.is_direct:
        assert end.closed_by_peer()
        eventually(lambda: not alive(postgres, one.granted.server_pid))
    eventually(lambda: not postgres.backends(dbname="app", state="idle in transaction"))
    eventually(lambda: broker.console("SHOW LEASES") == [])


def test_pause_waits_for_the_return(held, broker, postgres):
    one, end = held
    order = Order(broker, "PAUSE app")
    eventually(lambda: broker.console("SHOW DATABASES")[0]["paused"] == "1")
    end.query("BEGIN")
    assert end.query("COMMIT")[0].tag == "COMMIT" and not order.is_done
    one.give_back()
    order.join(10)
    assert order.is_done and not alive(postgres, one.granted.server_pid)
    assert wire.error_of(one.query("LEASE WAIT '10ms'")).code == "57P03"
    one.send(wire.query("LEASE"))
    eventually(lambda: broker.waiting() == 1)
    broker.console("RESUME app")
    direct.granted(one.until_ready())
    direct.give_back(one)


def test_reconnect_closes_the_connection_at_its_return(held, broker, postgres):
    one, end = held
    broker.console("RECONNECT")
    order = Order(broker, "WAIT_CLOSE")
    assert end.value(PID) == str(one.granted.server_pid) and not order.is_done
    one.give_back()
    order.join(10)
    assert order.is_done
    eventually(lambda: not alive(postgres, one.granted.server_pid))
    assert one.value(PID) != str(one.granted.server_pid)


def test_disable_leaves_a_lease_alone(held, broker):
    one, end = held
    broker.console("DISABLE app")
    assert end.value("SELECT 'goes on'") == "goes on"
    one.give_back()
    assert one.value("SELECT 'served'") == "served"
    broker.console("ENABLE app")


def test_signals_that_pause_and_resume_leave_a_lease_alone(held, broker):
    one, end = held
    broker.send_signal(signal.SIGUSR1)
    eventually(lambda: broker.console("SHOW DATABASES")[0]["paused"] == "1")
    assert end.value("SELECT 'goes on'") == "goes on"
    broker.send_signal(signal.SIGUSR2)
    eventually(lambda: broker.console("SHOW DATABASES")[0]["paused"] == "0")
    one.give_back()
    assert one.value("SELECT 'served'") == "served"


def test_the_waiters_purpose_is_shown(held, broker):
    with broker.wire(application_name="waiter") as other:
        other.send(wire.query("LEASE FOR 'wants it'"))
        eventually(lambda: broker.waiting() == 1)
        row, = broker.console("SHOW WAITERS")
        assert (row["application_name"], row["purpose"]) == ("waiter", "wants it")
        held[0].give_back()
        direct.granted(other.until_ready())
        direct.give_back(other)
