# SPDX-License-Identifier: Apache-2.0
"""What one lease left in the session is not seen by the next."""

import select

import pytest

from harness import wire

pytestmark = pytest.mark.pglease_only

LEFTOVERS = {
    "a setting": ("SET work_mem = '9MB'", "SHOW work_mem", "4MB"),
    "a setting by set_config": (
        "SELECT set_config('work_mem', '9MB', false)", "SHOW work_mem", "4MB"),
    "a custom setting": (
        "SET my.secret = 'seen'", "SELECT coalesce(current_setting('my.secret', true), '')", ""),
    "a search path": ("SET search_path = pg_catalog", "SHOW search_path", '"$user", public'),
    "a role": ("SET ROLE other", "SELECT current_user", "postgres"),
    "a session authorisation": (
        "SET SESSION AUTHORIZATION other", "SELECT session_user", "postgres"),
    "session characteristics": (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SHOW default_transaction_read_only", "off"),
    "a temporary table": (
        "CREATE TEMP TABLE left_behind (x int)",
        "SELECT count(*) FROM pg_class WHERE relname = 'left_behind'", "0"),
    "a temporary table by select": (
        "SELECT 1 AS x INTO TEMP left_behind",
        "SELECT count(*) FROM pg_class WHERE relname = 'left_behind'", "0"),
    "a temporary table by create as": (
        "CREATE TEMP TABLE left_behind AS SELECT 1 AS x",
        "SELECT count(*) FROM pg_class WHERE relname = 'left_behind'", "0"),
    "a temporary view": (
        "CREATE TEMP VIEW left_behind AS SELECT 1",
        "SELECT count(*) FROM pg_class WHERE relname = 'left_behind'", "0"),
    "an advisory lock": (
        "SELECT pg_advisory_lock(4711)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711", "0"),
    "a channel": ("LISTEN left_behind", "SELECT count(*) FROM pg_listening_channels()", "0"),
    "a prepared statement": (
        "PREPARE left_behind AS SELECT 1",
        "SELECT count(*) FROM pg_prepared_statements WHERE name = 'left_behind'", "0"),
    "a cursor with hold": (
        "DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'left_behind'", "0"),
    "a do block's hidden set": (
        "DO $$ BEGIN PERFORM set_config('work_mem', '9MB', false); END $$", "SHOW work_mem", "4MB"),
}


@pytest.fixture(scope="module", autouse=True)
def objects(postgres):
    postgres.sql("""
        CREATE OR REPLACE FUNCTION isolation_set() RETURNS void LANGUAGE sql
            AS $$ SELECT set_config('work_mem', '9MB', false) $$;
        GRANT ALL ON SCHEMA public TO public;
        """, dbname="app")


@pytest.fixture(params=["transaction", "session"])
def narrow(make_broker, request):
    """A single server connection, so that the next lease is certainly on the same one."""
    return make_broker({"pool_mode": request.param, "default_pool_size": 1,
                        "reserve_pool_size": 0})


def in_a_transaction(one, statement):
    one.query("BEGIN")
    one.query(statement)
    one.query("COMMIT")


def plain(one, statement):
    one.query(statement)


def extended(one, statement):
    one.extended(statement)


@pytest.mark.parametrize("way", [plain, in_a_transaction, extended])
@pytest.mark.parametrize("what", LEFTOVERS)
def test_is_not_seen_by_the_next_client(narrow, postgres, what, way):
    statement, question, clean = LEFTOVERS[what]
    with narrow.wire("postgres") as one:
        if what == "a channel" and narrow.settings["pool_mode"] == "transaction":
            # It has no connection that could listen for its clients.
            if way is in_a_transaction:
                one.query("BEGIN")
                one.query(statement)
                statement = "COMMIT"
            answer = one.extended(statement) if way is extended else one.query(statement)
            assert wire.error_of(answer).code == "0A000"
            return
        way(one, statement)
        if narrow.settings["pool_mode"] == "transaction":
            with narrow.wire("postgres") as other:
                assert other.value(question) == clean
    with narrow.wire("postgres") as other:
        assert other.value(question) == clean


def test_an_open_transaction_of_a_vanished_client_is_rolled_back(narrow, table):
    one = narrow.wire()
    one.query("BEGIN")
    one.query(f"INSERT INTO {table} VALUES (1, 'x')")
    one.close()
    with narrow.wire() as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"
        assert other.query("SELECT 1")[-1].body == b"I"


def test_a_failed_transaction_of_a_vanished_client_is_cleaned(narrow):
    one = narrow.wire()
    one.query("BEGIN")
    one.query("SELECT 1/0")
    one.close()
    with narrow.wire() as other:
        assert other.value("SELECT 1") == "1"


def test_a_copy_of_a_vanished_client_is_cleaned(narrow, table):
    one = narrow.wire()
    one.send(wire.query(f"COPY {table} FROM STDIN"))
    assert one.next().kind == "G"
    one.send(wire.copy_data(b"1\tx\n"))
    one.close()
    with narrow.wire() as other:
        assert other.value(f"SELECT count(*) FROM {table}") == "0"


def test_unread_results_of_a_vanished_client_do_not_reach_the_next(narrow):
    one = narrow.wire()
    one.send(wire.query("SELECT 'not yours', repeat('x', 1000) FROM generate_series(1, 100000)"))
    assert one.next().kind == "T"
    one.close()
    with narrow.wire() as other:
        assert other.rows("SELECT 'mine'") == [["mine"]]


def test_a_client_that_goes_with_an_answer_unread_and_words_half_said(narrow):
    """Its socket is reset, with bytes still to be read: the lease comes back all the same."""
    for _ in range(3):
        one = narrow.wire()
        one.query("BEGIN")
        one.send(wire.query("SELECT 'unread'"))
        assert select.select([one.socket], [], [], 10)[0]
        one.send(wire.query("SELECT 2")[:7])
        one.close()
        with narrow.wire(timeout=10) as other:
            assert other.value("SELECT 3") == "3"


def test_a_half_sent_pipeline_of_a_vanished_client_is_cleaned(narrow):
    one = narrow.wire()
    one.send(wire.parse("SELECT 1", "half"), wire.bind((), "half"), wire.execute())
    one.send(wire.query("SELECT 2")[:7])
    one.close()
    with narrow.wire() as other:
        assert other.value("SELECT 3") == "3"
        assert wire.error_of(describe(other, "half")).code == "26000"


def describe(one, name):
    one.send(wire.describe_statement(name), wire.sync())
    return one.until_ready()


def test_notifications_of_a_past_listen_do_not_reach_the_next(narrow, postgres):
    with narrow.wire() as one:
        one.query("LISTEN past")
    with narrow.wire() as other:
        other.query("SELECT 1")
        postgres.sql("NOTIFY past", dbname="app")
        seen = other.query("SELECT 1")
        assert "A" not in wire.kinds(seen)


def test_a_clean_transaction_keeps_its_server_connection(make_broker):
    """Clean-up is for what is dirty: plain transactions do not cost a round trip or a connect."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0})
    with broker.wire() as one, broker.wire() as other:
        pids = {each.value("SELECT pg_backend_pid()") for each in (one, other) for _ in range(5)}
        in_a_transaction(one, "SELECT 1")
        pids.add(other.value("SELECT pg_backend_pid()"))
        assert len(pids) == 1


def test_server_reset_query_is_the_one_that_is_configured(make_broker):
    broker = make_broker({"pool_mode": "session", "default_pool_size": 1, "reserve_pool_size": 0,
                          "server_reset_query": "SET work_mem = '3MB'"})
    with broker.wire() as one:
        one.query("SET work_mem = '9MB'")
    with broker.wire() as other:
        assert other.value("SHOW work_mem") == "3MB"


def test_server_reset_query_always_resets_after_each_transaction(make_broker):
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0,
                          "server_reset_query": "SET work_mem = '3MB'",
                          "server_reset_query_always": 1})
    with broker.wire() as one:
        one.query("SELECT 1")
        assert one.value("SHOW work_mem") == "3MB"


def test_server_reset_query_always_cleans_what_no_command_tag_tells(make_broker):
    """A function that sets something looks like any other SELECT."""
    broker = make_broker({"default_pool_size": 1, "reserve_pool_size": 0,
                          "server_reset_query_always": 1})
    with broker.wire("postgres") as one, broker.wire("postgres") as other:
        one.query("SELECT isolation_set()")
        assert other.value("SHOW work_mem") == "4MB"


def test_a_failing_reset_query_closes_the_connection(make_broker):
    broker = make_broker({"pool_mode": "session", "default_pool_size": 1, "reserve_pool_size": 0,
                          "server_reset_query": "SELECT no_such_function()"})
    broker.errors_expected = True
    with broker.wire() as one:
        first = one.value("SELECT pg_backend_pid()")
        one.query("SET work_mem = '9MB'")
    with broker.wire() as other:
        assert other.value("SELECT pg_backend_pid()") != first
        assert other.value("SHOW work_mem") == "4MB"
