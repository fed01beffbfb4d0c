# SPDX-License-Identifier: Apache-2.0
"""How long a LEASE waits, how long a lease is held, and what ends it before its RETURN."""

import signal

import pytest

from harness import direct, wire
from harness.direct import give_back, lease
from harness.postgres import Postgres
from harness.waiting import eventually, holds_for

pytestmark = pytest.mark.pglease_only

PID = "SELECT pg_backend_pid()"
LONG = 3600


@pytest.fixture
def single(make_broker):
    """One server connection, and nobody gives up waiting for it unless it says so itself."""
    def make(settings=None, **named):
        base = {"default_pool_size": 1, "reserve_pool_size": 0, "query_wait_timeout": LONG,
                "query_wait_notify": LONG}
        return make_broker(base | (settings or {}), **named)
    return make


@pytest.fixture
def own_postgres():
    one = Postgres()
    yield one
    one.destroy()


def refused(one, sql="LEASE WAIT '0'"):
    seen = one.query(sql)
    assert seen[-1].body == b"I"
    return wire.error_of(seen).fields


def running(postgres, word):
    """The backends that run a query in which the word occurs."""
    return [row[0] for row in postgres.sql(
        "SELECT pid FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' "
        "AND application_name <> 'harness'", (f"%{word}%",))]


def leases(broker):
    return broker.console("SHOW LEASES")


# WAIT.


@pytest.mark.parametrize("wait", ["0", "0s", "10ms", "0.01"])
def test_wait_is_the_deadline_of_this_request(single, wait):
    broker = single()
    with broker.wire() as holder, broker.wire() as one:
        lease(holder, "FOR 'backfill.pendingJobs'")
        fields = refused(one, f"LEASE WAIT '{wait}'")
        assert (fields["C"], fields["S"]) == ("53300", "ERROR") and fields.get("H")
        assert 'for "backfill.pendingJobs"' in fields["D"]
        assert broker.waiting() == 0
        give_back(holder)
        eventually(lambda: broker.pool()["sv_idle"] == "1")
        assert lease(one, "WAIT '0'").kind == "relay"
        give_back(one)


def test_a_wait_longer_than_the_pools_is_honoured(single):
    broker = single({"query_wait_timeout": "0.3"})
    with broker.wire() as holder, broker.wire() as patient, broker.wire() as other:
        lease(holder)
        patient.send(wire.query("LEASE WAIT '1h'"))
        eventually(lambda: broker.waiting() == 1)
        assert refused(other, "LEASE")["C"] == "53300"
        assert refused(other, "SELECT 1")["C"] == "53300"
        assert patient.silent_for(0) and broker.waiting() == 1
        give_back(holder)
        held = direct.granted(patient.until_ready())
        assert held.waited_us > 300_000
        give_back(patient)


def test_the_error_names_the_holders_and_what_they_do_and_for_what(make_broker):
    broker = make_broker({"default_pool_size": 4, "reserve_pool_size": 0})
    with broker.wire(application_name="idler") as idler, \
            broker.wire(application_name="keeper") as keeper, \
            broker.wire(application_name="worker") as worker, \
            broker.wire(application_name="plain") as plain, broker.wire() as one:
        lease(idler)
        lease(keeper, "FOR 'it''s größer'")
        keeper.query("BEGIN")
        lease(worker, "FOR 'work'")
        worker.send(wire.query("SELECT pg_sleep(600)"))
        plain.query("BEGIN")
        detail = refused(one)["D"]
        held_by = detail[detail.index("Held by: "):]
        assert '"keeper" for ' in held_by and '(idle in transaction, for "it\'s größer")' in held_by
        assert '"plain" for ' in held_by and "(idle in transaction)" in held_by
        worker_part = held_by[held_by.index('"worker" for '):].split(", pid ")[0]
        assert ', for "work")' in worker_part, held_by
        wire.cancel(broker.socket_path, worker.key)
        assert wire.error_of(worker.until_ready()).code == "57014"


def test_with_nothing_leased_the_error_says_so(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0,
                          "server_login_retry": 1})
    broker.errors_expected = True
    broker.stop()
    broker.databases = {"app": "host=/nonexistent port=1 dbname=app"}
    broker.write()
    broker.start()
    with broker.wire() as one:
        fields = refused(one, "LEASE WAIT '50ms'")
        assert fields["C"] in ("53300", "08001"), fields
        if fields["C"] == "53300":
            assert "No lease is held in this pool." in fields["D"]
        assert refused(one, "LEASE RETURN")["C"] == "55000"


def test_waiters_are_granted_in_the_order_they_came(single):
    broker = single()
    holder, waiters = broker.wire(), [broker.wire() for _ in range(5)]
    lease(holder)
    for number, one in enumerate(waiters):
        one.send(wire.query(f"LEASE FOR '{number}'"))
        eventually(lambda: broker.waiting() == number + 1)
    give_back(holder)
    for number, one in enumerate(waiters):
        direct.granted(one.until_ready())
        assert [row["purpose"] for row in leases(broker)] == [str(number)]
        assert all(other.silent_for(0) for other in waiters[number + 1:])
        give_back(one)
    for one in (holder, *waiters):
        one.close()


def test_a_waiting_lease_is_told_of_the_queue(single):
    broker = single({"query_wait_notify": "0.05"})
    with broker.wire() as holder, broker.wire() as one:
        lease(holder, "FOR 'the long one'")
        one.send(wire.query("LEASE"))
        note = one.read()
        assert note.kind == "N" and "the long one" in str(note.fields), note
        give_back(holder)
        direct.granted(one.until_ready())
        give_back(one)


def test_what_is_sent_behind_a_waiting_lease_waits_too(single):
    broker = single()
    with broker.wire() as holder, broker.wire() as one:
        lease(holder)
        one.send(wire.query("LEASE"), wire.query(PID), wire.query("LEASE RETURN"))
        eventually(lambda: broker.waiting() == 1)
        give_back(holder)
        rows = wire.rows_of(one.until_ready(3))
        assert rows[0][1] == rows[1][0]


def test_cancel_ends_the_waiting_of_a_lease(single):
    broker = single()
    with broker.wire() as holder, broker.wire() as one:
        lease(holder)
        for _ in range(3):
            one.send(wire.query("LEASE FOR 'never'"))
            eventually(lambda: broker.waiting() == 1)
            wire.cancel(broker.socket_path, one.key)
            seen = one.until_ready()
            assert wire.kinds(seen) == "EZ" and wire.error_of(seen).code == "57014"
            assert broker.waiting() == 0
        assert refused(one, "LEASE RETURN")["C"] == "55000"
        give_back(holder)
        lease(one)
        give_back(one)


def test_cancel_of_a_lease_prepared_and_waiting(single):
    broker = single()
    with broker.wire() as holder, broker.wire() as one:
        lease(holder)
        one.send(wire.parse("LEASE"), wire.bind(), wire.execute(), wire.parse(PID), wire.bind(),
                 wire.execute(), wire.sync())
        eventually(lambda: broker.waiting() == 1)
        wire.cancel(broker.socket_path, one.key)
        seen = one.until_ready()
        assert wire.kinds(seen) == "12EZ" and wire.error_of(seen).code == "57014"
        give_back(holder)
        assert one.value("SELECT 1") == "1"


def test_a_cancel_inside_a_lease_ends_the_query_and_not_the_lease(transaction_broker, postgres):
    with transaction_broker.wire() as one:
        held = lease(one)
        one.send(wire.query("SELECT pg_sleep(600) AS inside_a_lease"))
        eventually(lambda: running(postgres, "inside_a_lease"))
        wire.cancel(transaction_broker.socket_path, one.key)
        assert wire.error_of(one.until_ready()).code == "57014"
        assert int(one.value(PID)) == held.server_pid
        wire.cancel(transaction_broker.socket_path, one.key)
        assert int(one.value(PID)) == held.server_pid
        give_back(one)


def test_max_waiting_refuses_at_once(single):
    broker = single({"max_waiting": 1})
    with broker.wire() as holder, broker.wire() as waiter, broker.wire() as one:
        lease(holder, "FOR 'holding'")
        waiter.send(wire.query("LEASE"))
        eventually(lambda: broker.waiting() == 1)
        fields = refused(one, "LEASE WAIT '1h'")
        assert fields["C"] == "53300" and "holding" in fields["D"]
        give_back(holder)
        direct.granted(waiter.until_ready())
        give_back(waiter)


def test_a_waiter_that_leaves_is_forgotten(single):
    broker = single()
    with broker.wire() as holder, broker.wire() as gone, broker.wire() as one:
        lease(holder)
        gone.send(wire.query("LEASE"))
        eventually(lambda: broker.waiting() == 1)
        one.send(wire.query("LEASE"))
        eventually(lambda: broker.waiting() == 2)
        gone.close()
        eventually(lambda: broker.waiting() == 1)
        give_back(holder)
        direct.granted(one.until_ready())
        give_back(one)


def test_a_groups_max_leases_counts_explicit_ones(make_broker):
    broker = make_broker({"default_pool_size": 5, "reserve_pool_size": 0},
                         groups={"few": "max_leases=2"})
    few = [broker.wire(application_name="few") for _ in range(3)]
    with broker.wire(application_name="many") as other:
        lease(few[0])
        lease(few[1])
        assert refused(few[2])["C"] == "53300"
        lease(other)
        few[2].send(wire.query("LEASE"))
        eventually(lambda: broker.waiting() == 1)
        give_back(few[0])
        direct.granted(few[2].until_ready())
    for one in few:
        one.close()


def test_two_sessions_of_one_process_hold_two_leases(transaction_broker):
    with transaction_broker.wire() as one, transaction_broker.wire() as two:
        first, second = lease(one), lease(two)
        assert first.server_pid != second.server_pid and first.lease_id != second.lease_id
        give_back(one)
        assert int(two.value(PID)) == second.server_pid
        give_back(two)


def test_the_console_shows_kind_purpose_age_and_activity(single, postgres):
    broker = single()
    with broker.wire(application_name="shown") as one:
        held = lease(one, "FOR 'it''s größer' THREAD '77'")
        row, = leases(broker)
        assert (row["lease_id"], row["server_pid"], row["kind"], row["purpose"]) == \
            (str(held.lease_id), str(held.server_pid), "explicit", "it's größer")
        assert (row["application_name"], row["transaction_state"]) == ("shown", "none")
        one.query("BEGIN")
        later, = leases(broker)
        assert later["transaction_state"] == "open" and int(later["age_us"]) > int(row["age_us"])
        pool = broker.pool()
        assert (pool["cl_active"], pool["sv_active"], pool["sv_idle"]) == ("1", "1", "0")
        one.query("COMMIT")
        give_back(one)
        assert leases(broker) == []
        eventually(lambda: broker.pool()["sv_idle"] == "1")


def test_a_long_purpose_is_cut(single):
    broker = single()
    with broker.wire() as one:
        lease(one, f"FOR '{'ü' * 300}'")
        assert leases(broker)[0]["purpose"] == "ü" * 128


# HOLD, and other limits.


def check_usable(broker, one, other):
    """After its revocation the session goes on, no RETURN is owed, and the pool serves all."""
    assert refused(one, "LEASE RETURN")["C"] == "55000"
    assert other.value("SELECT 'other'") == "other"
    assert one.value("SELECT 'goes on'") == "goes on"
    held = lease(one)
    assert int(one.value(PID)) == held.server_pid
    give_back(one)
    assert leases(broker) == []


@pytest.mark.parametrize("told_by", ["SELECT 1", "LEASE RETURN", "LEASE", "BEGIN", "extended",
                                     "sync"])
@pytest.mark.parametrize("state", ["idle", "in transaction"])
def test_hold_revokes_an_idle_lease_and_tells_with_the_next_words(single, told_by, state):
    broker = single()
    with broker.wire() as one, broker.wire() as other:
        one.send(wire.query("LEASE HOLD '200ms' FOR 'too long'"),
                 wire.query("CREATE TEMP TABLE lost (x int)"),
                 wire.query("BEGIN" if state == "in transaction" else "SELECT 1"))
        assert "E" not in wire.kinds(one.until_ready(3))
        broker.wait_logged("lease revoked")
        assert one.silent_for(0)
        if told_by == "extended":
            seen = one.extended("SELECT 1")
        elif told_by == "sync":
            one.send(wire.sync())
            seen = one.until_ready()
        else:
            seen = one.query(told_by)
        error = wire.error_of(seen)
        assert wire.kinds(seen) == "EZ" and seen[-1].body == b"I"
        assert error.code == "57P05" and "HOLD" in error.fields["M"], error
        check_usable(broker, one, other)


@pytest.mark.parametrize("limit", ["HOLD", "lease_timeout"])
def test_a_limit_ends_a_running_query_and_tells_at_once(single, postgres, limit):
    broker = single({"lease_timeout": "0.1"} if limit == "lease_timeout" else {})
    with broker.wire() as one, broker.wire() as other:
        lease(one, "HOLD '100ms'" if limit == "HOLD" else "")
        one.send(wire.query("SELECT pg_sleep(600) AS held_too_long"))
        error = wire.error_of(one.until_ready())
        assert error.code == "57P05" and limit in error.fields["M"], error
        eventually(lambda: not running(postgres, "held_too_long"))
        check_usable(broker, one, other)


def test_hold_in_a_session_pool(single):
    """The lease is the session's own connection: with it the session ends."""
    broker = single({"pool_mode": "session"})
    with broker.wire() as one:
        lease(one, "HOLD '20ms'")
        broker.wait_logged("lease revoked")
        assert one.until("E")[-1].code == "57P05"
        assert one.closed_by_peer()
    with broker.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_hold_ends_with_its_lease(single):
    broker = single()
    with broker.wire() as one:
        lease(one, "HOLD '300ms'")
        give_back(one)
        held = lease(one)
        one.query("BEGIN")
        holds_for(lambda: not broker.logged("lease revoked"), 0.4)
        assert int(one.value(PID)) == held.server_pid
        one.query("COMMIT")
        give_back(one)


def test_a_revoked_lease_serves_the_next_waiter(single):
    broker = single()
    with broker.wire() as one, broker.wire() as other:
        one.send(wire.query("LEASE HOLD '200ms'"), wire.query("BEGIN"))
        one.until_ready(2)
        other.send(wire.query("LEASE"))
        direct.granted(other.until_ready())
        assert refused(one, "COMMIT")["C"] == "57P05"
        give_back(other)


# Ends of clients, servers and the broker.

LAST_WORDS = {
    "idle": (),
    "in a transaction": ("BEGIN", "CREATE TEMP TABLE left_over (x int)"),
    "in a failed transaction": ("BEGIN", "SELECT 1/0"),
    "with temporary state": ("CREATE TEMP TABLE left_over (x int)", "SET work_mem = '9MB'"),
}
STEPS = {
    "in a query": wire.query("SELECT pg_sleep(600) AS killed_inside"),
    "in a result": wire.query("SELECT repeat('x', 100000) FROM generate_series(1, 1000)"),
    "in a copy": wire.query("COPY items FROM STDIN") + wire.copy_data(b"1\tx\n"),
    "in a batch": wire.parse("SELECT 1") + wire.bind() + wire.execute(),
    "in a message": wire.query("SELECT 1")[:7],
}


@pytest.mark.parametrize("how", ["close", "terminate", "kill -9"])
@pytest.mark.parametrize("step", [*LAST_WORDS, *STEPS])
def test_a_client_that_vanishes_in_its_lease(single, postgres, how, step):
    # What stands in front of a Terminate is run to its end (test_goodbyes.py), unless that is switched off.
    broker = single({"client_gone": "cancel"} if how == "terminate" else {})
    raw = STEPS.get(step, b"")
    with broker.wire() as other:
        if how == "kill -9":
            peer = direct.Peer(broker.socket_path)
            peer.do(f"one = direct.connect(None, address=address)\ndirect.lease(one)\n"
                    f"for words in {LAST_WORDS.get(step, ())!r}: one.query(words)\n"
                    f"one.send({raw!r})")
            peer.kill()
            peer.close()
        else:
            one = broker.wire()
            lease(one)
            for words in LAST_WORDS.get(step, ()):
                one.query(words)
            one.send(raw, wire.terminate() if how == "terminate" else b"")
            one.close()
        held = lease(other)
        assert other.value("SELECT to_regclass('left_over') IS NULL") == "t"
        assert (other.value("SHOW work_mem"), other.value("SELECT count(*) FROM items")) == \
            ("4MB", "0")
        assert int(other.value(PID)) == held.server_pid
        give_back(other)
        eventually(lambda: not running(postgres, "killed_inside"))
        assert leases(broker) == []


@pytest.mark.parametrize("told_by", ["SELECT 1", "LEASE RETURN", "LEASE"])
@pytest.mark.parametrize("state", ["idle", "in transaction"])
def test_a_server_that_is_terminated_in_a_lease(single, postgres, told_by, state):
    broker = single()
    with broker.wire() as one, broker.wire() as other:
        held = lease(one)
        if state == "in transaction":
            one.query("BEGIN")
        postgres.terminate(held.server_pid)
        eventually(lambda: leases(broker) == [])
        seen = one.query(told_by)
        assert wire.kinds(seen) == "EZ" and wire.error_of(seen).code == "08006", seen
        assert seen[-1].body == b"I"
        check_usable(broker, one, other)


def test_a_server_that_is_terminated_in_a_query_of_a_lease(single, postgres):
    broker = single()
    with broker.wire() as one, broker.wire() as other:
        held = lease(one)
        one.send(wire.query("SELECT pg_sleep(600) AS terminated_inside"))
        eventually(lambda: running(postgres, "terminated_inside"))
        postgres.terminate(held.server_pid)
        seen = one.until_ready()
        assert wire.error_of(seen).code in ("57P01", "08006") and seen[-1].body == b"I"
        check_usable(broker, one, other)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_postgresql_is_restarted_in_a_lease(single, own_postgres, how):
    broker = single({"server_login_retry": 1}, on=own_postgres)
    broker.errors_expected = True
    with broker.wire() as one, broker.wire() as other:
        lease(one)
        one.query("BEGIN")
        own_postgres.restart(how)
        assert wire.error_of(one.query("SELECT 1")).code == "08006"
        check_usable(broker, one, other)


def test_a_reload_leaves_a_lease_alone(single):
    broker = single()
    with broker.wire() as one:
        held = lease(one, "FOR 'through a reload'")
        one.query("CREATE TEMP TABLE mine AS SELECT 7 AS x")
        broker.set(default_pool_size=2, query_wait_timeout=5)
        broker.console("RELOAD")
        assert (int(one.value(PID)), one.value("SELECT x FROM mine")) == (held.server_pid, "7")
        assert [row["purpose"] for row in leases(broker)] == ["through a reload"]
        give_back(one)


def test_sigterm_serves_a_lease_until_its_client_leaves(single):
    broker = single({"shutdown_grace": LONG})
    with broker.wire() as one:
        held = lease(one)
        broker.send_signal(signal.SIGTERM)
        broker.wait_told("STOPPING=1")
        one.query("BEGIN")
        assert int(one.value(PID)) == held.server_pid
        one.query("COMMIT")
        give_back(one)
        lease(one)
        give_back(one)
    assert broker.wait() == 0


def test_sigint_waits_for_the_return_of_a_lease(single):
    broker = single({"shutdown_grace": LONG})
    with broker.wire() as one:
        held = lease(one)
        broker.send_signal(signal.SIGINT)
        broker.wait_told("STOPPING=1")
        assert int(one.value(PID)) == held.server_pid
        one.send(wire.query("LEASE RETURN"))
        assert one.next().tag == "LEASE RETURN" and one.next().kind == "Z"
        assert broker.wait() == 0
        assert one.until("E")[-1].code == "57P01"


def test_a_second_sigterm_ends_a_lease_too(single):
    broker = single({"shutdown_grace": LONG})
    with broker.wire() as one:
        lease(one)
        one.query("BEGIN")
        broker.send_signal(signal.SIGTERM)
        broker.wait_told("STOPPING=1")
        broker.send_signal(signal.SIGTERM)
        assert one.until("E")[-1].code == "57P01"
        assert broker.wait() == 0
