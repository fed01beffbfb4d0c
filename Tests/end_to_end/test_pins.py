# SPDX-License-Identifier: Apache-2.0
"""Leases that stay with their clients: what pins them, how it shows, and what becomes of who has no place for that."""

import asyncio
import threading

import asyncpg
import psycopg
import pytest

from harness import wire
from harness.waiting import eventually

pytestmark = pytest.mark.pglease_only

PINS = {
    "temporary_objects": "CREATE TEMP TABLE kept (x int)",
    "held_cursors": "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
    "advisory_locks": "SELECT pg_advisory_lock(4711)",
    "seed": "SET SEED = 0.5",
    "libraries": "LOAD 'auto_explain'",
}


@pytest.fixture
def narrow(make_broker):
    """Two connections, of which one may be pinned; a deadline that a test can wait for."""
    def make(settings=None, **named):
        return make_broker(
            {"default_pool_size": 2, "query_wait_timeout": "10s"} | (settings or {}), **named)
    return make


def pins(broker):
    return [row["pin"] for row in broker.console("SHOW LEASES") if row["pin"]]


def settle(broker, count):
    """What pins a lease is found out behind the answer that its client has."""
    eventually(lambda: len(pins(broker)) == count, 10, lambda: f"{count} pins: {pins(broker)}")


def fields(seen):
    return wire.error_of(seen).fields


def good(seen):
    return not [each for each in seen if each.kind == "E"]


def waiting_for_place(broker, count=1):
    """So many wait for a place to pin: the connection that is not pinned has nobody."""
    def seen():
        row = broker.pool()
        return (int(row["cl_waiting"]), int(row["sv_idle"])) == (count, 1)
    eventually(seen, 10)


def pinned(broker, statement=PINS["temporary_objects"], **named):
    """A client that has pinned its lease."""
    one = broker.wire(**named)
    one.query(statement)
    settle(broker, 1)
    return one


# How it shows.


@pytest.mark.parametrize("reason", PINS)
def test_what_pins_is_named_everywhere(narrow, reason):
    broker = narrow()
    user = "postgres" if reason == "libraries" else "app"
    one = pinned(broker, PINS[reason], user=user)
    row, = [row for row in broker.console("SHOW LEASES") if row["pin"]]
    assert (row["state"], row["pin"], row["transaction_state"]) == ("pinned", reason, "none")
    assert int(row["idle_us"]) >= 0
    assert broker.pool(user=user)["pinned"] == "1"
    group, = [row for row in broker.console("SHOW GROUPS") if row["pinned"] == "1"]
    assert group["leases"] == "1"
    event, = [row for row in broker.console("SHOW EVENTS") if row["kind"] == "lease_pinned"]
    assert reason in event["message"]
    one.close()
    settle(broker, 0)
    assert broker.pool(user=user)["pinned"] == "0"


def test_a_pin_is_told_once_and_not_at_all_without_pin_notice(narrow):
    broker = narrow()
    with broker.wire() as one:
        one.query(PINS["temporary_objects"])
        assert one.value("SELECT 1") == "1"
        notice, = one.notices
        assert "temporary objects" in notice.fields["M"]
        one.query("DROP TABLE kept")
        settle(broker, 0)
        one.query(PINS["temporary_objects"])
        one.query("SELECT 1")
        assert len(one.notices) == 1
        assert pins(broker)
    broker.set(pin_notice=0)
    broker.console("RELOAD")
    with broker.wire() as one:
        one.query(PINS["temporary_objects"])
        one.query("SELECT 1")
        assert not one.notices


# The bound.


def test_a_newcomer_waits_without_a_server_for_a_place_to_pin(narrow):
    broker = narrow()
    first, second, third = pinned(broker), broker.wire(), broker.wire()
    second.send(wire.query(PINS["temporary_objects"]))
    waiting_for_place(broker)
    waiter, = broker.console("SHOW WAITERS")
    assert (waiter["place"], waiter["database"]) == ("1", "app")
    # The connection that is not pinned serves everybody else meanwhile.
    assert third.value("SELECT 1") == "1"
    assert int(broker.pool()["sv_active"]) == 1
    first.query("DROP TABLE kept")
    assert good(second.until_ready())
    assert second.value("SELECT count(*) FROM kept") == "0"
    assert pins(broker) == ["temporary_objects"]


def test_who_waits_is_served_in_order_and_when_a_holder_vanishes(narrow):
    broker = narrow()
    first = pinned(broker)
    waiters = []
    for number in range(3):
        one = broker.wire()
        one.send(wire.query(f"CREATE TEMP TABLE kept AS SELECT {number} AS x"))
        waiters.append(one)
        waiting_for_place(broker, number + 1)
    first.reset()
    for number, one in enumerate(waiters):
        assert good(one.until_ready())
        assert one.value("SELECT x FROM kept") == str(number)
        one.close()


@pytest.mark.parametrize("way", ["simple", "extended", "prepared"])
def test_who_waits_in_vain_is_told_who_has_the_places(narrow, way):
    broker = narrow({"query_wait_timeout": "300ms", "query_wait_notify": "100ms"})
    first, second = pinned(broker, application_name="holder"), broker.wire()
    statement = PINS["advisory_locks"]
    if way == "prepared":
        second.send(wire.parse(statement, "p"), wire.sync())
        second.until_ready()
    ask = {"simple": lambda: second.query(statement),
           "extended": lambda: second.extended(statement),
           "prepared": lambda: (second.send(wire.bind(statement="p"), wire.execute(), wire.sync()),
                                second.until_ready())[1]}[way]
    seen = ask()
    error = fields(seen)
    assert error["C"] == "53300"
    assert "session advisory locks" in error["M"]
    assert "pin_reserve" in error["H"] and "at most 1" in error["D"]
    assert '"holder"' in error["D"].splitlines()[-1]
    assert "pinned by temporary objects" in error["D"]
    notice, = second.notices
    assert "place 1" in notice.fields["M"] and '"holder"' in notice.fields["D"]
    assert second.value("SELECT 1") == "1"
    first.query("DROP TABLE kept")
    assert good(ask())
    settle(broker, 1)
    assert pins(broker) == ["advisory_locks"]
    broker.errors_expected = True


@pytest.mark.parametrize("way", ["simple", "extended", "prepared", "batch"])
def test_in_a_transaction_it_fails_as_behind_any_error(narrow, table, way):
    broker = narrow({"query_wait_timeout": "300ms"})
    first, second = pinned(broker), broker.wire()
    statement = PINS["advisory_locks"]
    if way == "prepared":
        second.send(wire.parse(statement, "p"), wire.sync())
        second.until_ready()
    if way == "batch":
        # An implicit transaction: the insert in front of it is part of it.
        second.send(
            wire.parse(f"INSERT INTO {table} VALUES (1)"), wire.bind(), wire.execute(),
            wire.parse(statement), wire.bind(), wire.execute(), wire.sync())
        seen = second.until_ready()
    else:
        second.query("BEGIN")
        second.query(f"INSERT INTO {table} VALUES (1)")
        if way == "simple":
            seen = second.query(statement)
        elif way == "extended":
            seen = second.extended(statement)
        else:
            second.send(wire.bind(statement="p"), wire.execute(), wire.sync())
            seen = second.until_ready()
    error = fields(seen)
    assert (error["S"], error["C"]) == ("ERROR", "53300")
    assert "pin_reserve" in error["H"]
    assert seen[-1].body == (b"I" if way == "batch" else b"E")
    if way != "batch":
        assert fields(second.query("SELECT 1"))["C"] == "25P02"
        second.query("COMMIT")
    assert second.value(f"SELECT count(*) FROM {table}") == "0"
    assert second.value("SELECT 1") == "1"
    broker.errors_expected = True
    first.close()


def test_in_a_transaction_it_goes_on_once_there_is_a_place(narrow, table):
    broker = narrow()
    first, second = pinned(broker), broker.wire()
    second.query("BEGIN")
    second.query(f"INSERT INTO {table} VALUES (1)")
    second.send(wire.query(PINS["temporary_objects"]))
    eventually(lambda: broker.console("SHOW WAITERS"), 10)
    first.close()
    assert good(second.until_ready())
    second.query("COMMIT")
    assert second.value(f"SELECT count(*) FROM {table}, kept") == "0"
    assert second.value(f"SELECT count(*) FROM {table}") == "1"


def test_a_place_is_given_back_where_nothing_was_left(narrow):
    broker = narrow()
    one, two = broker.wire(), broker.wire()
    one.query("BEGIN")
    one.query(PINS["temporary_objects"])
    two.send(wire.query(PINS["temporary_objects"]))
    waiting_for_place(broker)
    one.query("ROLLBACK")
    assert good(two.until_ready())
    settle(broker, 1)
    assert pins(broker) == ["temporary_objects"]
    # What ends with its transaction needs no place.
    assert good(one.query("BEGIN; CREATE TEMP TABLE t (x int) ON COMMIT DROP; COMMIT"))
    # Nor does what fails.
    two.query("DROP TABLE kept")
    assert fields(one.query("CREATE TEMP TABLE t (x no_such_type)"))["C"] == "42704"
    assert good(two.query(PINS["temporary_objects"]))


def test_a_word_alone_waits_for_nothing(narrow):
    broker = narrow({"query_wait_timeout": "300ms"})
    first, second = pinned(broker), broker.wire()
    assert second.value("SELECT 'create temp table' AS temp") == "create temp table"
    assert second.value("-- temp\nSELECT 1 AS temporary") == "1"
    assert second.value("SELECT pg_try_advisory_xact_lock(1)") == "t"
    first.close()


@pytest.mark.parametrize("policy", ["keep", "refuse"])
def test_what_is_found_afterwards_ends_the_session_with_the_reason(narrow, postgres, policy):
    postgres.sql("""CREATE OR REPLACE FUNCTION pins_hidden() RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN EXECUTE 'CREATE TE' || 'MP TABLE hidden (x int)'; END $$""", dbname="app")
    broker = narrow({"session_state": policy})
    first = pinned(broker) if policy == "keep" else None
    with broker.wire() as second:
        second.send(wire.query("DO $$ BEGIN PERFORM pins_hidden(); END $$"))
        error, = [each for each in second.until("E") if each.kind == "E"]
        assert error.fields["S"] == "FATAL"
        assert error.fields["C"] == {"keep": "53300", "refuse": "0A000"}[policy]
        assert "temporary objects" in error.fields["M"] and error.fields["H"]
        assert second.closed_by_peer()
    with broker.wire() as third:
        assert third.value("SELECT count(*) FROM pg_class WHERE relname = 'hidden'") == "0"
    if first:
        assert first.value("SELECT count(*) FROM kept") == "0"
    broker.errors_expected = True


def test_a_groups_max_pins(narrow):
    broker = narrow({"default_pool_size": 5, "query_wait_timeout": "300ms"},
                    groups={"jobs": "match=job-* max_pins=1"})
    first = pinned(broker, application_name="job-1")
    second, other = broker.wire(application_name="job-2"), broker.wire(application_name="web")
    error = fields(second.query(PINS["temporary_objects"]))
    assert error["C"] == "53300" and "max_pins of this client's group is 1" in error["D"]
    assert good(other.query(PINS["temporary_objects"]))
    row, = [row for row in broker.console("SHOW GROUPS") if row["group"] == "jobs"]
    assert (row["max_pins"], row["pinned"]) == ("1", "1")
    broker.errors_expected = True
    first.close()


def test_a_pool_that_pins_nothing_says_so_at_once(narrow):
    broker = narrow({"default_pool_size": 1})
    with broker.wire() as one:
        error = fields(one.query(PINS["temporary_objects"]))
        assert error["C"] == "53300" and "pin_reserve" in error["H"]
        assert one.value("SELECT 1") == "1"
    broker.set(pin_reserve=0)
    broker.console("RELOAD")
    with broker.wire() as one:
        one.query(PINS["temporary_objects"])
        assert one.value("SELECT count(*) FROM kept") == "0"


def test_a_reload_makes_places_for_those_who_wait(narrow):
    broker = narrow()
    first, second = pinned(broker), broker.wire()
    second.send(wire.query(PINS["temporary_objects"]))
    waiting_for_place(broker)
    broker.set(default_pool_size=3)
    broker.console("RELOAD")
    assert good(second.until_ready())
    settle(broker, 2)
    first.close()


def test_a_cancel_request_ends_the_wait(narrow):
    broker = narrow({"default_pool_size": 3, "pin_reserve": 2})
    first, second, third = pinned(broker), broker.wire(), broker.wire()
    second.send(wire.query(PINS["temporary_objects"]))
    third.query("BEGIN")
    third.send(wire.query(PINS["temporary_objects"]))
    eventually(lambda: len(broker.console("SHOW WAITERS")) == 2, 10)
    for one in (second, third):
        wire.cancel(broker.socket_path, one.key)
        assert fields(one.until_ready())["C"] == "57014"
    assert second.value("SELECT 1") == "1"
    assert fields(third.query("SELECT 1"))["C"] == "25P02"
    first.close()


# Refused, dropped, ended.


@pytest.mark.parametrize("way", ["simple", "extended", "transaction"])
def test_refuse_answers_before_anything_runs(narrow, way):
    broker = narrow({"session_state": "refuse"})
    with broker.wire() as one:
        if way == "transaction":
            one.query("BEGIN")
        statement = PINS["temporary_objects"]
        seen = one.extended(statement) if way == "extended" else one.query(statement)
        error = fields(seen)
        assert error["C"] == "0A000" and "session_state" in error["H"]
        if way == "transaction":
            assert seen[-1].body == b"E"
            one.query("ROLLBACK")
        assert one.value("SELECT 1") == "1"
        one.query("SET work_mem = '9MB'")
        assert one.value("SHOW work_mem") == "9MB"
        one.query("LEASE")
        assert good(one.query(statement))
    assert not pins(broker)


def test_drop_leaves_nothing_and_pins_nothing(narrow):
    broker = narrow({"session_state": "drop"})
    with broker.wire() as one:
        assert good(one.query(PINS["temporary_objects"]))
        assert not pins(broker)
        assert fields(one.query("SELECT * FROM kept"))["C"] == "42P01"


def test_settings_of_a_user_and_of_a_database(narrow, postgres):
    broker = narrow(users={"other": "session_state=refuse"}, databases={
        "app": f"host={postgres.host} port={postgres.port} session_state=drop",
        "postgres": f"host={postgres.host} port={postgres.port}"})
    with broker.wire("other", "app") as one:
        assert fields(one.query(PINS["temporary_objects"]))["C"] == "0A000"
    with broker.wire("app", "app") as one:
        one.query(PINS["temporary_objects"])
        assert not pins(broker)
    with broker.wire("app", "postgres") as one:
        one.query(PINS["temporary_objects"])
        settle(broker, 1)


def test_pin_timeout_ends_the_session_with_the_reason(narrow):
    broker = narrow({"pin_timeout": "200ms"})
    with broker.wire() as one:
        one.query(PINS["temporary_objects"])
        error, = [each for each in one.until("E") if each.kind == "E"]
        assert (error.fields["S"], error.fields["C"]) == ("FATAL", "57P05")
        assert "pin_timeout" in error.fields["M"] and "temporary objects" in error.fields["D"]
        assert one.closed_by_peer()
    assert not pins(broker)
    assert [row for row in broker.console("SHOW EVENTS")
            if row["kind"] == "revoked" and "pin_timeout" in row["message"]]


def test_pin_timeout_is_not_for_who_works(narrow):
    broker = narrow({"pin_timeout": "400ms"})
    with broker.wire() as one:
        one.query(PINS["temporary_objects"])
        assert good(one.query("SELECT pg_sleep(1)"))
        assert one.value("SELECT count(*) FROM kept") == "0"


# Programs.


def test_psycopg2(narrow, connect):
    broker = narrow()
    one, two = connect(broker), connect(broker)
    with one.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE mine (x int)")
        cursor.execute("INSERT INTO mine VALUES (1)")
    started = threading.Event()

    def work():
        with two.cursor() as cursor:
            started.set()
            cursor.execute("CREATE TEMP TABLE mine AS SELECT 2 AS x")
            cursor.execute("SELECT x FROM mine")
            return cursor.fetchone()
    seen = []
    thread = threading.Thread(target=lambda: seen.append(work()))
    thread.start()
    started.wait()
    waiting_for_place(broker)
    one.close()
    thread.join(20)
    assert seen == [(2,)]


def test_psycopg3_in_a_transaction(narrow):
    broker = narrow({"query_wait_timeout": "300ms"})
    first = pinned(broker)
    with psycopg.connect(broker.dsn()) as one:
        with pytest.raises(psycopg.errors.TooManyConnections) as refused, one.transaction():
            one.execute("SELECT 1")
            one.execute("SELECT pg_advisory_lock(%s)", (1,))
        assert "pin_reserve" in refused.value.diag.message_hint
        assert one.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        first.close()
        settle(broker, 0)
        assert one.execute("SELECT pg_advisory_lock(%s)", (1,)).fetchone()
        one.commit()
        settle(broker, 1)
        assert pins(broker) == ["advisory_locks"]
        assert one.execute("SELECT pg_advisory_unlock(%s)", (1,)).fetchone() == (True,)
        one.commit()
        settle(broker, 0)
    broker.errors_expected = True


def test_asyncpg_waits_for_its_place(narrow):
    broker = narrow()

    async def run():
        one, two = [await asyncpg.connect(
            host=str(broker.socket_folder), port=broker.port, user="app", database="app")
            for _ in range(2)]
        await one.fetch("SELECT pg_advisory_lock($1)", 7)
        task = asyncio.ensure_future(two.fetch("SELECT pg_advisory_lock($1)", 8))
        await asyncio.to_thread(eventually, lambda: broker.waiting() == 1, 10)
        assert await one.fetchval("SELECT pg_advisory_unlock($1)", 7)
        await task
        assert await two.fetchval("SELECT pg_advisory_unlock($1)", 8)
        await one.close()
        await two.close()
    asyncio.run(run())


def test_psql_scripts(narrow, tool, run_program):
    broker = narrow()
    script = """CREATE TEMP TABLE mine (x int);
INSERT INTO mine SELECT generate_series(1, 3);
SELECT pg_advisory_lock(1);
SELECT sum(x) FROM mine;
SELECT pg_advisory_unlock(1);
"""
    done = run_program(tool("psql"), broker.dsn(), "-At", "-f", "-", input=script)
    assert done.stdout.splitlines() == ["CREATE TABLE", "INSERT 0 3", "", "6", "t"]
    assert "temporary objects" in done.stderr
    settle(broker, 0)


# Locks.


def test_pinned_leases_of_a_process_that_waits_lock_its_pool(narrow):
    """They do not come back by themselves: the reserve is lent to who waits beside them."""
    broker = narrow({"pin_reserve": 0, "reserve_pool_size": 1, "lease_warn_after": "100ms"})
    first = pinned(broker)
    second = broker.wire()
    second.query(PINS["advisory_locks"])
    settle(broker, 2)
    with broker.wire() as third:
        assert third.value("SELECT 1") == "1"
    kinds = {row["kind"] for row in broker.console("SHOW EVENTS")}
    assert {"pool_lock", "reserve_lent", "lease_pinned"} <= kinds
    leaks = eventually(lambda: [row["message"] for row in broker.console("SHOW EVENTS")
                                if row["kind"] == "leak"], 10)
    assert any("pinned by temporary objects" in each for each in leaks)
    first.close()
    second.close()
