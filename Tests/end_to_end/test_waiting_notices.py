# SPDX-License-Identifier: Apache-2.0
"""What a waiter is told while it waits: who stopped the pool, why PostgreSQL is out of reach, who holds
the leases. In the NOTICE of query_wait_notify and in the error at the deadline."""

import re
import signal

import pytest

from harness import direct, wire
from harness.faucet import Faucet
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only


@pytest.fixture
def faucet(postgres):
    one = Faucet(postgres.socket_path)
    yield one
    one.close()


@pytest.fixture
def broker(make_broker, faucet):
    one = make_broker({"query_wait_notify": "0.1", "query_wait_timeout": "600",
                       "default_pool_size": 1, "server_login_retry": 1, "startup_attempts": 1},
                      databases={"*": f"host=127.0.0.1 port={faucet.port}"})
    one.errors_expected = True
    return one


def notice(broker):
    """The DETAIL of the notice to one that waits now."""
    with broker.wire() as waiter:
        waiter.send(wire.query("SELECT 1"))
        while (seen := waiter.read()).kind != "N":
            pass
        assert "waiting for a server connection" in seen.fields["M"]
        return seen.fields["D"]


def refused(broker):
    """The error of one whose deadline passes."""
    with broker.wire() as waiter:
        return wire.error_of(waiter.query("LEASE WAIT '50ms'")).fields


def test_a_pause_is_told_with_who_and_since_when(broker):
    with broker.wire() as one:
        one.query("SELECT 1")
    broker.console("PAUSE app")
    pattern = (r'No lease is held in this pool: database "app" has been paused for \d+\.\d s '
               r'by PAUSE of user "admin", pid \d+\.')
    assert re.fullmatch(pattern, notice(broker))
    assert re.search(pattern, refused(broker)["D"])
    broker.console("RESUME app")
    broker.send_signal(signal.SIGUSR1)
    eventually(lambda: broker.console("SHOW STATE")[1]["value"] == "yes")
    assert "the broker has been paused for" in notice(broker)
    assert "by SIGUSR1." in notice(broker)


def test_a_kill_is_told(broker):
    broker.console("KILL app")
    assert 'by KILL of user "admin"' in notice(broker)


def test_a_pause_that_waits_for_a_holder_names_both(broker):
    with broker.wire(application_name="holder") as holder:
        holder.query("BEGIN")
        console = wire.Wire(broker.socket_path).start("admin", "pglease")
        console.send(wire.query("PAUSE"))
        eventually(lambda: broker.console("SHOW STATE")[1]["value"] == "yes")
        first, last = notice(broker).split("\n")
        assert first.startswith("No lease is granted: the broker has been paused for")
        assert last.startswith('Held by: pid ') and '"holder"' in last
        holder.query("COMMIT")
        console.until_ready()
        console.close()


def test_an_outage_is_told_with_the_servers_own_message(broker, faucet):
    with broker.wire() as one:
        one.query("SELECT 1")
    faucet.refuse()
    first = eventually(lambda: (d := notice(broker)).startswith("No lease is held") and
                       "out of reach" in d and d)
    assert re.search(r"PostgreSQL has been out of reach for \d+\.\d s: .*Connection refused", first)
    since = float(re.search(r"for (\d+\.\d) s", first).group(1))
    # Since the first failure, not since the last.
    eventually(lambda: float(re.search(r"for (\d+\.\d) s", notice(broker)).group(1)) >= since + 1)


def test_a_server_without_room_is_told(broker, faucet):
    faucet.answer("53300", "sorry, too many clients already")
    told = eventually(lambda: (d := notice(broker)) and "refused further" in d and d)
    assert "PostgreSQL has refused further connections for" in told
    assert "sorry, too many clients already" in told


def test_with_holders_they_are_named(broker):
    with broker.wire(application_name="the holder") as one:
        direct.lease(one, "FOR 'a purpose' THREAD '7'")
        assert re.fullmatch(
            r'Held by: pid \d+ "the holder" for \d+\.\d s \(idle, thread "7", for "a purpose"\)\.',
            notice(broker))


def test_who_would_not_wait_is_told_so(broker):
    with broker.wire() as holder, broker.wire() as one:
        holder.query("BEGIN")
        error = wire.error_of(one.query("LEASE WAIT '0s'")).fields
    assert error["C"] == "53300"
    assert error["M"] == "no server connection is free, and the request was not to wait for one"
    assert "0.0 s" not in error["M"] and "WAIT" in error["H"]
