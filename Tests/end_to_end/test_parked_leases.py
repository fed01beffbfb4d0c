# SPDX-License-Identifier: Apache-2.0
"""LEASE DIRECT PARK by hand: who has what lies parked, and who is served before it is kept (docs/parked.md)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness import direct, monitoring, no_membarrier, parked, pooler, wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"
SETTINGS = {"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": 20,
            "park_timeout": 600}


@pytest.fixture
def narrow(make_broker):
    def make(**settings):
        return make_broker(SETTINGS | settings)
    return make


@pytest.fixture
def peer_of():
    """Starts processes that have a session of the broker, `one`, with a lease that may be parked, `end`."""
    started = []

    def start(broker, **named):
        peer = direct.Peer(broker.socket_path, **named)
        started.append(peer)
        peer.do("from harness import parked\none = parked.connect(None, address=address)\n"
                "end = one.park_lease(\"FOR 'parked'\")\nassert one.can_park")
        return peer

    yield start
    for one in started:
        one.close()


def alive(postgres, backend):
    return [row for row in postgres.backends() if row[0] == backend]


def activity(broker):
    return [row["state"] for row in broker.console("SHOW LEASES")]


# Token and page.


def test_what_is_parked_is_taken_back_without_a_word(narrow):
    broker = narrow()
    with parked.connect(broker) as one:
        end = one.park_lease("FOR 'often'")
        assert one.can_park and one.may_park
        backend = one.granted.server_pid
        for _ in range(100):
            assert int(end.value(PID)) == backend
            one.park()
            assert activity(broker) == ["parked"]
            assert one.take()
        assert activity(broker) == ["direct"]
        assert one.silent_for(0)
        parked.give_back(one)
        assert broker.console("SHOW LEASES") == []


def test_one_that_lets_it_lie_may_ask_again(narrow):
    """It saw the page say no while the broker looked; the broker had seen its token out, and said yes again."""
    broker = narrow()
    with parked.connect(broker) as one:
        end = one.park_lease()
        end.query("SET search_path TO elsewhere")
        one.park()
        one.ring()
        one.close_end()
        end = one.park_lease()
        assert one.can_park and end.value("SHOW search_path") == '"$user", public'
        parked.give_back(one)
        assert broker.console("SHOW LEASES") == []


def test_the_broker_puts_the_user_on_the_page(narrow):
    """With each answer: the client has not written yet when it may be asked for the lease."""
    broker = narrow()
    with parked.connect(broker) as one:
        for options, user in (
                ("THREAD '7' FOR 'it''s größer'", ("7", "it's größer")), ("FOR 'x'", ("", "x")),
                ("THREAD '123456789'", ("123456789", "")), ("", ("", "")),
                # As much as fits before the NUL, and no part of a character.
                ("THREAD '%s' FOR '%s'" % ("7" * 64, "ä" * 200), ("7" * 63, "ä" * 127))):
            one.park_lease(options)
            assert one.user == user
            one.say_thread("another")
            parked.give_back(one)


def test_one_that_uses_it_is_told_to_ask_by_name(narrow):
    broker = narrow()
    with parked.connect(broker) as one:
        one.park_lease()
        assert wire.error_of(one.query("LEASE DIRECT PARK")).code == "55000"
        parked.give_back(one)


def test_another_process_has_its_place(narrow, peer_of):
    """It gets a connection of its own: what one process had, no other gets."""
    broker = narrow()
    with parked.connect(broker) as one:
        end = one.park_lease()
        backend = int(end.value(PID))
        end.query("SET search_path TO elsewhere")
        one.park()
        peer = direct.Peer(broker.socket_path)
        try:
            peer.do("one = direct.connect(None, address=address)")
            assert int(peer.do(f"one.value({PID!r})")) != backend
            assert not one.take()
        finally:
            peer.close()
        one.close_end()
        # It asks as usual, and is told what is in force.
        end = one.park_lease()
        assert end.value("SHOW search_path") == '"$user", public'
        parked.give_back(one) if end is not one else direct.give_back(one)


LEFT = ["SET app.tenant = 'mine'", "SET work_mem = '5MB'", "SET statement_timeout = '1h'",
        "CREATE TEMP TABLE left_behind (id int)", "LISTEN left_behind",
        "PREPARE left_behind AS SELECT 1", "SELECT pg_advisory_lock(42)",
        "BEGIN; DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET ROLE pg_read_all_stats",
        "BEGIN"]
SEEN = """
    SELECT coalesce(current_setting('app.tenant', true), ''), current_setting('work_mem'),
        current_setting('statement_timeout'), to_regclass('pg_temp.left_behind') IS NULL,
        (SELECT count(*) FROM pg_listening_channels()),
        (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
        (SELECT count(*) FROM pg_cursors), current_setting('transaction_read_only'), current_user
"""


@pytest.fixture
def reader(postgres):
    """The user may take another role."""
    postgres.sql("GRANT pg_read_all_stats TO app")
    yield
    postgres.sql("REVOKE pg_read_all_stats FROM app")


def test_the_same_process_has_it_cleaned(narrow, reader):
    broker = narrow()
    with parked.connect(broker) as one, direct.connect(broker) as other:
        clean = wire.rows_of(other.query(SEEN))
        end = one.park_lease()
        backend = int(end.value(PID))
        for text in LEFT:
            assert "E" not in wire.kinds(end.query(text)), text
        left = wire.rows_of(end.query(SEEN))
        assert all(was != now for was, now in zip(clean[0], left[0])), left
        one.park()
        mine = other.lease()
        assert other.is_direct and int(mine.value(PID)) == backend
        assert wire.rows_of(mine.query(SEEN)) == clean
        other.give_back()
        assert not one.take()
        assert wire.error_of(one.query("LEASE RETURN")).code == "55000"


def test_one_that_is_used_is_asked_for_and_comes_back_at_its_end(narrow):
    broker = narrow()
    with parked.connect(broker) as one, direct.connect(broker) as other:
        end = one.park_lease()
        other.send(wire.query(PID))
        eventually(lambda: not one.may_park)
        assert other.silent_for(0.05)
        # It does as the page says.
        assert end.value("SELECT 'still here'") == "still here"
        parked.give_back(one)
        assert wire.rows_of(other.until_ready())


def test_one_who_parks_all_the_same_loses_it(narrow):
    """The page's word came in the moment in which it parked, or it does not listen."""
    broker = narrow()
    with parked.connect(broker) as one, direct.connect(broker) as other:
        one.park_lease()
        other.send(wire.query(PID))
        eventually(lambda: not one.may_park)
        one.park()
        assert wire.rows_of(other.until_ready())
        assert not one.take()


def test_while_somebody_waits_nobody_is_let_park(narrow):
    broker = narrow()
    with direct.connect(broker) as first, parked.connect(broker) as second, direct.connect(
            broker) as third:
        first.lease()
        second.send(wire.query("LEASE DIRECT PARK"))
        third.send(wire.query(PID))
        eventually(lambda: len(broker.console("SHOW WAITERS")) == 2)
        first.give_back()
        second.take_lease(second.until_ready())
        second.give_back()
        assert wire.rows_of(third.until_ready())


def test_parking_is_for_direct_leases_without_a_limit(narrow):
    broker = narrow()
    with parked.connect(broker) as one:
        assert wire.error_of(one.query("LEASE PARK")).code == "22023"
        assert wire.error_of(one.query("LEASE DIRECT PARK PARK")).code == "42601"
        one.park_lease("HOLD '60s'")
        assert one.is_direct and not one.can_park
        parked.give_back(one)


def test_one_setting_switches_it_off(narrow):
    broker = narrow(park_timeout=0)
    with parked.connect(broker) as one:
        one.park_lease()
        assert one.is_direct and not one.can_park
        parked.give_back(one)
        broker.set(park_timeout=600)
        broker.console("RELOAD")
        one.park_lease()
        assert one.can_park
        broker.set(park_timeout=0)
        broker.console("RELOAD")
        eventually(lambda: not one.may_park)
        parked.give_back(one)


def test_where_the_broker_has_no_barrier_nobody_parks(narrow, monkeypatch):
    """A container's filter refuses membarrier(2) to the broker: a lease is a direct one as ever."""
    served = pooler.pglease_binary()
    with monkeypatch.context() as patch:
        patch.setattr(pooler.Pooler, "command", lambda one: [
            sys.executable, no_membarrier.__file__, served, "serve", "--config",
            str(one.config_path)])
        broker = narrow()
    assert "Seccomp:\t2" in Path(f"/proc/{broker.process.pid}/status").read_text()
    with parked.connect(broker) as one:
        for _ in range(2):
            end = one.park_lease()
            assert one.is_direct and not one.can_park
            assert end.value("SELECT 1") == "1"
            parked.give_back(one)
            assert broker.console("SHOW LEASES") == []


def test_where_a_swift_program_has_no_barrier_it_does_not_park(make_broker):
    forks = os.environ.get("PGLEASE_FORKS_BIN", str(pooler.REPOSITORY / ".build/debug/lease-forks"))
    if not os.path.exists(forks):
        pytest.skip("lease-forks is not built")
    address = monitoring.address()
    broker, endpoint = make_broker({"metrics_listen": address}), monitoring.Endpoint(address)

    def run(*before):
        return subprocess.run(
            [*before, forks, broker.dsn(), "direct"], env=os.environ | {"PGLEASE_PARK": "on"},
            capture_output=True, text=True, timeout=60, check=True).stdout

    def parkable():
        return endpoint.metrics().get("pglease_parkable_leases_total")

    printed = run(sys.executable, no_membarrier.__file__)
    assert parkable() == 0
    # With barriers it parks, and does the same otherwise.
    assert run() == printed
    eventually(lambda: parkable() > 0)
    assert printed.count(": true") == len(printed.splitlines()) == 7


def test_its_time_is_over(narrow, postgres):
    broker = narrow(park_timeout="100ms")
    with parked.connect(broker) as one:
        one.park_lease()
        one.park()
        eventually(lambda: broker.console("SHOW LEASES") == [])
        assert not one.take()
        one.close_end()
        # One that is shorter counts for what lies there already.
        broker.set(park_timeout=600)
        broker.console("RELOAD")
        one.park_lease()
        one.park()
        broker.set(park_timeout="100ms")
        broker.console("RELOAD")
        eventually(lambda: broker.console("SHOW LEASES") == [])
        assert not one.take()


# Ends.


def test_pause_reconnect_and_kill_take_what_is_parked(narrow):
    broker = narrow()
    with parked.connect(broker) as one:
        for command in ("PAUSE app", "RECONNECT app", "KILL LEASE"):
            end = one.park_lease()
            assert one.can_park, command
            backend = int(end.value(PID))
            one.park()
            lease = one.granted.lease_id
            broker.console(f"KILL LEASE {lease}" if command == "KILL LEASE" else command)
            assert not one.take(), command
            one.close_end()
            if command == "PAUSE app":
                broker.console("RESUME app")
            with direct.connect(broker) as other:
                # KILL LEASE ends a lease, not the connection, which is clean.
                assert other.value(PID), backend


def test_one_that_postgres_ends_where_it_lies_is_noticed_by_nobody(narrow, postgres):
    broker = narrow()
    with parked.connect(broker) as one:
        end = one.park_lease()
        backend = int(end.value(PID))
        one.park()
        postgres.sql("SELECT pg_terminate_backend(%s)", (backend,))
        eventually(lambda: broker.console("SHOW LEASES") == [])
        assert not one.take()
        one.close_end()
        end = one.park_lease()
        assert int(end.value(PID)) != backend
        parked.give_back(one)


def test_a_goodbye_leaves_the_connection_to_the_process(narrow):
    broker = narrow()
    with parked.connect(broker) as staying:
        one = parked.connect(broker)
        end = one.park_lease()
        backend = int(end.value(PID))
        one.park()
        one.close()
        end = staying.park_lease()
        assert int(end.value(PID)) == backend
        parked.give_back(staying)


def test_lease_timeout_begins_when_it_is_asked_for(narrow):
    broker = narrow(lease_timeout="300ms", park_timeout="100ms")
    with parked.connect(broker) as one:
        end = one.park_lease()
        eventually(lambda: not one.may_park)
        assert end.value("SELECT 1") == "1"
        with pytest.raises(wire.Closed):
            end.query("SELECT pg_sleep(600)")
        answer = wire.error_of(one.query("LEASE RETURN"))
        assert answer.code == "57P05", answer


# Processes that die, stand still or lie at a step.

STEPS = {
    "parked": "one.park()",
    "parked in a transaction": "end.query('BEGIN'); end.query(insert); one.park()",
    "parked with a query under way": "end.send(wire.query('SELECT pg_sleep(600)')); one.park()",
    "parked with half a message": "end.send(wire.query(insert)[:20]); one.park()",
    "parked twice": "one.park(); one.park()",
    "taken back": "one.park(); assert one.take()",
    "taken back in a transaction":
        "one.park(); assert one.take(); end.query('BEGIN'); end.query(insert)",
    "in use": "end.query('BEGIN'); end.query(insert)",
    "parked, and used all the same":
        "one.park(); end.query('BEGIN'); end.query(insert); end.send(wire.query(insert))",
    "taken out, and not looked": "one.park(); one.page[parked.TOKEN] = 0",
    "let lie again": "one.park(); one.page[parked.TOKEN] = 0; one.page[parked.TOKEN] = 1; one.ring()",
    "parked with a blocking bell":
        "import fcntl; fcntl.fcntl(one.bell, fcntl.F_SETFL, 0); one.ring(); one.park()",
    "ringing for nothing": "for _ in range(1000): one.ring()",
    "wiped page": "one.page[:] = bytes(4096); one.park()",
    "full page": "one.page[:] = bytes([255]) * 4096",
    "bell closed": "os.close(one.bell); one.bell = None",
}


def begin(peer, table, step):
    return peer.do(f"""
insert = "INSERT INTO {table} VALUES (1, 'x')"
{STEPS[step]}
one.granted.server_pid
""")


@pytest.fixture(scope="module")
def lasting(postgres):
    """A broker for all of these."""
    from harness import pooler
    one = pooler.make(postgres, SETTINGS | {"default_pool_size": 2}).start()
    yield one
    one.check()
    one.stop()
    one.destroy()


@pytest.mark.parametrize("step", STEPS)
def test_killed_with_9(lasting, peer_of, postgres, table, step):
    peer = peer_of(lasting)
    backend = begin(peer, table, step)
    peer.kill()
    eventually(lambda: lasting.console("SHOW LEASES") == [])
    with direct.connect(lasting) as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"
        assert int(other.value(PID)) != backend
    eventually(lambda: not alive(postgres, backend))


@pytest.mark.parametrize("step", [one for one in STEPS if one.startswith(("parked", "wiped", "let"))])
def test_stopped_it_still_makes_room(narrow, peer_of, postgres, table, step):
    """SIGSTOP: its page says that it has parked, and the broker takes it."""
    # Its own: one that had to take a connection away hands none out for a while.
    lasting = narrow(default_pool_size=2)
    peer = peer_of(lasting)
    backend = begin(peer, table, step)
    os.kill(peer.pid, signal.SIGSTOP)
    try:
        with direct.connect(lasting) as first, direct.connect(lasting) as second:
            # Both places, one of them the stopped one's.
            assert first.lease() and second.lease()
            for one in (first, second):
                end = one.end or one
                assert int(end.value(PID)) != backend
                assert end.value(f"SELECT count(*) FROM {table}") == "0"
                one.give_back()
    finally:
        os.kill(peer.pid, signal.SIGCONT)
    assert peer.do("one.take()") is False


@pytest.mark.parametrize("step", ["parked", "parked, and used all the same", "wiped page"])
def test_who_lies_hurts_only_its_own_process(narrow, peer_of, postgres, table, step):
    # Its own: one that had to take a connection away hands none out for a while.
    lasting = narrow(default_pool_size=2)
    peer = peer_of(lasting)
    backend = begin(peer, table, step)
    with direct.connect(lasting) as first, direct.connect(lasting) as second:
        ends = [first.lease(), second.lease()]
        # It goes on with its copy of the descriptor, as if it had the lease.
        peer.do("try:\n    end.send(wire.query(insert)); end.next()\nexcept Exception: pass")
        for end in ends:
            assert int(end.value(PID)) != backend
            assert end.value("SELECT 'mine'") == "mine"
        first.give_back()
        second.give_back()
    peer.kill()
    eventually(lambda: lasting.console("SHOW LEASES") == [])
    eventually(lambda: not alive(postgres, backend))
    with direct.connect(lasting) as other:
        assert other.value("SELECT 1") == "1"
