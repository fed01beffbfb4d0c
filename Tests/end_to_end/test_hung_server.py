# SPDX-License-Identifier: Apache-2.0
"""A server that hangs costs its own clients only: no worker, no name, no cancel of another's."""

import os
import signal
import socket
import struct

import pytest

from harness import wire
from harness.postgres import Postgres
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


class HungPostmaster:
    """A PostgreSQL whose backends go on, while it takes no connection and no cancel."""

    def __init__(self):
        self.server = Postgres()
        self.stopped = False

    def stop(self):
        os.kill(self.server.process.pid, signal.SIGSTOP)
        self.stopped = True

    def go_on(self):
        if self.stopped:
            os.kill(self.server.process.pid, signal.SIGCONT)
        self.stopped = False


@pytest.fixture(scope="module")
def hanging():
    one = HungPostmaster()
    yield one
    one.go_on()
    one.server.destroy()


@pytest.fixture
def hung(hanging):
    yield hanging
    hanging.go_on()


@pytest.fixture
def two_servers(make_broker, postgres, hung):
    """Databases of both servers, each found by a name."""
    def make(mode="transaction", **settings):
        return make_broker(
            {"pool_mode": mode, "default_pool_size": 30, "query_wait_timeout": 5} | settings,
            databases={
                "hung": f"host=localhost port={hung.server.port} dbname=app",
                "healthy": f"host=localhost port={postgres.port} dbname=app",
                "other": f"host=localhost port={postgres.port} dbname=second"})
    return make


def ask_to_cancel(broker, key):
    """A CancelRequest whose end is not waited for."""
    one = socket.socket(socket.AF_UNIX)
    one.connect(broker.socket_path)
    one.sendall(struct.pack("!iiiI", 16, 80877102, *key))
    return one


def busy(broker, hung, count, word):
    clients = [broker.wire("app", "hung") for _ in range(count)]
    for one in clients:
        one.send(wire.query(f"SELECT pg_sleep(60) AS {word}"))
    eventually(lambda: len(hung.server.sql(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' "
        "AND application_name <> 'harness'", (f"%pg_sleep(60) AS {word}%",))) == count)
    return clients


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_cancels_for_a_hung_server_hold_up_nobody_else(two_servers, postgres, hung, mode):
    broker = two_servers(mode)
    clients = busy(broker, hung, 20, f"cancelled_{mode}")
    hung.stop()
    cancels = [ask_to_cancel(broker, one.key) for one in clients]
    eventually(lambda: len(broker.console("SHOW CLIENTS")) >= 20)
    with broker.wire("app", "healthy") as one, broker.wire("app", "other") as other:
        assert one.value("SELECT 1") == "1"
        # Nor do cancels for a healthy server wait.
        other.send(wire.query("SELECT pg_sleep(60) AS healthy_cancel"))
        eventually(lambda: postgres.backends(dbname="second", state="active"))
        wire.cancel(broker.socket_path, other.key)
        assert wire.error_of(other.until_ready()).code == "57014"
    hung.go_on()
    for one in clients:
        assert wire.error_of(one.until_ready()).code == "57014"
        one.close()
    for one in cancels:
        one.close()


def test_clients_that_leave_a_hung_server_hold_up_nobody_else(two_servers, hung):
    broker = two_servers()
    clients = busy(broker, hung, 20, "abandoned")
    hung.stop()
    for one in clients:
        one.close()
    eventually(lambda: len(broker.console("SHOW CLIENTS")) <= 1)
    with broker.wire("app", "healthy") as one:
        assert one.value("SELECT 1") == "1"
    hung.go_on()
    # What they left running is ended all the same.
    eventually(lambda: not hung.server.sql(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS abandoned%' AND state = 'active' "
        "AND application_name <> 'harness'"))


def test_a_late_cancel_does_not_meet_the_next_lease(two_servers, hung):
    broker = two_servers(default_pool_size=4, query_wait_timeout=30)
    stuck = busy(broker, hung, 3, "stuck")
    with broker.wire("app", "hung") as short, broker.wire("app", "hung") as heir:
        short.query("BEGIN")
        hung.stop()
        cancels = [ask_to_cancel(broker, one.key) for one in stuck]
        eventually(lambda: int(broker.pool("hung")["cl_waiting_cancel_req"]) >= 1)
        short.send(wire.query("SELECT pg_sleep(0.3) AS short"))
        cancels.append(ask_to_cancel(broker, short.key))
        eventually(lambda: int(broker.pool("hung")["cl_waiting_cancel_req"]) == 2)
        heir.send(wire.query("SELECT pg_sleep(2) AS heir"))
        assert wire.kinds(short.until_ready()) == "TDCZ"
        short.query("COMMIT")
        eventually(lambda: broker.waiting("hung") == 0)
        # It would have met the next one.
        assert int(broker.pool("hung")["cl_waiting_cancel_req"]) == 1
        hung.go_on()
        for one in stuck:
            assert wire.error_of(one.until_ready()).code == "57014"
            one.close()
        assert wire.kinds(heir.until_ready()) == "TDCZ"
        for one in cancels:
            one.close()


def test_a_cancel_that_waits_outlives_its_connection(two_servers, hung):
    """What a client left in the middle of a message costs its connection, and what it ran is ended all the same."""
    broker = two_servers(client_gone="cancel")
    stuck = busy(broker, hung, 2, "ahead")
    torn = busy(broker, hung, 1, "torn")[0]
    hung.stop()
    cancels = [ask_to_cancel(broker, one.key) for one in stuck]
    eventually(lambda: int(broker.pool("hung")["cl_active_cancel_req"]) == 2)
    # Half of a message that is passed on as it comes: nothing of the broker's can follow it.
    torn.send(wire.query("SELECT '" + "x" * 200_000 + "'")[:100_000])
    eventually(lambda: any(
        int(row["pkt_remain"]) > 0 for row in broker.console("SHOW SOCKETS") if row["type"] == "C"))
    torn.close()
    eventually(lambda: int(broker.pool("hung")["sv_active"]) == 2)
    assert int(broker.pool("hung")["cl_waiting_cancel_req"]) == 1
    hung.go_on()
    for one in stuck:
        assert wire.error_of(one.until_ready()).code == "57014"
        one.close()
    eventually(lambda: not hung.server.sql(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS torn%' AND state = 'active' "
        "AND application_name <> 'harness'"))
    for one in cancels:
        one.close()


def test_a_client_that_cancels_again_and_again_is_cancelled_once(two_servers, hung):
    broker = two_servers()
    clients = busy(broker, hung, 3, "insistent")
    hung.stop()
    cancels = [ask_to_cancel(broker, one.key) for one in clients for _ in range(60)]
    with broker.wire("app", "healthy") as one:
        assert one.value("SELECT 1") == "1"
    hung.go_on()
    for one in clients:
        assert wire.error_of(one.until_ready()).code == "57014"
        assert one.value("SELECT 'goes on'") == "goes on"
        one.close()
    for one in cancels:
        one.close()


def test_the_broker_stops_though_cancels_hang(two_servers, hung):
    broker = two_servers(shutdown_grace=0.2)
    clients = busy(broker, hung, 3, "stopping")
    hung.stop()
    for one in clients:
        ask_to_cancel(broker, one.key)
    eventually(lambda: int(broker.pool("hung")["cl_active_cancel_req"]) == 2)
    broker.send_signal(signal.SIGTERM)
    assert broker.wait(10) == 0
    for one in clients:
        one.close()
